// Exact inner products on tensor cores: of values in fixed point, as src/stages/matching/ has them.
//
// Tensor cores multiply integers of eight bits and sum up in 32, without rounding. A value of fifteen bits is two of them,
// 128 high + low; so a product is four: high times high, the two of high and low, and low times low.
#pragma once
#include "common.cuh"

// A step multiplies 16 rows by 8 columns, eight words of four values each.
constexpr unsigned FIXED_ROWS = 16;
constexpr unsigned FIXED_COLUMNS = 8;
constexpr unsigned FIXED_WORDS = 8;

// What stands for one, the most there can be, and the bits of the low part.
constexpr float FIXED_ONE = 16384.0f;
constexpr int FIXED_MOST = 16383;
constexpr unsigned LOW_BITS = 7;

// The nearest number of steps, even on ties; what is not a number counts as zero.
__device__ __forceinline__ int fixed_point(float value) {
    return min(max(__float2int_rn(value * FIXED_ONE), -FIXED_MOST), FIXED_MOST);
}

// -128..127 and 0..127.
__device__ __forceinline__ int high_part(int value) { return value >> LOW_BITS; }
__device__ __forceinline__ int low_part(int value) { return value & ((1 << LOW_BITS) - 1); }

// What a lane brings of the rows and of the columns to a step, and its part of the sums: those of two rows, eight apart,
// by two columns that follow each other. Lanes have what PTX gives them ("Matrix Fragments for mma.m16n8k32").
struct FixedRows {
    unsigned words[4];
};
struct FixedColumns {
    unsigned words[2];
};
struct FixedSums {
    int high[4], mixed[4], low[4];
};

// The row and the column of the i-th of a lane's sums.
__device__ __forceinline__ unsigned fixed_row(unsigned i) { return lane_number() / 4 + i / 2 * 8; }
__device__ __forceinline__ unsigned fixed_column(unsigned i) { return lane_number() % 4 * 2 + i % 2; }

// `first` is the first word of the step in the first of the rows, which are STRIDE words apart.
template <unsigned STRIDE>
__device__ __forceinline__ FixedRows rows_of_lane(const unsigned* first) {
    const unsigned* own = first + lane_number() / 4 * STRIDE + lane_number() % 4;
    return {{own[0], own[8 * STRIDE], own[4], own[8 * STRIDE + 4]}};
}

template <unsigned STRIDE>
__device__ __forceinline__ FixedColumns columns_of_lane(const unsigned* first) {
    const unsigned* own = first + lane_number() / 4 * STRIDE + lane_number() % 4;
    return {{own[0], own[4]}};
}

#ifdef __CUDA_ARCH__

__device__ __forceinline__ void multiply_bytes(const FixedRows& rows, const FixedColumns& columns, int* sums) {
    asm volatile(
        "mma.sync.aligned.m16n8k32.row.col.s32.s8.s8.s32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
        "{%0, %1, %2, %3};"
        : "+r"(sums[0]), "+r"(sums[1]), "+r"(sums[2]), "+r"(sums[3])
        : "r"(rows.words[0]), "r"(rows.words[1]), "r"(rows.words[2]), "r"(rows.words[3]), "r"(columns.words[0]),
          "r"(columns.words[1]));
}

#else

// The twin for the emulator: lanes bring their words to where PTX has them in the matrices, and sum up what is theirs.
constexpr unsigned MOST_FIXED_WARPS = 8;

struct ByteMatrices {
    unsigned rows[FIXED_ROWS][FIXED_WORDS], columns[FIXED_COLUMNS][FIXED_WORDS];
};

__device__ inline int product_of_words(unsigned a, unsigned b) {
    int sum = 0;
    for (unsigned shift = 0; shift < 32; shift += 8)
        sum += static_cast<signed char>(a >> shift) * static_cast<signed char>(b >> shift);
    return sum;
}

__device__ inline void multiply_bytes(const FixedRows& rows, const FixedColumns& columns, int* sums) {
    __shared__ ByteMatrices of_warps[MOST_FIXED_WARPS];
    ByteMatrices& matrices = of_warps[warp_number()];
    unsigned group = lane_number() / 4, word = lane_number() % 4;
    for (unsigned i = 0; i < 4; ++i) matrices.rows[group + i % 2 * 8][word + i / 2 * 4] = rows.words[i];
    for (unsigned i = 0; i < 2; ++i) matrices.columns[group][word + i * 4] = columns.words[i];
    __syncwarp();
    for (unsigned i = 0; i < 4; ++i) {
        for (unsigned k = 0; k < FIXED_WORDS; ++k)
            sums[i] += product_of_words(matrices.rows[fixed_row(i)][k], matrices.columns[fixed_column(i)][k]);
    }
    __syncwarp();
}

#endif

// Adds the products of a step, by a whole warp.
__device__ __forceinline__ void multiply_fixed(const FixedRows& high_rows, const FixedRows& low_rows,
                                               const FixedColumns& high_columns, const FixedColumns& low_columns,
                                               FixedSums& sums) {
    multiply_bytes(high_rows, high_columns, sums.high);
    multiply_bytes(high_rows, low_columns, sums.mixed);
    multiply_bytes(low_rows, high_columns, sums.mixed);
    multiply_bytes(low_rows, low_columns, sums.low);
}

// The i-th of a lane's products, in units of FIXED_ONE squared. Sums that leave 32 bits wrap.
__device__ __forceinline__ int product_of(const FixedSums& sums, unsigned i) {
    unsigned high = sums.high[i], mixed = sums.mixed[i], low = sums.low[i];
    return static_cast<int>((high << 2 * LOW_BITS) + (mixed << LOW_BITS) + low);
}
