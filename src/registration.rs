//! The answer.

use std::time::Duration;

use crate::transform::RigidTransform;

/// What registering a pair gives.
#[derive(Debug, Clone, PartialEq)]
pub struct Registration {
    /// `T_target_source`: maps source coordinates to target coordinates, `p_target = T · p_source`.
    pub target_from_source: RigidTransform,
    /// Whether the answer can be relied on.
    pub status: Status,
    /// Why it was rejected, one sentence; empty when accepted.
    pub reason: String,
    /// Probability that the transform is right, 0..1, calibrated on simulated pairs.
    pub confidence: f64,
    /// Share of the source's surface that lies on the target's, 0..1.
    pub overlap: f64,
    /// Matches that agree with the transform.
    pub inliers: usize,
    /// Root mean square distance of overlapping surfaces along the target's normal, in the clouds' unit.
    pub inlier_rmse: f64,
    /// Fisher information of (rotation about x, y, z in radians; translation along x, y, z), target
    /// coordinates, about the centre of the overlap; row-major. Units: 1/rad² and 1/length².
    pub information: [[f64; 6]; 6],
    /// The centre of the overlap, target coordinates, in the clouds' unit: with `(ω, v)` the small error that
    /// `information` is about, the right transform maps `p` to `q + ω × (q − centre) + v`, where `q = T_target_source · p`.
    pub information_centre: [f64; 3],
    /// Motions that the overlap does not determine, in words ("translation along (0.00, 1.00, 0.00)").
    pub unobserved: Vec<String>,
    /// Time spent per stage, in the order of execution.
    pub timings: Timings,
    /// What computed it: "cpu", "cuda:0".
    pub device: String,
    /// What the caller should know although there is an answer, a sentence each: points that were left out, a device that
    /// failed so that the CPU took its place.
    pub warnings: Vec<String>,
    /// The seed of the settings. No stage makes a random choice, so it has no part in the answer.
    pub seed: u64,
}

/// Whether a registration can be relied on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// The clouds agree under this transform, and under no other.
    Accepted,
    /// No confident answer; the transform is the best guess.
    Rejected,
}

impl Status {
    /// "accepted" or "rejected".
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::Rejected => "rejected",
        }
    }
}

/// What an answer rests on, for those who want to see why; see [`Engine::register_with_details`].
///
/// [`Engine::register_with_details`]: crate::Engine::register_with_details
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Details {
    /// The keypoints that were matched, of the looks that the answer rests on; a pair of keypoints may come more than
    /// once.
    pub matches: Vec<KeypointMatch>,
    /// Edge of the voxels that both clouds were thinned to, in the clouds' unit.
    pub voxel: f64,
    /// Matches that the transform brings closer than this are inliers, in the clouds' unit.
    pub tolerance: f64,
    /// What speaks for the answer, then for every transform that was compared with it and differs from it, likeliest
    /// first. Empty when no two keypoints matched.
    pub evidence: Vec<Evidence>,
}

/// Two keypoints whose surroundings look alike.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct KeypointMatch {
    /// In the source's file frame.
    pub source: [f64; 3],
    /// In the target's file frame.
    pub target: [f64; 3],
    /// Whether it agrees with the answer; as many as [`Registration::inliers`] do.
    pub inlier: bool,
}

/// What the clouds and the matches say about one transform. Shares are of sampled points, 0..1.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Evidence {
    /// Share of the source that lies on the target's surface.
    pub source_overlap: f64,
    /// Share of the target that lies on the source's surface.
    pub target_overlap: f64,
    /// Share of the source that resists being shifted in the direction in which the least of it does, 0..1/3: near 0 where
    /// nothing but a floor or one wall lies on the target.
    pub source_hold: f64,
    /// The same of the target.
    pub target_hold: f64,
    /// Share of the source that stands where the target's sensor has looked through: it cannot be there.
    pub source_in_front: f64,
    /// Share of the target that stands where the source's sensor has looked through.
    pub target_in_front: f64,
    /// Matches that agree.
    pub inliers: usize,
    /// Log-odds that it is right, taken alone.
    pub log_odds: f64,
}

/// Wall time per stage. A stage that ran several times appears once, with the sum.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Timings {
    /// Stage name and time, in the order of first execution.
    pub stages: Vec<(&'static str, Duration)>,
}

impl Timings {
    /// Adds `spent` to `stage`.
    pub fn add(&mut self, stage: &'static str, spent: Duration) {
        match self.stages.iter_mut().find(|(name, _)| *name == stage) {
            Some((_, total)) => *total += spent,
            None => self.stages.push((stage, spent)),
        }
    }

    /// Runs `work` and adds its time to `stage`.
    pub fn measure<R>(&mut self, stage: &'static str, work: impl FnOnce() -> R) -> R {
        let start = std::time::Instant::now();
        let result = work();
        self.add(stage, start.elapsed());
        result
    }

    /// Adds the times of two pieces of work that were done side by side within `wall`, which their stages share in
    /// proportion to the time that each took.
    pub fn add_both(&mut self, first: &Self, second: &Self, wall: Duration) {
        let share =
            wall.as_secs_f64() / (first.total() + second.total()).as_secs_f64().max(f64::MIN_POSITIVE);
        for (stage, spent) in first.stages.iter().chain(&second.stages) {
            self.add(stage, spent.mul_f64(share.min(1.0)));
        }
    }

    /// Sum over all stages.
    pub fn total(&self) -> Duration {
        self.stages.iter().map(|(_, spent)| *spent).sum()
    }
}
