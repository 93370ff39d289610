// Matrix products on tensor cores that round about as f32 does.
//
// Tensor cores take f16, which has eleven bits of the twenty-four of f32. So a value is the sum of two parts, the nearest
// f16 and the f16 nearest to what is left, which together keep all but 2^-23 of it. f16 has steps of 2^-24 at the least, so
// 2^-25 of any value may be lost: nothing beside values of about 1, as networks have them. Values beyond MOST_VALUE are cut
// off there. A product is high times high, and the two of high and low; low times low, some 2^-22 of it, is left out.
//
// The matrix on the left is a layer's weights, split when it is loaded, after a scaling of the whole layer by a power of
// two that takes them away from the least steps; the sums are scaled back. Weights that a file holds as f16 are in one
// part: then two products do. The matrix on the right is columns of values, split when they are written into shared
// memory, once for all that read them.
//
// Sums stay in f32 in the tensor core, which cuts off where f32 rounds: some 2^-24 of the largest term a step.
#pragma once
#include "common.cuh"

// A step multiplies 16 rows of sixteen weights by sixteen values of each of 8 columns.
constexpr unsigned TILE_ROWS = 16;
constexpr unsigned TILE_COLUMNS = 8;
constexpr unsigned STEP = 16;

// Rows in whole tiles, and what keeps columns in different banks of shared memory: an odd multiple of eight values from one
// to the next, see `column_in_tile`.
__host__ __device__ constexpr unsigned stride_of(unsigned rows) { return (rows + TILE_ROWS - 1) / TILE_ROWS * TILE_ROWS + 8; }

// A layer as src/stages/describe/fragments.rs prepares it.
struct Layer {
    // Where its weights begin, in uint4, and its biases, one for each row of all tiles.
    unsigned weights, biases;
    // Steps of each tap, tiles of outputs, parts of the weights.
    unsigned taps, steps, tiles, parts;
    // What its sums are multiplied by.
    float scale;
};

// ---- Values in two parts.

// Four values that follow each other in a column, in place of four floats: the f16 of their high parts and those of their
// low parts, two by two, the first of two in the lower bits. A tensor core takes either parts as they lie here.
struct alignas(16) ValueQuad {
    unsigned high[2], low[2];
};

constexpr float MOST_VALUE = 65504.0f;

#ifdef __CUDA_ARCH__

__device__ __forceinline__ unsigned nearest_halves(float first, float second) {
    unsigned halves;
    asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(halves) : "f"(second), "f"(first));
    return halves;
}

__device__ __forceinline__ float2 widened(unsigned halves) {
    float2 values;
    asm("{\n.reg .b16 first, second;\nmov.b32 {first, second}, %2;\ncvt.f32.f16 %0, first;\ncvt.f32.f16 %1, second;\n}"
        : "=f"(values.x), "=f"(values.y)
        : "r"(halves));
    return values;
}

#else

// The bits of the nearest f16, of two the even one.
__device__ inline unsigned nearest_half(float value) {
    constexpr unsigned INFINITE = 0x7f800000u, FIRST_BEYOND = 143u << 23, LEAST_NORMAL = 113u << 23, ONE_HALF = 126u << 23;
    unsigned bits = __float_as_uint(value), sign = bits >> 16 & 0x8000u;
    bits &= 0x7fffffffu;
    if (bits > INFINITE) return sign | 0x7e00u;
    if (bits >= FIRST_BEYOND) return sign | 0x7c00u;
    // Beside one half a float has the steps of f16 below its normal numbers.
    if (bits < LEAST_NORMAL) return sign | (__float_as_uint(__uint_as_float(bits) + 0.5f) - ONE_HALF);
    // To the nearest by half a step, less a bit where the number below is even; and another bias of the exponent.
    bits += 0xfffu + (bits >> 13 & 1u) - (112u << 23);
    return sign | bits >> 13;
}

__device__ inline float widened_half(unsigned bits) {
    constexpr unsigned INFINITE = 0x7c00u;
    float scaled = __uint_as_float((bits & 0x7fffu) << 13) * 0x1p112f;
    unsigned magnitude = (bits & 0x7fffu) < INFINITE ? __float_as_uint(scaled) : 0x7f800000u | (bits & 0x3ffu) << 13;
    return __uint_as_float((bits & 0x8000u) << 16 | magnitude);
}

