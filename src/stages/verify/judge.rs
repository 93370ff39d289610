//! From witnesses to a verdict. Host work on a few numbers per candidate.

use bytemuck::{Pod, Zeroable};
use nalgebra::{DMatrix, Matrix6, SymmetricEigen, Vector3};

use super::{Agreement, Observation};
use crate::stages::consensus::Support;
use crate::stages::viewpoint::Viewpoint;

/// Weights of the witnesses in the log-odds that a candidate is right, rounded from a fit to simulated pairs of all usual
/// kinds, those that `training/fit_judge.py` names.
pub(in crate::stages) const WEIGHTS: Weights = Weights {
    bias: -8.1,
    hold: 1.7,
    in_front: -0.95,
    support: 2.6,
    least_in_front: 0.0075,
    least_support: 0.5,
    most_support: 100.0,
};

/// What the witnesses weigh. Kernels have the same: `Weights` in `kernels/rank.cu`.
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
pub(in crate::stages) struct Weights {
    bias: f32,
    hold: f32,
    in_front: f32,
    support: f32,
    /// What the share in front is compared with: less than this says little, and beyond it each doubling says as much as the
    /// one before. With so much in front hold counts half: floors and walls hold wrong poses too, shelves and corridors above
    /// all, but the right pose has next to nothing in front.
    least_in_front: f32,
    /// Support beyond chance is compared with what chance gives, and with this where that is next to nothing.
    least_support: f32,
    /// So many times that it counts half, and at most twice as much: what repeats is matched with its likes, all at once.
    most_support: f32,
}

/// What has to be kept in mind about a pair when its candidates are weighed.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Circumstances {
    /// How far it can be relied on that the source's sensor looked through the space before what it saw, 0..1.
    pub source_reliance: f32,
    /// The same of the target's.
    pub target_reliance: f32,
    /// The score that a pose has from matches that agree with it by chance.
    pub chance: f32,
    /// What one sample can hold, which hold is compared with: on few samples chance holds much. See [`hold_of_one`].
    pub hold_of_one: f32,
}

/// A cloud that does not look like a raw scan was seen from several places, and from the one that was estimated for it
/// some of its free space was not looked through. The upper quartiles of what is in front of simulated scans under the right
/// pose are 0.018 for such clouds and 0.0005 for others.
const RELIANCE_ON_MANY_VIEWS: f32 = 0.15;

/// How far what was seen from there can be relied on.
pub fn reliance(viewpoint: &Viewpoint) -> f32 {
    if viewpoint.is_uncertain() { RELIANCE_ON_MANY_VIEWS } else { 1.0 }
}

/// Mean of `1 − (residual / tolerance)²` over matches that lie anywhere within tolerance on a surface.
const MEAN_SCORE_BY_CHANCE: f32 = 0.5;

/// The score that so many wrong matches give a pose, where a point has this share of its cloud within tolerance.
pub fn chance(matches: usize, share: f32) -> f32 {
    MEAN_SCORE_BY_CHANCE * share * matches as f32
}

/// What one sample of each cloud, whose normal is that of the direction, adds to the hold of a pose that is judged on so many.
pub fn hold_of_one(source_samples: usize, target_samples: usize) -> f32 {
    let of_one = |samples: usize| 1.0 / samples.max(1) as f32;
    (of_one(source_samples) * of_one(target_samples)).sqrt()
}

/// Log-odds that a candidate is right, from what the clouds and the matches say about it alone.
pub fn log_odds(agreement: &Agreement, support: &Support, circumstances: &Circumstances) -> f32 {
    let Circumstances { source_reliance, target_reliance, chance, hold_of_one } = *circumstances;
    let hold = (agreement.source_hold * agreement.target_hold).sqrt();
    let in_front =
        0.5 * (target_reliance * agreement.source_in_front + source_reliance * agreement.target_in_front);
    let in_front = in_front / WEIGHTS.least_in_front;
    let beyond_chance = support.score - chance;
    // Not the larger of both: what is not a number remains so.
    let beyond_chance = if beyond_chance < 0.0 { 0.0 } else { beyond_chance };
    let supported = beyond_chance / (WEIGHTS.least_support + chance);
    // Nothing remains nothing, and whatever is infinite is the most.
    let supported = 1.0 / (1.0 / supported + 1.0 / WEIGHTS.most_support);
    WEIGHTS.bias
        + WEIGHTS.hold * (hold / hold_of_one).ln_1p() / (1.0 + in_front)
        + WEIGHTS.in_front * in_front.ln_1p()
        + WEIGHTS.support * supported.ln_1p()
}

/// Calibration of the choice among candidates (Platt scaling), from answers to pairs that `docs/benchmarks.md` names: they are
/// surer than candidates that the network alone finds, which the weights are fitted to.
const CALIBRATION_SLOPE: f64 = 1.2;
const CALIBRATION_BIAS: f64 = 0.5;

/// How often something looks like the right candidate in every respect and is not: things are symmetric and come in several
/// copies. What speaks for a candidate beyond that says nothing against a rival for which as much speaks.
const LOOKALIKES: f64 = 0.0025;

