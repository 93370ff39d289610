// Furthest point sampling and gathering. See src/stages/sample/.
#include "common.cuh"

constexpr unsigned THREADS = 1024;
constexpr unsigned WARPS = THREADS / WARP;

// A point to be chosen: the furthest one, the lowest index on ties, is the largest number. Distances are not negative, so
// their bits are in the order of their values.
__device__ __forceinline__ unsigned long long rank_of(float distance, unsigned index) {
    return static_cast<unsigned long long>(__float_as_uint(distance)) << 32 | ~index;
}

__device__ __forceinline__ float distance_of(unsigned long long rank) {
    return __uint_as_float(static_cast<unsigned>(rank >> 32));
}

__device__ __forceinline__ unsigned index_of(unsigned long long rank) { return ~static_cast<unsigned>(rank); }

__device__ unsigned long long largest_of_warp(unsigned long long rank) {
    for (unsigned distance = WARP / 2; distance > 0; distance /= 2)
        rank = max(rank, __shfl_xor_sync(ALL_LANES, rank, distance));
    return rank;
}

// The largest rank of the block, for all threads. Two sets of `of_warps` are used in turn, so one barrier suffices: a set
// is written again only after the barrier of the other one.
__device__ unsigned long long largest_of_block(unsigned long long rank, unsigned long long (*of_warps)[WARPS], unsigned round) {
    unsigned long long* current = of_warps[round % 2];
    rank = largest_of_warp(rank);
    if (lane_number() == 0) current[warp_number()] = rank;
    __syncthreads();
    return largest_of_warp(current[lane_number()]);
}

// Squared distances to the nearest chosen point, of the points `threadIdx.x + k * THREADS`, in registers.
template <unsigned POINTS>
struct InRegisters {
    float nearest[POINTS];

    __device__ InRegisters(const Point*, float*, unsigned) {
#pragma unroll
        for (unsigned k = 0; k < POINTS; ++k) nearest[k] = INFINITY;
    }

    // Takes note of a new chosen point, and returns the highest rank among this thread's points.
    __device__ unsigned long long update(const Point* points, unsigned length, Point chosen) {
        unsigned long long best = 0;
#pragma unroll
        for (unsigned k = 0; k < POINTS; ++k) {
            unsigned i = threadIdx.x + k * THREADS;
            if (i < length) {
                nearest[k] = fminf(nearest[k], squared_length(points[i] - chosen));
                best = max(best, rank_of(nearest[k], i));
            }
        }
        return best;
    }
};

// The same in memory, for clouds that registers cannot hold.
struct InMemory {
    float* nearest;

    __device__ InMemory(const Point*, float* memory, unsigned length) : nearest(memory) {
        for (unsigned i = threadIdx.x; i < length; i += THREADS) nearest[i] = INFINITY;
    }

    __device__ unsigned long long update(const Point* points, unsigned length, Point chosen) {
        unsigned long long best = 0;
        for (unsigned i = threadIdx.x; i < length; i += THREADS) {
            nearest[i] = fminf(nearest[i], squared_length(points[i] - chosen));
            best = max(best, rank_of(nearest[i], i));
        }
        return best;
    }
};

// A cloud, and where to put the indices of up to `count` of its `length` points. `memory` holds a value for each point
// where a kernel asks for it.
struct Cloud {
    const Point* points;
    float* memory;
    unsigned* chosen;
    unsigned length, count;
};

// For the whole block; returns how many points were chosen.
template <class Distances>
__device__ unsigned sample(const Cloud& cloud) {
    __shared__ unsigned long long of_warps[2][WARPS];
    const Point* points = cloud.points;
    const unsigned length = cloud.length, count = cloud.count;
    if (count == 0) return 0;
    Distances distances(points, cloud.memory, length);
    unsigned latest = 0, number = 0;
    for (;;) {
        if (threadIdx.x == 0) cloud.chosen[number] = latest;
        ++number;
        if (number == count) break;
        unsigned long long best = distances.update(points, length, points[latest]);
        best = largest_of_block(best, of_warps, number);
        // What is left lies on chosen points.
        if (distance_of(best) == 0.0f) break;
        latest = index_of(best);
    }
    return number;
}

// A block for each cloud: the indices of its points, and how many they are. At most 8 points a thread.
//
// What bounds it: a sample follows from the one before, and for each of them one multiprocessor reads every point once.
// 15 000 points × 1 500 samples × 12 bytes are 270 MB, from the first-level cache while the cloud fits, some 128 bytes a
// cycle: 1.1 ms at 2 GHz, and 1 500 barriers of 32 warps on top. Other multiprocessors cannot help with one cloud, but
// take others meanwhile, so clouds are sampled together where there are several.
extern "C" __global__ void __launch_bounds__(THREADS)
sample_farthest_small(const Cloud* clouds, unsigned* chosen_counts) {
    unsigned number = sample<InRegisters<8>>(clouds[blockIdx.x]);
    if (threadIdx.x == 0) chosen_counts[blockIdx.x] = number;
}

// The same with at most 16 points a thread.
extern "C" __global__ void __launch_bounds__(THREADS)
sample_farthest_medium(const Cloud* clouds, unsigned* chosen_counts) {
    unsigned number = sample<InRegisters<16>>(clouds[blockIdx.x]);
    if (threadIdx.x == 0) chosen_counts[blockIdx.x] = number;
}

// The same with any number of points, and with `memory`: another 8 bytes a point and sample, from the second-level cache.
extern "C" __global__ void __launch_bounds__(THREADS)
sample_farthest_large(const Cloud* clouds, unsigned* chosen_counts) {
    unsigned number = sample<InMemory>(clouds[blockIdx.x]);
    if (threadIdx.x == 0) chosen_counts[blockIdx.x] = number;
}

// gathered[i] = points[indices[i]].
extern "C" __global__ void gather_points(const Point* points, const unsigned* indices, unsigned count, Point* gathered) {
    unsigned i = thread_number();
    if (i < count) gathered[i] = points[indices[i]];
}
