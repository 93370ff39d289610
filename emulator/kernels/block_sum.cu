// The usual sum over blocks, once with all its barriers and once without one.
#include "common.cuh"

// output[b] = the sum of the inputs of block b, through static shared memory.
extern "C" __global__ void __launch_bounds__(256) test_block_sum(const float* input, int count, float* output) {
    __shared__ float partial[256];
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    partial[threadIdx.x] = i < count ? input[i] : 0.0f;
    __syncthreads();
    for (unsigned half = blockDim.x / 2; half > 0; half /= 2) {
        if (threadIdx.x < half) partial[threadIdx.x] += partial[threadIdx.x + half];
        __syncthreads();
    }
    if (threadIdx.x == 0) output[blockIdx.x] = partial[0];
}

// The same, where no thread waits for what the others write at first.
extern "C" __global__ void test_block_sum_in_a_race(const float* input, int count, float* output) {
    __shared__ float partial[256];
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    partial[threadIdx.x] = i < count ? input[i] : 0.0f;
    for (unsigned half = blockDim.x / 2; half > 0; half /= 2) {
        if (threadIdx.x < half) partial[threadIdx.x] += partial[threadIdx.x + half];
        __syncthreads();
    }
    if (threadIdx.x == 0) output[blockIdx.x] = partial[0];
}
