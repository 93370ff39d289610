// The box around a cloud. See src/stages/bounds/cuda.rs.
#include "bounds.cuh"

constexpr unsigned THREADS = 256;
constexpr unsigned WARPS = THREADS / WARP;

__device__ __forceinline__ Bounds no_bounds() {
    return {{INFINITY, INFINITY, INFINITY}, {-INFINITY, -INFINITY, -INFINITY}};
}

__device__ __forceinline__ Bounds around_both(Bounds a, Bounds b) {
    return {{fminf(a.lowest.x, b.lowest.x), fminf(a.lowest.y, b.lowest.y), fminf(a.lowest.z, b.lowest.z)},
            {fmaxf(a.highest.x, b.highest.x), fmaxf(a.highest.y, b.highest.y), fmaxf(a.highest.z, b.highest.z)}};
}

__device__ __forceinline__ Point point_of_lane(Point p, unsigned pattern) {
    return {__shfl_xor_sync(ALL_LANES, p.x, pattern), __shfl_xor_sync(ALL_LANES, p.y, pattern), __shfl_xor_sync(ALL_LANES, p.z, pattern)};
}

__device__ Bounds bounds_of_warp(Bounds bounds) {
    for (unsigned pattern = WARP / 2; pattern > 0; pattern /= 2) {
        Bounds other = {point_of_lane(bounds.lowest, pattern), point_of_lane(bounds.highest, pattern)};
        bounds = around_both(bounds, other);
    }
    return bounds;
}

// For the first thread of the block.
__device__ Bounds bounds_of_block(Bounds bounds) {
    __shared__ Bounds of_warps[WARPS];
    bounds = bounds_of_warp(bounds);
    if (lane_number() == 0) of_warps[warp_number()] = bounds;
    __syncthreads();
    if (warp_number() > 0) return bounds;
    return bounds_of_warp(lane_number() < WARPS ? of_warps[lane_number()] : no_bounds());
}

// parts[b] = the box around the points that block b looks at.
extern "C" __global__ void __launch_bounds__(THREADS) bound_points(const Point* points, unsigned length, Bounds* parts) {
    Bounds bounds = no_bounds();
    for (unsigned i = thread_number(); i < length; i += gridDim.x * THREADS) bounds = around_both(bounds, {points[i], points[i]});
    bounds = bounds_of_block(bounds);
    if (threadIdx.x == 0) parts[blockIdx.x] = bounds;
}

// One block: the box around `count` boxes; without any, the lowest corner is at infinity and the highest one below.
extern "C" __global__ void __launch_bounds__(THREADS) bound_parts(const Bounds* parts, unsigned count, Bounds* whole) {
    Bounds bounds = no_bounds();
    for (unsigned i = threadIdx.x; i < count; i += THREADS) bounds = around_both(bounds, parts[i]);
    bounds = bounds_of_block(bounds);
    if (threadIdx.x == 0) *whole = bounds;
}
