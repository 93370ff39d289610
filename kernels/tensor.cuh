// Matrix products on tensor cores that round about as f32 does.
//
// Tensor cores take TF32: the range of f32, but eleven bits of its twenty-four. So a value is the sum of two parts, the
// nearest TF32 and the TF32 of what is left, which together keep all but 2^-23 of it. A product is then high times high,
// and the two of high and low; low times low, some 2^-22 of it, is left out. The matrix on the left is a layer's weights,
// split when it is loaded. Weights that a file holds as f16 are TF32 as they are: then there are no low parts, and two
// products do.
//
// Sums stay in f32 in the tensor core, which cuts off where f32 rounds: some 2^-24 of the largest term a step.
#pragma once
#include "common.cuh"

// A step multiplies 16 rows of eight weights by eight values of each of 8 columns.
constexpr unsigned TILE_ROWS = 16;
constexpr unsigned TILE_COLUMNS = 8;
constexpr unsigned STEP = 8;

// Rows in whole tiles, and what keeps columns in different banks of shared memory: with 8 more than a multiple of 16 values
// from one to the next, no two lanes of half a warp meet when each reads two values that follow each other.
__host__ __device__ constexpr unsigned stride_of(unsigned rows) { return (rows + TILE_ROWS - 1) / TILE_ROWS * TILE_ROWS + 8; }

// A layer as src/stages/describe/fragments.rs prepares it.
struct Layer {
    // Where its weights begin, in float4, and its biases, one for each row of all tiles.
    unsigned weights, biases;
    // Steps of each tap, tiles of outputs, parts of the weights.
    unsigned taps, steps, tiles, parts;
};

__device__ __forceinline__ const float4* weights_of_tile(const Layer& layer, const float4* weights, unsigned tile) {
    return weights + layer.weights + tile * layer.taps * layer.steps * layer.parts * WARP;
}

// A lane's part of the products of a tile: those of two rows, eight apart, by two columns that follow each other.
typedef float TileSums[4];

// Parts of the values that a lane brings to a step: two of the column that it has in each tile.
template <unsigned TILES>
struct StepValues {
    float high[TILES][2], low[TILES][2];
};

__device__ __forceinline__ float nearest_tf32(float value) {
    return __uint_as_float((__float_as_uint(value) + 0x1000u) & 0xffffe000u);
}

// What is left has twelve bits at most; the last is cut off.
__device__ __forceinline__ float rest_as_tf32(float value, float high) {
    return __uint_as_float(__float_as_uint(value - high) & 0xffffe000u);
}

// The tile that a value of a lane's sums is in gives it a row and a column.
__device__ __forceinline__ unsigned row_in_tile(unsigned i) { return lane_number() / 4 + i / 2 * 8; }
__device__ __forceinline__ unsigned column_in_tile(unsigned i) { return lane_number() % 4 * 2 + i % 2; }

#ifdef __CUDA_ARCH__

__device__ __forceinline__ void multiply_on_tensor_core(float4 weights, const float* values, float* sums) {
    asm volatile(
        "mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
        "{%0, %1, %2, %3};"
        : "+f"(sums[0]), "+f"(sums[1]), "+f"(sums[2]), "+f"(sums[3])
        : "r"(__float_as_uint(weights.x)), "r"(__float_as_uint(weights.y)), "r"(__float_as_uint(weights.z)),
          "r"(__float_as_uint(weights.w)), "r"(__float_as_uint(values[0])), "r"(__float_as_uint(values[1])));
}

// Adds the products of a step to the sums of each tile, by a whole warp. `low` are the low parts of the weights, of which
// there are PARTS - 1.
template <unsigned PARTS, unsigned TILES>
__device__ __forceinline__ void multiply_step(float4 high, float4 low, const StepValues<TILES>& values,
                                              TileSums* sums) {
#pragma unroll
    for (unsigned tile = 0; tile < TILES; ++tile) multiply_on_tensor_core(high, values.low[tile], sums[tile]);
    if constexpr (PARTS == 2) {
#pragma unroll
        for (unsigned tile = 0; tile < TILES; ++tile) multiply_on_tensor_core(low, values.high[tile], sums[tile]);
    }
#pragma unroll
    for (unsigned tile = 0; tile < TILES; ++tile) multiply_on_tensor_core(high, values.high[tile], sums[tile]);
}

#else

// The twin for the emulator. Lanes bring what they hold to where PTX has it in the matrices ("Matrix Fragments for
// mma.m16n8k8", .tf32), and each sums up what it holds of the result: the operands are those of the tensor core, bit by
// bit, and only the sum is that of f32.
constexpr unsigned MOST_WARPS = 20;
constexpr unsigned MOST_TILES = 9;
typedef float WeightMatrix[TILE_ROWS][STEP];
typedef float ValueMatrix[STEP][MOST_TILES * TILE_COLUMNS];

struct StepMatrices {
    WeightMatrix high_weights, low_weights;
    ValueMatrix high_values, low_values;
};

__device__ inline StepMatrices& matrices_of_warp() {
    __shared__ StepMatrices of_warps[MOST_WARPS];
    return of_warps[warp_number()];
}

