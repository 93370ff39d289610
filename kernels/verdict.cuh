// What clouds and matches say about a pose, as the host has it.
#pragma once
#include "common.cuh"

// `Agreement` of src/stages/verify/.
struct Agreement {
    float source_overlap, target_overlap;
    float source_hold, target_hold;
    float rmse;
    float source_in_front, target_in_front;
    float source_in_view, target_in_view;
};

// `Support` of src/stages/consensus/.
struct Support {
    unsigned count;
    float score;
};

// Bits in the order of IEEE 754's totalOrder, which is that of `f32::total_cmp`.
__device__ __forceinline__ unsigned ascending_bits(float value) {
    unsigned bits = __float_as_uint(value);
    return bits >> 31 ? ~bits : bits | 0x80000000u;
}
