// MiniSpinNet: a block takes one patch through the whole network, whose values never leave shared memory. See
// src/stages/describe/minispinnet/.
//
// Convolutions are matrix products on tensor cores (tensor.cuh): weights, tap by tap, by columns of channels, one for each
// cell of the map. So nothing is copied for them: a tap looks at other columns. They bound this stage, 59 million
// multiply-adds a patch, three products each where weights have two parts.
#include "tensor.cuh"

// As in src/stages/describe/minispinnet/.
constexpr unsigned SHELLS = 3;
constexpr unsigned ELEVATIONS = 7;
constexpr unsigned AZIMUTHS = 20;
constexpr unsigned MAP_CELLS = ELEVATIONS * AZIMUTHS;
constexpr unsigned CELLS = SHELLS * MAP_CELLS;
constexpr unsigned SAMPLES = 10;
constexpr float REACH = static_cast<float>(0.8 / SHELLS);
constexpr unsigned POINT_CHANNELS = 16;
constexpr unsigned CONVOLUTIONS = 8;
constexpr unsigned MOST_CHANNELS = 128;
constexpr unsigned WIDTH = 32;
constexpr unsigned ATTENTION_CHANNELS = 16;
// As in src/stages/patch/; the last one does not count.
constexpr unsigned PATCH_CAPACITY = 512;
constexpr unsigned MOST_POINTS = PATCH_CAPACITY - 1;
// Cells of a kernel along elevation and azimuth.
constexpr unsigned KERNEL = 3;

// A warp keeps its part of a convolution's outcome in registers, 36 sums a lane at most, so that it can take the place of
// what it comes from; so one block with all registers is on a multiprocessor.
constexpr unsigned THREADS = 512;
// Tiles of columns of a map; the last one is half empty.
constexpr unsigned MAP_TILES = (MAP_CELLS + TILE_COLUMNS - 1) / TILE_COLUMNS;
// Values from one cell to the next, and the column of zeros that is beyond the poles.
constexpr unsigned STRIDE = stride_of(MOST_CHANNELS);
constexpr unsigned ZEROS = MAP_CELLS;

// Where shared memory has what; the columns are at its beginning. The points are only needed before the first
// convolution, the attention only after the last one.
constexpr unsigned POINTS_AT = (MAP_CELLS + 1) * STRIDE;
constexpr unsigned PLACES_AT = POINTS_AT + 3 * PATCH_CAPACITY;
constexpr unsigned ATTENTION_AT = POINTS_AT;
constexpr unsigned POOLED_AT = ATTENTION_AT + MAP_CELLS;

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
        Point samples[SAMPLES];
        turn_samples(points, places + cell, found, grid.turns[cell % AZIMUTHS], samples);
        float* channels = values + cell % MAP_CELLS * STRIDE + cell / MAP_CELLS * POINT_CHANNELS;
        for (unsigned channel = 0; channel < POINT_CHANNELS; ++channel) {
            const float* weights = layer + channel;
            float of_x = weights[0], of_y = weights[POINT_CHANNELS], of_z = weights[2 * POINT_CHANNELS];
            float bias = weights[3 * POINT_CHANNELS], largest = 0.0f;
#pragma unroll
            for (unsigned i = 0; i < SAMPLES; ++i) {
                float sum = samples[i].x * of_x + samples[i].y * of_y + samples[i].z * of_z + bias;
                largest = sum > largest ? sum : largest;
            }
            channels[channel] = largest;
        }
    }
}

// The column that a tap looks at from a cell; beyond the poles there are zeros.
__device__ __forceinline__ unsigned column_of_tap(unsigned cell, unsigned tap) {
    unsigned elevation = cell / AZIMUTHS + tap % KERNEL, azimuth = cell % AZIMUTHS + tap / KERNEL;
    if (elevation < 1 || elevation > ELEVATIONS) return ZEROS;
    return (elevation - 1) * AZIMUTHS + (azimuth + AZIMUTHS - 1) % AZIMUTHS;
}

