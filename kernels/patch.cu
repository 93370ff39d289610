// Patches and their radii. See src/stages/patch/.
#include "common.cuh"

// As in mod.rs.
constexpr unsigned PATCH_CAPACITY = 512;

// Keypoints of a block of `gather_patches`, as in cuda.rs, and its threads for each of them.
constexpr unsigned KEYPOINTS = 4;
constexpr unsigned THREADS_PER_KEYPOINT = 128;
constexpr unsigned GATHERING_THREADS = KEYPOINTS * THREADS_PER_KEYPOINT;
constexpr unsigned GATHERING_WARPS = GATHERING_THREADS / WARP;
// Points that the block looks at between two barriers, and words with a bit for each of them.
constexpr unsigned WORDS = THREADS_PER_KEYPOINT;
constexpr unsigned TILE = WORDS * WARP;
// Words that a warp looks at together, so that their points are on their way at once.
constexpr unsigned WORDS_AT_ONCE = 4;
static_assert(TILE % (WORDS_AT_ONCE * GATHERING_THREADS) == 0, "the points of a tile can be shared out");

// The keypoints of a block, and the hits.
struct Hits {
    Point centres[KEYPOINTS];
    // Those in the tile: bit `i % 32` of word `i / 32` for its `i`-th point.
    unsigned masks[KEYPOINTS][WORDS];
    // Indices of the points of each patch, in order.
    unsigned indices[KEYPOINTS][PATCH_CAPACITY];
    // How many hits there are so far, of which only the first ones are listed.
    unsigned count[KEYPOINTS];
};

// Finds the hits in a tile, for all keypoints whose patches have room. Each point is loaded once for all of them. What
// decides on a branch is known to be equal in all lanes, which saves the tests of it that votes need otherwise.
__device__ __forceinline__ void find_hits(const Point* tile, unsigned length, float radius, Hits& hits) {
    constexpr Point OUT_OF_REACH = {INFINITY, INFINITY, INFINITY};
    float radius_squared = radius * radius;
    unsigned with_room = __ballot_sync(ALL_LANES, hits.count[lane_number() % KEYPOINTS] < PATCH_CAPACITY);
    for (unsigned first = 0; first < length; first += WORDS_AT_ONCE * GATHERING_THREADS) {
        Point points[WORDS_AT_ONCE];
#pragma unroll
        for (unsigned n = 0; n < WORDS_AT_ONCE; ++n) {
            unsigned i = first + n * GATHERING_THREADS + threadIdx.x;
            points[n] = i < length ? tile[i] : OUT_OF_REACH;
        }
#pragma unroll
        for (unsigned k = 0; k < KEYPOINTS; ++k) {
            if (!(with_room >> k & 1)) continue;
            Point centre = hits.centres[k];
#pragma unroll
            for (unsigned n = 0; n < WORDS_AT_ONCE; ++n) {
                unsigned mask = __ballot_sync(ALL_LANES, squared_length(points[n] - centre) < radius_squared);
                if (lane_number() == 0) hits.masks[k][first / WARP + n * GATHERING_WARPS + warp_number()] = mask;
            }
        }
    }
}

// Lists the hits of keypoint `k` in a tile, which begins with the point `first`, behind those found before, as long as
// there is room. A thread has one word. Returns how many hits there are then.
__device__ __forceinline__ unsigned list_hits(Hits& hits, unsigned k, unsigned first, unsigned length, unsigned found) {
    unsigned word = threadIdx.x % THREADS_PER_KEYPOINT, words = (length + WARP - 1) / WARP;
    unsigned before_warp = 0, total = 0;
    for (unsigned other = lane_number(); other < words; other += WARP) {
        unsigned count = __popc(hits.masks[k][other]);
        total += count;
        if (other / WARP < word / WARP) before_warp += count;
    }
    before_warp = __reduce_add_sync(ALL_LANES, before_warp);
    total = __reduce_add_sync(ALL_LANES, total);
    unsigned left = word < words ? hits.masks[k][word] : 0, own = __popc(left);
    unsigned place = found + before_warp + sum_up_to_lane(own) - own;
    for (; left != 0 && place < PATCH_CAPACITY; left &= left - 1)
        hits.indices[k][place++] = first + word * WARP + __ffs(left) - 1;
    return found + total;
}

