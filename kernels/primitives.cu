// Building blocks of several stages: exclusive prefix sums and a stable sort. See src/backend/cuda/primitives.rs.
#include "common.cuh"

// Threads of a block in all kernels of this file; each block sums up as many values.
constexpr unsigned THREADS = 256;
constexpr unsigned WARPS = THREADS / WARP;
// Values of a sorted digit.
constexpr unsigned DIGITS = 256;
constexpr unsigned DIGIT_BITS = 8;
// Threads of the block that sums up everything, and values of each at a time.
constexpr unsigned MANY_THREADS = 1024;
constexpr unsigned VALUES = 8;
// Most keys that are sorted in one launch.
constexpr unsigned FEW_KEYS = 2048;
// Threads of the block that sums up the counts of a digit.
constexpr unsigned DIGIT_THREADS = 128;

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

// The VALUES from `first` on, a multiple of VALUES; those past the end are zeros. Arrays begin where 16 bytes may be read.
__device__ __forceinline__ void load_values(const unsigned* values, unsigned first, unsigned length,
                                            unsigned (&own)[VALUES]) {
#pragma unroll
    for (unsigned k = 0; k < VALUES; k += 4) {
        uint4 four = {0, 0, 0, 0};
        if (first + k + 4 <= length) {
            four = *reinterpret_cast<const uint4*>(values + first + k);
        } else {
            if (first + k < length) four.x = values[first + k];
            if (first + k + 1 < length) four.y = values[first + k + 1];
            if (first + k + 2 < length) four.z = values[first + k + 2];
        }
        own[k] = four.x, own[k + 1] = four.y, own[k + 2] = four.z, own[k + 3] = four.w;
    }
}

__device__ __forceinline__ void store_values(const unsigned (&own)[VALUES], unsigned first, unsigned length,
                                             unsigned* values) {
#pragma unroll
    for (unsigned k = 0; k < VALUES; k += 4) {
        if (first + k + 4 <= length) {
            *reinterpret_cast<uint4*>(values + first + k) = {own[k], own[k + 1], own[k + 2], own[k + 3]};
        } else {
            for (unsigned i = k; i < k + 4; ++i)
                if (first + i < length) values[first + i] = own[i];
        }
    }
}

// The same as sum_blocks and add_block_sums for all values, by one block, which a few launches less make up for.
extern "C" __global__ void __launch_bounds__(MANY_THREADS) sum_all(const unsigned* values, unsigned length, unsigned* sums) {
    __shared__ unsigned warp_totals[MANY_THREADS / WARP];
    unsigned before = 0;
    for (unsigned tile = 0; tile <= length; tile += MANY_THREADS * VALUES) {
        unsigned first = tile + threadIdx.x * VALUES, own[VALUES], sum = 0;
        load_values(values, first, length, own);
#pragma unroll
        for (unsigned k = 0; k < VALUES; ++k) sum += own[k];
        unsigned up_to_lane = sum_up_to_lane(sum);
        if (lane_number() == WARP - 1) warp_totals[warp_number()] = up_to_lane;
        __syncthreads();
        unsigned up_to_warp = sum_up_to_lane(warp_totals[lane_number()]);
        unsigned of_warps_before = __shfl_sync(ALL_LANES, up_to_warp, (warp_number() + WARP - 1) % WARP);
        unsigned next = before + (warp_number() == 0 ? 0 : of_warps_before) + up_to_lane - sum;
#pragma unroll
        for (unsigned k = 0; k < VALUES; ++k) {
            unsigned value = own[k];
            own[k] = next;
            next += value;
        }
        store_values(own, first, length + 1, sums);
        before += __shfl_sync(ALL_LANES, up_to_warp, WARP - 1);
        __syncthreads();
    }
}
static_assert(MANY_THREADS / WARP == WARP, "a lane for each warp");

