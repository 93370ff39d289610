// MiniSpinNet: a block takes one patch through the whole network, whose values never leave shared memory. See
// src/stages/describe/minispinnet/.
// spills: allowed, registers are kept over calls, once for each; on sm_120 the widest layers spill eight values.
#include "common.cuh"
#include "layers.cuh"

// As in src/stages/describe/minispinnet/.
constexpr unsigned SHELLS = 3;
constexpr unsigned ELEVATIONS = 7;
constexpr unsigned AZIMUTHS = 20;
constexpr unsigned MAP_CELLS = ELEVATIONS * AZIMUTHS;
constexpr unsigned CELLS = SHELLS * MAP_CELLS;
constexpr unsigned SAMPLES = 10;
constexpr float REACH = static_cast<float>(0.8 / SHELLS);
constexpr unsigned POINT_CHANNELS = 16;
constexpr unsigned CHANNELS[] = {SHELLS * POINT_CHANNELS, 64, 64, 128, 128, 64, 64, 32, 32};
constexpr unsigned MOST_CHANNELS = 128;
constexpr unsigned WIDTH = 32;
constexpr unsigned ATTENTION_CHANNELS = 16;
// As in src/stages/patch/; the last one does not count.
constexpr unsigned PATCH_CAPACITY = 512;
constexpr unsigned MOST_POINTS = PATCH_CAPACITY - 1;
// Cells of a kernel along elevation and azimuth.
constexpr unsigned KERNEL = 3;

// A thread computes all elevations of one azimuth, for one group of the output channels: of 128 channels 8, so 56 sums
// in registers. For every input channel and azimuth of the kernel it reads 2 vectors of values and 6 of weights and
// does 152 multiply-adds, which bound this stage: 59 million a patch.
constexpr unsigned THREADS = GROUPS * AZIMUTHS;
// Elevations of an azimuth and channel lie side by side, padded to whole vectors.
constexpr unsigned COLUMN = 8;

// Where shared memory has what; the network's values are at its beginning. The points are only needed before the first
// convolution, the attention only after the last one.
constexpr unsigned POINTS_AT = AZIMUTHS * CHANNELS[0] * COLUMN;
constexpr unsigned PLACES_AT = POINTS_AT + 3 * PATCH_CAPACITY;
constexpr unsigned ATTENTION_AT = AZIMUTHS * WIDTH * COLUMN;
constexpr unsigned POOLED_AT = ATTENTION_AT + MAP_CELLS;
static_assert(PLACES_AT * sizeof(float) + CELLS * SAMPLES * sizeof(unsigned short) <=
              AZIMUTHS * MOST_CHANNELS * COLUMN * sizeof(float));

// Where the cells are, computed on the host so that all backends sort points into the same ones.
struct Grid {
    Point centres[CELLS];
    // cosine and sine of the angle from each azimuth to the first.
    float2 turns[AZIMUTHS];
};

// The points of a patch in its frame.
__device__ void load_points(const Point* offsets, unsigned count, const float* frame, Point* points) {
    for (unsigned i = threadIdx.x; i < count; i += THREADS) {
        Point d = offsets[i];
        // p_patch = R^T d: the columns of R are its rows.
        points[i] = {frame[0] * d.x + frame[3] * d.y + frame[6] * d.z,
                     frame[1] * d.x + frame[4] * d.y + frame[7] * d.z,
                     frame[2] * d.x + frame[5] * d.y + frame[8] * d.z};
    }
}

// Finds the first SAMPLES points within reach of a cell's centre; their places in the patch go to places[0],
// places[CELLS] and so on. Returns how many they are.
__device__ unsigned find_samples(const Point* points, unsigned count, Point centre, unsigned short* places) {
    unsigned found = 0;
    for (unsigned i = 0; i < count && found < SAMPLES; ++i) {
        if (!(squared_length(centre - points[i]) < REACH * REACH)) continue;
        places[found * CELLS] = static_cast<unsigned short>(i);
        ++found;
    }
    return found;
}

// The samples of a cell, filled up, in the cell's own frame.
__device__ __forceinline__ void turn_samples(const Point* points, const unsigned short* places, unsigned found,
                                             float2 turn, Point* samples) {
#pragma unroll
    for (unsigned i = 0; i < SAMPLES; ++i) {
        unsigned place = i < found ? places[i * CELLS] : 0;
        Point p = {0.0f, 0.0f, 0.0f};
        // The patch's first point counts as one at the keypoint.
        if (place > 0) {
            p = points[place];
            p = {turn.x * p.x - turn.y * p.y, turn.y * p.x + turn.x * p.y, p.z};
        }
        samples[i] = p;
    }
}

