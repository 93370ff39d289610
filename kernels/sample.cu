// Furthest point sampling and gathering. See src/stages/sample/.
#include "cluster.cuh"
#include "extent.cuh"
#include "rows.cuh"

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

// The threads that sample a cloud: those of a block. Two sets of results are used in turn, so one barrier suffices: a set is
// written again only after the barrier of the other one.
struct Block {
    Furthest (*of_warps)[WARPS];

    __device__ unsigned number() const { return threadIdx.x; }

    __device__ Furthest furthest_of_all(Furthest own, unsigned round) const {
        Furthest* current = of_warps[round % 2];
        Furthest of_warp = furthest_of_warp(own);
        if (lane_number() == 0) current[warp_number()] = of_warp;
        __syncthreads();
        return furthest_of_warp(current[lane_number()]);
    }
};

// Every STRIDE-th point from `first` on and its squared distance to the nearest chosen point: POINTS of them, distances and
// the first HELD points in registers, the other points in shared memory, coordinate by coordinate, so that each is read by
// a warp at once.
template <unsigned STRIDE, unsigned POINTS, unsigned HELD>
struct OnChip {
    unsigned first;
    float nearest[POINTS];
    Point held[HELD];
    float* others;

    __device__ OnChip(const Point* points, float*, unsigned length, unsigned number) : first(number) {
        DYNAMIC_SHARED(float, shared);
        others = shared + threadIdx.x;
#pragma unroll
        for (unsigned k = 0; k < POINTS; ++k) {
            unsigned i = first + k * STRIDE;
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
        return {furthest, first + at * STRIDE};
    }
};

// The same in memory, for clouds that a multiprocessor cannot hold.
struct InMemory {
    float* nearest;

