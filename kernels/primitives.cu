// Building blocks of several stages: exclusive prefix sums and a stable sort. See src/backend/cuda/primitives.rs.
#include "common.cuh"

// Threads of a block in all kernels of this file; each block sums up as many values.
constexpr unsigned THREADS = 256;
constexpr unsigned WARPS = THREADS / WARP;
// Values of a sorted digit.
constexpr unsigned DIGITS = 256;
constexpr unsigned DIGIT_BITS = 8;
// Keys that one warp sorts.
constexpr unsigned TILE = 1024;

// sums[i] = values[first of the block] + ... + values[i - 1], for i < length + 1, where values[length] counts as zero;
// block_totals[b] = the sum of block b.
extern "C" __global__ void __launch_bounds__(THREADS)
sum_blocks(const unsigned* values, unsigned length, unsigned* sums, unsigned* block_totals) {
    __shared__ unsigned warp_totals[WARPS];
    unsigned i = thread_number();
    unsigned value = i < length ? values[i] : 0;
    unsigned sum = sum_up_to_lane(value);
    if (lane_number() == WARP - 1) warp_totals[warp_number()] = sum;
    __syncthreads();
    unsigned before = 0;
    for (unsigned warp = 0; warp < warp_number(); ++warp) before += warp_totals[warp];
    if (i <= length) sums[i] = before + sum - value;
    if (threadIdx.x == THREADS - 1) block_totals[blockIdx.x] = before + sum;
}

// sums[i] += block_sums[block of i], for i < length.
extern "C" __global__ void __launch_bounds__(THREADS)
add_block_sums(unsigned* sums, unsigned length, const unsigned* block_sums) {
    unsigned i = thread_number();
    if (i < length) sums[i] += block_sums[blockIdx.x];
}

// values[i] = i.
extern "C" __global__ void __launch_bounds__(THREADS) number_items(unsigned* values, unsigned length) {
    unsigned i = thread_number();
    if (i < length) values[i] = i;
}

__device__ unsigned digit_of(unsigned long long key, unsigned shift) {
    return static_cast<unsigned>(key >> shift) % DIGITS;
}

// counts[digit * tiles + tile] = keys with that digit in that tile. One warp counts a tile.
extern "C" __global__ void __launch_bounds__(THREADS)
count_digits(const unsigned long long* keys, unsigned length, unsigned shift, unsigned tiles, unsigned* counts) {
    __shared__ unsigned of_warps[WARPS][DIGITS];
    unsigned* count = of_warps[warp_number()];
    unsigned tile = blockIdx.x * WARPS + warp_number();
    for (unsigned digit = lane_number(); digit < DIGITS; digit += WARP) count[digit] = 0;
    __syncwarp();
    if (tile >= tiles) return;
    unsigned last = min(length, (tile + 1) * TILE);
    for (unsigned i = tile * TILE + lane_number(); i < last; i += WARP) atomicAdd(&count[digit_of(keys[i], shift)], 1u);
    __syncwarp();
    for (unsigned digit = lane_number(); digit < DIGITS; digit += WARP) counts[digit * tiles + tile] = count[digit];
}

// The lanes whose digit is this lane's, among those that are `present`.
__device__ unsigned lanes_with_digit(unsigned digit, bool present) {
    unsigned lanes = __ballot_sync(ALL_LANES, present);
    for (unsigned bit = 0; bit < DIGIT_BITS; ++bit) {
        unsigned set = __ballot_sync(ALL_LANES, digit >> bit & 1);
        lanes &= digit >> bit & 1 ? set : ~set;
    }
    return lanes;
}

// Moves every key and its value to its place by one digit; `places` are the prefix sums of `counts`. A warp goes through
// its tile in order, so equal digits stay in order.
extern "C" __global__ void __launch_bounds__(THREADS)
scatter_by_digit(const unsigned long long* keys, const unsigned* values, unsigned length, unsigned shift, unsigned tiles,
                 const unsigned* places, unsigned long long* sorted_keys, unsigned* sorted_values) {
    __shared__ unsigned of_warps[WARPS][DIGITS];
    unsigned* next = of_warps[warp_number()];
    unsigned tile = blockIdx.x * WARPS + warp_number();
    if (tile >= tiles) return;
    for (unsigned digit = lane_number(); digit < DIGITS; digit += WARP) next[digit] = places[digit * tiles + tile];
    __syncwarp();
    for (unsigned first = tile * TILE; first < min(length, (tile + 1) * TILE); first += WARP) {
        unsigned i = first + lane_number();
        bool present = i < length;
        unsigned long long key = present ? keys[i] : 0;
        unsigned digit = digit_of(key, shift);
        unsigned equal = lanes_with_digit(digit, present);
        unsigned before = __popc(equal & ((1u << lane_number()) - 1));
        unsigned place = next[digit] + before;
        __syncwarp();
        if (present) {
            sorted_keys[place] = key;
            sorted_values[place] = values[i];
            // The last of the equal ones moves the next place on.
            if (equal >> lane_number() == 1) next[digit] = place + 1;
        }
        __syncwarp();
    }
}