__device__ inline unsigned nearest_halves(float first, float second) {
    return nearest_half(first) | nearest_half(second) << 16;
}

__device__ inline float2 widened(unsigned halves) {
    return {widened_half(halves & 0xffffu), widened_half(halves >> 16)};
}

#endif

// NaN stays NaN.
__device__ __forceinline__ float cut_off(float value) {
    float limited = value > MOST_VALUE ? MOST_VALUE : value;
    return limited < -MOST_VALUE ? -MOST_VALUE : limited;
}

// Writes the values of a row, an even one, and the next.
__device__ __forceinline__ void write_pair(ValueQuad* column, unsigned row, float first, float second) {
    first = cut_off(first);
    second = cut_off(second);
    unsigned high = nearest_halves(first, second);
    float2 nearest = widened(high);
    ValueQuad& quad = column[row / 4];
    quad.high[row / 2 % 2] = high;
    quad.low[row / 2 % 2] = nearest_halves(first - nearest.x, second - nearest.y);
}

__device__ __forceinline__ float2 pair_at(const ValueQuad* column, unsigned row) {
    const ValueQuad& quad = column[row / 4];
    float2 high = widened(quad.high[row / 2 % 2]), low = widened(quad.low[row / 2 % 2]);
    return {high.x + low.x, high.y + low.y};
}

__device__ __forceinline__ float value_at(const ValueQuad* column, unsigned row) {
    float2 values = pair_at(column, row);
    return row % 2 == 0 ? values.x : values.y;
}

// Writes the value of one row.
__device__ __forceinline__ void write_value(ValueQuad* column, unsigned row, float value) {
    value = cut_off(value);
    unsigned high = nearest_halves(value, 0.0f);
    ValueQuad& quad = column[row / 4];
    reinterpret_cast<unsigned short*>(quad.high)[row % 4] = static_cast<unsigned short>(high);
    unsigned low = nearest_halves(value - widened(high).x, 0.0f);
    reinterpret_cast<unsigned short*>(quad.low)[row % 4] = static_cast<unsigned short>(low);
}

// ---- Products.

// A lane's part of the products of a tile: those of two rows by two columns, first row first.
typedef float TileSums[4];

// Which column is which for the tensor core is free. Of those that it takes for neighbours one is among the first four,
// the other one among the last, two further on: so no two of eight lanes that read sixteen bytes each of two such columns
// meet in a bank of shared memory, and few of those that write to four of the first or of the last.
__device__ __forceinline__ unsigned column_in_tile(unsigned number) {
    return number % 2 == 0 ? number / 2 : 4 + (number / 2 + 2) % 4;
}

// Keeps a compiler from computing ahead, for all turns of a loop, what follows from a value: registers are scarcer than the
// time for it.
__device__ __forceinline__ unsigned here(unsigned value) {
    asm volatile("" : "+r"(value));
    return value;
}

// The column that a lane reads in each tile; it has a quad of each step.
__device__ __forceinline__ unsigned column_of_lane() { return column_in_tile(lane_number() / 4); }

#ifdef __CUDA_ARCH__

__device__ __forceinline__ void multiply_on_tensor_core(uint4 weights, unsigned first_values, unsigned second_values,
                                                        float* sums) {
    asm volatile(
        "mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
        "{%0, %1, %2, %3};"
        : "+f"(sums[0]), "+f"(sums[1]), "+f"(sums[2]), "+f"(sums[3])
        : "r"(weights.x), "r"(weights.y), "r"(weights.z), "r"(weights.w), "r"(first_values), "r"(second_values));
}

// Adds the products of a step to the sums, by a whole warp: PARTS parts of the weights of ROWS tiles of rows by values of
// TILES tiles of columns.
template <unsigned PARTS, unsigned ROWS, unsigned TILES>
__device__ __forceinline__ void multiply_step(const uint4 (&weights)[ROWS][PARTS], const uint4 (&values)[TILES],
                                              TileSums (&sums)[ROWS][TILES]) {
#pragma unroll
    for (unsigned tile = 0; tile < TILES; ++tile) {
#pragma unroll
        for (unsigned row = 0; row < ROWS; ++row)
            multiply_on_tensor_core(weights[row][0], values[tile].z, values[tile].w, sums[row][tile]);
#pragma unroll
        for (unsigned part = PARTS; part-- > 0;) {
#pragma unroll
            for (unsigned row = 0; row < ROWS; ++row)
                multiply_on_tensor_core(weights[row][part], values[tile].x, values[tile].y, sums[row][tile]);
        }
    }
}

