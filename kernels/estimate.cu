// From hypotheses to candidates. See src/stages/estimate/.
#include "extent.cuh"
#include "geometry.cuh"
#include "rotation.cuh"
#include "verdict.cuh"

// Threads of a block, as on the host's side: of one that ranks, measures or chooses, and of one that polishes.
constexpr unsigned THREADS = EXTENT_THREADS;
constexpr unsigned POLISHING_THREADS = 512;

// keys[i] is the lower, the higher the score. One more block than that takes measures the extent of the source points.
extern "C" __global__ void __launch_bounds__(THREADS)
rank_scores(const Support* support, const Point* source, unsigned length, unsigned long long* keys, Extent* extent) {
    if (blockIdx.x == gridDim.x - 1) {
        Extent found = extent_of_block(source, length);
        if (threadIdx.x == 0) *extent = found;
        return;
    }
    unsigned i = thread_number();
    if (i < length) keys[i] = ~ascending_bits(support[i].score);
}

// A pose and where it puts the centre of an extent.
struct Placed {
    Pose pose;
    Point centre;
};

__device__ __forceinline__ Placed placed(const Pose& pose, const Extent& extent) { return {pose, apply(pose, extent.centre)}; }

// Whether two poses move a point at the mean radius at least `limit` apart (within the root of two).
struct Distinct {
    float radius, limit;
    // Squared distance of the centres beyond which nothing else needs to be looked at. A turn only adds to that distance,
    // unless it is multiplied by infinity.
    float surely;

    __device__ Distinct(float radius, float limit)
        : radius(radius), limit(limit), surely(radius < INFINITY ? 1.001f * limit * limit : INFINITY) {}

    __device__ bool operator()(const Placed& a, const Placed& b) const {
        float shift_squared = squared_length(a.centre - b.centre);
        if (shift_squared > surely) return true;
        float turn = 0.0f;
        for (unsigned k = 0; k < 9; ++k) {
            float difference = a.pose.r[k] - b.pose.r[k];
            turn += difference * difference;
        }
        return sqrtf(shift_squared) + radius * sqrtf(0.5f * turn) >= limit;
    }
};

// Poses to keep apart, by their indices.
struct Poses {
    using Item = Placed;
    const Pose* poses;
    Extent extent;
    Distinct distinct;

    __device__ Poses(const Pose* poses, const Extent& extent, float limit)
        : poses(poses), extent(extent), distinct(extent.radius, limit) {}

    __device__ Item at(unsigned i) const { return placed(poses[i], extent); }

    // Whether `other` is kept beside `kept`.
    __device__ bool apart(const Item& kept, const Item& other) const { return distinct(kept, other); }
};

// A hypothesis and the match that suggests it.
struct Proposal {
    Placed placed;
    Point source, target;
};

// Hypotheses to keep apart: `Proposal` of the host's side.
struct Proposals {
    using Item = Proposal;
    Poses poses;
    const Point* source;
    const Point* target;
    float base, slope;

    __device__ Item at(unsigned i) const { return {poses.at(i), source[i], target[i]}; }

    __device__ bool apart(const Item& kept, const Item& other) const {
        return poses.apart(kept.placed, other.placed) && !explains(kept, other);
    }

    __device__ bool explains(const Item& kept, const Item& other) const {
        float limit = base + slope * sqrtf(squared_length(other.source - kept.source));
        return squared_length(apply(kept.placed.pose, other.source) - other.target) < limit * limit;
    }
};

// What a block of COUNT threads shares while it keeps distinct items.
template <unsigned COUNT, class Item>
struct Keeping {
    Item tile[COUNT];
    // Of every window: those that are apart from all that are kept so far.
    unsigned left[COUNT / WARP];
    // Of the window, for each: which of all are too close to it.
    unsigned close[WARP];
};

