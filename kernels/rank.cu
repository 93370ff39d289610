// Candidates by how likely they are right. See src/stages/rank/.
#include "verdict.cuh"

// What is known of a candidate, as the host has it.
struct Candidate {
    Pose estimated;
    Pose pose;
    Agreement agreement;
    Support support;
    float log_odds;
};

// What the witnesses weigh: `Weights` of src/stages/verify/judge.rs.
struct Weights {
    float bias, hold, in_front, support, least_in_front, least_support, most_support;
};

// Threads of a block, as on the host.
constexpr unsigned THREADS = 64;

// What the witnesses say about a candidate, as `log_odds` on the host: both clouds must hold it, free space counts as far as
// either cloud's view can be relied on, hold as far as nothing is in front and it is more than one sample's, support as far as
// it is more than chance gives.
__device__ float log_odds_of(const Agreement& agreement, const Support& support, const Weights& weights, float source_reliance,
                             float target_reliance, float chance, float hold_of_one) {
    float hold = sqrtf(agreement.source_hold * agreement.target_hold);
    float in_front = 0.5f * (target_reliance * agreement.source_in_front + source_reliance * agreement.target_in_front);
    in_front /= weights.least_in_front;
    float beyond_chance = support.score - chance;
    if (beyond_chance < 0.0f) beyond_chance = 0.0f;
    float supported = beyond_chance / (weights.least_support + chance);
    supported = 1.0f / (1.0f / supported + 1.0f / weights.most_support);
    return weights.bias + weights.hold * log1pf(hold / hold_of_one) / (1.0f + in_front) +
           weights.in_front * log1pf(in_front) +
           weights.support * log1pf(supported);
}

// The best `most` of `count` candidates, best first, and their poses before refinement and after it. A thread for each counts
// those before it: higher log-odds in the order of `f32::total_cmp`, or equal ones and a lower index. There are a few dozen,
// so each block weighs all of them.
extern "C" __global__ void __launch_bounds__(THREADS)
rank_candidates(const Pose* estimated, const Pose* poses, const Agreement* agreements, const Support* supports, unsigned count,
                unsigned most, Weights weights, float source_reliance, float target_reliance, float chance, float hold_of_one,
                Candidate* ranked, Pose* ranked_estimated, Pose* ranked_poses) {
    __shared__ unsigned of_others[THREADS];
    unsigned i = thread_number();
    auto odds = [&](unsigned k) {
        return log_odds_of(agreements[k], supports[k], weights, source_reliance, target_reliance, chance, hold_of_one);
    };
    float log_odds = i < count ? odds(i) : 0.0f;
    unsigned own = ascending_bits(log_odds), before = 0;
    for (unsigned first = 0; first < count; first += THREADS) {
        unsigned other = first + threadIdx.x;
        if (other < count) of_others[threadIdx.x] = ascending_bits(odds(other));
        __syncthreads();
        for (unsigned k = 0; k < min(THREADS, count - first); ++k)
            before += of_others[k] > own || (of_others[k] == own && first + k < i);
        __syncthreads();
    }
    if (i >= count || before >= most) return;
    ranked[before] = {estimated[i], poses[i], agreements[i], supports[i], log_odds};
    ranked_estimated[before] = estimated[i];
    ranked_poses[before] = poses[i];
}
