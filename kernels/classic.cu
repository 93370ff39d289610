// The classic descriptor: a block for each patch. See src/stages/describe/classic/. All operations are those of the CPU
// in its order, so the values are equal to the bit.
//
// The sums over the points of the cells take most of the time. A point marks its eight cells, and writes down what it adds
// to each; then a cell's thread goes through the marks in the order of the points, and only adds.
#include "cells.cuh"

// As in src/stages/describe/classic/mod.rs.
constexpr unsigned HARMONICS = 6;
constexpr unsigned WIDTH = RINGS * HARMONICS;
// Columns of the table of cosines and sines.
constexpr unsigned FOURIER_COLUMNS = 16;

// Threads of a block, as in cuda.rs.
constexpr unsigned THREADS = 256;
// Sectors and one more that repeats the first: what the first one gets from points in the last is summed up apart, as on the
// CPU.
constexpr unsigned PADDED_AZIMUTHS = AZIMUTHS + 1;
constexpr unsigned PADDED_CELLS = RINGS * PADDED_AZIMUTHS;
// A warp has cells of one ring or two, which get about as many points each.
constexpr unsigned CELLS_PER_THREAD = (PADDED_CELLS + THREADS - 1) / THREADS;
// Points that are spread over the cells at a time; with more, fewer blocks would find room on a multiprocessor.
constexpr unsigned POINTS_AT_ONCE = 256;
static_assert(POINTS_AT_ONCE <= THREADS, "a thread for each");
// The thread that begins with the means of the rings, when those before it are busy with the harmonics.
constexpr unsigned FIRST_FOR_MEANS = (WIDTH + WARP - 1) / WARP * WARP;
static_assert(FIRST_FOR_MEANS + RINGS <= THREADS, "a thread for each");

// Whether shell, band and sector are odd, as three bits. It differs among the eight cells of a point.
constexpr unsigned PARITIES = 8;

__device__ __forceinline__ unsigned parity_of(unsigned shell, unsigned band, unsigned sector) {
    return shell % 2 * 4 + band % 2 * 2 + sector % 2;
}

// Some of the points, spread over the cells.
struct Spread {
    // Of each cell, the points that add to it: bit 31 - `i % 32` of word `i / 32` for the `i`-th, so that the first one is
    // the leading bit, which takes one instruction to find.
    unsigned masks[POINTS_AT_ONCE / WARP][PADDED_CELLS];
    // What a point adds to its cell of each parity.
    float shares[PARITIES][POINTS_AT_ONCE];
};

__device__ __forceinline__ unsigned words_of(unsigned points) { return (points + WARP - 1) / WARP; }

// Every thread clears the masks of its own cells.
__device__ void clear_masks(unsigned points, Spread& spread) {
    for (unsigned word = 0; word < words_of(points); ++word)
        for (unsigned cell = threadIdx.x; cell < PADDED_CELLS; cell += THREADS) spread.masks[word][cell] = 0;
}

// Spreads the `i`-th point, if it has a direction.
__device__ void spread_point(unsigned i, Point p, Spread& spread) {
    Place place;
    if (!find_place(p, place)) return;
#pragma unroll
    for (unsigned next = 0; next < PARITIES; ++next) {
        unsigned next_shell = next / 4, next_band = next / 2 % 2, next_sector = next % 2;
        unsigned shell = place.shell + next_shell, band = place.band + next_band, sector = place.sector + next_sector;
        atomicOr(&spread.masks[i / WARP][(shell * ELEVATIONS + band) * PADDED_AZIMUTHS + sector], 0x80000000u >> i % WARP);
        spread.shares[parity_of(shell, band, sector)][i] = share_of(place, next_shell, next_band, next_sector);
    }
}

// Adds the shares of the points that are spread to the sum of a cell, and clears its masks.
__device__ __forceinline__ float with_points(float sum, unsigned cell, unsigned points, Spread& spread) {
    unsigned ring = cell / PADDED_AZIMUTHS;
    const float* shares = spread.shares[parity_of(ring / ELEVATIONS, ring % ELEVATIONS, cell % PADDED_AZIMUTHS)];
    for (unsigned word = 0; word < words_of(points); ++word) {
        unsigned left = spread.masks[word][cell];
        spread.masks[word][cell] = 0;
        while (left != 0) {
            unsigned first = __clz(left);
            left ^= 0x80000000u >> first;
            sum += shares[word * WARP + first];
        }
    }
    return sum;
}