// `first_distinct` of the host's side, by one block of COUNT threads: `kept` gets the indices of the first `most` items, in
// the given order (or that of their indices), that are apart from every earlier one that is kept. Returns how many they are.
//
// The block looks at as many items at once as it has threads. They are compared with what was kept before. Then window
// after window, the items of one warp, is settled: all its pairs are compared at once, so that which to keep is known from
// bits alone, and what comes after is compared with what was kept.
template <unsigned COUNT, class Items, class Item = typename Items::Item>
__device__ unsigned keep_distinct(const Items& items, const unsigned* order, unsigned length, unsigned most, unsigned* kept,
                                  Keeping<COUNT, Item>& shared) {
    Item (&tile)[COUNT] = shared.tile;
    unsigned number = 0;
    for (unsigned first = 0; first < length && number < most; first += COUNT) {
        unsigned rank = first + threadIdx.x;
        bool left = rank < length;
        unsigned index = left && order ? order[rank] : rank;
        Item own = left ? items.at(index) : Item{};
        for (unsigned begin = 0; begin < number; begin += COUNT) {
            unsigned loaded = min(number - begin, COUNT);
            if (threadIdx.x < loaded) tile[threadIdx.x] = items.at(kept[begin + threadIdx.x]);
            __syncthreads();
            for (unsigned k = 0; k < loaded && left; ++k) left = items.apart(tile[k], own);
            __syncthreads();
        }
        tile[threadIdx.x] = own;
        unsigned of_warp = __ballot_sync(ALL_LANES, left);
        if (lane_number() == 0) shared.left[warp_number()] = of_warp;
        __syncthreads();
        unsigned windows = (min(length - first, COUNT) + WARP - 1) / WARP;
        for (unsigned window = 0; window < windows && number < most; ++window) {
            // Whole windows of rough hypotheses of a pose that is kept.
            if (shared.left[window] == 0) continue;
            const Item* in_window = tile + window * WARP;
            for (unsigned k = warp_number(); k < WARP; k += COUNT / WARP) {
                unsigned close = __ballot_sync(ALL_LANES, !items.apart(in_window[k], in_window[lane_number()]));
                if (lane_number() == 0) shared.close[k] = close;
            }
            __syncthreads();
            unsigned before = number, chosen = 0;
            for (unsigned open = shared.left[window]; open != 0 && number < most; ++number) {
                unsigned bit = open & -open;
                chosen |= bit;
                open &= ~(bit | shared.close[__ffs(bit) - 1]);
            }
            unsigned chosen_before = chosen & ((1u << lane_number()) - 1);
            if (warp_number() == window && chosen >> lane_number() & 1) kept[before + __popc(chosen_before)] = index;
            if (warp_number() > window) {
                for (; chosen != 0 && left; chosen &= chosen - 1) left = items.apart(in_window[__ffs(chosen) - 1], own);
                of_warp = __ballot_sync(ALL_LANES, left);
                if (lane_number() == 0) shared.left[warp_number()] = of_warp;
            }
            // Also: the next items are compared with what this warp has written.
            __syncthreads();
        }
    }
    return number;
}

// One block: chosen[..*count] = the indices of the first distinct hypotheses in this order. Clears `finished`.
extern "C" __global__ void __launch_bounds__(THREADS)
choose_hypotheses(const Pose* poses, const Point* source, const Point* target, const unsigned* order, unsigned length,
                  const Extent* extent, float limit, float base, float slope, unsigned most, unsigned* chosen, unsigned* count,
                  unsigned* finished) {
    __shared__ Keeping<THREADS, Proposal> shared;
    Proposals proposals = {Poses(poses, *extent, limit), source, target, base, slope};
    unsigned number = keep_distinct(proposals, order, length, most, chosen, shared);
    if (threadIdx.x > 0) return;
    *count = number;
    *finished = 0;
}

// As on the host.
constexpr unsigned ROUNDS = 6;
constexpr unsigned LEAST_MATCHES = 3;
constexpr double POINT = 1e-12;
// Running sums for each term. The host's side has as many.
constexpr unsigned PARTS = 16;
// Terms of the normal equations: the weight, w s, w t, w t s^T.
constexpr unsigned TERMS = 16;
constexpr unsigned SUMMING_THREADS = TERMS * PARTS;
static_assert(SUMMING_THREADS <= POLISHING_THREADS, "each sum has a thread");

// A match's numbers, of which each term is the product of two: one, w s, t, w.
enum Factor : unsigned { ONE, WEIGHTED_SOURCE, TARGET = WEIGHTED_SOURCE + 3, WEIGHT = TARGET + 3, FACTORS };

// Widths of the weights in each round, as the host has them.
struct Widths {
    float base_and_slope[ROUNDS][2];
};

// The factors of term `term`.
__device__ void factors_of(unsigned term, unsigned& first, unsigned& second) {
    first = term == 0 || (term >= 4 && term < 7) ? WEIGHT : WEIGHTED_SOURCE + (term - 1) % 3;
    second = term < 4 ? ONE : term < 7 ? TARGET + term - 4 : TARGET + (term - 7) / 3;
}

__device__ __forceinline__ float geman_mcclure(const Pose& pose, Point anchor, Point s, Point t, float base, float slope) {
    float width = base + slope * sqrtf(squared_length(s - anchor));
    float in_widths = sqrtf(squared_length(apply(pose, s) - t)) / width;
    float ratio = in_widths * in_widths;
    float root = 1.0f + ratio;
    return ratio < 9.0f ? 1.0f / (root * root) : 0.0f;
}

