// Mutual nearest neighbours: inner products on tensor cores, in tiles of which nothing is kept but the largest of each
// row and column, or of each class; and the correlations of the maps of these.
// See src/stages/matching/.
#include "common.cuh"
#include "correlation.cuh"
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

// How similar a vector is and which, such that the most similar, the lowest index on ties, is the largest number. Zero
// stands for none.
__device__ __forceinline__ unsigned long long rank_of(unsigned similarity, unsigned index) {
    return static_cast<unsigned long long>(similarity) << 32 | static_cast<unsigned>(~index);
}

// Products that are not positive have no rank.
__device__ __forceinline__ unsigned long long rank_of_product(int product, unsigned index) {
    return product > 0 ? rank_of(product, index) : 0;
}

__device__ __forceinline__ unsigned index_of_rank(unsigned long long rank) { return ~static_cast<unsigned>(rank); }
__device__ __forceinline__ unsigned similarity_of_rank(unsigned long long rank) { return static_cast<unsigned>(rank >> 32); }

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

// Vectors in fixed point, `words` words each, a multiple of FIXED_WORDS.
struct FixedVectors {
    const uint4* high;
    const uint4* low;
    unsigned count, words;
};

// What a block has in shared memory of the vectors of its tile, high and low digits.
struct TileVectors {
    alignas(16) VectorTile source[2], target[2];
};

// Where the products of this thread's warp lie in its block's tile.
__device__ __forceinline__ unsigned first_row_of_warp() { return warp_number() % ROW_STRIPS * FIXED_ROWS; }
__device__ __forceinline__ unsigned first_column_of_warp() {
    return warp_number() / ROW_STRIPS * COLUMN_TILES * FIXED_COLUMNS;
}

// The products of the block's tile, blockIdx.y rows of tiles down and blockIdx.x columns across. Vectors beyond the last are
// zeros, whose products have no rank.
__device__ __forceinline__ void multiply_tile(const FixedVectors& source, const FixedVectors& target, TileVectors& tile,
                                              FixedSums (&sums)[COLUMN_TILES]) {
    unsigned first_row = blockIdx.y * TILE, first_column = blockIdx.x * TILE, words = source.words;
    unsigned row = first_row_of_warp(), column = first_column_of_warp();
    for (unsigned first = 0; first < words; first += DEPTH) {
        __syncthreads();
        load_vectors(source.high, source.count, words, first_row, first, tile.source[0]);
        load_vectors(source.low, source.count, words, first_row, first, tile.source[1]);
        load_vectors(target.high, target.count, words, first_column, first, tile.target[0]);
        load_vectors(target.low, target.count, words, first_column, first, tile.target[1]);
        __syncthreads();
#pragma unroll
        for (unsigned word = 0; word < DEPTH; word += FIXED_WORDS) {
            if (first + word >= words) break;
            FixedRows high = rows_of_lane<STRIDE>(&tile.source[0][row][word]);
            FixedRows low = rows_of_lane<STRIDE>(&tile.source[1][row][word]);
#pragma unroll
            for (unsigned i = 0; i < COLUMN_TILES; ++i) {
                unsigned first_of_tile = column + i * FIXED_COLUMNS;
                multiply_fixed(high, low, columns_of_lane<STRIDE>(&tile.target[0][first_of_tile][word]),
                               columns_of_lane<STRIDE>(&tile.target[1][first_of_tile][word]), sums[i]);
            }
        }
    }
}

// For every source vector the highest rank of its products with the target's, and the other way round; both begin as
// zeros. One block for each tile; maxima come out the same in any order.
extern "C" __global__ void __launch_bounds__(THREADS, 3)
best_products(FixedVectors source, FixedVectors target, unsigned long long* best_target, unsigned long long* best_source) {
    __shared__ TileVectors vectors;
    // What the warps of each strip of columns found for the rows, and those of each strip of rows for the columns.
    __shared__ unsigned long long of_rows[COLUMN_STRIPS][TILE], of_columns[ROW_STRIPS][TILE];
    unsigned first_row = blockIdx.y * TILE, first_column = blockIdx.x * TILE;
    unsigned row_strip = warp_number() % ROW_STRIPS, column_strip = warp_number() / ROW_STRIPS;
    unsigned row = first_row_of_warp(), column = first_column_of_warp();
    FixedSums sums[COLUMN_TILES] = {};
    multiply_tile(source, target, vectors, sums);

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
    if (threadIdx.x < TILE && first_row + i < source.count) atomicMax(&best_target[first_row + i], largest(of_rows, i));
    if (threadIdx.x / TILE == 1 && first_column + i < target.count)
        atomicMax(&best_source[first_column + i], largest(of_columns, i));
}

