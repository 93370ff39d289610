// The cost volume: a block takes one match through all convolutions, whose values never leave shared memory. See
// src/stages/azimuth/.
#include "common.cuh"
#include "layers.cuh"

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

// Two groups of threads share the azimuths of a shift. The widest layer, 144 places of 128 channels, so has 384 threads
// with 48 sums each in registers; for every input channel and shift of the kernel they read 8 values and 6 vectors of
// weights and do 144 multiply-adds, which bound this stage: 56 million a match.
constexpr unsigned PARTS = 2;
constexpr unsigned THREADS = 512;

// Azimuths of a ring in shared memory: the last two come before the first one once more, the first two after the last.
constexpr unsigned RING = AZIMUTHS + 2 * (KERNEL - 1);
constexpr unsigned RINGS = WIDTH * INNER * RING;
// Values of one map under the first convolution, and the most values between two others.
constexpr unsigned SIDE = FIRST_ELEVATIONS * WIDTH * AZIMUTHS;
constexpr unsigned MOST_VALUES = 12 * 12 * 128;
// Where shared memory has what. The rings are only needed at the beginning, the logits at the end.
constexpr unsigned SOURCE_SIDE_AT = MOST_VALUES;
constexpr unsigned TARGET_SIDE_AT = SOURCE_SIDE_AT + SIDE;
static_assert(2 * RINGS <= MOST_VALUES && FIRST_SIZE * FIRST_SIZE * WIDTH <= MOST_VALUES);

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

// One elevation of what the first convolution gives, rectified: shift, channel, azimuth.
__device__ void fill_elevation(const float* source_side, const float* target_side, unsigned elevation, float* values) {
    for (unsigned i = threadIdx.x; i < FIRST_SIZE * WIDTH * FIRST_SIZE; i += THREADS) {
        unsigned azimuth = i % FIRST_SIZE, channel = i / FIRST_SIZE % WIDTH, shift = i / (FIRST_SIZE * WIDTH);
        unsigned row = (elevation * WIDTH + channel) * AZIMUTHS;
        float difference = source_side[row + (azimuth + AZIMUTHS - shift) % AZIMUTHS] - target_side[row + azimuth];
        values[i] = fmaxf(difference, 0.0f);
    }
}

// A convolution of 3 x 3 over SIZE + 2 shifts and azimuths. A thread has a part of the azimuths of one shift.
template <unsigned SIZE, unsigned INPUTS, unsigned OUTPUTS>
struct Convolution {
    static constexpr unsigned EACH = Channels<OUTPUTS>::EACH;
    static constexpr unsigned PLACES = SIZE / PARTS;
    static constexpr unsigned WEIGHTS = KERNEL * KERNEL * INPUTS * OUTPUTS;
    static_assert(SIZE % PARTS == 0 && SIZE * PARTS * GROUPS <= THREADS && SIZE * SIZE * OUTPUTS <= MOST_VALUES);

    float sums[EACH][PLACES];

    static __device__ __forceinline__ unsigned shift() { return threadIdx.x / (GROUPS * PARTS); }
    static __device__ __forceinline__ unsigned first() { return threadIdx.x / GROUPS % PARTS * PLACES; }

    __device__ __forceinline__ void clear() {
#pragma unroll
        for (unsigned i = 0; i < EACH; ++i) {
#pragma unroll
            for (unsigned place = 0; place < PLACES; ++place) sums[i][place] = 0.0f;
        }
    }

    // Adds the kernel times the values. `weights` are shift, input, azimuth, output.
    __device__ __forceinline__ void add(const float* values, const float* weights) {
        if (shift() >= SIZE) return;
        // The kernel's shifts follow each other, and so do the rows that they look at.
        const float* row = values + shift() * INPUTS * (SIZE + 2) + first();
#pragma unroll 2
        for (unsigned input = 0; input < KERNEL * INPUTS; ++input) {
            float of_row[PLACES + KERNEL - 1];
#pragma unroll
            for (unsigned place = 0; place < PLACES + KERNEL - 1; ++place) of_row[place] = row[place];
#pragma unroll
            for (unsigned tap = 0; tap < KERNEL; ++tap) {
                float of_channels[EACH];
                Channels<OUTPUTS>::load(weights, of_channels);
#pragma unroll
                for (unsigned i = 0; i < EACH; ++i) {
#pragma unroll
                    for (unsigned place = 0; place < PLACES; ++place)
                        sums[i][place] = fmaf(of_channels[i], of_row[place + tap], sums[i][place]);
                }
                weights += OUTPUTS;
            }
            row += SIZE + 2;
        }
    }

