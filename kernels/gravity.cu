// The vertical that a cloud shows. See src/stages/gravity/; the constants are those of the host.
#include "geometry.cuh"
#include "ordered.cuh"

constexpr unsigned THREADS = 1024;
constexpr unsigned WARPS = THREADS / WARP;
// Threads of a block that counts votes; a warp counts those for one trial.
constexpr unsigned COUNTING_THREADS = 256;

constexpr unsigned VOTERS = 2000;
constexpr unsigned TRIALS = 300;
constexpr float ALONG = 0.978f;
constexpr float ACROSS = 0.5f;
constexpr float LEAST_SHARE = 0.15f;
constexpr float LEAST_LEAD = 1.2f;
constexpr float LEAST_ABOVE = 0.7f;

// Voters that a thread of the last kernel has.
constexpr unsigned MINE = 2;
static_assert(VOTERS <= MINE * THREADS, "every voter has a thread");

// A point that has a normal.
struct Voter {
    Point point;
    Point normal;
};

// As the host has it.
struct Vertical {
    Point up;
    unsigned exists;
};

// One block: the first VOTERS points that have a normal, and how many they are. Few points have none, so two or three
// rounds do.
extern "C" __global__ void __launch_bounds__(THREADS)
choose_voters(const Point* points, const Point* normals, const unsigned* places, unsigned length, Voter* voters, unsigned* voter_count) {
    __shared__ unsigned of_warps[WARPS];
    unsigned chosen = 0;
    for (unsigned first = 0; first < length && chosen < VOTERS; first += THREADS) {
        Voter voter = {};
        if (first + threadIdx.x < length) {
            unsigned place = places[first + threadIdx.x];
            voter = {points[place], normals[place]};
        }
        bool votes = voter.normal.x != 0.0f || voter.normal.y != 0.0f || voter.normal.z != 0.0f;
        unsigned voting;
        unsigned number = chosen + place_among_present<THREADS>(votes, of_warps, voting);
        if (votes && number < VOTERS) voters[number] = voter;
        chosen += voting;
    }
    if (threadIdx.x == 0) *voter_count = min(chosen, VOTERS);
}

__device__ __forceinline__ bool lies_along(Point axis, Point normal) { return fabsf(dot(axis, normal)) > ALONG; }

// votes[t] = voters whose normal lies along that of the `t`-th.
extern "C" __global__ void __launch_bounds__(COUNTING_THREADS)
count_votes(const Voter* voters, const unsigned* voter_count, unsigned* votes) {
    unsigned count = *voter_count;
    unsigned trial = thread_number() / WARP;
    if (trial >= min(count, TRIALS)) return;
    Point axis = voters[trial].normal;
    unsigned sum = 0;
    for (unsigned i = lane_number(); i < count; i += WARP) sum += lies_along(axis, voters[i].normal);
    sum = __reduce_add_sync(ALL_LANES, sum);
    if (lane_number() == 0) votes[trial] = sum;
}

// What all threads of the last kernel share.
struct Shared {
    float terms[3][VOTERS];
    float sums[3];
    unsigned most;
    unsigned rival;
};

// The trial with the most votes, the first one on ties.
__device__ unsigned most_voted(Shared& shared, const unsigned* votes, unsigned trials) {
    if (warp_number() == 0) {
        unsigned best = 0;
        for (unsigned i = lane_number(); i < trials; i += WARP) best = max(best, votes[i] * TRIALS + (TRIALS - 1 - i));
        best = __reduce_max_sync(ALL_LANES, best);
        if (lane_number() == 0) shared.most = TRIALS - 1 - best % TRIALS;
    }
    __syncthreads();
    return shared.most;
}

// The most votes for any trial across `axis`.
__device__ unsigned rival_of(Shared& shared, const Voter* voters, const unsigned* votes, unsigned trials, Point axis) {
    if (warp_number() == 0) {
        unsigned most = 0;
        for (unsigned i = lane_number(); i < trials; i += WARP)
            if (fabsf(dot(voters[i].normal, axis)) < ACROSS) most = max(most, votes[i]);
        most = __reduce_max_sync(ALL_LANES, most);
        if (lane_number() == 0) shared.rival = most;
    }
    __syncthreads();
    return shared.rival;
}