// The cells before the first convolution: for every cell and channel the largest rectified value over the samples.
// `layer` holds the weights of x, of y and of z and the biases.
__device__ void fill_cells(const Point* points, unsigned count, const Grid& grid, const float* layer,
                           unsigned short* places, float* values) {
    for (unsigned cell = threadIdx.x; cell < CELLS; cell += THREADS) {
        unsigned found = find_samples(points, count, grid.centres[cell], places + cell);
        unsigned shell = cell / MAP_CELLS, elevation = cell / AZIMUTHS % ELEVATIONS, azimuth = cell % AZIMUTHS;
        Point samples[SAMPLES];
        turn_samples(points, places + cell, found, grid.turns[azimuth], samples);
        float* channels = values + (azimuth * CHANNELS[0] + shell * POINT_CHANNELS) * COLUMN + elevation;
        for (unsigned channel = 0; channel < POINT_CHANNELS; ++channel) {
            const float* weights = layer + channel;
            float of_x = weights[0], of_y = weights[POINT_CHANNELS], of_z = weights[2 * POINT_CHANNELS];
            float bias = weights[3 * POINT_CHANNELS], largest = 0.0f;
#pragma unroll
            for (unsigned i = 0; i < SAMPLES; ++i) {
                float sum = samples[i].x * of_x + samples[i].y * of_y + samples[i].z * of_z + bias;
                largest = sum > largest ? sum : largest;
            }
            channels[channel * COLUMN] = largest;
        }
    }
}

// sums[i][elevation] += kernel column times values, for this thread's channels; beyond the poles there are zeros.
// `weights` are azimuth of the kernel, input channel, elevation of the kernel, output channel.
template <unsigned INPUTS, unsigned OUTPUTS>
__device__ __forceinline__ void sum_kernel(const float* values, const float* weights, float (*sums)[ELEVATIONS]) {
    constexpr unsigned EACH = Channels<OUTPUTS>::EACH;
    unsigned azimuth = threadIdx.x / GROUPS;
    for (unsigned tap = 0; tap < KERNEL; ++tap) {
        const float* column = values + (azimuth + tap + AZIMUTHS - 1) % AZIMUTHS * INPUTS * COLUMN;
#pragma unroll 2
        for (unsigned input = 0; input < INPUTS; ++input) {
            float4 low = *reinterpret_cast<const float4*>(column), high = *reinterpret_cast<const float4*>(column + 4);
            const float of_column[COLUMN] = {low.x, low.y, low.z, low.w, high.x, high.y, high.z, high.w};
#pragma unroll
            for (unsigned up = 0; up < KERNEL; ++up) {
                float of_channels[EACH];
                Channels<OUTPUTS>::load(weights, of_channels);
#pragma unroll
                for (unsigned i = 0; i < EACH; ++i) {
#pragma unroll
                    for (unsigned elevation = 0; elevation < ELEVATIONS; ++elevation) {
                        unsigned place = elevation + up;
                        if (place >= 1 && place <= ELEVATIONS)
                            sums[i][elevation] = fmaf(of_channels[i], of_column[place - 1], sums[i][elevation]);
                    }
                }
                weights += OUTPUTS;
            }
            column += COLUMN;
        }
    }
}

// Convolves the map in place; returns the weights of what comes next. A function of its own: in one with the others the
// compiler keeps so much for later layers that loops run short of registers.
template <unsigned LAYER>
__device__ __noinline__ const float* convolve(const float* weights) {
    DYNAMIC_SHARED(float, values);
    constexpr unsigned INPUTS = CHANNELS[LAYER], OUTPUTS = CHANNELS[LAYER + 1], EACH = Channels<OUTPUTS>::EACH;
    constexpr bool LAST = LAYER + 2 == sizeof(CHANNELS) / sizeof(*CHANNELS);
    float sums[EACH][ELEVATIONS] = {};
    sum_kernel<INPUTS, OUTPUTS>(values, weights, sums);
    const float* biases = weights + KERNEL * KERNEL * INPUTS * OUTPUTS;
    float of_channels[EACH];
    Channels<OUTPUTS>::load(biases, of_channels);
    __syncthreads();
#pragma unroll
    for (unsigned i = 0; i < EACH; ++i) {
        float* column = values + (threadIdx.x / GROUPS * OUTPUTS + Channels<OUTPUTS>::channel(i)) * COLUMN;
#pragma unroll
        for (unsigned elevation = 0; elevation < ELEVATIONS; ++elevation) {
            float sum = sums[i][elevation] + of_channels[i];
            column[elevation] = LAST ? sum : fmaxf(sum, 0.0f);
        }
    }
    __syncthreads();
    return biases + OUTPUTS;
}