// Sorts up to FEW_KEYS keys by the bits of `mask`, equal ones in the order in which they are; order[i] = where the i-th
// was. Every thread counts how many keys come before its own.
extern "C" __global__ void __launch_bounds__(THREADS)
sort_few(const unsigned long long* keys, unsigned length, unsigned long long mask, unsigned long long* sorted,
         unsigned* order) {
    __shared__ unsigned long long ranks[FEW_KEYS];
    for (unsigned i = threadIdx.x; i < length; i += THREADS) ranks[i] = keys[i] & mask;
    __syncthreads();
    unsigned own = thread_number();
    if (own >= length) return;
    unsigned long long rank = ranks[own];
    unsigned place = 0;
#pragma unroll 8
    for (unsigned i = 0; i < length; ++i) place += ranks[i] < rank || (ranks[i] == rank && i < own);
    sorted[place] = keys[own];
    order[place] = own;
}

__device__ unsigned digit_of(unsigned long long key, unsigned shift) {
    return static_cast<unsigned>(key >> shift) % DIGITS;
}

// counts[digit * tiles + tile] = keys with that digit among the `size` of that tile. One warp counts a tile.
extern "C" __global__ void __launch_bounds__(THREADS)
count_digits(const unsigned long long* keys, unsigned length, unsigned shift, unsigned size, unsigned tiles,
             unsigned* counts) {
    __shared__ unsigned of_warps[WARPS][DIGITS];
    unsigned* count = of_warps[warp_number()];
    unsigned tile = blockIdx.x * WARPS + warp_number();
    for (unsigned digit = lane_number(); digit < DIGITS; digit += WARP) count[digit] = 0;
    __syncwarp();
    if (tile >= tiles) return;
    unsigned last = min(length, (tile + 1) * size);
    for (unsigned i = tile * size + lane_number(); i < last; i += WARP) atomicAdd(&count[digit_of(keys[i], shift)], 1u);
    __syncwarp();
    for (unsigned digit = lane_number(); digit < DIGITS; digit += WARP) counts[digit * tiles + tile] = count[digit];
}

// Replaces the counts of a digit by the sums of those before, a block for each digit; totals[digit] = their sum.
extern "C" __global__ void __launch_bounds__(DIGIT_THREADS)
sum_digits(unsigned* counts, unsigned tiles, unsigned* totals) {
    __shared__ unsigned of_warps[DIGIT_THREADS / WARP];
    unsigned* own = counts + static_cast<size_t>(blockIdx.x) * tiles;
    unsigned before = 0;
    for (unsigned first = 0; first < tiles; first += DIGIT_THREADS) {
        unsigned i = first + threadIdx.x, count = i < tiles ? own[i] : 0;
        unsigned sum = sum_up_to_lane(count);
        if (lane_number() == WARP - 1) of_warps[warp_number()] = sum;
        __syncthreads();
        unsigned sum_before = before + sum - count;
        for (unsigned warp = 0; warp < DIGIT_THREADS / WARP; ++warp) {
            if (warp < warp_number()) sum_before += of_warps[warp];
            before += of_warps[warp];
        }
        if (i < tiles) own[i] = sum_before;
        __syncthreads();
    }
    if (threadIdx.x == 0) totals[blockIdx.x] = before;
}

// firsts[d] = the sum of totals[0..d]. A thread for each digit.
__device__ __forceinline__ void sum_totals(const unsigned* totals, unsigned (&firsts)[DIGITS]) {
    __shared__ unsigned of_warps[WARPS];
    unsigned total = totals[threadIdx.x], sum = sum_up_to_lane(total);
    if (lane_number() == WARP - 1) of_warps[warp_number()] = sum;
    __syncthreads();
    for (unsigned warp = 0; warp < warp_number(); ++warp) sum += of_warps[warp];
    firsts[threadIdx.x] = sum - total;
    __syncthreads();
}
static_assert(THREADS == DIGITS, "a thread for each digit");

