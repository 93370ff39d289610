// The learned descriptor. See src/stages/describe/learned/: cells.rs for the features, network.rs for the layers.
//
// All values of the network are kept in panels: rows of COLUMNS values. Along the azimuth a panel is a patch, its rows
// are channels and its columns are sectors; in the head, where no azimuth is left, a panel is a group of as many
// patches, a column each. So one kernel does all layers, and never mixes columns but for the taps of a convolution:
// where a patch stands among others does not change its description.
#include "cells.cuh"

// As in src/stages/describe/learned/mod.rs.
constexpr unsigned FEATURES = 11;
constexpr unsigned HARMONICS = 3;
constexpr unsigned RAW_HARMONICS = 7;
constexpr float FULL_PATCH = 511.0f;
// Rows of features, and of those whose harmonics count.
constexpr unsigned FEATURE_ROWS = FEATURES * RINGS;
constexpr unsigned RAW_ROWS = 6 * RINGS;
constexpr unsigned COLUMNS = AZIMUTHS;

// ---- Features of cells.

// Where the cells are: distance of each ring's centres from the axis and their height, and each sector's direction.
struct Grid {
    float distance[RINGS], height[RINGS];
    float cosine[AZIMUTHS], sine[AZIMUTHS];
};

// Sums over the points of a cell, in the patch's frame.
struct Sums {
    float w, x, y, z, xx, yy, zz, xy, xz, yz;

    __device__ void add(Point p, float weight) {
        w += weight;
        x += weight * p.x;
        y += weight * p.y;
        z += weight * p.z;
        xx += weight * (p.x * p.x);
        yy += weight * (p.y * p.y);
        zz += weight * (p.z * p.z);
        xy += weight * (p.x * p.y);
        xz += weight * (p.x * p.z);
        yz += weight * (p.y * p.z);
    }

    __device__ void add(const Sums& other) {
        w += other.w;
        x += other.x;
        y += other.y;
        z += other.z;
        xx += other.xx;
        yy += other.yy;
        zz += other.zz;
        xy += other.xy;
        xz += other.xz;
        yz += other.yz;
    }
};

__device__ Sums sums_of(const Cell& cell, unsigned count, const PointMasks masks, const PointShares& shares,
                        const Point* points) {
    Sums sums = {}, apart = {};
    bool first = cell.sector == 0;
    auto add = [&](unsigned i, float share) { sums.add(points[i], share); };
    auto add_apart = [&](unsigned i, float share) { apart.add(points[i], share); };
    for_each_point(cell, true, !first, count, masks, shares, add);
    if (!first) return sums;
    for_each_point(cell, false, true, count, masks, shares, add_apart);
    sums.add(apart);
    return sums;
}

// The natural logarithm of a number of at least 1, as the CPU computes it: x = m 2^e with m in sqrt(1/2)..sqrt(2), and
// ln m = 2 artanh t with t = (m - 1) / (m + 1).
__device__ float logarithm(float x) {
    constexpr unsigned ROOT_OF_HALF = 0x3f3504f3;
    constexpr float LN_2 = 0.693147182f;
    int exponent = static_cast<int>(__float_as_uint(x) - ROOT_OF_HALF) >> 23;
    float mantissa = __uint_as_float(__float_as_uint(x) - (static_cast<unsigned>(exponent) << 23));
    float t = (mantissa - 1.0f) / (mantissa + 1.0f);
    float t2 = t * t;
    float series = 2.0f + t2 * (2.0f / 3.0f + t2 * (2.0f / 5.0f + t2 * (2.0f / 7.0f + t2 * (2.0f / 9.0f))));
    return exponent * LN_2 + t * series;
}

