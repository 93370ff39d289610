// Keeping some of a block's items in their order.
#pragma once
#include "common.cuh"

// How many of the block's threads before this one are `present`; `total` becomes the number of all that are. All THREADS
// threads take part; `of_warps` may be used again at once.
template <unsigned THREADS>
__device__ unsigned place_among_present(bool present, unsigned (&of_warps)[THREADS / WARP], unsigned& total) {
    unsigned lanes = __ballot_sync(ALL_LANES, present);
    if (lane_number() == 0) of_warps[warp_number()] = __popc(lanes);
    __syncthreads();
    unsigned before = __popc(lanes & ((1u << lane_number()) - 1));
    total = 0;
    for (unsigned warp = 0; warp < THREADS / WARP; ++warp) {
        if (warp < warp_number()) before += of_warps[warp];
        total += of_warps[warp];
    }
    __syncthreads();
    return before;
}
