// The classic descriptor: a block for each patch. See src/stages/describe/classic/. All operations are those of the CPU
// in its order, so the values are equal to the bit.
//
// The sums over the points of the cells take most of the time: cells on a surface get many points, others few, and a
// warp waits for its fullest cell. Blocks of other patches on the same multiprocessor fill the gaps.
#include "cells.cuh"

// As in src/stages/describe/classic/mod.rs.
constexpr unsigned HARMONICS = 6;
constexpr unsigned WIDTH = RINGS * HARMONICS;
// Columns of the table of cosines and sines.
constexpr unsigned FOURIER_COLUMNS = 16;
static_assert(PATCH_THREADS >= WIDTH, "a thread for each harmonic of each ring");

// The sum of the weights of the points in a cell.
__device__ float occupancy_of(const Cell& cell, unsigned count, const PointMasks masks, const PointShares& shares) {
    float sum = 0.0f, apart = 0.0f;
    bool first = cell.sector == 0;
    auto add = [&](unsigned, float share) { sum += share; };
    auto add_apart = [&](unsigned, float share) { apart += share; };
    for_each_point(cell, true, !first, count, masks, shares, add);
    if (first) for_each_point(cell, false, true, count, masks, shares, add_apart);
    return sum + apart;
}

// |sum over a of ring[a] e^(2 pi i k a / AZIMUTHS)|. A row of the table holds cos and sin for every k.
__device__ float modulus_of_harmonic(const float* ring, const float* table, unsigned k) {
    float real = 0.0f, imaginary = 0.0f;
    for (unsigned a = 0; a < AZIMUTHS; ++a) {
        real += ring[a] * table[a * FOURIER_COLUMNS + 2 * k];
        imaginary += ring[a] * table[a * FOURIER_COLUMNS + 2 * k + 1];
    }
    return sqrtf(real * real + imaginary * imaginary);
}

__device__ void remove_mean(float* ring) {
    float sum = 0.0f;
    for (unsigned a = 0; a < AZIMUTHS; ++a) sum += ring[a];
    float mean = sum / AZIMUTHS;
    for (unsigned a = 0; a < AZIMUTHS; ++a) ring[a] -= mean;
}

// In order, by one thread: a chain of a few hundred additions is short beside the sums over the points.
__device__ float norm_of(const float* values, unsigned length) {
    float sum = 0.0f;
#pragma unroll 8
    for (unsigned i = 0; i < length; ++i) sum += values[i] * values[i];
    return sqrtf(sum);
}

// To unit length; zero stays zero.
__device__ void write_normalised(const float* values, unsigned length, float norm, float* out) {
    for (unsigned i = threadIdx.x; i < length; i += PATCH_THREADS) out[i] = norm > 0.0f ? values[i] / norm : values[i];
}

extern "C" __global__ void __launch_bounds__(PATCH_THREADS)
describe_classic(const Point* offsets, const unsigned* counts, const float* frames, const float* table,
                 float* invariant, float* equivariant) {
    __shared__ PointMasks masks;
    __shared__ PointShares shares;
    __shared__ float map[RINGS][AZIMUTHS];
    __shared__ float moduli[WIDTH];
    __shared__ float norms[2];
    unsigned patch = blockIdx.x, thread = threadIdx.x;
    unsigned count = min(counts[patch], PATCH_CAPACITY);

    clear_masks(count, masks);
    __syncthreads();
    if (thread < count) {
        Point offset = offsets[static_cast<size_t>(patch) * PATCH_CAPACITY + thread];
        file_point(thread, in_frame(frames + static_cast<size_t>(patch) * 9, offset), masks, shares);
    }
    __syncthreads();
    if (thread < CELLS) {
        Cell cell(thread);
        map[cell.ring()][cell.sector] = sqrtf(occupancy_of(cell, count, masks, shares));
    }
    __syncthreads();
    if (thread < WIDTH) moduli[thread] = modulus_of_harmonic(map[thread / HARMONICS], table, thread % HARMONICS);
    __syncthreads();
    if (thread < RINGS) remove_mean(map[thread]);
    __syncthreads();
    // Two warps, so that neither waits for the other.
    if (thread == 0) norms[0] = norm_of(moduli, WIDTH);
    if (thread == WARP) norms[1] = norm_of(map[0], CELLS);
    __syncthreads();
    write_normalised(moduli, WIDTH, norms[0], invariant + static_cast<size_t>(patch) * WIDTH);
    write_normalised(map[0], CELLS, norms[1], equivariant + static_cast<size_t>(patch) * CELLS);
}