// Turns the sums to the cell's sector, moves them to its centre and scales them; `density` is for the last feature. The
// features of a patch are rows of RINGS values each, feature by feature; those of the cell are CELLS values apart.
__device__ void write_features(const Sums& sums, const Cell& cell, const Grid& grid, float density, float* features) {
    constexpr float PER_LENGTH = RADII, PER_AREA = RADII * RADII;
    float cos = grid.cosine[cell.sector], sin = grid.sine[cell.sector];
    float cos_cos = cos * cos, sin_sin = sin * sin, cos_sin = cos * sin;
    // R m and R S R^T, with R the rotation by minus the sector's angle.
    float x = cos * sums.x + sin * sums.y, y = cos * sums.y - sin * sums.x, z = sums.z;
    float xz = cos * sums.xz + sin * sums.yz, yz = cos * sums.yz - sin * sums.xz;
    float twice = 2.0f * cos_sin * sums.xy;
    float xy = cos_sin * (sums.yy - sums.xx) + (cos_cos - sin_sin) * sums.xy;
    float xx = cos_cos * sums.xx + twice + sin_sin * sums.yy, yy = sin_sin * sums.xx - twice + cos_cos * sums.yy;
    // m - W c, and S - c m^T - m c^T + W c c^T, with c = (distance, 0, height).
    float distance = grid.distance[cell.ring()], height = grid.height[cell.ring()];
    float moved_x = x - sums.w * distance, moved_z = z - sums.w * height;
    float share = 1.0f / (sums.w + 1.0f);
    float length = share * PER_LENGTH, area = share * PER_AREA;
    float* own = features + cell.ring() * AZIMUTHS + cell.sector;
    own[0 * CELLS] = sums.w * share;
    own[1 * CELLS] = moved_x * length;
    own[2 * CELLS] = moved_z * length;
    own[3 * CELLS] = (xx - distance * (x + moved_x)) * area;
    own[4 * CELLS] = (sums.zz - height * (z + moved_z)) * area;
    own[5 * CELLS] = logarithm(1.0f + sums.w * density) / 3.0f;
    own[6 * CELLS] = y * length;
    own[7 * CELLS] = yy * area;
    own[8 * CELLS] = (xy - distance * y) * area;
    own[9 * CELLS] = (xz - distance * z - height * moved_x) * area;
    own[10 * CELLS] = (yz - height * y) * area;
}

// A block for each patch: the features of patch `first + blockIdx.x`, equal to the CPU's to the bit. They are collected
// in shared memory so that they leave it in order.
extern "C" __global__ void __launch_bounds__(PATCH_THREADS)
compute_cell_features(const Point* offsets, const unsigned* counts, const float* frames, const Grid* grid,
                      unsigned first, float* features) {
    // The features take the place of the masks.
    __shared__ union {
        PointMasks masks;
        float features[FEATURES * CELLS];
    } shared;
    __shared__ PointShares shares;
    __shared__ Point points[PATCH_CAPACITY];
    unsigned thread = threadIdx.x;
    size_t patch = first + blockIdx.x;
    unsigned count = min(counts[patch], PATCH_CAPACITY);

    clear_masks(count, shared.masks);
    __syncthreads();
    if (thread < count) {
        points[thread] = in_frame(frames + patch * 9, offsets[patch * PATCH_CAPACITY + thread]);
        file_point(thread, points[thread], shared.masks, shares);
    }
    __syncthreads();
    Cell cell(thread);
    Sums sums = {};
    if (thread < CELLS) sums = sums_of(cell, count, shared.masks, shares, points);
    __syncthreads();
    if (thread < CELLS) write_features(sums, cell, *grid, FULL_PATCH / max(count, 1u), shared.features);
    __syncthreads();
    float* out = features + static_cast<size_t>(blockIdx.x) * FEATURES * CELLS;
    for (unsigned i = thread; i < FEATURES * CELLS; i += PATCH_THREADS) out[i] = shared.features[i];
}

// ---- Layers.

// Threads, and warps, of a block that computes a layer; each warp works on a panel.
constexpr unsigned LAYER_THREADS = 256;
constexpr unsigned PANELS = LAYER_THREADS / WARP;
// Outputs of a block, OUTPUTS_OF_LANE of each lane.
constexpr unsigned OUTPUTS_OF_LANE = 2;
constexpr unsigned OUTPUTS = OUTPUTS_OF_LANE * WARP;
// Input rows that are in shared memory together.
constexpr unsigned TILE = 32;
// A row is read in units of four values.
constexpr unsigned QUADS = COLUMNS / 4;
static_assert(COLUMNS % 4 == 0, "rows are whole quads");

struct Row {
    float4 quads[QUADS];
};