// Vectors whose indices are equal modulo this are a class, as in src/stages/matching/.
constexpr unsigned CLASSES = 16;
static_assert(TILE % CLASSES == 0, "classes begin anew with every tile");

// For every source vector, class by class, the highest rank of its products with the target's, and the other way round:
// CLASSES ranks a vector, which begin as zeros. As above, but the tile's products meet in shared memory.
extern "C" __global__ void __launch_bounds__(THREADS, 2)
shortlist_products(FixedVectors source, FixedVectors target, unsigned long long* of_source, unsigned long long* of_target) {
    __shared__ TileVectors vectors;
    // Rows are an odd number of words apart, so that a column is in as many banks as a row.
    __shared__ int products[TILE][TILE + 1];
    FixedSums sums[COLUMN_TILES] = {};
    multiply_tile(source, target, vectors, sums);
#pragma unroll
    for (unsigned tile = 0; tile < COLUMN_TILES; ++tile) {
#pragma unroll
        for (unsigned i = 0; i < 4; ++i) {
            unsigned row = first_row_of_warp() + fixed_row(i);
            unsigned column = first_column_of_warp() + tile * FIXED_COLUMNS + fixed_column(i);
            products[row][column] = product_of(sums[tile], i);
        }
    }
    __syncthreads();

    unsigned first_row = blockIdx.y * TILE, first_column = blockIdx.x * TILE;
    for (unsigned item = threadIdx.x; item < TILE * CLASSES; item += THREADS) {
        unsigned vector = item / CLASSES, of_class = item % CLASSES;
        unsigned long long row_rank = 0, column_rank = 0;
#pragma unroll
        for (unsigned other = 0; other < TILE; other += CLASSES) {
            unsigned i = other + of_class;
            row_rank = max(row_rank, rank_of_product(products[vector][i], first_column + i));
            column_rank = max(column_rank, rank_of_product(products[i][vector], first_row + i));
        }
        if (row_rank != 0) atomicMax(&of_source[(first_row + vector) * CLASSES + of_class], row_rank);
        if (column_rank != 0) atomicMax(&of_target[(first_column + vector) * CLASSES + of_class], column_rank);
    }
}

// Descriptions that are matched together.
constexpr unsigned MOST_PARTS = 4;

// Vectors as they come, part by part, their digits in fixed point, and ranks of each, which begin as zeros.
struct Vectors {
    const float* parts[MOST_PARTS];
    unsigned widths[MOST_PARTS];
    unsigned* high;
    unsigned* low;
    unsigned long long* ranks;
    unsigned count, ranks_each;
};

