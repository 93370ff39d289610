// Where points are, roughly: `Extent` of src/geometry.rs, operation by operation.
#pragma once
#include "common.cuh"

// Threads of a block that measures one: as many as there are running sums.
constexpr unsigned EXTENT_THREADS = 256;

struct Extent {
    Point centre;
    float radius;
};

// The sum over the block's threads, for all of them, added in halves.
__device__ inline float sum_in_halves(float value, float (&sums)[EXTENT_THREADS]) {
    sums[threadIdx.x] = value;
    __syncthreads();
    for (unsigned half = EXTENT_THREADS / 2; half > 0; half /= 2) {
        if (threadIdx.x < half) sums[threadIdx.x] += sums[threadIdx.x + half];
        __syncthreads();
    }
    float sum = sums[0];
    __syncthreads();
    return sum;
}

// The extent of `length` points, for the whole block of EXTENT_THREADS threads.
__device__ inline Extent extent_of_block(const Point* points, unsigned length) {
    __shared__ float sums[EXTENT_THREADS];
    float scale = 1.0f / static_cast<float>(max(length, 1u));
    Point sum = {0.0f, 0.0f, 0.0f};
    for (unsigned i = threadIdx.x; i < length; i += EXTENT_THREADS) {
        Point p = points[i];
        sum = {sum.x + p.x, sum.y + p.y, sum.z + p.z};
    }
    Point centre = {sum_in_halves(sum.x, sums) * scale, sum_in_halves(sum.y, sums) * scale, sum_in_halves(sum.z, sums) * scale};
    float distances = 0.0f;
    for (unsigned i = threadIdx.x; i < length; i += EXTENT_THREADS) distances += sqrtf(squared_length(points[i] - centre));
    return {centre, sum_in_halves(distances, sums) * scale};
}