__device__ __forceinline__ float4 multiply_add(float factor, float4 values, float4 sums) {
    return {fmaf(factor, values.x, sums.x), fmaf(factor, values.y, sums.y), fmaf(factor, values.z, sums.z),
            fmaf(factor, values.w, sums.w)};
}

// Copies rows of a panel, by a warp. Column `c` of the copy is column `c + shift`, around the circle.
__device__ void copy_rows(const float* rows, unsigned count, unsigned shift, Row* copies) {
    float* copy = reinterpret_cast<float*>(copies);
    for (unsigned i = lane_number(); i < count * COLUMNS; i += WARP) {
        unsigned column = i % COLUMNS;
        unsigned target = column >= shift ? column - shift : column + COLUMNS - shift;
        copy[i - column + target] = rows[i];
    }
}

// Copies the weights of `count` input rows, by a block; outputs that there are none of get zeros.
__device__ void copy_weights(const float* weights, unsigned count, unsigned outputs, unsigned first_output,
                             float (*copy)[OUTPUTS]) {
    for (unsigned i = threadIdx.x; i < count * OUTPUTS; i += LAYER_THREADS) {
        unsigned row = i / OUTPUTS, output = first_output + i % OUTPUTS;
        copy[row][i % OUTPUTS] = output < outputs ? weights[static_cast<size_t>(row) * outputs + output] : 0.0f;
    }
}

// The value of an output: sum and bias, rectified or not, plus the value before.
__device__ __forceinline__ float activated(float sum, float bias, bool rectified, float before) {
    float value = sum + bias;
    return before + (rectified ? fmaxf(value, 0.0f) : value);
}

__device__ void write_row(const Row& sums, float bias, bool rectified, const float* before, float* out) {
    for (unsigned quad = 0; quad < QUADS; ++quad) {
        float4 sum = sums.quads[quad], old = {};
        if (before != nullptr) old = reinterpret_cast<const float4*>(before)[quad];
        reinterpret_cast<float4*>(out)[quad] = {
            activated(sum.x, bias, rectified, old.x), activated(sum.y, bias, rectified, old.y),
            activated(sum.z, bias, rectified, old.z), activated(sum.w, bias, rectified, old.w)};
    }
}

// outputs[first_panel + p, o, c] = bias[o]
//     + sum over t < taps, r < channels of weights[t * channels + r, o] * inputs[p, r, c + (t - taps / 2) * dilation],
// where columns go around the circle. The first `rectified` outputs are raised to at least zero; then the inputs are
// added if the layer is `residual` (it has as many outputs as channels). Panels of the inputs have `input_rows` rows.
//
// A lane keeps two rows of outputs in registers. For every row of inputs it loads two weights and, as all lanes of its
// warp do, five quads, for forty multiplications: arithmetic should bound this. The panels of a block share the
// weights.
extern "C" __global__ void __launch_bounds__(LAYER_THREADS)
apply_layer(const float* inputs, unsigned panels, unsigned input_rows, unsigned channels, unsigned taps,
            unsigned dilation, const float* weights, const float* bias, unsigned output_rows, unsigned rectified,
            unsigned residual, unsigned first_panel, float* outputs) {
    __shared__ Row input_tiles[PANELS][TILE];
    __shared__ float weight_tile[TILE][OUTPUTS];
    unsigned lane = lane_number();
    unsigned panel = blockIdx.x * PANELS + warp_number();
    unsigned first_output = blockIdx.y * OUTPUTS;
    const float* panel_inputs = inputs + static_cast<size_t>(panel) * input_rows * COLUMNS;
    Row* input_tile = input_tiles[warp_number()];
    Row sums[OUTPUTS_OF_LANE] = {};

    for (unsigned tap = 0; tap < taps; ++tap) {
        unsigned shift = (COLUMNS + tap * dilation - taps / 2 * dilation) % COLUMNS;
        for (unsigned first = 0; first < channels; first += TILE) {
            unsigned count = min(TILE, channels - first);
            const float* tile_weights = weights + static_cast<size_t>(tap * channels + first) * output_rows;
            __syncthreads();
            if (panel < panels) copy_rows(panel_inputs + first * COLUMNS, count, shift, input_tile);
            copy_weights(tile_weights, count, output_rows, first_output, weight_tile);
            __syncthreads();
            if (panel >= panels) continue;
#pragma unroll 4
            for (unsigned row = 0; row < count; ++row) {
                float factors[OUTPUTS_OF_LANE];
#pragma unroll
                for (unsigned k = 0; k < OUTPUTS_OF_LANE; ++k) factors[k] = weight_tile[row][k * WARP + lane];
#pragma unroll
                for (unsigned quad = 0; quad < QUADS; ++quad) {
                    float4 values = input_tile[row].quads[quad];
#pragma unroll
                    for (unsigned k = 0; k < OUTPUTS_OF_LANE; ++k)
                        sums[k].quads[quad] = multiply_add(factors[k], values, sums[k].quads[quad]);
                }
            }
        }
    }
    if (panel >= panels) return;
    float* panel_outputs = outputs + static_cast<size_t>(first_panel + panel) * output_rows * COLUMNS;
#pragma unroll
    for (unsigned k = 0; k < OUTPUTS_OF_LANE; ++k) {
        unsigned output = first_output + k * WARP + lane;
        if (output >= output_rows) continue;
        const float* before = residual != 0 ? panel_inputs + output * COLUMNS : nullptr;
        write_row(sums[k], bias[output], output < rectified, before, panel_outputs + output * COLUMNS);
    }
}

