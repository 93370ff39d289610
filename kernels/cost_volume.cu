// The cost volume: a block takes one match through all convolutions, whose values never leave shared memory. See
// src/stages/azimuth/.
//
// All convolutions but the first and the last are matrix products on tensor cores (tensor.cuh): weights, tap by tap, by
// columns of channels, one for each shift and azimuth. They bound this stage, with 56 million multiply-adds a match, three
// products each where weights have two parts.
#include "tensor.cuh"

// As in src/stages/describe/.
constexpr unsigned AZIMUTHS = 20;
constexpr unsigned ELEVATIONS = 7;
constexpr unsigned WIDTH = 32;
constexpr unsigned MAP = WIDTH * ELEVATIONS * AZIMUTHS;
// Elevations that count: the lowest and the highest are left out.
constexpr unsigned INNER = ELEVATIONS - 2;
// Cells of a kernel along shift, along elevation (of the first two convolutions; the others have one) and along
// azimuth.
constexpr unsigned KERNEL = 3;
// Outputs of the first convolution along elevation, and along shift and along azimuth.
constexpr unsigned FIRST_ELEVATIONS = INNER + 1 - KERNEL;
constexpr unsigned FIRST_SIZE = AZIMUTHS + 1 - KERNEL;
// Outputs of the last convolution.
constexpr unsigned SHIFTS = AZIMUTHS;

// A warp keeps its part of a convolution's outcome in registers, 40 sums a lane at most, so that it can take the place of
// what it comes from; so one block with all registers is on a multiprocessor.
constexpr unsigned THREADS = 512;
constexpr unsigned WARPS = THREADS / WARP;

// Azimuths of a ring in shared memory: the last two come before the first one once more, the first two after the last.
constexpr unsigned RING = AZIMUTHS + 2 * (KERNEL - 1);
constexpr unsigned RINGS = WIDTH * INNER * RING;
// Values of one map under the first convolution, and the most values of columns between two others.
constexpr unsigned SIDE = FIRST_ELEVATIONS * WIDTH * AZIMUTHS;
constexpr unsigned MOST_VALUES = 12 * 12 * stride_of(128);
// Where shared memory has what. The rings are only needed at the beginning.
constexpr unsigned SOURCE_SIDE_AT = MOST_VALUES;
constexpr unsigned TARGET_SIDE_AT = SOURCE_SIDE_AT + SIDE;
static_assert(2 * RINGS <= MOST_VALUES && FIRST_SIZE * FIRST_SIZE * stride_of(WIDTH) <= MOST_VALUES);

__device__ void load_rings(const float* map, float* rings) {
    for (unsigned i = threadIdx.x; i < RINGS; i += THREADS) {
        unsigned azimuth = (i % RING + AZIMUTHS - (KERNEL - 1)) % AZIMUTHS;
        unsigned elevation = i / RING % INNER + 1, channel = i / (RING * INNER);
        rings[i] = map[(channel * ELEVATIONS + elevation) * AZIMUTHS + azimuth];
    }
}

// The first convolution is linear, and what it sees is source[azimuth - shift] - target[azimuth]. So it is the
// difference of two sums that depend on one map each, the source's of azimuth - shift alone (a kernel of its own,
// below), and the target's, whose kernel is the sum over the shifts, of the azimuth alone. That takes a twelfth of the
// multiply-adds.
//
// side[elevation][output][azimuth] = sum over the kernel's shifts, elevations and azimuths and over the channels of
// weight times ring[azimuth + kernel's azimuth - kernel's shift], less the output's bias where there are `biases`.
// `weights` are elevation of the kernel, shift, input, azimuth, output. A warp has the outputs; a thread has some
// azimuths.
template <unsigned KERNEL_SHIFTS>
__device__ void sum_side(const float* rings, const float* weights, const float* biases, float* side) {
    constexpr unsigned EACH = 5, PIECES = AZIMUTHS / EACH;
    static_assert(WIDTH == WARP && FIRST_ELEVATIONS * PIECES * WARP <= THREADS);
    unsigned output = lane_number(), elevation = warp_number() / PIECES, first = warp_number() % PIECES * EACH;
    if (elevation >= FIRST_ELEVATIONS) return;
    float sums[EACH] = {};
    for (unsigned up = 0; up < KERNEL; ++up) {
        for (unsigned shift = 0; shift < KERNEL_SHIFTS; ++shift) {
            const float* ring = rings + (elevation + up) * RING + first + (KERNEL - 1) - shift;
#pragma unroll 2
            for (unsigned input = 0; input < WIDTH; ++input) {
                float values[EACH + KERNEL - 1];
#pragma unroll
                for (unsigned i = 0; i < EACH + KERNEL - 1; ++i) values[i] = ring[i];
#pragma unroll
                for (unsigned tap = 0; tap < KERNEL; ++tap) {
                    float weight = weights[tap * WIDTH + output];
#pragma unroll
                    for (unsigned i = 0; i < EACH; ++i) sums[i] = fmaf(weight, values[i + tap], sums[i]);
                }
                ring += INNER * RING;
                weights += KERNEL * WIDTH;
            }
        }
    }
    float bias = biases != nullptr ? biases[output] : 0.0f;
#pragma unroll
    for (unsigned i = 0; i < EACH; ++i) side[(elevation * WIDTH + output) * AZIMUTHS + first + i] = sums[i] - bias;
}

