// The learned descriptor. See src/stages/describe/learned/: cells.rs for the features, network.rs for the layers.
//
// Two kernels, since the two halves of the network want other blocks. Along the azimuth, a block takes GROUP patches
// from their points to the pooled values and the equivariant maps; in between nothing leaves shared memory. Its weights,
// 117 KB of the built-in network, come from the second-level cache once for each group, those of the stem once for each
// patch. The head has 1 MB of weights, against 6 KB of pooled values a patch: a block takes HEAD_PATCHES patches, so
// that each weight that it loads is used as often.
//
// Layers are matrix products on tensor cores (tensor.cuh): weights by columns, of which there is one for each sector of
// each patch, and in the head one for each patch. Columns never mix but for the taps of a convolution, so where a patch
// stands among others does not change its description.
#include "lists.cuh"
#include "tensor.cuh"

// As in src/stages/describe/learned/mod.rs.
constexpr unsigned FEATURES = 11;
constexpr unsigned HARMONICS = 3;
constexpr unsigned RAW_HARMONICS = 7;
constexpr float FULL_PATCH = 511.0f;
// Rows of features, and of those whose harmonics count.
constexpr unsigned FEATURE_ROWS = FEATURES * RINGS;
constexpr unsigned RAW_ROWS = 6 * RINGS;

// The network, as src/stages/describe/learned/cuda.rs lays it out.
struct Network {
    unsigned channels, rings, width, pooled;
    // Values from one column to the next: of the channels, and of the hidden values with those of the layer past them.
    unsigned stride, head_stride;
    // Hidden values, filled up to whole tiles.
    unsigned hidden;
    // Where factors and summands of the pooled values begin among the values.
    unsigned factors, summands;
    unsigned convolutions;
    unsigned dilations[64];
    // The head's taps are the chunks of the pooled values.
    Layer stem, equivariant, head, output;
    Layer of_convolutions[64];
};

// ---- Features of cells.

// Values from the features of a sector to those of the next.
constexpr unsigned FEATURE_STRIDE = stride_of(FEATURE_ROWS);

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

__device__ __forceinline__ Sums sums_of_slot(const CellLists& lists, unsigned slot, const float4* points) {
    Sums sums = {};
    for_each_entry(lists, slot, points, [&](float share, Point p) { sums.add(p, share); });
    return sums;
}