// A value of a vector, or zero beyond the last.
__device__ __forceinline__ float value_of(const Vectors& set, unsigned vector, unsigned column) {
#pragma unroll
    for (unsigned part = 0; part < MOST_PARTS; ++part) {
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
    for (unsigned rank = i; rank < set.count * set.ranks_each; rank += gridDim.x * blockDim.x) set.ranks[rank] = 0;
    if (i >= set.count * words) return;
    unsigned high_word = 0, low_word = 0;
    for (unsigned k = 0; k < 4; ++k) {
        int value = fixed_point(value_of(set, i / words, i % words * 4 + k));
        high_word |= (high_part(value) & 0xff) << 8 * k;
        low_word |= (low_part(value) & 0xff) << 8 * k;
    }
    set.high[i] = high_word;
    set.low[i] = low_word;
}

// The equivariant maps of a cloud, part by part, none of a part without rings, and their coefficients, all of a part after
// all of the part before.
struct MapSet {
    const float* parts[MOST_PARTS];
    unsigned rings[MOST_PARTS];
    RingCoefficients* coefficients;
    unsigned count, padding;
};

// Partners that a vector can have, as in src/stages/matching/: the best and the next one.
constexpr unsigned PARTNERS = 2;

// Ranks of the vectors of the source, `rows` of them, and of the target, `columns`: of their partners, all the best ones,
// then all the next ones; or of their shortlists.
struct Ranks {
    unsigned long long* of_source;
    unsigned long long* of_target;
    unsigned rows, columns;

    __device__ __forceinline__ unsigned long long* of(bool source) const { return source ? of_source : of_target; }
    // Of partners, the next ones.
    __device__ __forceinline__ unsigned long long* next(bool source) const {
        return source ? of_source + rows : of_target + columns;
    }
};

// The coefficients of two sets of maps; and for each map ranks of partners that are zeros. A thread for each ring, a row of
// blocks for each set.
extern "C" __global__ void transform_maps(MapSet source, MapSet target, Ranks nearest, Ranks similar) {
    MapSet set = source;
    if (blockIdx.y == 1) set = target;
    unsigned ring = thread_number();
    if (ring < set.count) {
        for (unsigned partner = 0; partner < PARTNERS; ++partner) {
            nearest.of(blockIdx.y == 0)[partner * set.count + ring] = 0;
            similar.of(blockIdx.y == 0)[partner * set.count + ring] = 0;
        }
    }
    RingCoefficients* coefficients = set.coefficients + ring;
    const float* values = nullptr;
#pragma unroll
    for (unsigned part = 0; part < MOST_PARTS; ++part) {
        unsigned rings = set.count * set.rings[part];
        if (ring < rings && values == nullptr) values = set.parts[part] + static_cast<size_t>(ring) * AZIMUTHS;
        ring -= rings;
    }
    if (values == nullptr) return;
    int steps[AZIMUTHS];
#pragma unroll
    for (unsigned k = 0; k < AZIMUTHS; ++k) steps[k] = fixed_point(values[k]);
    *coefficients = coefficients_of_ring(steps);
}

// The highest correlations of a pair's maps, one of each part, and their sum. For PAIR_LANES lanes together.
__device__ __forceinline__ unsigned sum_of_peaks(const MapSet& source, const MapSet& target, uint2 pair, const Turn& turn) {
    const RingCoefficients *of_source = source.coefficients, *of_target = target.coefficients;
    unsigned sum = 0;
#pragma unroll
    for (unsigned part = 0; part < MOST_PARTS; ++part) {
        unsigned rings = source.rings[part];
        if (rings == 0) continue;
        sum += highest_correlation(of_source + static_cast<size_t>(pair.x) * rings,
                                   of_target + static_cast<size_t>(pair.y) * rings, rings, turn);
        of_source += static_cast<size_t>(source.count) * rings;
        of_target += static_cast<size_t>(target.count) * rings;
    }
    return sum;
}

// For every vector the highest rank by product, and the highest by similarity of those it shares a shortlist with, which
// begin as zeros; and the ranks by similarity of its own shortlist. A warp for each vector of the source, then of the
// target, half a warp for each pair of its shortlist.
extern "C" __global__ void __launch_bounds__(THREADS)
most_similar(MapSet source, MapSet target, Ranks products, Ranks similarities, Ranks nearest, Ranks similar) {
    unsigned vector = blockIdx.x * (THREADS / WARP) + warp_number();
    if (vector >= source.count + target.count) return;
    bool is_source = vector < source.count;
    if (!is_source) vector -= source.count;
    const unsigned long long* shortlist = products.of(is_source) + vector * CLASSES;
    unsigned long long* of_shortlist = similarities.of(is_source) + vector * CLASSES;
    Turn turn = turn_of_lane();
    unsigned half = lane_number() / PAIR_LANES;
    bool is_first = lane_number() % PAIR_LANES == 0;
    unsigned long long largest = shortlist[lane_number() % CLASSES];
#pragma unroll
    for (unsigned distance = 1; distance < CLASSES; distance *= 2)
        largest = max(largest, __shfl_xor_sync(ALL_LANES, largest, distance));
    if (lane_number() == 0) nearest.of(is_source)[vector] = largest;
    unsigned long long best = 0;
    for (unsigned of_class = half; of_class < CLASSES; of_class += WARP / PAIR_LANES) {
        unsigned long long rank = shortlist[of_class];
        // Where there is none, lanes do as with the first, since all of the warp exchange their sums.
        unsigned other = rank == 0 ? 0 : index_of_rank(rank);
        uint2 pair = is_source ? make_uint2(vector, other) : make_uint2(other, vector);
        unsigned peaks = sum_of_peaks(source, target, pair, turn);
        unsigned similarity = similarity_of_rank(rank) + peaks;
        unsigned long long by_similarity = rank == 0 ? 0 : rank_of(similarity, other);
        best = max(best, by_similarity);
        if (is_first) of_shortlist[of_class] = by_similarity;
        if (is_first && rank != 0) atomicMax(&similar.of(!is_source)[other], rank_of(similarity, vector));
    }
    best = max(best, __shfl_xor_sync(ALL_LANES, best, PAIR_LANES));
    if (lane_number() == 0 && best != 0) atomicMax(&similar.of(is_source)[vector], best);
}

// Takes the pair of a vector and another, whose rank is on the vector's shortlist, into the next ranks of both, but for one
// whose best it is.
__device__ __forceinline__ void take_next(const Ranks& partners, bool is_source, unsigned vector, unsigned long long rank) {
    unsigned other = index_of_rank(rank);
    unsigned long long rank_of_vector = rank_of(similarity_of_rank(rank), vector);
    if (rank != partners.of(is_source)[vector]) atomicMax(&partners.next(is_source)[vector], rank);
    if (rank_of_vector != partners.of(!is_source)[other]) atomicMax(&partners.next(!is_source)[other], rank_of_vector);
}

// For every vector the second highest rank by product and by similarity of those it shares a shortlist with, which begin
// as zeros: the highest of those that are not the first, whichever shortlist has them. A thread for each pair of the
// source's shortlists, then of the target's.
extern "C" __global__ void next_ranks(Ranks products, Ranks similarities, Ranks nearest, Ranks similar) {
    unsigned i = thread_number();
    bool is_source = i < products.rows * CLASSES;
    if (!is_source) i -= products.rows * CLASSES;
    if (!is_source && i >= products.columns * CLASSES) return;
    unsigned vector = i / CLASSES;
    unsigned long long product = products.of(is_source)[i];
    if (product == 0) return;
    take_next(nearest, is_source, vector, product);
    take_next(similar, is_source, vector, similarities.of(is_source)[i]);
}

// Threads of the block that collects matches.
constexpr unsigned COLLECTORS = 1024;

// Stands for no vector.
constexpr unsigned NONE = ~0u;

// Whether `s` is one of the `each` partners of vector `t` of the target.
__device__ __forceinline__ bool is_partner(const Ranks& partners, unsigned each, unsigned s, unsigned t) {
    for (unsigned i = 0; i < each; ++i) {
        unsigned long long rank = partners.of_target[i * partners.columns + t];
        if (rank != 0 && index_of_rank(rank) == s) return true;
    }
    return false;
}

// Vectors of the target that one of the source can match: partners by either ranks.
constexpr unsigned MOST_MATCHES = 2 * PARTNERS;

// Puts the vectors of the target that `s` matches by these ranks in their places among those that are there, ascending, NONE
// behind them.
__device__ __forceinline__ void take_matches(const Ranks& partners, unsigned each, unsigned s,
                                             unsigned (&matches)[MOST_MATCHES]) {
    for (unsigned i = 0; i < each; ++i) {
        unsigned long long rank = partners.of_source[i * partners.rows + s];
        if (rank == 0) continue;
        unsigned t = index_of_rank(rank);
        if (!is_partner(partners, each, s, t)) continue;
        bool is_there = false;
#pragma unroll
        for (unsigned k = 0; k < MOST_MATCHES; ++k) is_there |= matches[k] == t;
        if (is_there) continue;
#pragma unroll
        for (unsigned k = 0; k < MOST_MATCHES; ++k) {
            unsigned lower = min(matches[k], t);
            t = max(matches[k], t);
            matches[k] = lower;
        }
    }
}

// The pairs of vectors that are among each other's `each` partners by the first or by the second ranks, in ascending order,
// and how many they are. One block.
extern "C" __global__ void __launch_bounds__(COLLECTORS)
collect_mutual(Ranks by_first, Ranks by_second, unsigned each, uint2* matches, unsigned* count) {
    __shared__ unsigned of_warps[COLLECTORS / WARP];
    unsigned collected = 0;
    for (unsigned first = 0; first < by_first.rows; first += COLLECTORS) {
        unsigned s = first + threadIdx.x, of_vector[MOST_MATCHES], place = collected;
#pragma unroll
        for (unsigned i = 0; i < MOST_MATCHES; ++i) of_vector[i] = NONE;
        if (s < by_first.rows) {
            take_matches(by_first, each, s, of_vector);
            take_matches(by_second, each, s, of_vector);
        }
#pragma unroll
        for (unsigned i = 0; i < MOST_MATCHES; ++i) {
            unsigned all;
            place += place_among_present<COLLECTORS>(of_vector[i] != NONE, of_warps, all);
            collected += all;
        }
#pragma unroll
        for (unsigned i = 0; i < MOST_MATCHES; ++i)
            if (of_vector[i] != NONE) matches[place + i] = make_uint2(s, of_vector[i]);
    }
    if (threadIdx.x == 0) *count = collected;
}