// One elevation of what the first convolution gives, rectified: a column for each shift and azimuth.
__device__ void fill_elevation(const float* source_side, const float* target_side, unsigned elevation,
                               ValueQuad* values) {
    for (unsigned i = threadIdx.x; i < FIRST_SIZE * WIDTH / 2 * FIRST_SIZE; i += THREADS) {
        unsigned azimuth = i % FIRST_SIZE, pair = i / FIRST_SIZE % (WIDTH / 2), shift = i / (FIRST_SIZE * WIDTH / 2);
        auto rectified = [&](unsigned channel) {
            unsigned row = (elevation * WIDTH + channel) * AZIMUTHS;
            float of_source = source_side[row + (azimuth + AZIMUTHS - shift) % AZIMUTHS];
            return fmaxf(of_source - target_side[row + azimuth], 0.0f);
        };
        ValueQuad* column = values + (shift * FIRST_SIZE + azimuth) * (stride_of(WIDTH) / 4);
        write_pair(column, 2 * pair, rectified(2 * pair), rectified(2 * pair + 1));
    }
}

// A convolution of 3 x 3 to SIZE x SIZE shifts and azimuths. A warp has ROWS tiles of outputs, two where there are enough
// so that values that are read serve twice, and TILES tiles of columns, if there are any for it.
template <unsigned SIZE, unsigned INPUTS, unsigned OUTPUTS>
struct Convolution {
    static constexpr unsigned COLUMNS = SIZE * SIZE;
    static constexpr unsigned ROWS = OUTPUTS > 2 * TILE_ROWS ? 2 : 1;
    static constexpr unsigned GROUPS = OUTPUTS / (ROWS * TILE_ROWS), SHARES = WARPS / GROUPS;
    static constexpr unsigned TILES = ((COLUMNS + TILE_COLUMNS - 1) / TILE_COLUMNS + SHARES - 1) / SHARES;
    static_assert(GROUPS * ROWS * TILE_ROWS == OUTPUTS && SHARES * GROUPS == WARPS, "every warp has its tiles of rows");
    static_assert(COLUMNS * stride_of(OUTPUTS) <= MOST_VALUES, "there is room for the outcome");

    TileSums sums[ROWS][TILES];

    static __device__ __forceinline__ unsigned tile() { return warp_number() % GROUPS * ROWS; }
    static __device__ __forceinline__ unsigned first() { return warp_number() / GROUPS * TILES * TILE_COLUMNS; }

    __device__ __forceinline__ void clear() {
#pragma unroll
        for (unsigned i = 0; i < ROWS * TILES; ++i) {
#pragma unroll
            for (float& sum : sums[i / TILES][i % TILES]) sum = 0.0f;
        }
    }

    // Adds the kernel times the values, from its `first_tap` on.
    __device__ __forceinline__ void add(const Layer& layer, const uint4* weights, unsigned first_tap,
                                        const ValueQuad* values) {
        if (first() >= COLUMNS) return;
        auto place = [&](unsigned tap, unsigned i) {
            unsigned column = min(here(first()) + i * TILE_COLUMNS + column_of_lane(), COLUMNS - 1);
            unsigned shift = column / SIZE + tap / KERNEL, azimuth = column % SIZE + tap % KERNEL;
            return values + (shift * (SIZE + KERNEL - 1) + azimuth) * (stride_of(INPUTS) / 4);
        };
        multiply(layer, weights, tile(), first_tap, KERNEL * KERNEL, place, sums);
    }

    // Rectifies the sums with their biases, and writes the outcome over what was there.
    __device__ __forceinline__ void finish(const Layer& layer, const float* biases, ValueQuad* values) {
        hand_over(layer, biases, [&](unsigned column, unsigned row, float2 outputs) {
            write_pair(values + column * (stride_of(OUTPUTS) / 4), row, outputs.x, outputs.y);
        });
    }

    // The same without parts.
    __device__ __forceinline__ void finish(const Layer& layer, const float* biases, float* values) {
        hand_over(layer, biases, [&](unsigned column, unsigned row, float2 outputs) {
            *reinterpret_cast<float2*>(values + column * stride_of(OUTPUTS) + row) = outputs;
        });
    }

private:
    template <class Write>
    __device__ __forceinline__ void hand_over(const Layer& layer, const float* biases, Write write) {
        __syncthreads();
        for_each_output(layer, biases, tile(), sums, [&](unsigned row, unsigned column, float2 outputs) {
            float2 rectified = {fmaxf(outputs.x, 0.0f), fmaxf(outputs.y, 0.0f)};
            if (first() + column < COLUMNS) write(first() + column, row, rectified);
        });
        __syncthreads();
    }
};

