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
// Most keys that one block sorts.
constexpr unsigned FEW_KEYS = 2048;

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

// The same as sum_blocks and add_block_sums for all values, by one block, which a few launches less make up for.
extern "C" __global__ void __launch_bounds__(MANY_THREADS) sum_all(const unsigned* values, unsigned length, unsigned* sums) {
    __shared__ unsigned warp_totals[MANY_THREADS / WARP];
    unsigned before = 0;
    for (unsigned tile = 0; tile <= length; tile += MANY_THREADS * VALUES) {
        unsigned first = tile + threadIdx.x * VALUES, own[VALUES], sum = 0;
#pragma unroll
        for (unsigned k = 0; k < VALUES; ++k) {
            own[k] = first + k < length ? values[first + k] : 0;
            sum += own[k];
        }
        unsigned up_to_lane = sum_up_to_lane(sum);
        if (lane_number() == WARP - 1) warp_totals[warp_number()] = up_to_lane;
        __syncthreads();
        unsigned up_to_warp = sum_up_to_lane(warp_totals[lane_number()]);
        unsigned of_warps_before = __shfl_sync(ALL_LANES, up_to_warp, (warp_number() + WARP - 1) % WARP);
        unsigned next = before + (warp_number() == 0 ? 0 : of_warps_before) + up_to_lane - sum;
#pragma unroll
        for (unsigned k = 0; k < VALUES; ++k) {
            if (first + k <= length) sums[first + k] = next;
            next += own[k];
        }
        before += __shfl_sync(ALL_LANES, up_to_warp, WARP - 1);
        __syncthreads();
    }
}
static_assert(MANY_THREADS / WARP == WARP, "a lane for each warp");

// Sorts up to FEW_KEYS keys by the bits of `mask`, equal ones in the order in which they are; order[i] = where the i-th
// was. One block, by Batcher's bitonic network (1968), in shared memory.
extern "C" __global__ void __launch_bounds__(MANY_THREADS)
sort_few(const unsigned long long* keys, unsigned length, unsigned long long mask, unsigned long long* sorted,
         unsigned* order) {
    __shared__ unsigned long long ranks[FEW_KEYS];
    __shared__ unsigned short places[FEW_KEYS];
    unsigned size = 2;
    while (size < length) size *= 2;
    for (unsigned i = threadIdx.x; i < size; i += MANY_THREADS) {
        // What fills up the network comes last, since its places do.
        ranks[i] = i < length ? keys[i] & mask : ~0ull;
        places[i] = static_cast<unsigned short>(i);
    }
    __syncthreads();
    for (unsigned run = 2; run <= size; run *= 2) {
        for (unsigned distance = run / 2; distance > 0; distance /= 2) {
            for (unsigned pair = threadIdx.x; pair < size / 2; pair += MANY_THREADS) {
                unsigned one = pair / distance * 2 * distance + pair % distance, other = one + distance;
                bool is_after = ranks[one] > ranks[other] || (ranks[one] == ranks[other] && places[one] > places[other]);
                // Every second run is sorted the other way round.
                if (is_after == ((one & run) == 0)) {
                    unsigned long long rank = ranks[one];
                    ranks[one] = ranks[other];
                    ranks[other] = rank;
                    unsigned short place = places[one];
                    places[one] = places[other];
                    places[other] = place;
                }
            }
            __syncthreads();
        }
    }
    for (unsigned i = threadIdx.x; i < length; i += MANY_THREADS) {
        sorted[i] = keys[places[i]];
        order[i] = places[i];
    }
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

// The lanes whose digit is this lane's, among those that are `present`.
__device__ unsigned lanes_with_digit(unsigned digit, bool present) {
    unsigned lanes = __ballot_sync(ALL_LANES, present);
    for (unsigned bit = 0; bit < DIGIT_BITS; ++bit) {
        unsigned set = __ballot_sync(ALL_LANES, digit >> bit & 1);
        lanes &= digit >> bit & 1 ? set : ~set;
    }
    return lanes;
}

// Moves every key and its value, its own place where there are none, to its place by one digit; `places` are the prefix
// sums of `counts`. A warp goes through its tile in order, so equal digits stay in order.
extern "C" __global__ void __launch_bounds__(THREADS)
scatter_by_digit(const unsigned long long* keys, const unsigned* values, unsigned length, unsigned shift, unsigned size,
                 unsigned tiles, const unsigned* places, unsigned long long* sorted_keys, unsigned* sorted_values) {
    __shared__ unsigned of_warps[WARPS][DIGITS];
    unsigned* next = of_warps[warp_number()];
    unsigned tile = blockIdx.x * WARPS + warp_number();
    if (tile >= tiles) return;
    for (unsigned digit = lane_number(); digit < DIGITS; digit += WARP) next[digit] = places[digit * tiles + tile];
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