    __device__ InMemory(const Point*, float* memory, unsigned length, unsigned) : nearest(memory) {
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

// A cloud, and where to put the indices of up to `count` of its `length` points, and these points. `memory` holds five
// values for each point where a kernel works by rows, and one where it keeps distances in memory.
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

// For all threads that sample a cloud; returns how many points were chosen.
template <class Points, class Team>
__device__ unsigned sample(const Cloud& cloud, const Team& team) {
    const Point* points = cloud.points;
    const unsigned length = cloud.length, count = cloud.count;
    if (count == 0) return 0;
    Points all(points, cloud.memory, length, team.number());
    unsigned latest = 0, number = 0;
    for (;;) {
        Point chosen = points[latest];
        if (team.number() == 0) {
            cloud.indices[number] = latest;
            cloud.chosen[number] = chosen;
        }
        ++number;
        if (number == count) break;
        Furthest furthest = team.furthest_of_all(all.update(points, length, chosen), number);
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
    __shared__ Furthest of_warps[2][WARPS];
    unsigned number = sample<OnChip<THREADS, 8, 8>>(clouds[blockIdx.x], Block{of_warps});
    if (threadIdx.x == 0) outcomes[blockIdx.x].number = number;
}

// The same with at most 16 points a thread, of which as many are in registers as fit there: 64 a thread.
extern "C" __global__ void __launch_bounds__(THREADS) sample_farthest_medium(const Cloud* clouds, Outcome* outcomes) {
    __shared__ Furthest of_warps[2][WARPS];
    unsigned number = sample<OnChip<THREADS, 16, 8>>(clouds[blockIdx.x], Block{of_warps});
    if (threadIdx.x == 0) outcomes[blockIdx.x].number = number;
}

// The same with any number of points, and with `memory`: 20 bytes a point and sample, from the second-level cache.
extern "C" __global__ void __launch_bounds__(THREADS) sample_farthest_large(const Cloud* clouds, Outcome* outcomes) {
    __shared__ Furthest of_warps[2][WARPS];
    unsigned number = sample<InMemory>(clouds[blockIdx.x], Block{of_warps});
    if (threadIdx.x == 0) outcomes[blockIdx.x].number = number;
}

// Blocks of a cluster, and threads of each.
constexpr unsigned BLOCKS = 8, CLUSTER_THREADS = 256;
constexpr unsigned CLUSTER_WARPS = BLOCKS * CLUSTER_THREADS / WARP;
static_assert(CLUSTER_WARPS == 2 * WARP, "a lane looks at the results of two warps");

#ifdef HAS_CLUSTERS

// The threads of a cluster. Each warp tells its result to every block, so one barrier suffices here as well.
struct ClusterOfBlocks {
    Furthest (*of_warps)[CLUSTER_WARPS];

    __device__ unsigned number() const { return cluster_rank() * CLUSTER_THREADS + threadIdx.x; }

    __device__ Furthest furthest_of_all(Furthest own, unsigned round) const {
        Furthest* current = of_warps[round % 2];
        Furthest of_warp = furthest_of_warp(own);
        if (lane_number() < BLOCKS) in_block(current, lane_number())[number() / WARP] = of_warp;
        cluster_sync();
        Furthest one = current[lane_number()], other = current[WARP + lane_number()];
        bool is_other = other.distance > one.distance || (other.distance == one.distance && other.index < one.index);
        return furthest_of_warp(is_other ? other : one);
    }
};

#endif

// A cluster for each cloud, at most 16 points a thread: for a few clouds, which leave multiprocessors idle otherwise. Each
// block has an eighth of the points, so what bounds it is how long the blocks take to meet 1 500 times.
extern "C" __global__ void __launch_bounds__(CLUSTER_THREADS)
sample_farthest_in_cluster(const Cloud* clouds, Outcome* outcomes) {
#ifdef HAS_CLUSTERS
    __shared__ Furthest of_warps[2][CLUSTER_WARPS];
    unsigned cloud = blockIdx.x / BLOCKS;
    ClusterOfBlocks team = {of_warps};
    // Before the first result is told to a block it has to be there.
    cluster_sync();
    unsigned number = sample<OnChip<BLOCKS * CLUSTER_THREADS, 16, 16>>(clouds[cloud], team);
    if (team.number() == 0) outcomes[cloud].number = number;
#endif
}

// Sampling by rows: neighbouring points are put next to each other, and a sample looks only at the rows of points that it
// may be nearest to. See kernels/rows.cuh.
//
// What bounds it: samples follow from each other, and for each one a warp tests the boxes of all its rows at once, goes
// through those that the sample reaches, and meets the other warps at one barrier. So it is not the arithmetic but the
// time that each of these steps takes to answer: a read of the row from a cache, three reductions over a warp, the barrier.
// Rows are dealt to the warps in turn, so the few neighbouring rows that a sample reaches are spread over the warps. Of
// 30 000 points of a made-up room a sample reaches 18 rows of 938 on average, and the warp that has most of them has two,
// as counted on the host.
//
// `cloud` is a copy, so that what it says stays in registers while results are written.
template <unsigned SLOTS>
__device__ void sample_by_rows(Cloud cloud, Outcome& outcome) {
    __shared__ Furthests furthests[2];
    if (cloud.count == 0) {
        if (threadIdx.x == 0) outcome.number = 0;
        return;
    }
    Rows<SLOTS> rows(cloud.points, cloud.memory, cloud.length);
    Placed latest = {cloud.points[0], 0};
    unsigned number = 0;
    for (;;) {
        if (threadIdx.x == 0) {
            cloud.indices[number] = latest.index;
            cloud.chosen[number] = latest.point;
        }
        ++number;
        if (number == cloud.count) break;
        rows.update(latest.point);
        // Two are used in turn, so one barrier suffices: one is written again only after the barrier of the other.
        Candidate furthest = rows.furthest_of_all(furthests[number % 2]);
        // What is left lies on chosen points.
        if (furthest.distance == 0.0f) break;
        latest = furthest.placed;
    }
    if (threadIdx.x == 0) outcome.number = number;
}

// A block for each cloud, with `memory`, and a row for each lane: at most 32 points a thread.
extern "C" __global__ void __launch_bounds__(THREADS) sample_farthest_by_rows(const Cloud* clouds, Outcome* outcomes) {
    sample_by_rows<1>(clouds[blockIdx.x], outcomes[blockIdx.x]);
}

// The same with two rows for each lane, and any number of points.
extern "C" __global__ void __launch_bounds__(THREADS) sample_farthest_by_long_rows(const Cloud* clouds, Outcome* outcomes) {
    sample_by_rows<2>(clouds[blockIdx.x], outcomes[blockIdx.x]);
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
