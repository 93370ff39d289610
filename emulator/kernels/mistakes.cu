// Mistakes that must be seen.
#include "cluster.cuh"
#include "common.cuh"

extern "C" __global__ void test_barrier_in_a_branch(int* output) {
    if (threadIdx.x % 2 == 0) {
        __syncthreads();
        output[threadIdx.x] = 0;
    } else {
        output[threadIdx.x] = 1;
        __syncthreads();
    }
}

extern "C" __global__ void test_barrier_some_never_reach(int count, int* output) {
    if (threadIdx.x >= count) return;
    __syncthreads();
    output[threadIdx.x] = 1;
}

extern "C" __global__ void test_barrier_one_time_more(int* output) {
    unsigned rounds = threadIdx.x == 5 ? 3 : 2;
    for (unsigned round = 0; round < rounds; ++round) __syncthreads();
    output[threadIdx.x] = 1;
}

extern "C" __global__ void test_shuffle_against_barrier(int* output) {
    if (threadIdx.x == 3) {
        __syncthreads();
    } else {
        output[threadIdx.x] = __shfl_sync(0xffffffffu, 1, 0);
        __syncthreads();
    }
}

extern "C" __global__ void test_masks_that_differ(unsigned* output) {
    output[threadIdx.x] = __ballot_sync(threadIdx.x < 4 ? 0xffffffffu : 0xfffffff0u, 1);
    __syncthreads();
}

extern "C" __global__ void test_mask_without_self(unsigned* output) {
    output[threadIdx.x] = __ballot_sync(0xfu, 1);
}

extern "C" __global__ void test_width_of_three(int* output) {
    output[threadIdx.x] = __shfl_down_sync(0xffffffffu, 1, 1, 3);
}

// Fails in the blocks from `first` on.
extern "C" __global__ void test_error_in_late_blocks(unsigned first, int* output) {
    if (blockIdx.x >= first && threadIdx.x == 0) return;
    __syncthreads();
    if (threadIdx.x == 1) output[blockIdx.x] = 1;
}

extern "C" __global__ void test_read_past_the_end(const float* input, int count, float* output) {
    output[threadIdx.x] = input[threadIdx.x + count - blockDim.x + 1];
}

extern "C" __global__ void test_write_before_the_start(float* output) {
    output[static_cast<int>(threadIdx.x) - 1] = 1.0f;
}

extern "C" __global__ void test_shared_past_the_end(int count, float* output) {
    DYNAMIC_SHARED(float, tile);
    for (int i = threadIdx.x; i <= count; i += blockDim.x) tile[i] = 1.0f;
    __syncthreads();
    output[threadIdx.x] = tile[threadIdx.x];
}

__device__ __noinline__ int deep(int depth, volatile int* seen) {
    volatile int local[256];
    local[depth % 256] = depth;
    seen[0] = local[depth % 256];
    return depth == 0 ? 0 : deep(depth - 1, seen) + local[depth % 256];
}

extern "C" __global__ void test_too_much_stack(int depth, int* output) { *output = deep(depth, output); }

// Block 0 writes what the others read, which nothing orders.
extern "C" __global__ void test_race_of_blocks(int* data) {
    if (threadIdx.x != 0) return;
    if (blockIdx.x == 0) data[0] = 1;
    else data[blockIdx.x] = data[0];
}

// Lane 0 writes what its warp reads after a shuffle, which does not order memory.
extern "C" __global__ void test_race_around_a_shuffle(int* data) {
    __shared__ int slot;
    if (threadIdx.x == 0) slot = 1;
    int first = __shfl_sync(0xffffffffu, static_cast<int>(threadIdx.x), 0);
    data[threadIdx.x] = slot + first;
}

// The first block of a cluster ends while the others wait for it.
extern "C" __global__ void test_leave_cluster() {
    if (cluster_rank() > 0) cluster_sync();
}

// There is no such block.
extern "C" __global__ void test_block_beyond_cluster() {
    __shared__ unsigned value;
    cluster_sync();
    if (threadIdx.x == 0) *in_block(&value, 8) = 1;
}
