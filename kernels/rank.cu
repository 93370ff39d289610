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
    float bias, overlap, in_front, support, most_in_front;
};

// log_odds[i] = what the witnesses say about the i-th candidate, as `log_odds` on the host.
extern "C" __global__ void weigh_candidates(const Agreement* agreements, const Support* supports, unsigned count, Weights weights,
                                            float* log_odds) {
    unsigned i = thread_number();
    if (i >= count) return;
    const Agreement& agreement = agreements[i];
    float overlap = 0.5f * (agreement.source_overlap + agreement.target_overlap);
    float in_front = 0.5f * (agreement.source_in_front + agreement.target_in_front);
    log_odds[i] = weights.bias + weights.overlap * overlap + weights.in_front * fminf(in_front, weights.most_in_front) +
                  weights.support * log1pf(supports[i].score);
}

// The best `most` of `count` candidates, best first. A thread for each counts those before it: higher log-odds in the
// order of `f32::total_cmp`, or equal ones and a lower index. There are a few dozen.
extern "C" __global__ void rank_candidates(const Pose* estimated, const Pose* poses, const Agreement* agreements,
                                           const Support* supports, const float* log_odds, unsigned count, unsigned most,
                                           Candidate* ranked) {
    unsigned i = thread_number();
    if (i >= count) return;
    unsigned own = ascending_bits(log_odds[i]), before = 0;
    for (unsigned other = 0; other < count; ++other) {
        unsigned bits = ascending_bits(log_odds[other]);
        before += bits > own || (bits == own && other < i);
    }
    if (before < most) ranked[before] = {estimated[i], poses[i], agreements[i], supports[i], log_odds[i]};
}

// The poses of candidates before refinement and after it.
extern "C" __global__ void take_poses(const Candidate* candidates, unsigned count, Pose* estimated, Pose* poses) {
    unsigned i = thread_number();
    if (i >= count) return;
    estimated[i] = candidates[i].estimated;
    poses[i] = candidates[i].pose;
}
