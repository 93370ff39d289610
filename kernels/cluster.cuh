// Thread-block clusters: blocks that run at the same time, meet, and reach each other's shared memory. The emulator has
// its own versions of these functions.
#pragma once
#include "common.cuh"

// Devices have clusters from compute capability 9.0 on. A kernel for clusters is empty in code for older ones, and is not
// launched there.
#if !defined(__CUDA_ARCH__) || __CUDA_ARCH__ >= 900
#define HAS_CLUSTERS
#endif

#if defined(__CUDACC__) && defined(HAS_CLUSTERS)

// The number of this block in its cluster.
__device__ __forceinline__ unsigned cluster_rank() {
    unsigned rank;
    asm("mov.u32 %0, %%cluster_ctarank;" : "=r"(rank));
    return rank;
}

// Waits for all threads of all blocks; what they have written, to shared memory too, is seen by all after that.
__device__ __forceinline__ void cluster_sync() {
    asm volatile("barrier.cluster.arrive.release.aligned;\n\tbarrier.cluster.wait.acquire.aligned;" ::: "memory");
}

// Where the block of this rank has what this block has at `address` in its static shared memory.
template <class T>
__device__ __forceinline__ T* in_block(T* address, unsigned rank) {
    unsigned long long there;
    asm("mapa.u64 %0, %1, %2;" : "=l"(there) : "l"(address), "r"(rank));
    return reinterpret_cast<T*>(there);
}

#endif