__device__ inline void place_weights(float4 own, WeightMatrix matrix) {
    unsigned row = lane_number() / 4, column = lane_number() % 4;
    matrix[row][column] = own.x;
    matrix[row + 8][column] = own.y;
    matrix[row][column + 4] = own.z;
    matrix[row + 8][column + 4] = own.w;
}

__device__ inline void place_values(const float (*own)[2], unsigned tiles, ValueMatrix matrix) {
    unsigned row = lane_number() % 4, column = lane_number() / 4;
    for (unsigned tile = 0; tile < tiles; ++tile) {
        matrix[row][tile * TILE_COLUMNS + column] = own[tile][0];
        matrix[row + 4][tile * TILE_COLUMNS + column] = own[tile][1];
    }
}

template <unsigned TILES>
__device__ void multiply_matrices(const WeightMatrix weights, const ValueMatrix values, TileSums* sums) {
    const float *upper = weights[row_in_tile(0)], *lower = weights[row_in_tile(2)];
    for (unsigned k = 0; k < STEP; ++k) {
        const float* row = values[k] + column_in_tile(0);
        for (unsigned tile = 0; tile < TILES; ++tile) {
            float left = row[tile * TILE_COLUMNS], right = row[tile * TILE_COLUMNS + 1];
            sums[tile][0] = fmaf(upper[k], left, sums[tile][0]);
            sums[tile][1] = fmaf(upper[k], right, sums[tile][1]);
            sums[tile][2] = fmaf(lower[k], left, sums[tile][2]);
            sums[tile][3] = fmaf(lower[k], right, sums[tile][3]);
        }
    }
}

template <unsigned PARTS, unsigned TILES>
__device__ void multiply_step(float4 high, float4 low, const StepValues<TILES>& values, TileSums* sums) {
    static_assert(TILES <= MOST_TILES);
    StepMatrices& matrices = matrices_of_warp();
    place_weights(high, matrices.high_weights);
    if (PARTS == 2) place_weights(low, matrices.low_weights);
    place_values(values.high, TILES, matrices.high_values);
    place_values(values.low, TILES, matrices.low_values);
    __syncwarp();
    multiply_matrices<TILES>(matrices.high_weights, matrices.low_values, sums);
    if (PARTS == 2) multiply_matrices<TILES>(matrices.low_weights, matrices.high_values, sums);
    multiply_matrices<TILES>(matrices.high_weights, matrices.high_values, sums);
    __syncwarp();
}

#endif

// What a lane brings of the columns to a step. Which of the eight values are whose is free, as long as the weights agree:
// a lane takes two that follow each other, in one access.
template <unsigned TILES>
__device__ __forceinline__ StepValues<TILES> load_step(const float* const* columns, unsigned first) {
    StepValues<TILES> values;
#pragma unroll
    for (unsigned tile = 0; tile < TILES; ++tile) {
        float2 pair = *reinterpret_cast<const float2*>(columns[tile] + first);
        values.high[tile][0] = nearest_tf32(pair.x);
        values.high[tile][1] = nearest_tf32(pair.y);
        values.low[tile][0] = rest_as_tf32(pair.x, values.high[tile][0]);
        values.low[tile][1] = rest_as_tf32(pair.y, values.high[tile][1]);
    }
    return values;
}

template <unsigned PARTS, unsigned TILES>
__device__ __forceinline__ void multiply_parts(const float4* weights, unsigned steps, const float* const* columns,
                                               TileSums* sums) {
    weights += lane_number();
    // Several weights are on their way at once, as far as there are registers for them.
#pragma unroll (PARTS == 2 ? 1 : TILES > 4 ? 2 : 4)
    for (unsigned step = 0; step < steps; ++step) {
        float4 high = weights[0], low = PARTS == 2 ? weights[WARP] : float4{};
        multiply_step<PARTS, TILES>(high, low, load_step<TILES>(columns, step * STEP), sums);
        weights += PARTS * WARP;
    }
}

// The place in a column from which a lane has its values.
__device__ __forceinline__ unsigned first_of_lane() { return lane_number() % 4 * 2; }

// The column that a lane has in each tile.
__device__ __forceinline__ unsigned column_of_lane() { return lane_number() / 4; }

// sums += weights times columns, by a whole warp: `steps` steps of a tile of weights, in the order of
// src/stages/describe/fragments.rs, by TILES tiles of columns. columns[i] is where this lane's column of the i-th tile has
// the lane's first value.
template <unsigned TILES>
__device__ __forceinline__ void multiply(const float4* weights, unsigned parts, unsigned steps,
                                         const float* const (&columns)[TILES], TileSums (&sums)[TILES]) {
    if (parts == 1) {
        multiply_parts<1, TILES>(weights, steps, columns, sums);
    } else {
        multiply_parts<2, TILES>(weights, steps, columns, sums);
    }
}

// Calls `use(row, column, sum)` for all sums of this lane; rows of the tile, columns of all tiles.
template <unsigned TILES, class Use>
__device__ __forceinline__ void for_each_sum(const TileSums (&sums)[TILES], Use use) {
#pragma unroll
    for (unsigned tile = 0; tile < TILES; ++tile) {
#pragma unroll
        for (unsigned i = 0; i < 4; ++i) use(row_in_tile(i), tile * TILE_COLUMNS + column_in_tile(i), sums[tile][i]);
    }
}
