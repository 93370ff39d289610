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

// A warp keeps its part of a convolution's outcome in registers, 40 sums a lane at most, so that it can take the place of
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
static_assert(THREADS / WARP * PATCH_CAPACITY / 2 <= ZEROS * STRIDE, "lists of points lie where the columns will be");

__device__ __forceinline__ ValueQuad* column_of(ValueQuad* values, unsigned cell) { return values + cell * (STRIDE / 4); }

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

// Lists the points that cells of a ring, of which one is given, may have within reach, in their order; by a warp. Returns
// how many they are; the rest of their last 32 is of no account.
__device__ unsigned list_near_ring(const Point* points, unsigned count, Point centre, unsigned short* near) {
    // For what rounding adds to the distance from the axis.
    constexpr float NEAR = REACH * REACH * 1.001f;
    float from_axis = sqrtf(centre.x * centre.x + centre.y * centre.y);
    unsigned found = 0;
    for (unsigned first = 0; first < count; first += WARP) {
        unsigned i = first + lane_number();
        bool listed = false;
        if (i < count) {
            Point p = points[i];
            float height = centre.z - p.z, across = from_axis - sqrtf(p.x * p.x + p.y * p.y);
            listed = height * height + across * across < NEAR;
        }
        unsigned all = __ballot_sync(ALL_LANES, listed);
        if (listed) near[found + __popc(all & ((1u << lane_number()) - 1))] = static_cast<unsigned short>(i);
        found += __popc(all);
    }
    if (found % WARP != 0 && lane_number() >= found % WARP) near[found / WARP * WARP + lane_number()] = 0;
    __syncwarp();
    return found;
}

// Which of 32 listed points are within reach: all are looked at, whatever comes of it, so that none waits for another.
__device__ __forceinline__ unsigned points_within_reach(const Point* points, const unsigned short* near, Point centre) {
    unsigned within = 0;
#pragma unroll 8
    for (unsigned i = 0; i < WARP; ++i)
        within |= (squared_length(centre - points[near[i]]) < REACH * REACH ? 1u : 0u) << i;
    return within;
}

// Finds the first SAMPLES of the listed points within reach of a cell's centre; their places in the patch go to places[0],
// places[CELLS] and so on. The first point of the patch, which counts as one at the keypoint, stands for those that there
// are too few of.
__device__ void find_samples(const Point* points, const unsigned short* near, unsigned count, Point centre,
                             unsigned short* places) {
    unsigned found = 0;
    for (unsigned first = 0; first < count && found < SAMPLES; first += WARP) {
        unsigned within = points_within_reach(points, near + first, centre);
        if (count - first < WARP) within &= (1u << (count - first)) - 1;
        for (; within != 0 && found < SAMPLES; within &= within - 1) {
            places[found * CELLS] = near[first + __ffs(within) - 1];
            ++found;
        }
    }
    for (; found < SAMPLES; ++found) places[found * CELLS] = 0;
}

// The samples of all cells. A warp takes ring by ring, the outer ones first, which have most points, and a lane each cell
// of it. `near` has room for the points of a patch for each warp.
__device__ void sample_cells(const Point* points, unsigned count, const Grid& grid, unsigned short* near,
                             unsigned short* places) {
    near += warp_number() * PATCH_CAPACITY;
    for (unsigned number = warp_number(); number < CELLS / AZIMUTHS; number += THREADS / WARP) {
        unsigned first = CELLS - (number + 1) * AZIMUTHS, cell = first + lane_number();
        unsigned listed = list_near_ring(points, count, grid.centres[first], near);
        if (lane_number() < AZIMUTHS) find_samples(points, near, listed, grid.centres[cell], places + cell);
        __syncwarp();
    }
}

// The samples of a cell in the cell's own frame.
__device__ __forceinline__ void turn_samples(const Point* points, const unsigned short* places, float2 turn,
                                             Point* samples) {
#pragma unroll
    for (unsigned i = 0; i < SAMPLES; ++i) {
        unsigned place = places[i * CELLS];
        Point p = {0.0f, 0.0f, 0.0f};
        if (place > 0) {
            p = points[place];
            p = {turn.x * p.x - turn.y * p.y, turn.y * p.x + turn.x * p.y, p.z};
        }
        samples[i] = p;
    }
}

// The largest rectified value of a channel over the samples.
__device__ __forceinline__ float channel_of(const Point* samples, const float* weights) {
    float of_x = weights[0], of_y = weights[POINT_CHANNELS], of_z = weights[2 * POINT_CHANNELS];
    float bias = weights[3 * POINT_CHANNELS], largest = 0.0f;
#pragma unroll
    for (unsigned i = 0; i < SAMPLES; ++i) {
        float sum = samples[i].x * of_x + samples[i].y * of_y + samples[i].z * of_z + bias;
        largest = sum > largest ? sum : largest;
    }
    return largest;
}

// The cells before the first convolution: for every cell and channel the largest rectified value over the samples.
// `layer` holds the weights of x, of y and of z and the biases.
__device__ void fill_cells(const Point* points, const unsigned short* places, const Grid& grid, const float* layer,
                           ValueQuad* values) {
    for (unsigned cell = threadIdx.x; cell < CELLS; cell += THREADS) {
        Point samples[SAMPLES];
        turn_samples(points, places + cell, grid.turns[cell % AZIMUTHS], samples);
        ValueQuad* channels = column_of(values, cell % MAP_CELLS) + cell / MAP_CELLS * (POINT_CHANNELS / 4);
        for (unsigned i = 0; i < POINT_CHANNELS; i += 2)
            write_pair(channels, i, channel_of(samples, layer + i), channel_of(samples, layer + i + 1));
    }
}

