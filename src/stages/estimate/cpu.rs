//! CPU side: candidates in parallel, each fitted in f64.

use nalgebra::{Matrix3, Vector3};
use rayon::prelude::*;

use super::{EstimateOptions, EstimatePoses};
use crate::backend::Cpu;
use crate::cloud::Point;
use crate::error::Result;
use crate::geometry::{Extent, apply, distance, to_vector};
use crate::stages::consensus::Support;
use crate::stages::pose::{Hypotheses, Pose};

/// Rounds of reweighting.
const ROUNDS: usize = 6;
/// Matches lie on a line, and leave the turn about it open, when their width is below the root of this share of
/// their length.
const LINE: f64 = 1e-6;
/// They lie on one point when their spread is below this share of the squared distance from the origin: rounding.
const POINT: f64 = 1e-12;

impl EstimatePoses for Cpu {
    fn estimate_poses(
        &self,
        hypotheses: &Hypotheses<Self>,
        support: &Vec<Support>,
        options: EstimateOptions,
    ) -> Result<Vec<Pose>> {
        let extent = Extent::of(&hypotheses.source);
        let mut order: Vec<usize> = (0..support.len()).collect();
        order.sort_by(|&a, &b| support[b].score.total_cmp(&support[a].score).then(a.cmp(&b)));
        let ranked = order.into_iter().map(|i| (hypotheses.poses[i], hypotheses.source[i]));
        let chosen = extent.distinct(ranked, options.distinct, options.candidates);
        let polished: Vec<Pose> = self.run(|| {
            chosen.par_iter().map(|(pose, anchor)| polish(pose, anchor, hypotheses, &options)).collect()
        });
        let again = polished.into_iter().map(|pose| (pose, [0.0; 3]));
        let apart = extent.distinct(again, 0.3 * options.distinct, options.candidates);
        Ok(apart.into_iter().map(|(pose, _)| pose).collect())
    }
}

/// Graduated robust fit of all matches, starting from `pose`.
fn polish(pose: &Pose, anchor: &Point, matches: &Hypotheses<Cpu>, options: &EstimateOptions) -> Pose {
    let mut pose = *pose;
    for round in 0..ROUNDS {
        let late = round as f32 / (ROUNDS - 1) as f32;
        let slope = options.tolerance.slope * (1.0 - late);
        let base = options.tolerance.base * (options.precision / options.tolerance.base).powf(late);
        let weight = |s: &Point, t: &Point| {
            let width = base + slope * distance(s, anchor);
            let ratio = (distance(&apply(&pose, s), t) / width).powi(2);
            // Geman-McClure: (1 + ratio)⁻².
            if ratio < 9.0 { (1.0 + ratio).powi(-2) } else { 0.0 }
        };
        match kabsch(&matches.source, &matches.target, weight) {
            Some(better) => pose = better,
            None => break,
        }
    }
    pose
}

/// The rigid transform that minimises `Σ w |R s + t − t'|²` (Kabsch 1976, Umeyama 1991 without scale).
/// `None` when fewer than three matches carry weight or these leave the rotation open (one point, a line).
fn kabsch(source: &[Point], target: &[Point], weight: impl Fn(&Point, &Point) -> f32) -> Option<Pose> {
    let (mut sum, mut count) = (0.0, 0);
    let (mut mean_s, mut mean_t, mut cross) = (Vector3::zeros(), Vector3::zeros(), Matrix3::zeros());
    for (s, t) in source.iter().zip(target) {
        let w = f64::from(weight(s, t));
        if w > 0.0 {
            let (s, t) = (to_vector(s), to_vector(t));
            sum += w;
            count += 1;
            mean_s += w * s;
            mean_t += w * t;
            cross += w * t * s.transpose();
        }
    }
    if count < 3 {
        return None;
    }
    mean_s /= sum;
    mean_t /= sum;
    let least_spread = POINT * sum * mean_t.norm() * mean_s.norm();
    let rotation = nearest_rotation(&(cross - sum * mean_t * mean_s.transpose()), least_spread)?;
    let translation = mean_t - rotation * mean_s;
    let mut pose = [0.0; 12];
    for row in 0..3 {
        for column in 0..3 {
            pose[3 * row + column] = rotation[(row, column)] as f32;
        }
        pose[9 + row] = translation[row] as f32;
    }
    Some(pose)
}

/// The rotation `R` that maximises `trace(Rᵀ M)`, if there is only one; singular values up to `least` are zero.
fn nearest_rotation(matrix: &Matrix3<f64>, least: f64) -> Option<Matrix3<f64>> {
    let svd = matrix.try_svd(true, true, f64::EPSILON, 100)?;
    let [largest, second] = [svd.singular_values[0], svd.singular_values[1]];
    if second <= least.max(LINE * largest) {
        return None;
    }
    let (u, v_t) = (svd.u?, svd.v_t?);
    let mut sign = Matrix3::identity();
    sign[(2, 2)] = (u * v_t).determinant().signum();
    let rotation = u * sign * v_t;
    rotation.iter().all(|x| x.is_finite()).then_some(rotation)
}
