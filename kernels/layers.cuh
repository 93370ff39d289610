// What the kernels of networks share.
#pragma once

#include "common.cuh"

// Threads that share the output channels of a place.
constexpr unsigned GROUPS = 16;

// How the OUTPUTS channels are dealt out to GROUPS threads that follow each other: in vectors, so that a warp reads
// weights side by side.
template <unsigned OUTPUTS>
struct Channels {
    static constexpr unsigned EACH = OUTPUTS / GROUPS;
    static constexpr unsigned VECTOR = EACH < 4 ? EACH : 4;

    // The i-th channel of this thread.
    static __device__ __forceinline__ unsigned channel(unsigned i) {
        return (i / VECTOR * GROUPS + threadIdx.x % GROUPS) * VECTOR + i % VECTOR;
    }

    // The values of this thread's channels among those of all.
    static __device__ __forceinline__ void load(const float* all, float* own) {
        if constexpr (VECTOR == 4) {
#pragma unroll
            for (unsigned i = 0; i < EACH; i += VECTOR) {
                float4 vector = *reinterpret_cast<const float4*>(all + channel(i));
                own[i] = vector.x;
                own[i + 1] = vector.y;
                own[i + 2] = vector.z;
                own[i + 3] = vector.w;
            }
        } else {
            static_assert(EACH == 2);
            float2 vector = *reinterpret_cast<const float2*>(all + channel(0));
            own[0] = vector.x;
            own[1] = vector.y;
        }
    }
};