// The column that a tap looks at from a cell; beyond the poles there are zeros.
__device__ __forceinline__ unsigned column_of_tap(unsigned cell, unsigned tap) {
    unsigned elevation = cell / AZIMUTHS + tap % KERNEL, azimuth = cell % AZIMUTHS + tap / KERNEL;
    if (elevation < 1 || elevation > ELEVATIONS) return ZEROS;
    return (elevation - 1) * AZIMUTHS + (azimuth + AZIMUTHS - 1) % AZIMUTHS;
}

// Convolves the map in place. A warp has ROWS tiles of outputs and TILES tiles of cells, if there are any for it. The last
// outcome is not rectified, and no longer in parts, since nothing is multiplied with it on tensor cores.
template <unsigned ROWS, unsigned TILES>
__device__ __forceinline__ void convolve(const Layer& layer, const uint4* weights, const float* biases, bool last,
                                         ValueQuad* values) {
    unsigned groups = layer.tiles / ROWS;
    unsigned tile = warp_number() % groups * ROWS, first = warp_number() / groups * TILES * TILE_COLUMNS;
    TileSums sums[ROWS][TILES] = {};
    auto column = [&](unsigned tap, unsigned i) {
        unsigned cell = min(here(first) + i * TILE_COLUMNS + column_of_lane(), MAP_CELLS - 1);
        return column_of(values, column_of_tap(cell, tap));
    };
    if (first < MAP_CELLS) multiply(layer, weights, tile, 0, KERNEL * KERNEL, column, sums);
    __syncthreads();
    for_each_output(layer, biases, tile, sums, [&](unsigned row, unsigned column, float2 outputs) {
        if (first + column >= MAP_CELLS) return;
        ValueQuad* channels = column_of(values, first + column);
        if (last) {
            *reinterpret_cast<float2*>(reinterpret_cast<float*>(channels) + row) = outputs;
        } else {
            write_pair(channels, row, fmaxf(outputs.x, 0.0f), fmaxf(outputs.y, 0.0f));
        }
    });
    __syncthreads();
}

// All convolutions. Warps have two tiles of outputs where they can, so that values that are read serve twice; and so many
// tiles of cells that all four parts of the multiprocessor, which take warps in turns, have the same to do.
__device__ void convolve_all(const Layer* layers, const uint4* weights, const float* biases, ValueQuad* values) {
    for (unsigned number = 0; number < CONVOLUTIONS; ++number) {
        const Layer layer = layers[number];
        bool last = number + 1 == CONVOLUTIONS;
        if (layer.tiles == 8) convolve<2, (MAP_TILES + 3) / 4>(layer, weights, biases, last, values);
        if (layer.tiles == 4) convolve<2, (MAP_TILES + 7) / 8>(layer, weights, biases, last, values);
        if (layer.tiles == 2) convolve<1, (MAP_TILES + 7) / 8>(layer, weights, biases, last, values);
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

// The mean of a channel over the attended cells, by a warp. In double: the terms are many and differ in sign.
__device__ float pooled(const float* values, const float* attention, unsigned channel) {
    double sum = 0.0;
    for (unsigned cell = lane_number(); cell < MAP_CELLS; cell += WARP) {
        double value = values[cell * STRIDE + channel];
        sum += attention[cell] * value;
    }
    for (unsigned distance = WARP / 2; distance > 0; distance /= 2) sum += __shfl_xor_sync(ALL_LANES, sum, distance);
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
                     const float* ends, const Layer* layers, const uint4* weights, const float* biases,
                     float* invariant, float* equivariant) {
    DYNAMIC_SHARED(float, values);
    ValueQuad* cells = reinterpret_cast<ValueQuad*>(values);
    Point* points = reinterpret_cast<Point*>(values + POINTS_AT);
    unsigned short* places = reinterpret_cast<unsigned short*>(values + PLACES_AT);
    size_t patch = blockIdx.x;
    unsigned count = min(counts[patch], MOST_POINTS);
    load_points(offsets + patch * PATCH_CAPACITY, count, frames + patch * 9, points);
    if (threadIdx.x < STRIDE / 4) column_of(cells, ZEROS)[threadIdx.x] = {};
    __syncthreads();
    // Where the columns will be, lists have room.
    sample_cells(points, count, *grid, reinterpret_cast<unsigned short*>(values), places);
    __syncthreads();
    fill_cells(points, places, *grid, ends, cells);
    __syncthreads();
    convolve_all(layers, weights, biases, cells);

    float* attention = values + ATTENTION_AT;
    float* mean = values + POOLED_AT;
    unsigned cell = here(threadIdx.x), channel = cell;
    const float* channels = values + cell * STRIDE;
    if (cell < MAP_CELLS) attention[cell] = attention_of(channels, ends + 4 * POINT_CHANNELS);
    __syncthreads();
    for (unsigned i = warp_number(); i < WIDTH; i += THREADS / WARP) {
        float value = pooled(values, attention, i);
        if (lane_number() == 0) mean[i] = value;
    }
    __syncthreads();
    if (channel < WIDTH) invariant[patch * WIDTH + channel] = mean[channel] / divisor(mean);
    if (cell < MAP_CELLS) {
        float* map = equivariant + patch * WIDTH * MAP_CELLS + cell;
        float length = divisor(channels);
        for (unsigned i = 0; i < WIDTH; ++i) map[i * MAP_CELLS] = channels[i] / length;
    }
}
