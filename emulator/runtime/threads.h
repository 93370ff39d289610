// Where a thread is, and how threads of a block and of a warp meet. The meetings themselves are in block.cpp.
#pragma once
#include <cstdint>
#include <cstring>
#include <type_traits>

#include "vectors.h"

namespace emulator {

/// What a kernel may ask about its block.
struct BlockView {
    uint3 index;
    dim3 threads;
    dim3 blocks;
    char* dynamic_shared;
};

/// What a kernel may ask about its thread.
struct ThreadView {
    uint3 index;
};

// `__thread`, because `thread_local` asks at every use whether a constructor has to run.
extern __thread const BlockView* this_block;
extern __thread ThreadView* this_thread;

enum class WarpOperation {
    Synchronize,
    Shuffle,
    Ballot,
    Match,
    AddUnsigned,
    MinimumUnsigned,
    MaximumUnsigned,
    MinimumSigned,
    MaximumSigned,
    And,
    Or,
    Xor,
};

/// A place in a kernel, for messages and to tell barriers apart.
struct Site {
    const char* function;
    const char* file;
    int line;
};

/// Waits for the whole block; returns how many of its threads came with `agrees`.
unsigned meet_block(bool agrees, Site site);

/// Waits for the whole cluster.
void meet_cluster(Site site);

/// The number of this block in its cluster, and how many there are.
unsigned cluster_rank();
unsigned cluster_size();

/// Where another block of the cluster has what this one has at `address`, in static shared memory.
char* in_block(char* address, unsigned rank, Site site);

/// Waits for the lanes of `mask`; returns what the operation gives to this lane. `source` is the lane whose value a
/// shuffle takes.
uint64_t meet_warp(WarpOperation operation, unsigned mask, uint64_t value, unsigned source, Site site);

/// The lane of the warp that this thread is.
unsigned current_lane();

/// Ends the launch with an error unless `width` divides a warp as CUDA allows.
void require_shuffle_width(int width, Site site);

/// What `__threadfence` means to ThreadSanitizer, beyond what it does.
void order_by_fence();

/// Shuffles carry values of four and eight bytes.
template <class T>
inline uint64_t to_bits(T value) {
    static_assert(std::is_arithmetic_v<T> && (sizeof(T) == 4 || sizeof(T) == 8), "no type that CUDA can shuffle");
    uint64_t bits = 0;
    memcpy(&bits, &value, sizeof(T));
    return bits;
}

template <class T>
inline T from_bits(uint64_t bits) {
    T value;
    memcpy(&value, &bits, sizeof(T));
    return value;
}

template <class T>
inline T shuffle(unsigned mask, T value, unsigned source, Site site) {
    return from_bits<T>(meet_warp(WarpOperation::Shuffle, mask, to_bits(value), source, site));
}

inline unsigned signed_reduction(WarpOperation operation, unsigned mask, int value, Site site) {
    return static_cast<unsigned>(meet_warp(operation, mask, static_cast<unsigned>(value), 0, site));
}

}  // namespace emulator

#define threadIdx (emulator::this_thread->index)
#define blockIdx (emulator::this_block->index)
#define blockDim (emulator::this_block->threads)
#define gridDim (emulator::this_block->blocks)
#define warpSize 32

// See kernels/common.cuh for what this is under nvcc.
#define DYNAMIC_SHARED(type, name) type* const name = reinterpret_cast<type*>(emulator::this_block->dynamic_shared)

// Default arguments are evaluated where a function is called, so these two give the line of the kernel.
#define EMULATOR_CALLER const char *file = __builtin_FILE(), int line = __builtin_LINE()
#define EMULATOR_SITE (emulator::Site{__func__, file, line})

// Barriers.

inline void __syncthreads(EMULATOR_CALLER) { emulator::meet_block(false, EMULATOR_SITE); }

inline int __syncthreads_count(int predicate, EMULATOR_CALLER) {
    return static_cast<int>(emulator::meet_block(predicate != 0, EMULATOR_SITE));
}

inline int __syncthreads_or(int predicate, EMULATOR_CALLER) {
    return emulator::meet_block(predicate != 0, EMULATOR_SITE) > 0;
}

inline int __syncthreads_and(int predicate, EMULATOR_CALLER) {
    return emulator::meet_block(predicate == 0, EMULATOR_SITE) == 0;
}

// Clusters. See kernels/cluster.cuh for what these are under nvcc.

inline unsigned cluster_rank() { return emulator::cluster_rank(); }
inline unsigned cluster_size() { return emulator::cluster_size(); }
inline void cluster_sync(EMULATOR_CALLER) { emulator::meet_cluster(EMULATOR_SITE); }

template <class T>
inline T* in_block(T* address, unsigned rank, EMULATOR_CALLER) {
    return reinterpret_cast<T*>(emulator::in_block(reinterpret_cast<char*>(address), rank, EMULATOR_SITE));
}

inline void __syncwarp(unsigned mask = 0xffffffffu, EMULATOR_CALLER) {
    emulator::meet_warp(emulator::WarpOperation::Synchronize, mask, 0, 0, EMULATOR_SITE);
}