// ---- Pooling: what no shift along the azimuth changes.

constexpr unsigned POOL_THREADS = 128;
// Keeps the modulus away from the root's infinite slope; the weights were trained with it.
constexpr float LEAST_SQUARED_MODULUS = 1e-8f;

__device__ Row read_row(const float* values) {
    Row row;
    for (unsigned quad = 0; quad < QUADS; ++quad) row.quads[quad] = reinterpret_cast<const float4*>(values)[quad];
    return row;
}

__device__ float product(const Row& a, const Row& b) {
    float4 sums = {};
    for (unsigned quad = 0; quad < QUADS; ++quad) {
        sums.x = fmaf(a.quads[quad].x, b.quads[quad].x, sums.x);
        sums.y = fmaf(a.quads[quad].y, b.quads[quad].y, sums.y);
        sums.z = fmaf(a.quads[quad].z, b.quads[quad].z, sums.z);
        sums.w = fmaf(a.quads[quad].w, b.quads[quad].w, sums.w);
    }
    return (sums.x + sums.y) + (sums.z + sums.w);
}

__device__ float largest(const Row& row) {
    float value = row.quads[0].x;
    for (unsigned quad = 0; quad < QUADS; ++quad) {
        float4 values = row.quads[quad];
        value = fmaxf(value, fmaxf(fmaxf(values.x, values.y), fmaxf(values.z, values.w)));
    }
    return value;
}

// The table has a row for each part of the harmonics: of the first its cosine alone, of the others cosine and sine.
__device__ float modulus_of_harmonic(const Row& values, const Row* table, unsigned harmonic) {
    float real = product(values, table[harmonic == 0 ? 0 : 2 * harmonic - 1]);
    float imaginary = harmonic == 0 ? 0.0f : product(values, table[2 * harmonic]);
    return sqrtf(real * real + imaginary * imaginary + LEAST_SQUARED_MODULUS);
}

// Pooled values of a group of patches, a column for each, and what they are scaled by.
struct Pooled {
    const float* factors;
    const float* summands;
    float* column;

    __device__ void write(unsigned row, float value) const {
        column[row * COLUMNS] = value * factors[row] + summands[row];
    }
};

// A thread of the kernels below: the columns of a group come first, so that neighbours write to neighbours.
struct PoolThread {
    unsigned patch, row, group, column;

    __device__ explicit PoolThread(unsigned rows) {
        unsigned number = thread_number();
        column = number % COLUMNS;
        row = number / COLUMNS % rows;
        group = number / COLUMNS / rows;
        patch = group * COLUMNS + column;
    }

    __device__ float* column_of(float* pooled, unsigned rows) const {
        return pooled + static_cast<size_t>(group) * rows * COLUMNS + column;
    }
};

