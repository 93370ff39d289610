// Where a thread is, barriers that count, shared and constant memory.
#include "cluster.cuh"
#include "common.cuh"

struct Place {
    uint3 thread, block;
    unsigned threads[3], blocks[3];
};

extern "C" __global__ void test_places(Place* places) {
    unsigned thread = (threadIdx.z * blockDim.y + threadIdx.y) * blockDim.x + threadIdx.x;
    unsigned block = (blockIdx.z * gridDim.y + blockIdx.y) * gridDim.x + blockIdx.x;
    places[block * blockDim.x * blockDim.y * blockDim.z + thread] = {
        threadIdx, blockIdx, {blockDim.x, blockDim.y, blockDim.z}, {gridDim.x, gridDim.y, gridDim.z}};
}

// Three results per thread and round, which differ from round to round.
extern "C" __global__ void test_counting_barriers(const unsigned* values, int rounds, int* results) {
    for (int round = 0; round < rounds; ++round) {
        unsigned value = values[threadIdx.x] % (round + 1);
        int* mine = results + 3 * (round * blockDim.x + threadIdx.x);
        mine[0] = __syncthreads_count(value == 1);
        mine[1] = __syncthreads_or(value == 7);
        mine[2] = __syncthreads_and(value < 7);
    }
}

// Reverses each block in dynamic shared memory.
extern "C" __global__ void test_dynamic_shared(const float4* input, float4* output) {
    DYNAMIC_SHARED(float4, tile);
    unsigned start = blockIdx.x * blockDim.x;
    tile[threadIdx.x] = input[start + threadIdx.x];
    __syncthreads();
    output[start + threadIdx.x] = tile[blockDim.x - 1 - threadIdx.x];
}

extern "C" __global__ void test_unwritten_shared(float* output) {
    DYNAMIC_SHARED(float, tile);
    output[blockIdx.x * blockDim.x + threadIdx.x] = tile[threadIdx.x];
    tile[threadIdx.x] = 1.0f;
}

// Each block tells its number to all of its cluster, round after round, and writes what it was told last.
extern "C" __global__ void test_cluster(unsigned rounds, unsigned* results) {
    __shared__ unsigned told[2][8];
    unsigned blocks = cluster_size();
    cluster_sync();
    for (unsigned round = 0; round < rounds; ++round) {
        if (threadIdx.x < blocks) in_block(told[round % 2], threadIdx.x)[cluster_rank()] = 100 * round + blockIdx.x;
        cluster_sync();
    }
    if (threadIdx.x < blocks) results[blocks * blockIdx.x + threadIdx.x] = told[(rounds - 1) % 2][threadIdx.x];
}

__constant__ float weights[4] = {0.5f, 1.5f, 2.5f, 3.5f};
__constant__ int2 offsets[2] = {{1, 2}, {3, 4}};

template <int Count>
__device__ __forceinline__ float weighted(const float* __restrict__ values) {
    float sum = 0.0f;
#pragma unroll
    for (int i = 0; i < Count; ++i) sum = fmaf(weights[i], __ldg(values + i), sum);
    return sum;
}

extern "C" __global__ void test_constants(const float* values, float* result) {
    result[0] = weighted<4>(values);
    result[1] = static_cast<float>(offsets[1].x + offsets[0].y);
}

// As much of its stack as a kernel of this project ever needs.
extern "C" __global__ void test_local_array(const unsigned* values, unsigned* results) {
    unsigned local[8192];
    for (int i = 0; i < 8192; ++i) local[i] = values[(threadIdx.x + i) % blockDim.x];
    __syncthreads();
    unsigned sum = 0;
    for (int i = 0; i < 8192; ++i) sum = 31 * sum + local[i];
    results[threadIdx.x] = sum;
}

// A kernel with the name of a function of the C library, and a helper with the same name as one in atomics.cu.
__device__ int answer() { return 1; }

extern "C" __global__ void strlen(int* result) { *result = answer(); }