// offsets[k * PATCH_CAPACITY + ...] = the first points within the radius of keypoints[k], as offsets over the radius;
// count[k] = their number. The order of the indices forbids a grid of cells, and small clouds do not need one.
//
// A block marks the hits of a few keypoints in one tile of points after another, and lists them. Only what is listed is
// divided by the radius, at the end, by full warps: few of the points looked at are hits, and a division takes longer than
// looking.
extern "C" __global__ void __launch_bounds__(GATHERING_THREADS, 3)
gather_patches(const Point* points, unsigned length, const Point* keypoints, unsigned keypoint_count, float radius,
               Point* offsets, unsigned* count) {
    __shared__ Hits hits;
    // The keypoint of this thread, where it has a share of its own.
    unsigned own = threadIdx.x / THREADS_PER_KEYPOINT, thread = threadIdx.x % THREADS_PER_KEYPOINT;
    unsigned keypoint = blockIdx.x * KEYPOINTS + own;
    bool present = keypoint < keypoint_count;
    // What is not there counts as full.
    unsigned found = present ? 0 : PATCH_CAPACITY;
    if (thread == 0) {
        hits.centres[own] = keypoints[present ? keypoint : 0];
        hits.count[own] = found;
    }
    for (unsigned first = 0; first < length; first += TILE) {
        // Also: nobody reads the last tile's masks any more.
        if (!__syncthreads_or(found < PATCH_CAPACITY)) break;
        unsigned tile_length = min(TILE, length - first);
        find_hits(points + first, tile_length, radius, hits);
        __syncthreads();
        if (found < PATCH_CAPACITY) found = list_hits(hits, own, first, tile_length, found);
        if (thread == 0) hits.count[own] = found;
    }
    __syncthreads();
    if (!present) return;
    unsigned listed = min(found, PATCH_CAPACITY);
    Point centre = hits.centres[own];
    for (unsigned i = thread; i < listed; i += THREADS_PER_KEYPOINT) {
        Point offset = points[hits.indices[own][i]] - centre;
        offsets[keypoint * PATCH_CAPACITY + i] = {offset.x / radius, offset.y / radius, offset.z / radius};
    }
    if (thread == 0) count[keypoint] = listed;
}

// Quantiles of distances: a radix selection on the bits of their squares, which ascend with them. A pass for each digit,
// from the leading one on, counts the digits of those squares whose bits before it are known to be the quantile's. All
// squares are computed anew in every pass, which takes less time than reading them would.

constexpr unsigned THREADS = 256;
// Keypoints whose distances a block of `count_distance_digits` counts, as in cuda.rs.
constexpr unsigned KEYPOINTS_PER_BLOCK = 4;
// Values of a digit at most, as in cuda.rs.
constexpr unsigned DIGITS = 2048;

// What is known of a quantile.
struct Selection {
    // Its leading bits.
    unsigned leading;
    // How many of the squares with these leading bits lie below it.
    unsigned rank;
};

// Block (k, s) adds to digits[s * DIGITS + d] the number of squared distances of its keypoints whose bits are
// selections[s].leading, then d, which ends `shift` bits above the last.
extern "C" __global__ void __launch_bounds__(THREADS)
count_distance_digits(const Point* points, unsigned point_count, const Point* keypoints, unsigned keypoint_count,
                      unsigned shift, unsigned digit_bits, const Selection* selections, unsigned* digits) {
    __shared__ unsigned of_block[DIGITS];
    for (unsigned digit = threadIdx.x; digit < DIGITS; digit += THREADS) of_block[digit] = 0;
    __syncthreads();
    unsigned leading = selections[blockIdx.y].leading;
    unsigned first = blockIdx.x * KEYPOINTS_PER_BLOCK, last = min(first + KEYPOINTS_PER_BLOCK, keypoint_count);
    for (unsigned i = threadIdx.x; i < point_count; i += THREADS) {
        Point point = points[i];
        for (unsigned k = first; k < last; ++k) {
            unsigned bits = __float_as_uint(squared_length(point - keypoints[k])) >> shift;
            if (bits >> digit_bits == leading) atomicAdd(&of_block[bits & ((1u << digit_bits) - 1)], 1u);
        }
    }
    __syncthreads();
    unsigned* of_selection = digits + blockIdx.y * DIGITS;
    for (unsigned digit = threadIdx.x; digit < DIGITS; digit += THREADS)
        if (of_block[digit] > 0) atomicAdd(&of_selection[digit], of_block[digit]);
}

// One warp for each selection: takes note of the digit that the quantile has.
extern "C" __global__ void __launch_bounds__(WARP)
select_distance_digits(const unsigned* digits, unsigned digit_bits, Selection* selections) {
    constexpr unsigned PER_LANE = DIGITS / WARP;
    const unsigned* of_selection = digits + blockIdx.x * DIGITS;
    Selection selection = selections[blockIdx.x];
    unsigned digit = lane_number() * PER_LANE, count = 0;
    for (unsigned i = 0; i < PER_LANE; ++i) count += of_selection[digit + i];
    unsigned up_to = sum_up_to_lane(count), before = up_to - count;
    // No lane reads the selection any more when one of them, the one below, changes it.
    __syncwarp();
    if (selection.rank < before || selection.rank >= up_to) return;
    while (selection.rank >= before + of_selection[digit]) before += of_selection[digit++];
    selections[blockIdx.x] = {selection.leading << digit_bits | digit, selection.rank - before};
}