// Matches that a thread weighs before the block adds up those that carry weight.
constexpr unsigned MATCHES_PER_THREAD = 4;
constexpr unsigned POLISHING_WARPS = POLISHING_THREADS / WARP;

// What a block shares while it polishes a pose.
struct Polishing {
    // Of matches that carry weight, side by side in their order.
    double factors[FACTORS][POLISHING_THREADS];
    // Rows in different memory banks.
    double parts[TERMS][PARTS + 1];
    // Over all matches, and these over the weight.
    double sums[TERMS], means[TERMS];
    unsigned of_warps[POLISHING_WARPS];
    Pose pose;
    bool fitted;
};

// The matches that a thread weighs: some in a row for each warp, of which a lane has one of every 32.
struct Weighed {
    Point source[MATCHES_PER_THREAD], target[MATCHES_PER_THREAD];
    float weight[MATCHES_PER_THREAD];
    // Where each comes among those of the block that carry weight, and how many these are.
    unsigned place[MATCHES_PER_THREAD];
    unsigned total;
};

// Weighs `length` matches, at most MATCHES_PER_THREAD for each thread, from the first on.
__device__ Weighed weigh(const Point* source, const Point* target, unsigned length, Point anchor, float base, float slope, Polishing& shared) {
    Weighed found = {};
    unsigned per_warp = (length + POLISHING_THREADS - 1) / POLISHING_THREADS * WARP;
    unsigned of_warp = 0;
#pragma unroll
    for (unsigned n = 0; n < MATCHES_PER_THREAD; ++n) {
        unsigned i = warp_number() * per_warp + n * WARP + lane_number();
        if (n * WARP < per_warp && i < length) {
            found.source[n] = source[i], found.target[n] = target[i];
            found.weight[n] = geman_mcclure(shared.pose, anchor, found.source[n], found.target[n], base, slope);
        }
        unsigned present = __ballot_sync(ALL_LANES, found.weight[n] > 0.0f);
        found.place[n] = of_warp + __popc(present & ((1u << lane_number()) - 1));
        of_warp += __popc(present);
    }
    if (lane_number() == 0) shared.of_warps[warp_number()] = of_warp;
    __syncthreads();
    unsigned before = 0;
    for (unsigned warp = 0; warp < POLISHING_WARPS; ++warp) {
        if (warp < warp_number()) before += shared.of_warps[warp];
        found.total += shared.of_warps[warp];
    }
    // The next call may write.
    __syncthreads();
#pragma unroll
    for (unsigned n = 0; n < MATCHES_PER_THREAD; ++n) found.place[n] += before;
    return found;
}

// Puts down the factors of those matches that carry weight and come `begin` or later among them, as far as there is room.
__device__ void put_factors(const Weighed& found, unsigned begin, Polishing& shared) {
#pragma unroll
    for (unsigned n = 0; n < MATCHES_PER_THREAD; ++n) {
        unsigned place = found.place[n] - begin;
        if (!(found.weight[n] > 0.0f) || place >= POLISHING_THREADS) continue;
        Point s = found.source[n], t = found.target[n];
        double w = found.weight[n];
        shared.factors[WEIGHTED_SOURCE][place] = w * s.x;
        shared.factors[WEIGHTED_SOURCE + 1][place] = w * s.y;
        shared.factors[WEIGHTED_SOURCE + 2][place] = w * s.z;
        shared.factors[TARGET][place] = t.x;
        shared.factors[TARGET + 1][place] = t.y;
        shared.factors[TARGET + 2][place] = t.z;
        shared.factors[WEIGHT][place] = w;
    }
}

// The transform that the sums over all matches ask for; false where they leave it open.
__device__ bool fit(const double (&sums)[TERMS], const double (&over_weight)[TERMS], Pose& pose) {
    double weight = sums[0];
    Vector mean_s = {over_weight[1], over_weight[2], over_weight[3]};
    Vector mean_t = {over_weight[4], over_weight[5], over_weight[6]};
    Vector weighted_t = mean_t * weight;
    const double* cross = sums + 7;
    Vector columns[3] = {Vector{cross[0], cross[3], cross[6]} - weighted_t * mean_s.x,
                         Vector{cross[1], cross[4], cross[7]} - weighted_t * mean_s.y,
                         Vector{cross[2], cross[5], cross[8]} - weighted_t * mean_s.z};
    Vector rows[3];
    if (!nearest_rotation(columns, POINT * weight * sqrt(dot(mean_t, mean_t)) * sqrt(dot(mean_s, mean_s)), rows)) return false;
    double means[3] = {mean_t.x, mean_t.y, mean_t.z};
    for (unsigned row = 0; row < 3; ++row) {
        pose.r[3 * row] = static_cast<float>(rows[row].x);
        pose.r[3 * row + 1] = static_cast<float>(rows[row].y);
        pose.r[3 * row + 2] = static_cast<float>(rows[row].z);
        pose.t[row] = static_cast<float>(means[row] - dot(rows[row], mean_s));
    }
    return true;
}

