// Mutual nearest neighbours: inner products in tiles, of which nothing is kept but the largest of each row and column.
// See src/stages/matching/.
#include "common.cuh"

// Rows and columns of a tile of products, and how many of each a thread has. A thread reads two times four values for
// sixteen products, so shared memory keeps up with the arithmetic, which bounds this stage; and tiles are small enough
// that clouds of a thousand keypoints fill the device.
constexpr unsigned TILE = 64;
constexpr unsigned EACH = 4;
constexpr unsigned SIDE = TILE / EACH;
constexpr unsigned THREADS = SIDE * SIDE;
// Columns of the vectors that are in shared memory at a time: a warp reads whole lines of memory.
constexpr unsigned DEPTH = WARP;
// Vectors lie side by side; whole float4 keep every group of four aligned.
constexpr unsigned STRIDE = TILE + 4;

// A product and whose it is, such that the largest product, the lowest index on ties, is the largest number. Zero
// stands for no product: those that no product exceeds (minus infinity) or that compare with none (NaN) have no rank.
__device__ __forceinline__ unsigned long long rank_of_product(float product, unsigned index) {
    if (!(product > -INFINITY)) return 0;
    // Both zeros are equal; this sum makes them the same bits.
    unsigned bits = __float_as_uint(product + 0.0f);
    unsigned ordered = bits >> 31 ? ~bits : bits | 0x80000000u;
    return static_cast<unsigned long long>(ordered) << 32 | ~index;
}

__device__ __forceinline__ unsigned index_of_rank(unsigned long long rank) { return ~static_cast<unsigned>(rank); }

// Brings up to TILE vectors to shared memory, the columns first..first + depth of each. Those beyond `count` are zeros.
__device__ __forceinline__ void load_vectors(const float* vectors, unsigned count, unsigned width,
                                             unsigned first_vector, unsigned first, unsigned depth,
                                             float (*tile)[STRIDE]) {
    unsigned column = lane_number();
    if (column >= depth) return;
    for (unsigned row = warp_number(); row < TILE; row += THREADS / WARP) {
        unsigned vector = first_vector + row;
        bool present = vector < count;
        tile[column][row] = present ? vectors[static_cast<size_t>(vector) * width + first + column] : 0.0f;
    }
}

// products[i][j] += row i of this thread times column j, column of the vectors by column, with fused multiply-adds: the
// order of the contract.
__device__ __forceinline__ void accumulate(const float (*source)[STRIDE], const float (*target)[STRIDE], unsigned depth,
                                           float (*products)[EACH]) {
    unsigned row = threadIdx.x / SIDE * EACH, column = threadIdx.x % SIDE * EACH;
#pragma unroll 8
    for (unsigned k = 0; k < depth; ++k) {
        float4 s = *reinterpret_cast<const float4*>(&source[k][row]);
        float4 t = *reinterpret_cast<const float4*>(&target[k][column]);
        float of_rows[EACH] = {s.x, s.y, s.z, s.w}, of_columns[EACH] = {t.x, t.y, t.z, t.w};
#pragma unroll
        for (unsigned i = 0; i < EACH; ++i) {
#pragma unroll
            for (unsigned j = 0; j < EACH; ++j) products[i][j] = fmaf(of_rows[i], of_columns[j], products[i][j]);
        }
    }
}

// For every source vector the highest rank of its products with the target's, and the other way round; both begin as
// zeros. One block for each tile; maxima come out the same in any order.
extern "C" __global__ void __launch_bounds__(THREADS)
best_products(const float* source, unsigned rows, const float* target, unsigned columns, unsigned width,
              unsigned long long* best_target, unsigned long long* best_source) {
    alignas(16) __shared__ float source_tile[DEPTH][STRIDE];
    alignas(16) __shared__ float target_tile[DEPTH][STRIDE];
    __shared__ unsigned long long of_rows[TILE], of_columns[TILE];
    unsigned first_row = blockIdx.y * TILE, first_column = blockIdx.x * TILE;
    if (threadIdx.x < TILE) of_rows[threadIdx.x] = of_columns[threadIdx.x] = 0;

    float products[EACH][EACH] = {};
    for (unsigned first = 0; first < width; first += DEPTH) {
        unsigned depth = min(DEPTH, width - first);
        __syncthreads();
        load_vectors(source, rows, width, first_row, first, depth, source_tile);
        load_vectors(target, columns, width, first_column, first, depth, target_tile);
        __syncthreads();
        accumulate(source_tile, target_tile, depth, products);
    }
    __syncthreads();

    unsigned row = threadIdx.x / SIDE * EACH, column = threadIdx.x % SIDE * EACH;
    unsigned long long row_ranks[EACH] = {}, column_ranks[EACH] = {};
#pragma unroll
    for (unsigned i = 0; i < EACH; ++i) {
#pragma unroll
        for (unsigned j = 0; j < EACH; ++j) {
            unsigned s = first_row + row + i, t = first_column + column + j;
            if (s < rows && t < columns) {
                row_ranks[i] = max(row_ranks[i], rank_of_product(products[i][j], t));
                column_ranks[j] = max(column_ranks[j], rank_of_product(products[i][j], s));
            }
        }
    }
#pragma unroll
    for (unsigned i = 0; i < EACH; ++i) {
        // The lanes of half a warp have the same rows, and those of the other half the same columns.
        for (unsigned distance = SIDE / 2; distance > 0; distance /= 2)
            row_ranks[i] = max(row_ranks[i], __shfl_xor_sync(ALL_LANES, row_ranks[i], distance));
        column_ranks[i] = max(column_ranks[i], __shfl_xor_sync(ALL_LANES, column_ranks[i], SIDE));
        if (lane_number() % SIDE == 0) atomicMax(&of_rows[row + i], row_ranks[i]);
        if (lane_number() < SIDE) atomicMax(&of_columns[column + i], column_ranks[i]);
    }
    __syncthreads();
    unsigned i = threadIdx.x;
    if (i < TILE && first_row + i < rows) atomicMax(&best_target[first_row + i], of_rows[i]);
    if (i < TILE && first_column + i < columns) atomicMax(&best_source[first_column + i], of_columns[i]);
}

// mutual[s] = whether the best source vector of the best target vector of `s` is `s`.
extern "C" __global__ void mark_mutual(const unsigned long long* best_target, unsigned rows,
                                       const unsigned long long* best_source, unsigned* mutual) {
    unsigned s = thread_number();
    if (s >= rows) return;
    unsigned long long best = best_target[s];
    mutual[s] = best != 0 && index_of_rank(best_source[index_of_rank(best)]) == s;
}

// The marked pairs in order; `places` are the prefix sums of the marks.
extern "C" __global__ void collect_mutual(const unsigned long long* best_target, unsigned rows, const unsigned* places,
                                          uint2* matches) {
    unsigned s = thread_number();
    if (s < rows && places[s] != places[s + 1]) matches[places[s]] = make_uint2(s, index_of_rank(best_target[s]));
}

// joined[i][first + k] = part[i][k], for rows of `width` values and joined ones of `stride`; a thread for each value.
extern "C" __global__ void place_rows(const float* part, unsigned rows, unsigned width, float* joined, unsigned stride,
                                      unsigned first) {
    unsigned i = thread_number();
    if (i < rows * width) joined[static_cast<size_t>(i / width) * stride + first + i % width] = part[i];
}