// Convolves the map in place. A warp has one tile of outputs and TILES tiles of cells, if there are any for it.
template <unsigned TILES>
__device__ __forceinline__ void convolve(const Layer& layer, const float4* weights, const float* biases,
                                         bool rectified, float* values) {
    unsigned tile = warp_number() % layer.tiles, first = warp_number() / layer.tiles * TILES * TILE_COLUMNS;
    TileSums sums[TILES] = {};
    if (first < MAP_CELLS) {
        const float4* of_tap = weights_of_tile(layer, weights, tile);
        for (unsigned tap = 0; tap < KERNEL * KERNEL; ++tap) {
            const float* columns[TILES];
#pragma unroll
            for (unsigned i = 0; i < TILES; ++i) {
                unsigned cell = min(first + i * TILE_COLUMNS + column_of_lane(), MAP_CELLS - 1);
                columns[i] = values + column_of_tap(cell, tap) * STRIDE + first_of_lane();
            }
            multiply(of_tap, layer.parts, layer.steps, columns, sums);
            of_tap += layer.steps * layer.parts * WARP;
        }
    }
    __syncthreads();
    biases += layer.biases + tile * TILE_ROWS;
    for_each_sum(sums, [&](unsigned row, unsigned column, float sum) {
        if (first + column >= MAP_CELLS) return;
        float value = sum + biases[row];
        values[(first + column) * STRIDE + tile * TILE_ROWS + row] = rectified ? fmaxf(value, 0.0f) : value;
    });
    __syncthreads();
}

// All convolutions; the last one is not rectified.
__device__ void convolve_all(const Layer* layers, const float4* weights, const float* biases, float* values) {
    for (unsigned number = 0; number < CONVOLUTIONS; ++number) {
        const Layer& layer = layers[number];
        bool rectified = number + 1 < CONVOLUTIONS;
        // The warps that share the cells are as many as there are tiles of outputs less.
        if (layer.tiles == 8) convolve<(MAP_TILES + 1) / 2>(layer, weights, biases, rectified, values);
        if (layer.tiles == 4) convolve<(MAP_TILES + 3) / 4>(layer, weights, biases, rectified, values);
        if (layer.tiles == 2) convolve<(MAP_TILES + 7) / 8>(layer, weights, biases, rectified, values);
    }
}

// The attention of a cell; `weights` are the hidden layer's by input, its biases, and the same of the other layer.
__device__ float attention_of(const float* channels, const float* weights) {
    float hidden[ATTENTION_CHANNELS] = {};
    for (unsigned input = 0; input < WIDTH; ++input) {
        float value = channels[input];
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
        double value = values[cell * STRIDE + channel];
        sum += attention[cell] * value;
    }
    return static_cast<float>(sum / MAP_CELLS);
}

// The length of a vector, or one in place of zero.
__device__ float divisor(const float* values) {
    float sum = 0.0f;
    for (unsigned i = 0; i < WIDTH; ++i) sum += values[i] * values[i];
    float length = sqrtf(sum);
    return length > 0.0f ? length : 1.0f;
}

// One block for each patch: invariant vector and equivariant map. `ends` holds the layer that points go through, and the
// two of the attention; the convolutions are `layers`, with `weights` and `biases`.
extern "C" __global__ void __launch_bounds__(THREADS, 1)
describe_minispinnet(const Point* offsets, const unsigned* counts, const float* frames, const Grid* grid,
                     const float* ends, const Layer* layers, const float4* weights, const float* biases,
                     float* invariant, float* equivariant) {
    DYNAMIC_SHARED(float, values);
    Point* points = reinterpret_cast<Point*>(values + POINTS_AT);
    size_t patch = blockIdx.x;
    unsigned count = min(counts[patch], MOST_POINTS);
    load_points(offsets + patch * PATCH_CAPACITY, count, frames + patch * 9, points);
    if (threadIdx.x < STRIDE) values[ZEROS * STRIDE + threadIdx.x] = 0.0f;
    __syncthreads();
    fill_cells(points, count, *grid, ends, reinterpret_cast<unsigned short*>(values + PLACES_AT), values);
    __syncthreads();
    convolve_all(layers, weights, biases, values);

    float* attention = values + ATTENTION_AT;
    float* mean = values + POOLED_AT;
    unsigned cell = threadIdx.x, channel = threadIdx.x;
    const float* channels = values + cell * STRIDE;
    if (cell < MAP_CELLS) attention[cell] = attention_of(channels, ends + 4 * POINT_CHANNELS);
    __syncthreads();
    if (channel < WIDTH) mean[channel] = pooled(values, attention, channel);
    __syncthreads();
    if (channel < WIDTH) invariant[patch * WIDTH + channel] = mean[channel] / divisor(mean);
    if (cell < MAP_CELLS) {
        float* map = equivariant + patch * WIDTH * MAP_CELLS + cell;
        float length = divisor(channels);
        for (unsigned i = 0; i < WIDTH; ++i) map[i * MAP_CELLS] = channels[i] / length;
    }
}