#else

// The twin for the emulator. Lanes bring what they hold to where PTX has it in the matrices ("Matrix Fragments for
// mma.m16n8k16 with floating point type", .f16), and each sums up what it holds of the result: the operands are those of
// the tensor core, bit by bit, and only the sum is that of f32.
constexpr unsigned MOST_WARPS = 20;
constexpr unsigned MOST_ROWS = 2;
constexpr unsigned MOST_TILES = 5;
typedef float WeightMatrix[TILE_ROWS][STEP];
typedef float ValueMatrix[STEP][MOST_TILES * TILE_COLUMNS];

struct StepMatrices {
    WeightMatrix weights[MOST_ROWS][2];
    ValueMatrix high_values, low_values;
};

__device__ inline StepMatrices& matrices_of_warp() {
    __shared__ StepMatrices of_warps[MOST_WARPS];
    return of_warps[warp_number()];
}

__device__ inline void place_weights(uint4 own, WeightMatrix matrix) {
    unsigned row = lane_number() / 4, column = lane_number() % 4 * 2;
    auto place = [&](unsigned r, unsigned c, unsigned halves) {
        matrix[r][c] = widened(halves).x;
        matrix[r][c + 1] = widened(halves).y;
    };
    place(row, column, own.x);
    place(row + 8, column, own.y);
    place(row, column + 8, own.z);
    place(row + 8, column + 8, own.w);
}

__device__ inline void place_values(unsigned first, unsigned second, unsigned tile, ValueMatrix matrix) {
    unsigned row = lane_number() % 4 * 2, column = tile * TILE_COLUMNS + lane_number() / 4;
    matrix[row][column] = widened(first).x;
    matrix[row + 1][column] = widened(first).y;
    matrix[row + 8][column] = widened(second).x;
    matrix[row + 9][column] = widened(second).y;
}

template <unsigned TILES>
__device__ void multiply_matrices(const WeightMatrix weights, const ValueMatrix values, TileSums* sums) {
    const float *upper = weights[lane_number() / 4], *lower = weights[lane_number() / 4 + 8];
    for (unsigned k = 0; k < STEP; ++k) {
        const float* row = values[k] + lane_number() % 4 * 2;
        for (unsigned tile = 0; tile < TILES; ++tile) {
            float left = row[tile * TILE_COLUMNS], right = row[tile * TILE_COLUMNS + 1];
            sums[tile][0] = fmaf(upper[k], left, sums[tile][0]);
            sums[tile][1] = fmaf(upper[k], right, sums[tile][1]);
            sums[tile][2] = fmaf(lower[k], left, sums[tile][2]);
            sums[tile][3] = fmaf(lower[k], right, sums[tile][3]);
        }
    }
}

template <unsigned PARTS, unsigned ROWS, unsigned TILES>
__device__ void multiply_step(const uint4 (&weights)[ROWS][PARTS], const uint4 (&values)[TILES],
                              TileSums (&sums)[ROWS][TILES]) {
    static_assert(ROWS <= MOST_ROWS && TILES <= MOST_TILES);
    StepMatrices& matrices = matrices_of_warp();
    for (unsigned row = 0; row < ROWS; ++row) {
        for (unsigned part = 0; part < PARTS; ++part) place_weights(weights[row][part], matrices.weights[row][part]);
    }
    for (unsigned tile = 0; tile < TILES; ++tile) {
        place_values(values[tile].x, values[tile].y, tile, matrices.high_values);
        place_values(values[tile].z, values[tile].w, tile, matrices.low_values);
    }
    __syncwarp();
    for (unsigned row = 0; row < ROWS; ++row) {
        multiply_matrices<TILES>(matrices.weights[row][0], matrices.low_values, sums[row]);
        for (unsigned part = PARTS; part-- > 0;)
            multiply_matrices<TILES>(matrices.weights[row][part], matrices.high_values, sums[row]);
    }
    __syncwarp();
}

#endif

// A lane's weights of ROWS tiles of outputs, step by step. They are read a step ahead, for they come from afar; what is
// read after the last step is not used.
template <unsigned PARTS, unsigned ROWS>
struct WeightStream {
    const uint4* next;
    unsigned of_tile;
    uint4 ahead[ROWS][PARTS];

