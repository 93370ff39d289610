// From hypotheses to candidates. See src/stages/estimate/.
#include "extent.cuh"
#include "geometry.cuh"
#include "ordered.cuh"
#include "rotation.cuh"
#include "verdict.cuh"

// Threads of a block in all kernels of this file, as on the host's side.
constexpr unsigned THREADS = EXTENT_THREADS;
constexpr unsigned NONE = 0xffffffffu;

// keys[i] is the lower, the higher the score.
extern "C" __global__ void __launch_bounds__(THREADS)
rank_scores(const Support* support, unsigned length, unsigned long long* keys) {
    unsigned i = thread_number();
    if (i < length) keys[i] = ~ascending_bits(support[i].score);
}

// One block: the extent of `length` points.
extern "C" __global__ void __launch_bounds__(THREADS) measure_extent(const Point* points, unsigned length, Extent* extent) {
    Extent found = extent_of_block(points, length);
    if (threadIdx.x == 0) *extent = found;
}

// How far apart two poses move a point at the mean radius, at most (within the root of two).
__device__ float apart(const Extent& extent, const Pose& a, const Pose& b) {
    float shift = sqrtf(squared_length(apply(a, extent.centre) - apply(b, extent.centre)));
    float turn = 0.0f;
    for (unsigned k = 0; k < 9; ++k) {
        float difference = a.r[k] - b.r[k];
        turn += difference * difference;
    }
    return shift + extent.radius * sqrtf(0.5f * turn);
}

// The lowest number of a thread that is a candidate, or NONE. The slot may be used again at once.
__device__ unsigned first_of_block(bool candidate, unsigned& slot) {
    if (threadIdx.x == 0) slot = NONE;
    __syncthreads();
    if (candidate) atomicMin(&slot, threadIdx.x);
    __syncthreads();
    unsigned first = slot;
    __syncthreads();
    return first;
}

// `Extent::distinct`, by one block: `kept` gets the indices of the first `most` poses, in the given order (or that of
// their indices), of which no two are closer than `limit`. Returns how many they are.
//
// The block looks at as many poses at once as it has threads: all are compared with what was kept before, and then,
// while any is left, with the first of those left, which is kept. So the work is spread, and the time is that of about
// one round for each pose that is kept.
__device__ unsigned keep_distinct(const Pose* poses, const unsigned* order, unsigned length, const Extent& extent, float limit,
                                  unsigned most, unsigned* kept) {
    __shared__ unsigned slot;
    unsigned number = 0;
    for (unsigned first = 0; first < length && number < most; first += THREADS) {
        unsigned rank = first + threadIdx.x;
        bool left = rank < length;
        Pose pose = {};
        if (left) pose = poses[order ? order[rank] : rank];
        for (unsigned k = 0; k < number && left; ++k) left = apart(extent, poses[kept[k]], pose) >= limit;
        while (number < most) {
            unsigned next = first_of_block(left, slot);
            if (next == NONE) break;
            unsigned index = order ? order[first + next] : first + next;
            if (threadIdx.x == 0) kept[number] = index;
            ++number;
            left = left && threadIdx.x != next && apart(extent, poses[index], pose) >= limit;
        }
        // The next poses are compared with what one thread has written.
        __syncthreads();
    }
    return number;
}

// One block: chosen[..*count] = the indices of the first distinct poses in this order.
extern "C" __global__ void __launch_bounds__(THREADS)
choose_hypotheses(const Pose* poses, const unsigned* order, unsigned length, const Extent* extent, float limit, unsigned most,
                  unsigned* chosen, unsigned* count) {
    unsigned number = keep_distinct(poses, order, length, *extent, limit, most, chosen);
    if (threadIdx.x == 0) *count = number;
}

// One block: kept[..*kept_count] = the first distinct ones of `*count` poses, whose indices go to `indices`.
extern "C" __global__ void __launch_bounds__(THREADS)
keep_distinct_candidates(const Pose* poses, const unsigned* count, const Extent* extent, float limit, unsigned* indices, Pose* kept,
                         unsigned* kept_count) {
    unsigned number = keep_distinct(poses, nullptr, *count, *extent, limit, *count, indices);
    for (unsigned i = threadIdx.x; i < number; i += THREADS) kept[i] = poses[indices[i]];
    if (threadIdx.x == 0) *kept_count = number;
}