/// Probability that the first of some distinct candidates is right, given the log-odds of each. At most one is, so
/// its odds stand against all others' and against none being right; what they give is then calibrated.
pub fn confidence(log_odds: &[f32]) -> f64 {
    let odds = |log_odds: &f32| 1.0 / ((-f64::from(*log_odds)).exp() + LOOKALIKES);
    let Some((first, others)) = log_odds.split_first() else { return 0.0 };
    let chosen = (odds(first) / (1.0 + others.iter().map(odds).sum::<f64>())).ln();
    1.0 / (1.0 + (-CALIBRATION_SLOPE * chosen - CALIBRATION_BIAS).exp())
}

/// What is left uncovered is compared with this: surfaces that were sampled apart cover each other but for so much.
const LEAST_UNCOVERED: f32 = 0.02;
/// A rival may leave so many times as much uncovered as the best candidate before that speaks against it, and then so much
/// for each e-fold. Clouds that overlap in part leave too much uncovered for any rival to leave more by this factor.
const UNCOVERED_BY_LIKES: f32 = 4.0;
const UNCOVERED_WEIGHT: f32 = 2.0;

/// What speaks against a rival of the best candidate because that lays the clouds on each other as a whole, and it does not,
/// in log-odds. Parts of one cloud look alike, and one laid on another has much that speaks for it; that everything else fits
/// as well, at a place that is wrong, happens only to what is symmetric as a whole.
pub fn shortfall(best: &Agreement, rival: &Agreement) -> f32 {
    let uncovered = |a: &Agreement| 1.0 - (a.source_overlap * a.target_overlap).sqrt() + LEAST_UNCOVERED;
    let ratio = uncovered(rival) / uncovered(best);
    UNCOVERED_WEIGHT * (ratio / UNCOVERED_BY_LIKES).ln().max(0.0)
}

/// A motion that the overlap does not determine.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum FreeMotion {
    /// Rotation about this unit axis through the centre of the overlap, target coordinates.
    Rotation(Vector3<f64>),
    /// Translation along this unit axis, target coordinates.
    Translation(Vector3<f64>),
}

/// A motion is unobserved when the mean squared cosine between it and the normals it would have to move against is
/// below this: normals of a plane that are off by 3° leave 0.003.
const LEAST_OBSERVED: f64 = 0.003;

/// Where relief counts, as little as this is enough for a motion to be observed: what relief leaves that tilts normals by
/// 0.4°.
const LEAST_RELIEF: f64 = 5e-5;

/// Relief is what both clouds show: the squared difference between their normals, in the direction of a motion, is less
/// than so many times the squared normal. Of independent noise it is twice that, which a correlation of 0.3 lowers to this.
const MOST_DIFFERENT: f64 = 1.4;

/// The motions that leave the overlapping surfaces on each other: the null directions of the normal matrix, with
/// rotations in units of the overlap's radius (Gelfand et al., "Geometrically stable sampling", 3DIM 2003).
///
/// Noise of normals looks as if it held a motion, so a direction that is nearly null counts as null. Yet noise is each
/// cloud's own, and relief is common to both: where `relief_counts`, a motion is also observed by little, if the normals of
/// both clouds have that in common. The sampling patterns of one sensor can be common too, and bend normals alike where
/// there is no relief (the rings of a LiDAR in a tunnel), so the caller decides.
pub fn free_motions(observation: &Observation, relief_counts: bool) -> Vec<FreeMotion> {
    if observation.count < 1.0 || observation.radius <= 0.0 {
        return Vec::new();
    }
    let scale = |k: usize| if k < 3 { 1.0 / observation.radius } else { 1.0 };
    let scaled = |matrix: &[f64; 36]| {
        Matrix6::from_fn(|r, c| matrix[6 * r + c] * scale(r) * scale(c) / observation.count)
    };
    let eigen = SymmetricEigen::new(scaled(&observation.normal_matrix));
    let differences = scaled(&observation.difference_matrix);
    let is_relief = |k: usize| {
        let (held, motion) = (eigen.eigenvalues[k], eigen.eigenvectors.column(k));
        held >= LEAST_RELIEF && motion.dot(&(differences * motion)) < MOST_DIFFERENT * held
    };
    let is_free = |&k: &usize| eigen.eigenvalues[k] < LEAST_OBSERVED && !(relief_counts && is_relief(k));
    let free: Vec<usize> = (0..6).filter(is_free).collect();
    if free.is_empty() {
        return Vec::new();
    }
    // Any mixture of free motions is free, so the eigenvectors themselves mean little. The combinations that turn
    // least and most are the translations and rotations they are made of.
    let basis = DMatrix::from_fn(6, free.len(), |r, c| eigen.eigenvectors[(r, free[c])]);
    let turning = basis.rows(0, 3).transpose() * basis.rows(0, 3);
    let mixtures = SymmetricEigen::new(turning);
    let mut order: Vec<usize> = (0..free.len()).collect();
    order.sort_by(|&a, &b| mixtures.eigenvalues[a].total_cmp(&mixtures.eigenvalues[b]));
    order
        .into_iter()
        .map(|k| {
            let motion = &basis * mixtures.eigenvectors.column(k);
            if mixtures.eigenvalues[k] > 0.5 {
                FreeMotion::Rotation(Vector3::new(motion[0], motion[1], motion[2]).normalize())
            } else {
                FreeMotion::Translation(Vector3::new(motion[3], motion[4], motion[5]).normalize())
            }
        })
        .collect()
}
