//! From witnesses to a verdict. Host work on a few numbers per candidate.

use bytemuck::{Pod, Zeroable};
use nalgebra::{DMatrix, Matrix6, SymmetricEigen, Vector3};

use super::{Agreement, Observation};
use crate::stages::consensus::Support;

/// Weights of the witnesses in the log-odds that a candidate is right, rounded from a fit to 600 simulated pairs of all
/// kinds, those that `training/fit_judge.py` names. There the mean negative log-likelihood of the confidence is 0.082;
/// that of the best weights is 0.073, but they trust the overlap four times as much, and so a wrong pose of a cloud of a
/// hundred points (`different_densities` in tests/bad_input.rs).
pub(in crate::stages) const WEIGHTS: Weights =
    Weights { bias: -1.8, overlap: 0.6, in_front: -60.0, support: 1.8, most_in_front: 0.15 };

/// What the witnesses weigh. Kernels have the same: `Weights` in `kernels/rank.cu`.
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
pub(in crate::stages) struct Weights {
    bias: f32,
    overlap: f32,
    in_front: f32,
    support: f32,
    /// The free-space witness may be mistaken about the viewpoint, so its veto is bounded.
    most_in_front: f32,
}

/// Log-odds that a candidate is right, from what the clouds and the matches say about it alone.
pub fn log_odds(agreement: &Agreement, support: &Support) -> f32 {
    let overlap = 0.5 * (agreement.source_overlap + agreement.target_overlap);
    let in_front = 0.5 * (agreement.source_in_front + agreement.target_in_front);
    WEIGHTS.bias
        + WEIGHTS.overlap * overlap
        + WEIGHTS.in_front * in_front.min(WEIGHTS.most_in_front)
        + WEIGHTS.support * support.score.ln_1p()
}

/// Calibration of the choice among candidates (Platt scaling) on the same pairs, 62 of which do not overlap.
const CALIBRATION_SLOPE: f64 = 2.9;
const CALIBRATION_BIAS: f64 = -0.2;

/// Probability that the first of some distinct candidates is right, given the log-odds of each. At most one is, so
/// its odds stand against all others' and against none being right; what they give is then calibrated.
pub fn confidence(log_odds: &[f32]) -> f64 {
    let Some((first, others)) = log_odds.split_first() else { return 0.0 };
    let rivals = 1.0 + others.iter().map(|x| f64::from(*x).exp()).sum::<f64>();
    let chosen = f64::from(*first) - rivals.ln();
    1.0 / (1.0 + (-CALIBRATION_SLOPE * chosen - CALIBRATION_BIAS).exp())
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

/// The motions that leave the overlapping surfaces on each other: the null directions of the normal matrix, with
/// rotations in units of the overlap's radius (Gelfand et al., "Geometrically stable sampling", 3DIM 2003).
pub fn free_motions(observation: &Observation) -> Vec<FreeMotion> {
    if observation.count < 1.0 || observation.radius <= 0.0 {
        return Vec::new();
    }
    let scale = |k: usize| if k < 3 { 1.0 / observation.radius } else { 1.0 };
    let matrix = Matrix6::from_fn(|r, c| {
        observation.normal_matrix[6 * r + c] * scale(r) * scale(c) / observation.count
    });
    let eigen = SymmetricEigen::new(matrix);
    let free: Vec<usize> = (0..6).filter(|&k| eigen.eigenvalues[k] < LEAST_OBSERVED).collect();
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
