// What the kernels of several stages share.
#pragma once

// The dynamic shared memory of the block, as `name`, a pointer to elements of `type`. CUDA spells it as an extern array,
// which C++ cannot express, so the emulator has its own version of this macro. One array of 16-byte alignment serves all
// types: CUDA wants the same declaration in every kernel of a file.
#ifdef __CUDACC__
extern __shared__ __align__(16) unsigned char dynamic_shared_memory[];
#define DYNAMIC_SHARED(type, name) type* const name = reinterpret_cast<type*>(dynamic_shared_memory)
#endif

constexpr unsigned WARP = 32;
constexpr unsigned ALL_LANES = 0xffffffffu;

// Coordinates as the host has them: 12 bytes, not padded.
struct Point {
    float x, y, z;
};

// A rotation, row-major, and a translation: `[R | t]` as the host has it.
struct Pose {
    float r[9];
    float t[3];
};

__device__ __forceinline__ Point operator-(Point a, Point b) { return {a.x - b.x, a.y - b.y, a.z - b.z}; }

// In the order that the stages' contracts fix, so that all backends round alike.
__device__ __forceinline__ float squared_length(Point d) { return (d.x * d.x + d.y * d.y) + d.z * d.z; }

// The number of this thread in the grid's first dimension.
__device__ __forceinline__ unsigned thread_number() { return blockIdx.x * blockDim.x + threadIdx.x; }

__device__ __forceinline__ unsigned lane_number() { return threadIdx.x % WARP; }

__device__ __forceinline__ unsigned warp_number() { return threadIdx.x / WARP; }

// The sum over the lanes up to this one, itself included.
__device__ inline unsigned sum_up_to_lane(unsigned value) {
    for (unsigned distance = 1; distance < WARP; distance *= 2) {
        unsigned before = __shfl_up_sync(ALL_LANES, value, distance);
        if (lane_number() >= distance) value += before;
    }
    return value;
}