    // Adds the biases, rectifies, and writes the outcome over what was there: shift, channel, azimuth.
    __device__ __forceinline__ void finish(const float* biases, float* values) {
        __syncthreads();
        if (shift() < SIZE) {
            float of_channels[EACH];
            Channels<OUTPUTS>::load(biases, of_channels);
#pragma unroll
            for (unsigned i = 0; i < EACH; ++i) {
                float* row = values + (shift() * OUTPUTS + Channels<OUTPUTS>::channel(i)) * SIZE + first();
#pragma unroll
                for (unsigned place = 0; place < PLACES; ++place)
                    row[place] = fmaxf(sums[i][place] + of_channels[i], 0.0f);
            }
        }
        __syncthreads();
    }
};

// The second convolution, which takes all three elevations to one: one after the other. Returns the weights of what
// comes next, as all that follow.
__device__ const float* join_elevations(const float* source_side, const float* target_side, const float* weights,
                                        float* values) {
    using Joining = Convolution<FIRST_SIZE - 2, WIDTH, 64>;
    Joining convolution;
    convolution.clear();
    for (unsigned elevation = 0; elevation < FIRST_ELEVATIONS; ++elevation) {
        __syncthreads();
        fill_elevation(source_side, target_side, elevation, values);
        __syncthreads();
        convolution.add(values, weights);
        weights += Joining::WEIGHTS;
    }
    convolution.finish(weights, values);
    return weights + 64;
}

template <unsigned SIZE, unsigned INPUTS, unsigned OUTPUTS>
__device__ const float* convolve(float* values, const float* weights) {
    Convolution<SIZE, INPUTS, OUTPUTS> convolution;
    convolution.clear();
    convolution.add(values, weights);
    weights += convolution.WEIGHTS;
    convolution.finish(weights, values);
    return weights + OUTPUTS;
}

// The last convolution, of 2 x 2, for one shift.
__device__ float logit_of(const float* values, const float* weights, unsigned shift) {
    constexpr unsigned INPUTS = 2 * WIDTH * 2;
    float sum = 0.0f;
    for (unsigned input = 0; input < INPUTS; ++input) sum = fmaf(weights[input * SHIFTS + shift], values[input], sum);
    return sum + weights[INPUTS * SHIFTS + shift];
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

// One block for each match: its angle. `weights` are those of the first convolution for the source, for the target, its
// biases, and then those of the others with their biases.
extern "C" __global__ void __launch_bounds__(THREADS)
align_by_cost_volume(const float* source, const float* target, const uint2* matches, const float* weights,
                     float* angles) {
    DYNAMIC_SHARED(float, values);
    __shared__ float logits[SHIFTS];
    float *source_side = values + SOURCE_SIDE_AT, *target_side = values + TARGET_SIDE_AT;
    uint2 match = matches[blockIdx.x];
    load_rings(source + static_cast<size_t>(match.x) * MAP, values);
    load_rings(target + static_cast<size_t>(match.y) * MAP, values + RINGS);
    __syncthreads();
    const float* of_target = weights + KERNEL * KERNEL * KERNEL * WIDTH * WIDTH;
    const float* biases = of_target + KERNEL * KERNEL * WIDTH * WIDTH;
    sum_side<KERNEL>(values, weights, nullptr, source_side);
    sum_side<1>(values + RINGS, of_target, biases, target_side);

    weights = join_elevations(source_side, target_side, biases + WIDTH, values);
    weights = convolve<14, 64, 64>(values, weights);
    weights = convolve<12, 64, 128>(values, weights);
    weights = convolve<10, 128, 128>(values, weights);
    weights = convolve<8, 128, 64>(values, weights);
    weights = convolve<6, 64, 64>(values, weights);
    weights = convolve<4, 64, 32>(values, weights);
    weights = convolve<2, 32, 32>(values, weights);

    if (threadIdx.x < SHIFTS) logits[threadIdx.x] = logit_of(values, weights, threadIdx.x);
    __syncthreads();
    // A full turn is 2 pi.
    if (threadIdx.x == 0)
        angles[blockIdx.x] = static_cast<float>(expected_shift(logits) * 6.283185307179586 / AZIMUTHS);
}