// The first sector's sums of what comes from the last one are added as they are.
__device__ __forceinline__ Sums sums_of_cell(const CellLists& lists, unsigned cell, const float4* points) {
    Sums sums = sums_of_slot(lists, cell, points);
    if (cell < RINGS) sums.add(sums_of_slot(lists, cell + CELLS, points));
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
// features of a sector are a column, RINGS values for each feature. The root of the first one, the occupancy, is kept
// besides: of a small occupancy it would magnify what the parts leave out.
__device__ void write_features(const Sums& sums, const Cell& cell, const Grid& grid, float density, ValueQuad* features,
                               float* occupancy_roots) {
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
    float occupancy = sums.w * share;
    occupancy_roots[cell.ring() * AZIMUTHS + cell.sector] = sqrtf(fmaxf(occupancy, 0.0f));
    ValueQuad* own = features + cell.sector * (FEATURE_STRIDE / 4);
    auto write = [&](unsigned feature, float value) { write_value(own, feature * RINGS + cell.ring(), value); };
    write(0, occupancy);
    write(1, moved_x * length);
    write(2, moved_z * length);
    write(3, (xx - distance * (x + moved_x)) * area);
    write(4, (sums.zz - height * (z + moved_z)) * area);
    write(5, logarithm(1.0f + sums.w * density) / 3.0f);
    write(6, y * length);
    write(7, yy * area);
    write(8, (xy - distance * y) * area);
    write(9, (xz - distance * z - height * moved_x) * area);
    write(10, (yz - height * y) * area);
}

// ---- Along the azimuth.

// Patches of a block, and their sectors: a whole number of tiles.
constexpr unsigned GROUP = 4;
constexpr unsigned COLUMNS = GROUP * AZIMUTHS;
// Eight warps share the layers of 64 channels: four tiles of rows by two halves of the columns.
constexpr unsigned AZIMUTH_THREADS = 256;
constexpr unsigned AZIMUTH_WARPS = AZIMUTH_THREADS / WARP;
constexpr unsigned CELLS_OF_THREAD = (CELLS + AZIMUTH_THREADS - 1) / AZIMUTH_THREADS;
// Tiles of columns that a warp multiplies together. A fragment of weights from the cache then serves ten products, and
// twenty sums of a lane are in registers.
constexpr unsigned TILES_OF_HALF = COLUMNS / 2 / TILE_COLUMNS;
static_assert(TILES_OF_HALF * TILE_COLUMNS * 2 == COLUMNS);
// The stem goes patch by patch, for the features of one are as large as the channels of five. The last tile is half empty.
constexpr unsigned TILES_OF_PATCH = (AZIMUTHS + TILE_COLUMNS - 1) / TILE_COLUMNS;

// What is needed while a patch's features are computed; these take the place of the lists, the roots that of the points,
// and channels that of all.
// With the channels of the built-in network a block has 75 KB: two are on a multiprocessor of compute capability 8.0 or
// 9.0, which the registers allow as well, and one of 8.6.
struct Points {
    union {
        CellLists lists;
        ValueQuad features[AZIMUTHS * FEATURE_STRIDE / 4];
    };
    union {
        float4 points[PATCH_CAPACITY];
        float occupancy_roots[CELLS];
    };
};
static_assert(sizeof(Points::features) <= sizeof(CellLists::entries), "the order of the cells outlasts the lists");

// Zeros for cells without points, and for what the last step of the stem reads beyond the features.
__device__ __forceinline__ void clear_features(Points& memory) {
    for (unsigned i = threadIdx.x; i < AZIMUTHS * FEATURE_STRIDE / 4; i += AZIMUTH_THREADS) memory.features[i] = {};
    for (unsigned i = threadIdx.x; i < CELLS; i += AZIMUTH_THREADS) memory.occupancy_roots[i] = 0.0f;
}

// The features of a patch: their sums are the CPU's to the bit.
__device__ void fill_features(const Point* offsets, unsigned count, const float* frame, const Grid& grid,
                              Points& memory) {
    ListBuilder<AZIMUTH_THREADS>(memory.lists).build(offsets, count, frame, memory.points);
    unsigned used = memory.lists.cells_used;
    Sums sums[CELLS_OF_THREAD];
#pragma unroll
    for (unsigned i = 0; i < CELLS_OF_THREAD; ++i) {
        unsigned number = threadIdx.x + i * AZIMUTH_THREADS;
        if (number < used) sums[i] = sums_of_cell(memory.lists, memory.lists.order[number], memory.points);
    }
    __syncthreads();
    clear_features(memory);
    __syncthreads();
    float density = FULL_PATCH / max(count, 1u);
#pragma unroll
    for (unsigned i = 0; i < CELLS_OF_THREAD; ++i) {
        unsigned number = threadIdx.x + i * AZIMUTH_THREADS;
        if (number >= used) continue;
        Cell cell(memory.lists.order[number]);
        write_features(sums[i], cell, grid, density, memory.features, memory.occupancy_roots);
    }
    __syncthreads();
}

// The stem of one patch: its features to its columns of `out`.
__device__ void apply_stem(const Network& network, const uint4* weights, const float* values, const ValueQuad* features,
                           ValueQuad* out) {
    const Layer& layer = network.stem;
    auto column_of_features = [&](unsigned, unsigned i) {
        unsigned sector = min(i * TILE_COLUMNS + column_of_lane(), AZIMUTHS - 1);
        return features + sector * (FEATURE_STRIDE / 4);
    };
    for (unsigned tile = warp_number(); tile < layer.tiles; tile += AZIMUTH_WARPS) {
        TileSums sums[1][TILES_OF_PATCH] = {};
        multiply(layer, weights, tile, 0, 1, column_of_features, sums);
        for_each_output(layer, values, tile, sums, [&](unsigned row, unsigned column, float2 outputs) {
            if (column < AZIMUTHS)
                write_pair(out + column * (network.stride / 4), row, fmaxf(outputs.x, 0.0f), fmaxf(outputs.y, 0.0f));
        });
    }
}

// Calls `use(row, column, values)` for all outputs of a layer over the columns of `in`, those of a row and of the next at
// a time. The taps are `dilation` sectors apart, along the circle.
template <class Use>
__device__ void apply_along_azimuth(const Network& network, const Layer& layer, unsigned dilation, const uint4* weights,
                                    const float* values, const ValueQuad* in, Use use) {
    for (unsigned item = warp_number(); item < 2 * layer.tiles; item += AZIMUTH_WARPS) {
        unsigned tile = item / 2, first = item % 2 * (COLUMNS / 2);
        auto column_of_tap = [&](unsigned tap, unsigned i) {
            unsigned shift = AZIMUTHS + tap * dilation - layer.taps / 2 * dilation;
            unsigned column = here(first) + i * TILE_COLUMNS + column_of_lane(), sector = column % AZIMUTHS;
            return in + (column - sector + (sector + shift) % AZIMUTHS) * (network.stride / 4);
        };
        TileSums sums[1][TILES_OF_HALF] = {};
        multiply(layer, weights, tile, 0, layer.taps, column_of_tap, sums);
        for_each_output(layer, values, tile, sums, [&](unsigned row, unsigned column, float2 outputs) {
            use(row, first + column, outputs);
        });
    }
}

// ---- Pooling: what no shift along the azimuth changes.

// Keeps the modulus away from the root's infinite slope; the weights were trained with it.
constexpr float LEAST_SQUARED_MODULUS = 1e-8f;

// Values of a row along the azimuth.
constexpr unsigned QUADS = AZIMUTHS / 4;
static_assert(AZIMUTHS % 4 == 0, "rows are whole quads");

struct Row {
    float values[AZIMUTHS];

    // A row of the columns of a patch.
    __device__ Row(const ValueQuad* columns, unsigned stride, unsigned row) {
#pragma unroll
        for (unsigned sector = 0; sector < AZIMUTHS; ++sector)
            values[sector] = value_at(columns + sector * (stride / 4), row);
    }

    __device__ explicit Row(const float* first) {
#pragma unroll
        for (unsigned sector = 0; sector < AZIMUTHS; ++sector) values[sector] = first[sector];
    }

    __device__ float largest() const {
        float value = values[0];
#pragma unroll
        for (unsigned sector = 1; sector < AZIMUTHS; ++sector) value = fmaxf(value, values[sector]);
        return value;
    }

    __device__ float times(const float4* table) const {
        float4 sums = {};
#pragma unroll
        for (unsigned quad = 0; quad < QUADS; ++quad) {
            float4 factors = table[quad];
            sums.x = fmaf(factors.x, values[4 * quad], sums.x);
            sums.y = fmaf(factors.y, values[4 * quad + 1], sums.y);
            sums.z = fmaf(factors.z, values[4 * quad + 2], sums.z);
            sums.w = fmaf(factors.w, values[4 * quad + 3], sums.w);
        }
        return (sums.x + sums.y) + (sums.z + sums.w);
    }

    // The table has a row for each part of the harmonics: of the first its cosine alone, of the others cosine and sine.
    __device__ float modulus(const float4* table, unsigned harmonic) const {
        float real = times(table + (harmonic == 0 ? 0 : 2 * harmonic - 1) * QUADS);
        float imaginary = harmonic == 0 ? 0.0f : times(table + 2 * harmonic * QUADS);
        return sqrtf(real * real + imaginary * imaginary + LEAST_SQUARED_MODULUS);
    }
};

// Pooled values of a patch, and what they are scaled by.
struct Pooled {
    const float *factors, *summands;
    float* values;

    __device__ Pooled(const Network& network, const float* constants, float* pooled, size_t patch)
        : factors(constants + network.factors), summands(constants + network.summands),
          values(pooled + patch * network.pooled) {}

    __device__ void write(unsigned row, float value) const { values[row] = value * factors[row] + summands[row]; }
};

// The moduli of the harmonics 0 to RAW_HARMONICS - 1 of the first features of every cell, of the very first its root.
// The last threads do it: the first ones have the stem at the same time.
__device__ void pool_features(const Points& memory, const float4* table, unsigned first_row, const Pooled& out) {
    for (unsigned i = AZIMUTH_THREADS - 1 - threadIdx.x; i < RAW_ROWS; i += AZIMUTH_THREADS) {
        Row row = i < RINGS ? Row(memory.occupancy_roots + i * AZIMUTHS) : Row(memory.features, FEATURE_STRIDE, i);
        for (unsigned harmonic = 0; harmonic < RAW_HARMONICS; ++harmonic)
            out.write(first_row + harmonic * RAW_ROWS + i, row.modulus(table, harmonic));
    }
}

// Mean, maximum and the moduli of the harmonics 1 to HARMONICS of a channel of a patch.
__device__ void pool_channel(const Row& row, const float4* table, unsigned channel, unsigned channels,
                             const Pooled& out) {
    out.write(channel, row.times(table));
    out.write(channels + channel, row.largest());
    for (unsigned harmonic = 1; harmonic <= HARMONICS; ++harmonic)
        out.write((1 + harmonic) * channels + channel, row.modulus(table, harmonic));
}

// ---- Both ends.

__device__ float sum_of_warp(float value) {
    for (unsigned distance = WARP / 2; distance > 0; distance /= 2)
        value += __shfl_xor_sync(ALL_LANES, value, distance);
    return value;
}

// Writes `length` values to unit length, by a warp; zero stays zero.
template <class Values>
__device__ void write_normalised(Values values, unsigned length, float* out) {
    float sum = 0.0f;
    for (unsigned i = lane_number(); i < length; i += WARP) sum = fmaf(values(i), values(i), sum);
    float norm = sqrtf(sum_of_warp(sum));
    for (unsigned i = lane_number(); i < length; i += WARP) out[i] = norm > 0.0f ? values(i) / norm : values(i);
}

// A block for each group of patches: pooled values, and equivariant maps of unit length.
extern "C" __global__ void __launch_bounds__(AZIMUTH_THREADS, 2)
describe_along_azimuth(const Point* offsets, const unsigned* counts, const float* frames, unsigned patches,
                       const Grid* grid, const float4* table, const Network* network_of_all, const uint4* weights,
                       const float* values, float* pooled, float* equivariant) {
    DYNAMIC_SHARED(float, shared);
    const Network& network = *network_of_all;
    ValueQuad *channels = reinterpret_cast<ValueQuad*>(shared), *next = channels + COLUMNS * (network.stride / 4);
    Points& memory = *reinterpret_cast<Points*>(next);
    size_t first_patch = static_cast<size_t>(blockIdx.x) * GROUP;
    unsigned present = min(GROUP, patches - static_cast<unsigned>(first_patch));

    for (unsigned i = 0; i < present; ++i) {
        size_t patch = first_patch + i;
        unsigned count = min(counts[patch], PATCH_CAPACITY);
        fill_features(offsets + patch * PATCH_CAPACITY, count, frames + patch * 9, *grid, memory);
        apply_stem(network, weights, values, memory.features, channels + i * AZIMUTHS * (network.stride / 4));
        Pooled out(network, values, pooled, patch);
        pool_features(memory, table, (2 + HARMONICS) * network.channels, out);
        __syncthreads();
    }
    // Columns without a patch are computed with as they are.
    for (unsigned number = 0; number < network.convolutions; ++number) {
        const Layer& layer = network.of_convolutions[number];
        auto add_rectified = [&](unsigned row, unsigned column, float2 outputs) {
            unsigned first = column * (network.stride / 4);
            float2 before = pair_at(channels + first, row);
            write_pair(next + first, row, before.x + fmaxf(outputs.x, 0.0f), before.y + fmaxf(outputs.y, 0.0f));
        };
        apply_along_azimuth(network, layer, network.dilations[number], weights, values, channels, add_rectified);
        __syncthreads();
        ValueQuad* before = channels;
        channels = next;
        next = before;
    }
    for (unsigned i = threadIdx.x; i < present * network.channels; i += AZIMUTH_THREADS) {
        unsigned patch = i / network.channels, channel = i % network.channels;
        Row row(channels + patch * AZIMUTHS * (network.stride / 4), network.stride, channel);
        pool_channel(row, table, channel, network.channels, Pooled(network, values, pooled, first_patch + patch));
    }
    float* maps = reinterpret_cast<float*>(next);
    auto write = [&](unsigned row, unsigned column, float2 outputs) {
        *reinterpret_cast<float2*>(maps + column * network.stride + row) = outputs;
    };
    apply_along_azimuth(network, network.equivariant, 0, weights, values, channels, write);
    __syncthreads();
    if (warp_number() >= present) return;
    const float* map = maps + warp_number() * AZIMUTHS * network.stride;
    unsigned length = network.rings * AZIMUTHS;
    auto value = [&](unsigned i) { return map[i % AZIMUTHS * network.stride + i / AZIMUTHS]; };
    write_normalised(value, length, equivariant + (first_patch + warp_number()) * length);
}

// ---- The head.

// A column for each patch. Twenty warps have a tile each of the twenty of the built-in network. Few patches a block make
// many blocks, which share the second-level cache's work among all multiprocessors.
constexpr unsigned HEAD_PATCHES = 16;
constexpr unsigned HEAD_TILES = HEAD_PATCHES / TILE_COLUMNS;
constexpr unsigned HEAD_THREADS = 640;
constexpr unsigned HEAD_WARPS = HEAD_THREADS / WARP;
// Pooled values that are in shared memory at a time.
constexpr unsigned CHUNK = 512;
constexpr unsigned CHUNK_STRIDE = stride_of(CHUNK);

// Copies a chunk of the block's patches, from the `first` of the pooled values on; there are zeros where there is nothing.
__device__ void copy_pooled(const float* pooled, unsigned length, unsigned first, unsigned patches, ValueQuad* chunk) {
    size_t first_patch = static_cast<size_t>(blockIdx.x) * HEAD_PATCHES;
    for (unsigned i = threadIdx.x; i < HEAD_PATCHES * CHUNK / 2; i += HEAD_THREADS) {
        unsigned column = i / (CHUNK / 2), pair = i % (CHUNK / 2);
        size_t patch = first_patch + column;
        auto value = [&](unsigned row) { return patch < patches && row < length ? pooled[patch * length + row] : 0.0f; };
        write_pair(chunk + column * (CHUNK_STRIDE / 4), 2 * pair, value(first + 2 * pair), value(first + 2 * pair + 1));
    }
}

// The hidden layer and the one past it: to a column of `out` for each patch. What is hidden is in parts, the rest is not.
__device__ void apply_head(const Network& network, const uint4* weights, const float* values, const float* pooled,
                           unsigned patches, ValueQuad* chunk, float* out) {
    const Layer& layer = network.head;
    auto column_of_chunk = [&](unsigned, unsigned i) {
        return chunk + (i * TILE_COLUMNS + column_of_lane()) * (CHUNK_STRIDE / 4);
    };
    for (unsigned turn = 0; turn < layer.tiles; turn += HEAD_WARPS) {
        unsigned tile = turn + warp_number();
        TileSums sums[1][HEAD_TILES] = {};
        for (unsigned tap = 0; tap < layer.taps; ++tap) {
            __syncthreads();
            copy_pooled(pooled, network.pooled, tap * CHUNK, patches, chunk);
            __syncthreads();
            if (tile < layer.tiles) multiply(layer, weights, tile, tap, 1, column_of_chunk, sums);
        }
        if (tile >= layer.tiles) continue;
        for_each_output(layer, values, tile, sums, [&](unsigned row, unsigned column, float2 outputs) {
            float* of_patch = out + column * network.head_stride;
            if (row < network.hidden) {
                ValueQuad* hidden = reinterpret_cast<ValueQuad*>(of_patch);
                write_pair(hidden, row, fmaxf(outputs.x, 0.0f), fmaxf(outputs.y, 0.0f));
            } else {
                *reinterpret_cast<float2*>(of_patch + row) = outputs;
            }
        });
    }
    __syncthreads();
}

// Adds the last layer's outputs to those of the layer past the hidden one.
__device__ void apply_output(const Network& network, const uint4* weights, const float* values, float* head) {
    const Layer& layer = network.output;
    const ValueQuad* hidden = reinterpret_cast<const ValueQuad*>(head);
    auto column_of_hidden = [&](unsigned, unsigned i) {
        return hidden + (i * TILE_COLUMNS + column_of_lane()) * (network.head_stride / 4);
    };
    for (unsigned tile = warp_number(); tile < layer.tiles; tile += HEAD_WARPS) {
        TileSums sums[1][HEAD_TILES] = {};
        multiply(layer, weights, tile, 0, 1, column_of_hidden, sums);
        for_each_output(layer, values, tile, sums, [&](unsigned row, unsigned column, float2 outputs) {
            float* past = head + column * network.head_stride + network.hidden + row;
            past[0] += outputs.x;
            past[1] += outputs.y;
        });
    }
    __syncthreads();
}

// A block for HEAD_PATCHES patches: their invariant vectors, of unit length.
extern "C" __global__ void __launch_bounds__(HEAD_THREADS, 1)
describe_invariant(const float* pooled, unsigned patches, const Network* network_of_all, const uint4* weights,
                   const float* values, float* invariant) {
    DYNAMIC_SHARED(float, shared);
    const Network& network = *network_of_all;
    ValueQuad* chunk = reinterpret_cast<ValueQuad*>(shared);
    float* head = shared + HEAD_PATCHES * CHUNK_STRIDE;
    apply_head(network, weights, values, pooled, patches, chunk, head);
    apply_output(network, weights, values, head);
    for (unsigned i = warp_number(); i < HEAD_PATCHES; i += HEAD_WARPS) {
        size_t patch = static_cast<size_t>(blockIdx.x) * HEAD_PATCHES + i;
        if (patch >= patches) continue;
        const float* vector = head + i * network.head_stride + network.hidden;
        write_normalised([&](unsigned k) { return vector[k]; }, network.width, invariant + patch * network.width);
    }
}
