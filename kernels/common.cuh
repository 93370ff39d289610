// What the kernels of several stages share.
#pragma once

#ifdef __CUDACC__
// The dynamic shared memory of the block, as an array. (The emulator has its own.)
#define DYNAMIC_SHARED(type, name) extern __shared__ __align__(16) unsigned char name##_bytes[]; type* name = reinterpret_cast<type*>(name##_bytes)
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