inline void __threadfence() { emulator::order_by_fence(); }
inline void __threadfence_block() { emulator::order_by_fence(); }

// Shuffles. Which lane is read follows the description of `shfl.sync` in the PTX manual: a lane beyond the segment of
// `width` lanes gives the caller its own value, and a distance counts modulo 32.

template <class T>
inline T __shfl_sync(unsigned mask, T value, int source, int width = 32, EMULATOR_CALLER) {
    emulator::require_shuffle_width(width, EMULATOR_SITE);
    unsigned within = width - 1;
    unsigned chosen = (emulator::current_lane() & ~within) | (static_cast<unsigned>(source) & within);
    return emulator::shuffle(mask, value, chosen, EMULATOR_SITE);
}

template <class T>
inline T __shfl_up_sync(unsigned mask, T value, unsigned distance, int width = 32, EMULATOR_CALLER) {
    emulator::require_shuffle_width(width, EMULATOR_SITE);
    int lane = emulator::current_lane();
    int first = lane & ~(width - 1);
    int chosen = lane - static_cast<int>(distance & 31);
    return emulator::shuffle(mask, value, chosen < first ? lane : chosen, EMULATOR_SITE);
}

template <class T>
inline T __shfl_down_sync(unsigned mask, T value, unsigned distance, int width = 32, EMULATOR_CALLER) {
    emulator::require_shuffle_width(width, EMULATOR_SITE);
    unsigned lane = emulator::current_lane();
    unsigned last = lane | (width - 1);
    unsigned chosen = lane + (distance & 31);
    return emulator::shuffle(mask, value, chosen > last ? lane : chosen, EMULATOR_SITE);
}

template <class T>
inline T __shfl_xor_sync(unsigned mask, T value, int pattern, int width = 32, EMULATOR_CALLER) {
    emulator::require_shuffle_width(width, EMULATOR_SITE);
    unsigned lane = emulator::current_lane();
    unsigned last = lane | (width - 1);
    unsigned chosen = lane ^ (pattern & 31);
    return emulator::shuffle(mask, value, chosen > last ? lane : chosen, EMULATOR_SITE);
}

// Votes.

inline unsigned __ballot_sync(unsigned mask, int predicate, EMULATOR_CALLER) {
    return emulator::meet_warp(emulator::WarpOperation::Ballot, mask, predicate != 0, 0, EMULATOR_SITE);
}

inline int __any_sync(unsigned mask, int predicate, EMULATOR_CALLER) {
    return emulator::meet_warp(emulator::WarpOperation::Ballot, mask, predicate != 0, 0, EMULATOR_SITE) != 0;
}

inline int __all_sync(unsigned mask, int predicate, EMULATOR_CALLER) {
    return emulator::meet_warp(emulator::WarpOperation::Ballot, mask, predicate == 0, 0, EMULATOR_SITE) == 0;
}

template <class T>
inline unsigned __match_any_sync(unsigned mask, T value, EMULATOR_CALLER) {
    return emulator::meet_warp(emulator::WarpOperation::Match, mask, emulator::to_bits(value), 0, EMULATOR_SITE);
}

// Reductions over a warp, as of compute capability 8.0.

inline unsigned __reduce_add_sync(unsigned mask, unsigned value, EMULATOR_CALLER) {
    return emulator::meet_warp(emulator::WarpOperation::AddUnsigned, mask, value, 0, EMULATOR_SITE);
}

inline unsigned __reduce_min_sync(unsigned mask, unsigned value, EMULATOR_CALLER) {
    return emulator::meet_warp(emulator::WarpOperation::MinimumUnsigned, mask, value, 0, EMULATOR_SITE);
}

inline unsigned __reduce_max_sync(unsigned mask, unsigned value, EMULATOR_CALLER) {
    return emulator::meet_warp(emulator::WarpOperation::MaximumUnsigned, mask, value, 0, EMULATOR_SITE);
}

inline int __reduce_add_sync(unsigned mask, int value, EMULATOR_CALLER) {
    return emulator::signed_reduction(emulator::WarpOperation::AddUnsigned, mask, value, EMULATOR_SITE);
}

inline int __reduce_min_sync(unsigned mask, int value, EMULATOR_CALLER) {
    return emulator::signed_reduction(emulator::WarpOperation::MinimumSigned, mask, value, EMULATOR_SITE);
}

inline int __reduce_max_sync(unsigned mask, int value, EMULATOR_CALLER) {
    return emulator::signed_reduction(emulator::WarpOperation::MaximumSigned, mask, value, EMULATOR_SITE);
}

inline unsigned __reduce_and_sync(unsigned mask, unsigned value, EMULATOR_CALLER) {
    return emulator::meet_warp(emulator::WarpOperation::And, mask, value, 0, EMULATOR_SITE);
}

inline unsigned __reduce_or_sync(unsigned mask, unsigned value, EMULATOR_CALLER) {
    return emulator::meet_warp(emulator::WarpOperation::Or, mask, value, 0, EMULATOR_SITE);
}

inline unsigned __reduce_xor_sync(unsigned mask, unsigned value, EMULATOR_CALLER) {
    return emulator::meet_warp(emulator::WarpOperation::Xor, mask, value, 0, EMULATOR_SITE);
}
