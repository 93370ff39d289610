//! CPU side: candidates in parallel, each fitted in f64.

use rayon::prelude::*;

use super::rotation::nearest_rotation;
use super::widths::Width;
use super::{EstimateOptions, EstimatePoses};
use crate::backend::Cpu;
use crate::cloud::Point;
use crate::error::Result;
use crate::geometry::{Extent, apply, distance};
use crate::stages::consensus::Support;
use crate::stages::pose::{Hypotheses, Pose};

/// Matches lie on one point when their spread is below this share of the squared distance from the origin: rounding.
const POINT: f64 = 1e-12;
/// Running sums of the matches that carry weight, each of which takes every sixteenth: so that a block of a device's
/// threads can sum in the same order.
const PARTS: usize = 16;
/// Fewer matches do not determine a pose.
const LEAST_MATCHES: usize = 3;

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
        let widths = options.widths();
        let polished: Vec<Pose> = self.run(|| {
            chosen.par_iter().map(|(pose, anchor)| polish(pose, anchor, hypotheses, &widths)).collect()
        });
        let again = polished.into_iter().map(|pose| (pose, [0.0; 3]));
        let apart = extent.distinct(again, options.distinct_polished(), options.candidates);
        Ok(apart.into_iter().map(|(pose, _)| pose).collect())
    }
}

/// Graduated robust fit of all matches, starting from `pose`.
fn polish(pose: &Pose, anchor: &Point, matches: &Hypotheses<Cpu>, widths: &[Width]) -> Pose {
    let mut pose = *pose;
    for width in widths {
        let weight = |s: &Point, t: &Point| {
            let width = width.base + width.slope * distance(s, anchor);
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

/// Weighted sums over matches.
#[derive(Clone, Copy, Default)]
struct Sums {
    weight: f64,
    source: [f64; 3],
    target: [f64; 3],
    /// `Σ w t sᵀ`.
    cross: [[f64; 3]; 3],
}

impl Sums {
    fn add(&mut self, s: &Point, t: &Point, w: f64) {
        let (s, t) = (s.map(|x| w * f64::from(x)), t.map(f64::from));
        self.weight += w;
        for row in 0..3 {
            self.source[row] += s[row];
            self.target[row] += w * t[row];
            for (sum, s) in self.cross[row].iter_mut().zip(s) {
                *sum += t[row] * s;
            }
        }
    }

    fn merge(&mut self, other: &Self) {
        self.weight += other.weight;
        for row in 0..3 {
            self.source[row] += other.source[row];
            self.target[row] += other.target[row];
            for column in 0..3 {
                self.cross[row][column] += other.cross[row][column];
            }
        }
    }
}

/// The rigid transform that minimises `Σ w |R s + t − t'|²` (Kabsch 1976, Umeyama 1991 without scale).
/// `None` when fewer than three matches carry weight or these leave the rotation open (one point, a line).
fn kabsch(source: &[Point], target: &[Point], weight: impl Fn(&Point, &Point) -> f32) -> Option<Pose> {
    let mut parts = [Sums::default(); PARTS];
    let mut count = 0;
    for (s, t) in source.iter().zip(target) {
        let w = weight(s, t);
        if w > 0.0 {
            parts[count % PARTS].add(s, t, f64::from(w));
            count += 1;
        }
    }
    let mut sums = Sums::default();
    parts.iter().for_each(|part| sums.merge(part));
    if count < LEAST_MATCHES { None } else { fitted(&sums) }
}

/// The transform that the sums ask for.
fn fitted(sums: &Sums) -> Option<Pose> {
    let weight = sums.weight;
    let mean_s = sums.source.map(|x| x / weight);
    let mean_t = sums.target.map(|x| x / weight);
    let centred = |row: usize, column: usize| sums.cross[row][column] - weight * mean_t[row] * mean_s[column];
    let covariance = [0, 1, 2].map(|row| [0, 1, 2].map(|column| centred(row, column)));
    let rotation = nearest_rotation(&covariance, POINT * weight * norm(&mean_t) * norm(&mean_s))?;
    let mut pose = [0.0; 12];
    for row in 0..3 {
        let r = rotation[row];
        for column in 0..3 {
            pose[3 * row + column] = r[column] as f32;
        }
        let turned = r[0] * mean_s[0] + r[1] * mean_s[1] + r[2] * mean_s[2];
        pose[9 + row] = (mean_t[row] - turned) as f32;
    }
    Some(pose)
}

fn norm(a: &[f64; 3]) -> f64 {
    (a[0] * a[0] + a[1] * a[1] + a[2] * a[2]).sqrt()
}