// Mean of the normals along `axis`, their signs made equal. Summed in the order of the voters, as on the host; one thread
// for each coordinate does that fast enough.
__device__ Point mean_direction(Shared& shared, const Voter* voters, unsigned count, Point axis) {
    for (unsigned i = threadIdx.x; i < count; i += THREADS) {
        Point normal = voters[i].normal;
        float cosine = dot(axis, normal);
        float sign = fabsf(cosine) > ALONG ? copysignf(1.0f, cosine) : 0.0f;
        shared.terms[0][i] = sign * normal.x;
        shared.terms[1][i] = sign * normal.y;
        shared.terms[2][i] = sign * normal.z;
    }
    __syncthreads();
    if (threadIdx.x < 3) {
        float sum = 0.0f;
#pragma unroll 8
        for (unsigned i = 0; i < count; ++i) sum += shared.terms[threadIdx.x][i];
        shared.sums[threadIdx.x] = sum;
    }
    __syncthreads();
    return normalised({shared.sums[0], shared.sums[1], shared.sums[2]});
}

// Heights of a thread's voters along the axis, and whether they are there and face along it.
struct Heights {
    float height[MINE];
    bool exists[MINE];
    bool faces[MINE];

    __device__ Heights(const Voter* voters, unsigned count, Point axis) {
        for (unsigned k = 0; k < MINE; ++k) {
            unsigned i = threadIdx.x + k * THREADS;
            exists[k] = i < count;
            Voter voter = exists[k] ? voters[i] : Voter{};
            height[k] = dot(voter.point, axis);
            faces[k] = exists[k] && lies_along(axis, voter.normal);
        }
    }

    // How many of the block's voters are as `wanted` says, given the number of one of the thread's own.
    template <class Wanted>
    __device__ unsigned count(Wanted wanted) const {
        unsigned sum = 0;
        for (unsigned k = 0; k < MINE; ++k) sum += __syncthreads_count(wanted(k));
        return sum;
    }
};

// Numbers in the order of the floats (f32::total_cmp of the host), and back.
__device__ __forceinline__ unsigned ordered(float value) {
    unsigned bits = __float_as_uint(value);
    return bits >> 31 ? ~bits : bits | 1u << 31;
}

__device__ __forceinline__ float value_of(unsigned ordered) {
    return __uint_as_float(ordered >> 31 ? ordered & ~(1u << 31) : ~ordered);
}

// The height that is the `rank`-th lowest of those that face along the axis, bit by bit: the largest number that no more
// than `rank` of them lie below.
__device__ float height_of_rank(const Heights& heights, unsigned rank) {
    unsigned found = 0;
    for (unsigned bit = 1u << 31; bit > 0; bit >>= 1) {
        unsigned tried = found | bit;
        unsigned below = heights.count([&](unsigned k) { return heights.faces[k] && ordered(heights.height[k]) < tried; });
        if (below <= rank) found = tried;
    }
    return value_of(found);
}

// `axis` or its opposite, whichever points up; see `upwards` of the host.
__device__ Vertical upwards(const Voter* voters, unsigned count, Point axis) {
    Heights heights(voters, count, axis);
    unsigned ground = heights.count([&](unsigned k) { return heights.faces[k]; });
    if (ground == 0) return {};
    float others = static_cast<float>(max(count - ground, 1u));
    float low = height_of_rank(heights, ground / 5), high = height_of_rank(heights, ground * 4 / 5);
    auto is_other = [&](unsigned k) { return heights.exists[k] && !heights.faces[k]; };
    unsigned above = heights.count([&](unsigned k) { return is_other(k) && heights.height[k] > low; });
    unsigned below = heights.count([&](unsigned k) { return is_other(k) && heights.height[k] < high; });
    bool stands = static_cast<float>(above) / others >= LEAST_ABOVE;
    bool hangs = static_cast<float>(below) / others >= LEAST_ABOVE;
    if (stands == hangs) return {};
    return {stands ? axis : Point{-axis.x, -axis.y, -axis.z}, 1};
}

// `vertical` of the host.
__device__ Vertical vertical(Shared& shared, const Voter* voters, unsigned count, const unsigned* votes) {
    if (count == 0) return {};
    unsigned trials = min(count, TRIALS);
    unsigned most = most_voted(shared, votes, trials);
    Point axis = mean_direction(shared, voters, count, mean_direction(shared, voters, count, voters[most].normal));
    unsigned rival = rival_of(shared, voters, votes, trials, axis);
    float support = static_cast<float>(votes[most]);
    bool leads = support >= LEAST_LEAD * static_cast<float>(rival);
    if (support < LEAST_SHARE * static_cast<float>(count) || !leads) return {};
    return upwards(voters, count, axis);
}

// One block: the vertical that the votes elect.
extern "C" __global__ void __launch_bounds__(THREADS)
elect_vertical(const Voter* voters, const unsigned* voter_count, const unsigned* votes, Vertical* elected) {
    __shared__ Shared shared;
    Vertical found = vertical(shared, voters, *voter_count, votes);
    if (threadIdx.x == 0) *elected = found;
}