    __device__ __forceinline__ WeightStream(const Layer& layer, const uint4* weights, unsigned tile, unsigned tap)
        : of_tile(layer.taps * layer.steps * PARTS * WARP) {
        next = weights + layer.weights + tile * of_tile + tap * layer.steps * PARTS * WARP + lane_number();
        read();
    }

    __device__ __forceinline__ void read() {
#pragma unroll
        for (unsigned row = 0; row < ROWS; ++row) {
#pragma unroll
            for (unsigned part = 0; part < PARTS; ++part) ahead[row][part] = next[row * of_tile + part * WARP];
        }
        next += PARTS * WARP;
    }

    __device__ __forceinline__ void take(uint4 (&weights)[ROWS][PARTS]) {
#pragma unroll
        for (unsigned row = 0; row < ROWS; ++row) {
#pragma unroll
            for (unsigned part = 0; part < PARTS; ++part) weights[row][part] = ahead[row][part];
        }
        read();
    }
};

template <unsigned PARTS, unsigned ROWS, unsigned TILES, class Columns>
__device__ __forceinline__ void multiply_parts(const Layer& layer, const uint4* weights, unsigned tile,
                                               unsigned first_tap, unsigned taps, Columns columns,
                                               TileSums (&sums)[ROWS][TILES]) {
    WeightStream<PARTS, ROWS> stream(layer, weights, tile, first_tap);
    unsigned steps = layer.steps;
    for (unsigned tap = 0; tap < taps; ++tap) {
        const ValueQuad* of_lane[TILES];
#pragma unroll
        for (unsigned i = 0; i < TILES; ++i) of_lane[i] = columns(tap, i) + lane_number() % 4;
        // Where there are registers for it, more weights are on their way at once.
#pragma unroll(ROWS * TILES > 2 ? 2 : 4)
        for (unsigned step = 0; step < steps; ++step) {
            uint4 own[ROWS][PARTS], values[TILES];
            stream.take(own);
#pragma unroll
            for (unsigned i = 0; i < TILES; ++i) {
                values[i] = *reinterpret_cast<const uint4*>(of_lane[i]);
                of_lane[i] += STEP / 4;
            }
            multiply_step(own, values, sums);
        }
    }
}

// sums += weights times columns, by a whole warp: weights of ROWS tiles of outputs from `tile` on and of `taps` taps from
// `first_tap` on, by TILES tiles of columns. `columns(tap, i)` is where this lane's column of the i-th tile is for a tap,
// counted from the first one.
template <unsigned ROWS, unsigned TILES, class Columns>
__device__ __forceinline__ void multiply(const Layer& layer, const uint4* weights, unsigned tile, unsigned first_tap,
                                         unsigned taps, Columns columns, TileSums (&sums)[ROWS][TILES]) {
    if (layer.parts == 1) {
        multiply_parts<1>(layer, weights, tile, first_tap, taps, columns, sums);
    } else {
        multiply_parts<2>(layer, weights, tile, first_tap, taps, columns, sums);
    }
}

// Calls `use(row, column, values)` for all sums of this lane, scaled and with their biases: those of the rows `row` and
// `row + 1`, of all rows of the layer, and of a column of all tiles.
template <unsigned ROWS, unsigned TILES, class Use>
__device__ __forceinline__ void for_each_output(const Layer& layer, const float* biases, unsigned tile,
                                                const TileSums (&sums)[ROWS][TILES], Use use) {
    float scale = layer.scale;
#pragma unroll
    for (unsigned i = 0; i < ROWS; ++i) {
        unsigned row = (tile + i) * TILE_ROWS + lane_number() / 4 * 2;
        float2 bias = *reinterpret_cast<const float2*>(biases + layer.biases + row);
#pragma unroll
        for (unsigned j = 0; j < TILES; ++j) {
#pragma unroll
            for (unsigned k = 0; k < 2; ++k) {
                unsigned column = j * TILE_COLUMNS + column_in_tile(lane_number() % 4 * 2 + k);
                float2 values = {fmaf(sums[i][j][k], scale, bias.x), fmaf(sums[i][j][k + 2], scale, bias.y)};
                use(row, column, values);
            }
        }
    }
}
