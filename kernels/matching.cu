// Mutual nearest neighbours: inner products on tensor cores, in tiles of which nothing is kept but the largest of each
// row and column.
// See src/stages/matching/.
#include "common.cuh"
#include "fixed_point.cuh"
#include "ordered.cuh"

// Rows and columns of a tile of products, for a block of eight warps: each has 16 rows by 32 columns of it.
constexpr unsigned TILE = 64;
constexpr unsigned THREADS = 256;
constexpr unsigned ROW_STRIPS = TILE / FIXED_ROWS;
constexpr unsigned COLUMN_STRIPS = THREADS / WARP / ROW_STRIPS;
constexpr unsigned COLUMN_TILES = TILE / COLUMN_STRIPS / FIXED_COLUMNS;
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

// Brings DEPTH words of TILE vectors to shared memory, four words of one to each thread. Vectors beyond `count` are zeros,
// and so are words beyond the last.
__device__ __forceinline__ void load_vectors(const uint4* vectors, unsigned count, unsigned words, unsigned first_vector,
                                             unsigned first_word, VectorTile tile) {
    unsigned row = threadIdx.x / (DEPTH / 4), word = threadIdx.x % (DEPTH / 4) * 4;
    unsigned vector = first_vector + row;
    uint4 four = {};
    if (vector < count && first_word + word < words) four = vectors[(static_cast<size_t>(vector) * words + first_word + word) / 4];
    *reinterpret_cast<uint4*>(&tile[row][word]) = four;
}

// The largest of the strips' ranks of a row or column.
template <unsigned STRIPS>
__device__ __forceinline__ unsigned long long largest(const unsigned long long (&of_strips)[STRIPS][TILE], unsigned i) {
    unsigned long long most = 0;
#pragma unroll
    for (unsigned strip = 0; strip < STRIPS; ++strip) most = max(most, of_strips[strip][i]);
    return most;
}

// For every source vector the highest rank of its products with the target's, and the other way round; both begin as
// zeros. The vectors are in fixed point, `words` words each, a multiple of FIXED_WORDS. One block for each tile; maxima
// come out the same in any order.
extern "C" __global__ void __launch_bounds__(THREADS, 3)
best_products(const uint4* source_high, const uint4* source_low, unsigned rows, const uint4* target_high,
              const uint4* target_low, unsigned columns, unsigned words, unsigned long long* best_target,
              unsigned long long* best_source) {
    alignas(16) __shared__ VectorTile source_tiles[2], target_tiles[2];
    // What the warps of each strip of columns found for the rows, and those of each strip of rows for the columns.
    __shared__ unsigned long long of_rows[COLUMN_STRIPS][TILE], of_columns[ROW_STRIPS][TILE];
    unsigned first_row = blockIdx.y * TILE, first_column = blockIdx.x * TILE;
    unsigned row_strip = warp_number() % ROW_STRIPS, column_strip = warp_number() / ROW_STRIPS;
    unsigned row = row_strip * FIXED_ROWS, column = column_strip * COLUMN_TILES * FIXED_COLUMNS;

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
            if (first + word >= words) break;
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
        if (lane_number() % 4 == 0) of_rows[column_strip][row + fixed_row(2 * i)] = row_ranks[i];
#pragma unroll
        for (unsigned tile = 0; tile < COLUMN_TILES; ++tile) {
            unsigned long long rank = column_ranks[tile][i];
            for (unsigned distance = 4; distance < WARP; distance *= 2)
                rank = max(rank, __shfl_xor_sync(ALL_LANES, rank, distance));
            if (lane_number() < 4) of_columns[row_strip][column + tile * FIXED_COLUMNS + fixed_column(i)] = rank;
        }
    }
    __syncthreads();
    unsigned i = threadIdx.x % TILE;
    if (threadIdx.x < TILE && first_row + i < rows) atomicMax(&best_target[first_row + i], largest(of_rows, i));
    if (threadIdx.x / TILE == 1 && first_column + i < columns)
        atomicMax(&best_source[first_column + i], largest(of_columns, i));
}

// Vectors as they come, part by part, their digits in fixed point, and the best rank of each, which begins as zero.
struct Vectors {
    const float* parts[4];
    unsigned widths[4];
    unsigned* high;
    unsigned* low;
    unsigned long long* best;
    unsigned count, padding;
};

// A value of a vector, or zero beyond the last.
__device__ __forceinline__ float value_of(const Vectors& set, unsigned vector, unsigned column) {
#pragma unroll
    for (unsigned part = 0; part < 4; ++part) {
        unsigned width = set.widths[part];
        if (column < width) return set.parts[part][static_cast<size_t>(vector) * width + column];
        column -= width;
    }
    return 0.0f;
}

// Both digits in fixed point of two sets of vectors, four values a word; zeros fill up `words` words each. A thread for
// each word, a row of blocks for each set.
extern "C" __global__ void to_fixed_point(Vectors source, Vectors target, unsigned words) {
    Vectors set = source;
    if (blockIdx.y == 1) set = target;
    unsigned i = thread_number();
    if (i >= set.count * words) return;
    if (i < set.count) set.best[i] = 0;
    unsigned high_word = 0, low_word = 0;
    for (unsigned k = 0; k < 4; ++k) {
        int value = fixed_point(value_of(set, i / words, i % words * 4 + k));
        high_word |= (high_part(value) & 0xff) << 8 * k;
        low_word |= (low_part(value) & 0xff) << 8 * k;
    }
    set.high[i] = high_word;
    set.low[i] = low_word;
}

// Threads of the block that collects matches.
constexpr unsigned COLLECTORS = 1024;

// The pairs of vectors that are each other's best, in the order of the source's, and how many they are. One block.
extern "C" __global__ void __launch_bounds__(COLLECTORS)
collect_mutual(const unsigned long long* best_target, unsigned rows, const unsigned long long* best_source, uint2* matches,
               unsigned* count) {
    __shared__ unsigned of_warps[COLLECTORS / WARP];
    unsigned collected = 0;
    for (unsigned first = 0; first < rows; first += COLLECTORS) {
        unsigned s = first + threadIdx.x, t = 0;
        unsigned long long best = s < rows ? best_target[s] : 0;
        bool is_mutual = best != 0;
        if (is_mutual) {
            t = index_of_rank(best);
            is_mutual = index_of_rank(best_source[t]) == s;
        }
        unsigned total;
        unsigned place = collected + place_among_present<COLLECTORS>(is_mutual, of_warps, total);
        if (is_mutual) matches[place] = make_uint2(s, t);
        collected += total;
    }
    if (threadIdx.x == 0) *count = collected;
}
