// Mutual nearest neighbours: inner products on tensor cores, in tiles of which nothing is kept but the largest of each
// row and column.
// See src/stages/matching/.
#include "common.cuh"
#include "fixed_point.cuh"

// Rows and columns of a tile of products, for a block of eight warps: each has 16 rows by 32 columns of it.
constexpr unsigned TILE = 64;
constexpr unsigned THREADS = 256;
constexpr unsigned ROW_STRIPS = TILE / FIXED_ROWS;
constexpr unsigned COLUMN_TILES = TILE / (THREADS / WARP / ROW_STRIPS) / FIXED_COLUMNS;
// Words of four values of each vector that are in shared memory at a time.
constexpr unsigned DEPTH = 16;
static_assert(TILE * DEPTH / 4 == THREADS, "every thread brings four words of each part");
// The lanes of a warp read four words of each of eight vectors: with this stride from different banks.
constexpr unsigned STRIDE = DEPTH + 4;
typedef unsigned VectorTile[TILE][STRIDE];

// A product and whose it is, such that the largest product, the lowest index on ties, is the largest number. Zero stands
// for no product: those that are not positive have no rank.
__device__ __forceinline__ unsigned long long rank_of_product(int product, unsigned index) {
    if (product <= 0) return 0;
    return static_cast<unsigned long long>(product) << 32 | static_cast<unsigned>(~index);
}

__device__ __forceinline__ unsigned index_of_rank(unsigned long long rank) { return ~static_cast<unsigned>(rank); }

// Brings TILE vectors to shared memory, four words of one to each thread. Those beyond `count` are zeros.
__device__ __forceinline__ void load_vectors(const uint4* vectors, unsigned count, unsigned words, unsigned first_vector,
                                             unsigned first_word, VectorTile tile) {
    unsigned row = threadIdx.x / (DEPTH / 4), word = threadIdx.x % (DEPTH / 4) * 4;
    unsigned vector = first_vector + row;
    uint4 four = {};
    if (vector < count) four = vectors[(static_cast<size_t>(vector) * words + first_word + word) / 4];
    *reinterpret_cast<uint4*>(&tile[row][word]) = four;
}

// For every source vector the highest rank of its products with the target's, and the other way round; both begin as
// zeros. The vectors are in fixed point, `words` words each, a multiple of DEPTH. One block for each tile; maxima come
// out the same in any order.
extern "C" __global__ void __launch_bounds__(THREADS, 2)
best_products(const uint4* source_high, const uint4* source_low, unsigned rows, const uint4* target_high,
              const uint4* target_low, unsigned columns, unsigned words, unsigned long long* best_target,
              unsigned long long* best_source) {
    alignas(16) __shared__ VectorTile source_tiles[2], target_tiles[2];
    __shared__ unsigned long long of_rows[TILE], of_columns[TILE];
    unsigned first_row = blockIdx.y * TILE, first_column = blockIdx.x * TILE;
    if (threadIdx.x < TILE) of_rows[threadIdx.x] = of_columns[threadIdx.x] = 0;
    unsigned row = warp_number() % ROW_STRIPS * FIXED_ROWS;
    unsigned column = warp_number() / ROW_STRIPS * COLUMN_TILES * FIXED_COLUMNS;

    FixedSums sums[COLUMN_TILES] = {};
    for (unsigned first = 0; first < words; first += DEPTH) {
        __syncthreads();
        load_vectors(source_high, rows, words, first_row, first, source_tiles[0]);
        load_vectors(source_low, rows, words, first_row, first, source_tiles[1]);
        load_vectors(target_high, columns, words, first_column, first, target_tiles[0]);
        load_vectors(target_low, columns, words, first_column, first, target_tiles[1]);
        __syncthreads();
#pragma unroll
        for (unsigned word = 0; word < DEPTH; word += FIXED_WORDS) {
            FixedRows high = rows_of_lane<STRIDE>(&source_tiles[0][row][word]);
            FixedRows low = rows_of_lane<STRIDE>(&source_tiles[1][row][word]);
#pragma unroll
            for (unsigned tile = 0; tile < COLUMN_TILES; ++tile) {
                unsigned first_of_tile = column + tile * FIXED_COLUMNS;
                multiply_fixed(high, low, columns_of_lane<STRIDE>(&target_tiles[0][first_of_tile][word]),
                               columns_of_lane<STRIDE>(&target_tiles[1][first_of_tile][word]), sums[tile]);
            }
        }
    }

    // Vectors beyond the last are zeros, whose products have no rank.
    unsigned long long row_ranks[2] = {}, column_ranks[COLUMN_TILES][2] = {};
#pragma unroll
    for (unsigned tile = 0; tile < COLUMN_TILES; ++tile) {
#pragma unroll
        for (unsigned i = 0; i < 4; ++i) {
            int product = product_of(sums[tile], i);
            unsigned s = row + fixed_row(i), t = column + tile * FIXED_COLUMNS + fixed_column(i);
            row_ranks[i / 2] = max(row_ranks[i / 2], rank_of_product(product, first_column + t));
            column_ranks[tile][i % 2] = max(column_ranks[tile][i % 2], rank_of_product(product, first_row + s));
        }
    }
    // Four lanes have the same rows, and the eight that are four apart the same columns.
#pragma unroll
    for (unsigned i = 0; i < 2; ++i) {
        for (unsigned distance = 1; distance < 4; distance *= 2)
            row_ranks[i] = max(row_ranks[i], __shfl_xor_sync(ALL_LANES, row_ranks[i], distance));
        if (lane_number() % 4 == 0) atomicMax(&of_rows[row + fixed_row(2 * i)], row_ranks[i]);
#pragma unroll
        for (unsigned tile = 0; tile < COLUMN_TILES; ++tile) {
            unsigned long long rank = column_ranks[tile][i];
            for (unsigned distance = 4; distance < WARP; distance *= 2)
                rank = max(rank, __shfl_xor_sync(ALL_LANES, rank, distance));
            if (lane_number() < 4) atomicMax(&of_columns[column + tile * FIXED_COLUMNS + fixed_column(i)], rank);
        }
    }
    __syncthreads();
    unsigned i = threadIdx.x;
    if (i < TILE && first_row + i < rows) atomicMax(&best_target[first_row + i], of_rows[i]);
    if (i < TILE && first_column + i < columns) atomicMax(&best_source[first_column + i], of_columns[i]);
}

// The parts of `count` vectors of `width` values in fixed point, four values a word; zeros fill up `words` words each. A
// thread for each word.
extern "C" __global__ void to_fixed_point(const float* vectors, unsigned count, unsigned width, unsigned words,
                                          unsigned* high, unsigned* low) {
    unsigned i = thread_number();
    if (i >= count * words) return;
    const float* vector = vectors + static_cast<size_t>(i / words) * width;
    unsigned high_word = 0, low_word = 0;
    for (unsigned k = 0; k < 4; ++k) {
        unsigned column = i % words * 4 + k;
        int value = column < width ? fixed_point(vector[column]) : 0;
        high_word |= (high_part(value) & 0xff) << 8 * k;
        low_word |= (low_part(value) & 0xff) << 8 * k;
    }
    high[i] = high_word;
    low[i] = low_word;
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
