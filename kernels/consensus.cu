// Support of hypotheses among matches. See src/stages/consensus/.
#include "verdict.cuh"

// Lanes that share a hypothesis: as many running sums as on the CPU, where they fill a vector register, so that scores
// are summed in the same order.
constexpr unsigned LANES = 16;
// Threads of a block, as on the host's side, and the hypotheses that it scores.
constexpr unsigned THREADS = 128;
constexpr unsigned HYPOTHESES = THREADS / LANES;
// Matches in shared memory; whole lanes.
constexpr unsigned TILE = 512;

// A match within tolerance counts, and adds to the score what is left of the tolerance.
__device__ __forceinline__ void add_match(const Pose& pose, Point anchor, Point s, Point t, float base, float slope, unsigned& count, float& score) {
    float dx = pose.r[0] * s.x + pose.r[1] * s.y + pose.r[2] * s.z + pose.t[0] - t.x;
    float dy = pose.r[3] * s.x + pose.r[4] * s.y + pose.r[5] * s.z + pose.t[1] - t.y;
    float dz = pose.r[6] * s.x + pose.r[7] * s.y + pose.r[8] * s.z + pose.t[2] - t.z;
    float arm = sqrtf(squared_length(s - anchor));
    float limit = base + slope * arm;
    float squared = dx * dx + dy * dy + dz * dz;
    float most = limit * limit;
    // The same as `squared / most < 1`, however that is rounded, and few matches need the division.
    if (squared < most) {
        ++count;
        score += 1.0f - squared / most;
    }
}

// Copies `count` points to shared memory, number by number: neighbouring threads read neighbouring addresses.
__device__ __forceinline__ void load(const Point* from, unsigned count, Point* to) {
    const float* numbers = reinterpret_cast<const float*>(from);
    float* copies = reinterpret_cast<float*>(to);
    for (unsigned i = threadIdx.x; i < 3 * count; i += THREADS) copies[i] = numbers[i];
}

// support[h] = what the matches (source[i], target[i]) say about poses[h], whose lever arms start at anchors[h], or at the
// origin where there are no anchors.
//
// All matches go through shared memory once for the hypotheses of a block, so this is bound by arithmetic: some sixty
// instructions for a match and a hypothesis, of which the exact root takes a good part.
extern "C" __global__ void __launch_bounds__(THREADS)
score_hypotheses(const Pose* poses, const Point* anchors, unsigned hypotheses, const Point* source, const Point* target,
                 unsigned matches, float base, float slope, Support* support) {
    __shared__ Point source_tile[TILE];
    __shared__ Point target_tile[TILE];
    unsigned lane = threadIdx.x % LANES;
    unsigned wanted = blockIdx.x * HYPOTHESES + threadIdx.x / LANES;
    // Threads without a hypothesis repeat the last one, so that they meet the others at barriers and in shuffles.
    unsigned hypothesis = min(wanted, hypotheses - 1);
    Pose pose = poses[hypothesis];
    Point anchor = {0.0f, 0.0f, 0.0f};
    if (anchors) anchor = anchors[hypothesis];
    unsigned count = 0;
    float score = 0.0f;
    for (unsigned first = 0; first < matches; first += TILE) {
        unsigned length = min(TILE, matches - first);
        load(source + first, length, source_tile);
        load(target + first, length, target_tile);
        __syncthreads();
        for (unsigned i = lane; i < length; i += LANES)
            add_match(pose, anchor, source_tile[i], target_tile[i], base, slope, count, score);
        __syncthreads();
    }
    Support sum = {0, 0.0f};
    for (unsigned other = 0; other < LANES; ++other) {
        sum.count += __shfl_sync(ALL_LANES, count, other, LANES);
        sum.score += __shfl_sync(ALL_LANES, score, other, LANES);
    }
    if (lane == 0 && wanted < hypotheses) support[hypothesis] = sum;
}