// The lanes whose digit is this lane's, among those that are `present`.
__device__ unsigned lanes_with_digit(unsigned digit, bool present) {
    unsigned lanes = __ballot_sync(ALL_LANES, present);
    for (unsigned bit = 0; bit < DIGIT_BITS; ++bit) {
        unsigned set = __ballot_sync(ALL_LANES, digit >> bit & 1);
        lanes &= digit >> bit & 1 ? set : ~set;
    }
    return lanes;
}

// Moves every key and its value, its own place where there are none, to its place by one digit; `places` and `totals` are
// what sum_digits has made. A warp goes through its tile in order, so equal digits stay in order.
extern "C" __global__ void __launch_bounds__(THREADS)
scatter_by_digit(const unsigned long long* keys, const unsigned* values, unsigned length, unsigned shift, unsigned size,
                 unsigned tiles, const unsigned* places, const unsigned* totals, unsigned long long* sorted_keys,
                 unsigned* sorted_values) {
    __shared__ unsigned of_warps[WARPS][DIGITS], firsts[DIGITS];
    sum_totals(totals, firsts);
    unsigned* next = of_warps[warp_number()];
    unsigned tile = blockIdx.x * WARPS + warp_number();
    if (tile >= tiles) return;
    for (unsigned digit = lane_number(); digit < DIGITS; digit += WARP)
        next[digit] = firsts[digit] + places[digit * tiles + tile];
    __syncwarp();
    unsigned last = min(length, (tile + 1) * size);
    // The next keys are on their way while these find their places.
    unsigned long long next_key = 0;
    unsigned next_value = 0, i = tile * size + lane_number();
    if (i < last) {
        next_key = keys[i];
        next_value = values == nullptr ? i : values[i];
    }
    for (unsigned first = tile * size; first < last; first += WARP) {
        bool present = i < last;
        unsigned long long key = next_key;
        unsigned value = next_value;
        i += WARP;
        if (i < last) {
            next_key = keys[i];
            next_value = values == nullptr ? i : values[i];
        }
        unsigned digit = digit_of(key, shift);
        unsigned equal = lanes_with_digit(digit, present);
        unsigned before = __popc(equal & ((1u << lane_number()) - 1));
        unsigned place = next[digit] + before;
        __syncwarp();
        if (present) {
            sorted_keys[place] = key;
            sorted_values[place] = value;
            // The last of the equal ones moves the next place on.
            if (equal >> lane_number() == 1) next[digit] = place + 1;
        }
        __syncwarp();
    }
}

// Notes in `mixed` where, among keys that are sorted by their upper half, the lower half changes while the upper one does
// not; `count` begins as zero.
extern "C" __global__ void __launch_bounds__(THREADS)
find_mixed_runs(const unsigned long long* keys, unsigned length, unsigned* count, unsigned* mixed) {
    unsigned i = thread_number();
    if (i == 0 || i >= length) return;
    if (keys[i] >> 32 == keys[i - 1] >> 32 && keys[i] != keys[i - 1]) mixed[atomicAdd(count, 1u)] = i;
}

// Sorts the runs of equal upper halves that were noted, each with its values, by the lower halves; equal keys stay in
// order. One thread, by insertion: of hashes there is hardly ever such a run.
extern "C" __global__ void sort_mixed_runs(unsigned long long* keys, unsigned* values, unsigned length,
                                           const unsigned* count, const unsigned* mixed) {
    for (unsigned noted = 0; noted < *count; ++noted) {
        unsigned first = mixed[noted];
        unsigned long long upper = keys[first] >> 32;
        while (first > 0 && keys[first - 1] >> 32 == upper) --first;
        for (unsigned i = first + 1; i < length && keys[i] >> 32 == upper; ++i) {
            unsigned long long key = keys[i];
            unsigned value = values[i], place = i;
            for (; place > first && keys[place - 1] > key; --place) {
                keys[place] = keys[place - 1];
                values[place] = values[place - 1];
            }
            keys[place] = key;
            values[place] = value;
        }
    }
}