// The second convolution, which takes all three elevations to one: one after the other.
__device__ void join_elevations(const float* source_side, const float* target_side, const Layer& layer,
                                const uint4* weights, const float* biases, ValueQuad* values) {
    Convolution<FIRST_SIZE + 1 - KERNEL, WIDTH, 64> convolution;
    convolution.clear();
    for (unsigned elevation = 0; elevation < FIRST_ELEVATIONS; ++elevation) {
        __syncthreads();
        fill_elevation(source_side, target_side, elevation, values);
        __syncthreads();
        convolution.add(layer, weights, elevation * KERNEL * KERNEL, values);
    }
    convolution.finish(layer, biases, values);
}

// From values in parts to an outcome in place of them, in parts or, of the last of these convolutions, not.
template <unsigned SIZE, unsigned INPUTS, unsigned OUTPUTS, class Outcome>
__device__ void convolve(const Layer& layer, const uint4* weights, const float* biases, const ValueQuad* values,
                         Outcome* outcome) {
    Convolution<SIZE, INPUTS, OUTPUTS> convolution;
    convolution.clear();
    convolution.add(layer, weights, 0, values);
    convolution.finish(layer, biases, outcome);
}

// The last convolution, of 2 x 2, for one shift; `weights` are shift, channel, azimuth, output, and then the biases.
__device__ float logit_of(const float* values, const float* weights, unsigned output) {
    constexpr unsigned SIZE = 2, INPUTS = SIZE * WIDTH * SIZE;
    float sum = 0.0f;
    for (unsigned input = 0; input < INPUTS; ++input) {
        unsigned shift = input / (WIDTH * SIZE), channel = input / SIZE % WIDTH, azimuth = input % SIZE;
        float value = values[(shift * SIZE + azimuth) * stride_of(WIDTH) + channel];
        sum = fmaf(weights[input * SHIFTS + output], value, sum);
    }
    return sum + weights[INPUTS * SHIFTS + output];
}

// The mean shift under the softmax, in cells.
__device__ double expected_shift(const float* logits) {
    float highest = -INFINITY;
    for (unsigned i = 0; i < SHIFTS; ++i) highest = fmaxf(highest, logits[i]);
    double total = 0.0, weighted = 0.0;
    for (unsigned i = 0; i < SHIFTS; ++i) {
        double weight = exp(static_cast<double>(logits[i] - highest));
        total += weight;
        weighted += weight * i;
    }
    return weighted / total;
}

// One block for each match: its angle. `ends` holds the weights of the first convolution for the source and for the target,
// its biases, and the weights and biases of the last one; those between are `layers`, with `weights` and `biases`.
extern "C" __global__ void __launch_bounds__(THREADS, 1)
align_by_cost_volume(const float* source, const float* target, const uint2* matches, const float* ends,
                     const Layer* layers, const uint4* weights, const float* biases, float* angles) {
    DYNAMIC_SHARED(float, values);
    __shared__ float logits[SHIFTS];
    float *source_side = values + SOURCE_SIDE_AT, *target_side = values + TARGET_SIDE_AT;
    uint2 match = matches[blockIdx.x];
    load_rings(source + static_cast<size_t>(match.x) * MAP, values);
    load_rings(target + static_cast<size_t>(match.y) * MAP, values + RINGS);
    __syncthreads();
    const float* of_target = ends + KERNEL * KERNEL * KERNEL * WIDTH * WIDTH;
    const float* first_biases = of_target + KERNEL * KERNEL * WIDTH * WIDTH;
    sum_side<KERNEL>(values, ends, nullptr, source_side);
    sum_side<1>(values + RINGS, of_target, first_biases, target_side);

    ValueQuad* columns = reinterpret_cast<ValueQuad*>(values);
    join_elevations(source_side, target_side, layers[0], weights, biases, columns);
    convolve<14, 64, 64>(layers[1], weights, biases, columns, columns);
    convolve<12, 64, 128>(layers[2], weights, biases, columns, columns);
    convolve<10, 128, 128>(layers[3], weights, biases, columns, columns);
    convolve<8, 128, 64>(layers[4], weights, biases, columns, columns);
    convolve<6, 64, 64>(layers[5], weights, biases, columns, columns);
    convolve<4, 64, 32>(layers[6], weights, biases, columns, columns);
    convolve<2, 32, 32>(layers[7], weights, biases, columns, values);

    if (threadIdx.x < SHIFTS) logits[threadIdx.x] = logit_of(values, first_biases + WIDTH, threadIdx.x);
    __syncthreads();
    // A full turn is 2 pi.
    if (threadIdx.x == 0)
        angles[blockIdx.x] = static_cast<float>(expected_shift(logits) * 6.283185307179586 / AZIMUTHS);
}
