// Furthest point sampling and gathering. See src/stages/sample/.
#include "extent.cuh"

constexpr unsigned THREADS = 1024;
constexpr unsigned WARPS = THREADS / WARP;

constexpr unsigned NONE = 0xffffffffu;

// The point that is furthest from all chosen ones: of those at the same distance the one of the lowest index.
struct Furthest {
    // Squared. Never negative, so the order of its bits is that of its values.
    float distance;
    unsigned index;
};

__device__ Furthest furthest_of_warp(Furthest own) {
    unsigned bits = __float_as_uint(own.distance), most = __reduce_max_sync(ALL_LANES, bits);
    return {__uint_as_float(most), __reduce_min_sync(ALL_LANES, bits == most ? own.index : NONE)};
}

// The furthest of the block, for all threads. Two sets of `of_warps` are used in turn, so one barrier suffices: a set is
// written again only after the barrier of the other one.
__device__ Furthest furthest_of_block(Furthest own, Furthest (*of_warps)[WARPS], unsigned round) {
    Furthest* current = of_warps[round % 2];
    Furthest of_warp = furthest_of_warp(own);
    if (lane_number() == 0) current[warp_number()] = of_warp;
    __syncthreads();
    return furthest_of_warp(current[lane_number()]);
}

// The points `threadIdx.x + k * THREADS` and their squared distances to the nearest chosen point: distances and the first
// HELD points in registers, the other points in shared memory, coordinate by coordinate, so that each is read by a warp
// at once.
template <unsigned POINTS, unsigned HELD>
struct OnChip {
    float nearest[POINTS];
    Point held[HELD];
    float* others;

    __device__ OnChip(const Point* points, float*, unsigned length) {
        DYNAMIC_SHARED(float, shared);
        others = shared + threadIdx.x;
#pragma unroll
        for (unsigned k = 0; k < POINTS; ++k) {
            unsigned i = threadIdx.x + k * THREADS;
            // What is past the end is never the furthest.
            nearest[k] = i < length ? INFINITY : 0.0f;
            Point point = i < length ? points[i] : Point{0.0f, 0.0f, 0.0f};
            if (k < HELD) {
                held[k] = point;
            } else {
                float* other = others + 3 * (k - HELD) * THREADS;
                other[0] = point.x;
                other[THREADS] = point.y;
                other[2 * THREADS] = point.z;
            }
        }
    }

    __device__ Point point(unsigned k) const {
        if (k < HELD) return held[k];
        // Only this thread reads what it wrote.
        const float* other = others + 3 * (k - HELD) * THREADS;
        return {other[0], other[THREADS], other[2 * THREADS]};
    }

    // Takes note of a new chosen point, and returns the furthest of this thread's points.
    __device__ Furthest update(const Point*, unsigned, Point chosen) {
        float furthest = 0.0f;
        unsigned at = 0;
#pragma unroll
        for (unsigned k = 0; k < POINTS; ++k) {
            nearest[k] = fminf(nearest[k], squared_length(point(k) - chosen));
            if (nearest[k] > furthest) {
                furthest = nearest[k];
                at = k;
            }
        }
        return {furthest, threadIdx.x + at * THREADS};
    }
};

// The same in memory, for clouds that a multiprocessor cannot hold.
struct InMemory {
    float* nearest;

    __device__ InMemory(const Point*, float* memory, unsigned length) : nearest(memory) {
        for (unsigned i = threadIdx.x; i < length; i += THREADS) nearest[i] = INFINITY;
    }

    __device__ Furthest update(const Point* points, unsigned length, Point chosen) {
        Furthest furthest = {0.0f, NONE};
        for (unsigned i = threadIdx.x; i < length; i += THREADS) {
            float distance = fminf(nearest[i], squared_length(points[i] - chosen));
            nearest[i] = distance;
            if (distance > furthest.distance) furthest = {distance, i};
        }
        return furthest;
    }
};

// A cloud, and where to put the indices of up to `count` of its `length` points, and these points. `memory` holds a value
// for each point where a kernel asks for it.
struct Cloud {
    const Point* points;
    float* memory;
    unsigned* indices;
    Point* chosen;
    unsigned length, count;
};

// What became of it, as the host has it.
struct Outcome {
    // How many points were chosen.
    unsigned number;
    Extent extent;
};

// For the whole block; returns how many points were chosen.
template <class Points>
__device__ unsigned sample(const Cloud& cloud) {
    __shared__ Furthest of_warps[2][WARPS];
    const Point* points = cloud.points;
    const unsigned length = cloud.length, count = cloud.count;
    if (count == 0) return 0;
    Points all(points, cloud.memory, length);
    unsigned latest = 0, number = 0;
    for (;;) {
        Point chosen = points[latest];
        if (threadIdx.x == 0) {
            cloud.indices[number] = latest;
            cloud.chosen[number] = chosen;
        }
        ++number;
        if (number == count) break;
        Furthest furthest = furthest_of_block(all.update(points, length, chosen), of_warps, number);
        // What is left lies on chosen points.
        if (furthest.distance == 0.0f) break;
        latest = furthest.index;
    }
    return number;
}

// A block for each cloud: its points, and how many they are. At most 8 points a thread.
//
// What bounds it: a sample follows from the one before, and for each of them one multiprocessor computes every distance
// anew: 12 instructions a point, 128 of them a cycle, so 15 000 points × 1 500 samples take 1.1 ms at 2 GHz, and 1 500
// barriers of 32 warps on top. The points stay on the multiprocessor, whose shared memory would allow for twice that
// speed. Other multiprocessors take other clouds meanwhile, so clouds are sampled together where there are several.
extern "C" __global__ void __launch_bounds__(THREADS) sample_farthest_small(const Cloud* clouds, Outcome* outcomes) {
    unsigned number = sample<OnChip<8, 8>>(clouds[blockIdx.x]);
    if (threadIdx.x == 0) outcomes[blockIdx.x].number = number;
}

// The same with at most 16 points a thread, of which as many are in registers as fit there: 64 a thread.
extern "C" __global__ void __launch_bounds__(THREADS) sample_farthest_medium(const Cloud* clouds, Outcome* outcomes) {
    unsigned number = sample<OnChip<16, 8>>(clouds[blockIdx.x]);
    if (threadIdx.x == 0) outcomes[blockIdx.x].number = number;
}

// The same with any number of points, and with `memory`: 20 bytes a point and sample, from the second-level cache.
extern "C" __global__ void __launch_bounds__(THREADS) sample_farthest_large(const Cloud* clouds, Outcome* outcomes) {
    unsigned number = sample<InMemory>(clouds[blockIdx.x]);
    if (threadIdx.x == 0) outcomes[blockIdx.x].number = number;
}

// A block for each cloud: the extent of the points that were chosen of it.
extern "C" __global__ void __launch_bounds__(EXTENT_THREADS) measure_samples(const Cloud* clouds, Outcome* outcomes) {
    Extent extent = extent_of_block(clouds[blockIdx.x].chosen, outcomes[blockIdx.x].number);
    if (threadIdx.x == 0) outcomes[blockIdx.x].extent = extent;
}

// gathered[i] = points[indices[i]].
extern "C" __global__ void gather_points(const Point* points, const unsigned* indices, unsigned count, Point* gathered) {
    unsigned i = thread_number();
    if (i < count) gathered[i] = points[indices[i]];
}
