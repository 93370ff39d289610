// Patches and their radii. See src/stages/patch/.
#include "common.cuh"

// As in mod.rs.
constexpr unsigned PATCH_CAPACITY = 512;

// Keypoints of a block of `gather_patches`, a warp each, as in cuda.rs.
constexpr unsigned KEYPOINTS = 4;
// Points that the block looks at together: 12 KiB.
constexpr unsigned TILE = 1024;

// Appends the points of a tile that lie within the radius to the patch of this warp, in order, as long as there is room.
// Returns how many there are then, which may be more than there is room for.
__device__ __forceinline__ unsigned append_hits(const Point* tile, unsigned length, Point centre, float radius, Point* patch, unsigned taken) {
    float radius_squared = radius * radius;
    for (unsigned first = 0; first < length && taken < PATCH_CAPACITY; first += WARP) {
        unsigned i = first + lane_number();
        Point offset = tile[min(i, length - 1)] - centre;
        bool hit = i < length && squared_length(offset) < radius_squared;
        unsigned hits = __ballot_sync(ALL_LANES, hit);
        unsigned place = taken + __popc(hits & ((1u << lane_number()) - 1));
        if (hit && place < PATCH_CAPACITY) patch[place] = {offset.x / radius, offset.y / radius, offset.z / radius};
        taken += __popc(hits);
    }
    return taken;
}

// offsets[k * PATCH_CAPACITY + ...] = the first points within the radius of keypoints[k], as offsets over the radius;
// count[k] = their number. The order of the indices forbids a grid of cells, and small clouds do not need one: at 20 000
// points a warp makes 600 steps.
extern "C" __global__ void __launch_bounds__(KEYPOINTS * WARP)
gather_patches(const Point* points, unsigned length, const Point* keypoints, unsigned keypoint_count, float radius,
               Point* offsets, unsigned* count) {
    __shared__ Point tile[TILE];
    unsigned keypoint = blockIdx.x * KEYPOINTS + warp_number();
    bool present = keypoint < keypoint_count;
    Point centre = keypoints[present ? keypoint : 0];
    // A warp without a keypoint is done at once.
    unsigned taken = present ? 0 : PATCH_CAPACITY;
    for (unsigned first = 0; first < length; first += TILE) {
        // Also: no warp reads the last tile any more.
        if (!__syncthreads_or(taken < PATCH_CAPACITY)) break;
        unsigned tile_length = min(TILE, length - first);
        for (unsigned i = threadIdx.x; i < tile_length; i += KEYPOINTS * WARP) tile[i] = points[first + i];
        __syncthreads();
        taken = append_hits(tile, tile_length, centre, radius, offsets + keypoint * PATCH_CAPACITY, taken);
    }
    if (present && lane_number() == 0) count[keypoint] = min(taken, PATCH_CAPACITY);
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