// Where the first channel of a cell of the last map is; the next one is COLUMN further.
__device__ __forceinline__ unsigned place_of_cell(unsigned cell) {
    return cell % AZIMUTHS * WIDTH * COLUMN + cell / AZIMUTHS;
}

// The attention of a cell; `weights` are the hidden layer's by input, its biases, and the same of the other layer.
__device__ float attention_of(const float* channels, const float* weights) {
    float hidden[ATTENTION_CHANNELS] = {};
    for (unsigned input = 0; input < WIDTH; ++input) {
        float value = channels[input * COLUMN];
#pragma unroll
        for (unsigned i = 0; i < ATTENTION_CHANNELS; ++i) hidden[i] = fmaf(value, weights[i], hidden[i]);
        weights += ATTENTION_CHANNELS;
    }
    const float* last = weights + ATTENTION_CHANNELS;
    float sum = 0.0f;
#pragma unroll
    for (unsigned i = 0; i < ATTENTION_CHANNELS; ++i) sum += fmaxf(hidden[i] + weights[i], 0.0f) * last[i];
    return fmaxf(sum + last[ATTENTION_CHANNELS], 0.0f);
}

// The mean of a channel over the attended cells. In double: the terms are many and differ in sign.
__device__ float pooled(const float* values, const float* attention, unsigned channel) {
    double sum = 0.0;
    for (unsigned cell = 0; cell < MAP_CELLS; ++cell) {
        double value = values[place_of_cell(cell) + channel * COLUMN];
        sum += attention[cell] * value;
    }
    return static_cast<float>(sum / MAP_CELLS);
}

// The length of a vector whose values lie `stride` apart, or one in place of zero.
__device__ float divisor(const float* values, unsigned stride) {
    float sum = 0.0f;
    for (unsigned i = 0; i < WIDTH; ++i) sum += values[i * stride] * values[i * stride];
    float length = sqrtf(sum);
    return length > 0.0f ? length : 1.0f;
}

// One block for each patch: invariant vector and equivariant map. `weights` are those of the layers in turn.
extern "C" __global__ void __launch_bounds__(THREADS, 2)
describe_minispinnet(const Point* offsets, const unsigned* counts, const float* frames, const Grid* grid,
                     const float* weights, float* invariant, float* equivariant) {
    DYNAMIC_SHARED(float, values);
    Point* points = reinterpret_cast<Point*>(values + POINTS_AT);
    size_t patch = blockIdx.x;
    unsigned count = min(counts[patch], MOST_POINTS);
    load_points(offsets + patch * PATCH_CAPACITY, count, frames + patch * 9, points);
    __syncthreads();
    fill_cells(points, count, *grid, weights, reinterpret_cast<unsigned short*>(values + PLACES_AT), values);
    __syncthreads();

    weights = convolve<0>(weights + 4 * POINT_CHANNELS);
    weights = convolve<1>(weights);
    weights = convolve<2>(weights);
    weights = convolve<3>(weights);
    weights = convolve<4>(weights);
    weights = convolve<5>(weights);
    weights = convolve<6>(weights);
    weights = convolve<7>(weights);

    float* attention = values + ATTENTION_AT;
    float* mean = values + POOLED_AT;
    unsigned cell = threadIdx.x, channel = threadIdx.x;
    if (cell < MAP_CELLS) attention[cell] = attention_of(values + place_of_cell(cell), weights);
    __syncthreads();
    if (channel < WIDTH) mean[channel] = pooled(values, attention, channel);
    __syncthreads();
    if (channel < WIDTH) invariant[patch * WIDTH + channel] = mean[channel] / divisor(mean, 1);
    if (cell < MAP_CELLS) {
        const float* channels = values + place_of_cell(cell);
        float* map = equivariant + patch * WIDTH * MAP_CELLS + cell;
        float length = divisor(channels, COLUMN);
        for (unsigned i = 0; i < WIDTH; ++i) map[i * MAP_CELLS] = channels[i * COLUMN] / length;
    }
}