// occupancy[c] = the sum of what the points of a patch add to padded cell `c`; by the whole block.
__device__ void find_occupancy(const Point* offsets, unsigned count, const float* frame, Spread& spread, float* occupancy) {
    clear_masks(min(count, POINTS_AT_ONCE), spread);
    float sums[CELLS_PER_THREAD] = {};
    for (unsigned first = 0; first < count; first += POINTS_AT_ONCE) {
        unsigned points = min(count - first, POINTS_AT_ONCE);
        // The masks are clear.
        __syncthreads();
        if (threadIdx.x < points) spread_point(threadIdx.x, in_frame(frame, offsets[first + threadIdx.x]), spread);
        __syncthreads();
#pragma unroll
        for (unsigned n = 0; n < CELLS_PER_THREAD; ++n) {
            unsigned cell = threadIdx.x + n * THREADS;
            if (cell < PADDED_CELLS) sums[n] = with_points(sums[n], cell, points, spread);
        }
    }
    for (unsigned n = 0; n < CELLS_PER_THREAD; ++n)
        if (threadIdx.x + n * THREADS < PADDED_CELLS) occupancy[threadIdx.x + n * THREADS] = sums[n];
    __syncthreads();
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

__device__ float mean_of(const float* ring) {
    float sum = 0.0f;
    for (unsigned a = 0; a < AZIMUTHS; ++a) sum += ring[a];
    return sum / AZIMUTHS;
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
    for (unsigned i = threadIdx.x; i < length; i += THREADS) out[i] = norm > 0.0f ? values[i] / norm : values[i];
}

extern "C" __global__ void __launch_bounds__(THREADS, 6)
describe_classic(const Point* offsets, const unsigned* counts, const float* frames, const float* table,
                 float* invariant, float* equivariant) {
    __shared__ Spread spread;
    __shared__ float occupancy[PADDED_CELLS];
    __shared__ float map[CELLS];
    __shared__ float means[RINGS];
    __shared__ float moduli[WIDTH];
    __shared__ float norms[2];
    unsigned patch = blockIdx.x, thread = threadIdx.x;
    unsigned count = min(counts[patch], PATCH_CAPACITY);
    find_occupancy(offsets + static_cast<size_t>(patch) * PATCH_CAPACITY, count, frames + static_cast<size_t>(patch) * 9, spread, occupancy);
    for (unsigned cell = thread; cell < CELLS; cell += THREADS) {
        unsigned sector = cell % AZIMUTHS;
        const float* of_ring = occupancy + cell / AZIMUTHS * PADDED_AZIMUTHS;
        map[cell] = sqrtf(sector == 0 ? of_ring[0] + of_ring[AZIMUTHS] : of_ring[sector]);
    }
    __syncthreads();
    if (thread < WIDTH) moduli[thread] = modulus_of_harmonic(map + thread / HARMONICS * AZIMUTHS, table, thread % HARMONICS);
    // Wraps around for the threads before.
    unsigned ring = thread - FIRST_FOR_MEANS;
    if (ring < RINGS) means[ring] = mean_of(map + ring * AZIMUTHS);
    __syncthreads();
    for (unsigned cell = thread; cell < CELLS; cell += THREADS) map[cell] -= means[cell / AZIMUTHS];
    __syncthreads();
    // Two warps, so that neither waits for the other.
    if (thread == 0) norms[0] = norm_of(moduli, WIDTH);
    if (thread == WARP) norms[1] = norm_of(map, CELLS);
    __syncthreads();
    write_normalised(moduli, WIDTH, norms[0], invariant + static_cast<size_t>(patch) * WIDTH);
    write_normalised(map, CELLS, norms[1], equivariant + static_cast<size_t>(patch) * CELLS);
}