// Mean, maximum and the moduli of the harmonics 1 to HARMONICS of every channel of every patch. A thread for each.
extern "C" __global__ void __launch_bounds__(POOL_THREADS, 1)
pool_channels(const float* values, unsigned patches, unsigned channels, const Row* table, const float* factors,
              const float* summands, unsigned pooled_rows, float* pooled) {
    PoolThread place(channels);
    if (place.patch >= patches) return;
    Pooled out = {factors, summands, place.column_of(pooled, pooled_rows)};
    Row row = read_row(values + (static_cast<size_t>(place.patch) * channels + place.row) * COLUMNS);
    out.write(place.row, product(row, table[0]));
    out.write(channels + place.row, largest(row));
    for (unsigned harmonic = 1; harmonic <= HARMONICS; ++harmonic)
        out.write((1 + harmonic) * channels + place.row, modulus_of_harmonic(row, table, harmonic));
}

// The moduli of the harmonics 0 to RAW_HARMONICS - 1 of the first features of every cell, of the very first its root;
// they go to the rows from `first_row` on.
extern "C" __global__ void __launch_bounds__(POOL_THREADS, 1)
pool_features(const float* features, unsigned patches, const Row* table, const float* factors, const float* summands,
              unsigned first_row, unsigned pooled_rows, float* pooled) {
    PoolThread place(RAW_ROWS);
    if (place.patch >= patches) return;
    Pooled out = {factors, summands, place.column_of(pooled, pooled_rows)};
    Row row = read_row(features + (static_cast<size_t>(place.patch) * FEATURE_ROWS + place.row) * COLUMNS);
    if (place.row < RINGS) {
        for (float4& quad : row.quads) {
            quad = {sqrtf(fmaxf(quad.x, 0.0f)), sqrtf(fmaxf(quad.y, 0.0f)), sqrtf(fmaxf(quad.z, 0.0f)),
                    sqrtf(fmaxf(quad.w, 0.0f))};
        }
    }
    for (unsigned harmonic = 0; harmonic < RAW_HARMONICS; ++harmonic)
        out.write(first_row + harmonic * RAW_ROWS + place.row, modulus_of_harmonic(row, table, harmonic));
}

// ---- The end of both parts.

constexpr unsigned END_THREADS = 128;
constexpr unsigned END_WARPS = END_THREADS / WARP;

__device__ float sum_of_warp(float value) {
    for (unsigned distance = WARP / 2; distance > 0; distance /= 2)
        value += __shfl_xor_sync(ALL_LANES, value, distance);
    return value;
}

// Writes the values to unit length, by a warp; zero stays zero.
template <class Values>
__device__ void write_normalised(Values values, unsigned length, float* out) {
    float sum = 0.0f;
    for (unsigned i = lane_number(); i < length; i += WARP) sum = fmaf(values(i), values(i), sum);
    __syncwarp();
    float norm = sqrtf(sum_of_warp(sum));
    for (unsigned i = lane_number(); i < length; i += WARP) out[i] = norm > 0.0f ? values(i) / norm : values(i);
}

// The invariant vectors of the patches: the outputs of the last layer, and of the one that leads past it, whose rows
// are the last of `head`. A warp for each patch.
extern "C" __global__ void __launch_bounds__(END_THREADS)
finish_invariant(const float* outputs, const float* head, unsigned patches, unsigned width, unsigned hidden,
                 unsigned first_patch, float* invariant) {
    unsigned patch = blockIdx.x * END_WARPS + warp_number();
    if (patch >= patches) return;
    size_t group = patch / COLUMNS, column = patch % COLUMNS;
    const float* through = outputs + group * width * COLUMNS + column;
    const float* past = head + (group * (hidden + width) + hidden) * COLUMNS + column;
    auto value = [&](unsigned i) { return through[i * COLUMNS] + past[i * COLUMNS]; };
    write_normalised(value, width, invariant + static_cast<size_t>(first_patch + patch) * width);
}

// Rows of `length` values to unit length, in place. A warp for each.
extern "C" __global__ void __launch_bounds__(END_THREADS) normalise_maps(float* maps, unsigned count, unsigned length) {
    unsigned number = blockIdx.x * END_WARPS + warp_number();
    if (number >= count) return;
    float* map = maps + static_cast<size_t>(number) * length;
    write_normalised([&](unsigned i) { return map[i]; }, length, map);
}
