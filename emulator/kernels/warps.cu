// Every operation of a warp, each lane writing what it got.
#include "common.cuh"

constexpr unsigned all_lanes = 0xffffffffu;

// Four results per thread: to a lane, up, down and across. `argument` is the lane, the distance or the pattern.
extern "C" __global__ void test_shuffles(const unsigned* values, int argument, int width, unsigned* results) {
    unsigned thread = blockIdx.x * blockDim.x + threadIdx.x;
    unsigned value = values[thread];
    results[4 * thread] = __shfl_sync(all_lanes, value, argument, width);
    results[4 * thread + 1] = __shfl_up_sync(all_lanes, value, argument, width);
    results[4 * thread + 2] = __shfl_down_sync(all_lanes, value, argument, width);
    results[4 * thread + 3] = __shfl_xor_sync(all_lanes, value, argument, width);
}

template <class T>
__device__ __forceinline__ bool survives_a_shuffle(T value) {
    return __shfl_xor_sync(all_lanes, __shfl_xor_sync(all_lanes, value, 5), 5) == value;
}

extern "C" __global__ void test_shuffled_types(int* survived) {
    int lane = threadIdx.x;
    survived[lane] = survives_a_shuffle(-lane) && survives_a_shuffle(3u * lane) && survives_a_shuffle(0.1f * lane) &&
                     survives_a_shuffle(0.1 * lane) && survives_a_shuffle(-1000000007ll * lane) &&
                     survives_a_shuffle(11400714819323198485ull * lane);
}

// Eleven results per thread.
extern "C" __global__ void test_votes_and_reductions(const unsigned* values, unsigned* results) {
    unsigned thread = blockIdx.x * blockDim.x + threadIdx.x;
    unsigned value = values[thread];
    int number = static_cast<int>(value);
    unsigned* mine = results + 11 * thread;
    mine[0] = __ballot_sync(all_lanes, value & 1);
    mine[1] = __any_sync(all_lanes, value % 32 == 0);
    mine[2] = __all_sync(all_lanes, value % 32 != 0);
    mine[3] = __reduce_add_sync(all_lanes, value);
    mine[4] = __reduce_min_sync(all_lanes, value);
    mine[5] = __reduce_max_sync(all_lanes, value);
    mine[6] = __reduce_add_sync(all_lanes, number);
    mine[7] = __reduce_min_sync(all_lanes, number);
    mine[8] = __reduce_max_sync(all_lanes, number);
    mine[9] = __reduce_and_sync(all_lanes, value) ^ __reduce_or_sync(all_lanes, value) ^
              __reduce_xor_sync(all_lanes, value);
    mine[10] = __match_any_sync(all_lanes, value % 4);
}

// Lanes below `split` and the others are in different operations at the same time; every third lane has gone home.
extern "C" __global__ void test_partial_masks(int split, unsigned* results) {
    unsigned lane = threadIdx.x % 32;
    if (lane % 3 == 2) return;
    unsigned low = split == 32 ? all_lanes : (1u << split) - 1;
    unsigned result;
    if (lane < split) {
        result = __reduce_add_sync(low, lane);
        result += __shfl_sync(low, 100 * lane, 0);
    } else {
        __syncwarp(~low);
        result = __popc(__ballot_sync(~low, 1));
    }
    // Those who left are not waited for.
    results[threadIdx.x] = result + 10000 * __popc(__ballot_sync(all_lanes, 1));
}

// What a shuffle reads from a lane that is not there is undefined; what lies beyond the width is not.
extern "C" __global__ void test_undefined_shuffle(float* results) {
    results[threadIdx.x] = __shfl_down_sync(all_lanes, 1.0f + threadIdx.x, 8);
}

// The lanes of a warp hand a value around through memory, in the order that __syncwarp makes.
extern "C" __global__ void test_syncwarp(unsigned* results) {
    __shared__ unsigned slots[128];
    unsigned thread = threadIdx.x, lane = thread % 32, base = thread - lane;
    unsigned value = thread;
    for (int round = 0; round < 32; ++round) {
        slots[thread] = value;
        __syncwarp();
        value = slots[base + (lane + 1) % 32];
        __syncwarp();
    }
    results[thread] = value;
}
