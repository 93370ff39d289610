// The box around a cloud, as the host has it. See src/stages/bounds/.
#pragma once
#include "common.cuh"

struct Bounds {
    Point lowest, highest;
};

// The longest of the three sides, 0 at least.
__device__ __forceinline__ float longest_side(const Bounds& bounds) {
    Point extent = bounds.highest - bounds.lowest;
    return fmaxf(fmaxf(fmaxf(0.0f, extent.x), extent.y), extent.z);
}