// As on the host.
constexpr unsigned ROUNDS = 6;
constexpr unsigned LEAST_MATCHES = 3;
constexpr double POINT = 1e-12;
// Running sums for each term. The host's side has as many.
constexpr unsigned PARTS = 16;
// Terms of the normal equations: the weight, w s, w t, w t s^T.
constexpr unsigned TERMS = 16;
static_assert(TERMS * PARTS == THREADS, "each thread has one running sum");

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

// The transform that the sums over all matches ask for; false where they leave it open.
__device__ bool fit(const double (&sums)[TERMS], Pose& pose) {
    double weight = sums[0];
    Vector mean_s = {sums[1] / weight, sums[2] / weight, sums[3] / weight};
    Vector mean_t = {sums[4] / weight, sums[5] / weight, sums[6] / weight};
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

// polished[c] = pose `chosen[c]` after graduated robust fitting of all matches; a block for each of `*count` candidates,
// and further blocks have nothing to do.
//
// Of every tile of matches, those that carry weight are put side by side in shared memory, in their order. Each thread
// then adds up one term of every sixteenth of them, which is the order of the host's sums. Bound by f64 arithmetic where
// it is slow (three operations for each term and match of weight), else by the latency of the rounds' barriers.
extern "C" __global__ void __launch_bounds__(THREADS, 1)
polish_candidates(const Pose* poses, const Point* source, const Point* target, unsigned matches, const unsigned* chosen,
                  const unsigned* count, Widths widths, Pose* polished) {
    __shared__ double factors[FACTORS][THREADS];
    __shared__ double parts[TERMS][PARTS];
    __shared__ double sums[TERMS];
    __shared__ unsigned of_warps[THREADS / WARP];
    __shared__ Pose pose;
    __shared__ bool fitted;
    if (blockIdx.x >= *count) return;
    unsigned hypothesis = chosen[blockIdx.x];
    Point anchor = source[hypothesis];
    if (threadIdx.x == 0) pose = poses[hypothesis];
    factors[ONE][threadIdx.x] = 1.0;
    unsigned term = threadIdx.x / PARTS, part = threadIdx.x % PARTS;
    unsigned one, other;
    factors_of(term, one, other);
    __syncthreads();
    for (unsigned round = 0; round < ROUNDS; ++round) {
        float base = widths.base_and_slope[round][0], slope = widths.base_and_slope[round][1];
        double sum = 0.0;
        unsigned weighted = 0;
        for (unsigned first = 0; first < matches; first += THREADS) {
            unsigned i = first + threadIdx.x;
            Point s = {}, t = {};
            float weight = 0.0f;
            if (i < matches) {
                s = source[i], t = target[i];
                weight = geman_mcclure(pose, anchor, s, t, base, slope);
            }
            unsigned total;
            unsigned place = place_among_present<THREADS>(weight > 0.0f, of_warps, total);
            if (weight > 0.0f) {
                double w = weight;
                factors[WEIGHTED_SOURCE][place] = w * s.x;
                factors[WEIGHTED_SOURCE + 1][place] = w * s.y;
                factors[WEIGHTED_SOURCE + 2][place] = w * s.z;
                factors[TARGET][place] = t.x;
                factors[TARGET + 1][place] = t.y;
                factors[TARGET + 2][place] = t.z;
                factors[WEIGHT][place] = w;
            }
            __syncthreads();
            // Parts go round over all matches of weight, not over those of a tile.
            for (unsigned j = (part - weighted) % PARTS; j < total; j += PARTS) sum += factors[one][j] * factors[other][j];
            weighted += total;
            __syncthreads();
        }
        parts[term][part] = sum;
        __syncthreads();
        if (threadIdx.x < TERMS) {
            double whole = 0.0;
            for (unsigned k = 0; k < PARTS; ++k) whole += parts[threadIdx.x][k];
            sums[threadIdx.x] = whole;
        }
        __syncthreads();
        if (threadIdx.x == 0) fitted = weighted >= LEAST_MATCHES && fit(sums, pose);
        __syncthreads();
        if (!fitted) break;
    }
    if (threadIdx.x == 0) polished[blockIdx.x] = pose;
}