// Graduated robust fitting of all matches, by the whole block, from and to the pose in shared memory.
//
// Matches that carry weight are put side by side in their order. Then each thread adds up one term of every sixteenth of
// them, which is the order of the host's sums. Most of the time goes to one thread's steps towards the rotation, of which
// each waits for the last.
__device__ void polish(const Point* source, const Point* target, unsigned matches, Point anchor, const Widths& widths, Polishing& shared) {
    shared.factors[ONE][threadIdx.x] = 1.0;
    unsigned term = threadIdx.x / PARTS, part = threadIdx.x % PARTS;
    unsigned one, other;
    factors_of(min(term, TERMS - 1), one, other);
    for (unsigned round = 0; round < ROUNDS; ++round) {
        float base = widths.base_and_slope[round][0], slope = widths.base_and_slope[round][1];
        double sum = 0.0;
        unsigned weighted = 0;
        constexpr unsigned AT_ONCE = POLISHING_THREADS * MATCHES_PER_THREAD;
        for (unsigned first = 0; first < matches; first += AT_ONCE) {
            Weighed found = weigh(source + first, target + first, min(matches - first, AT_ONCE), anchor, base, slope, shared);
            for (unsigned begin = 0; begin < found.total; begin += POLISHING_THREADS) {
                put_factors(found, begin, shared);
                __syncthreads();
                unsigned put = min(found.total - begin, POLISHING_THREADS);
                // Parts go round over all matches of weight, not over those that are put down together.
                if (term < TERMS) {
#pragma unroll 4
                    for (unsigned j = (part - weighted) % PARTS; j < put; j += PARTS)
                        sum += shared.factors[one][j] * shared.factors[other][j];
                }
                weighted += put;
                __syncthreads();
            }
        }
        if (term < TERMS) shared.parts[term][part] = sum;
        __syncthreads();
        if (warp_number() == 0) {
            double whole = 0.0;
            for (unsigned k = 0; k < PARTS; ++k) whole += shared.parts[lane_number() % TERMS][k];
            double weight = __shfl_sync(ALL_LANES, whole, 0);
            if (lane_number() < TERMS) {
                shared.sums[lane_number()] = whole;
                shared.means[lane_number()] = whole / weight;
            }
            __syncwarp();
            if (threadIdx.x == 0) shared.fitted = weighted >= LEAST_MATCHES && fit(shared.sums, shared.means, shared.pose);
        }
        __syncthreads();
        if (!shared.fitted) break;
    }
}

// Polishes pose `chosen[c]` for every `c` below `*count`, a block for each; further blocks have nothing to do. The last
// block to finish then keeps what is still distinct: kept[..*kept_count], in the order of `chosen`, where the indices
// among the polished ones go to `indices`.
extern "C" __global__ void __launch_bounds__(POLISHING_THREADS, 1)
polish_candidates(const Pose* poses, const Point* source, const Point* target, unsigned matches, const unsigned* chosen,
                  const unsigned* count, Widths widths, const Extent* extent, float limit, unsigned* finished, Pose* polished,
                  unsigned* indices, Pose* kept, unsigned* kept_count) {
    // One after the other.
    __shared__ union {
        Polishing polishing;
        Keeping<POLISHING_THREADS, Placed> keeping;
    } shared;
    __shared__ bool is_last;
    unsigned candidates = *count;
    if (blockIdx.x >= candidates) return;
    unsigned hypothesis = chosen[blockIdx.x];
    if (threadIdx.x == 0) shared.polishing.pose = poses[hypothesis];
    __syncthreads();
    polish(source, target, matches, source[hypothesis], widths, shared.polishing);
    if (threadIdx.x == 0) {
        polished[blockIdx.x] = shared.polishing.pose;
        __threadfence();
        is_last = atomicAdd(finished, 1u) == candidates - 1;
        __threadfence();
    }
    __syncthreads();
    if (!is_last) return;
    Poses all_polished(polished, *extent, limit);
    unsigned number = keep_distinct(all_polished, nullptr, candidates, candidates, indices, shared.keeping);
    for (unsigned i = threadIdx.x; i < number; i += POLISHING_THREADS) kept[i] = polished[indices[i]];
    if (threadIdx.x == 0) *kept_count = number;
}
