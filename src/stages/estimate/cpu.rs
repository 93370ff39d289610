//! CPU side: candidates in parallel, each fitted in f64.

use multiversion::multiversion;
use rayon::prelude::*;

use super::rotation::nearest_rotation;
use super::widths::Width;
use super::{EstimateOptions, EstimatePoses};
use crate::backend::Cpu;
use crate::cloud::Point;
use crate::error::Result;
use crate::geometry::{Extent, apply, distance, first_distinct, squared_distance};
use crate::stages::consensus::{Support, Tolerance};
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
        let proposal = |i: usize| Proposal {
            pose: hypotheses.poses[i],
            source: hypotheses.source[i],
            target: hypotheses.target[i],
        };
        let are_distinct = |kept: &Proposal, other: &Proposal| {
            extent.apart(&kept.pose, &other.pose) >= options.distinct
                && !kept.explains(other, options.tolerance)
        };
        let chosen = first_distinct(order.into_iter().map(proposal), options.candidates, are_distinct);
        let widths = options.widths();
        let matches = Matches::new(&hypotheses.source, &hypotheses.target);
        let polished: Vec<Pose> = self.run(|| {
            chosen.par_iter().map(|rough| polish(&rough.pose, &rough.source, &matches, &widths)).collect()
        });
        let again = polished.into_iter().map(|pose| (pose, [0.0; 3]));
        let apart = extent.distinct(again, options.distinct_polished(), options.candidates);
        Ok(apart.into_iter().map(|(pose, _)| pose).collect())
    }
}

/// A hypothesis and the match that suggests it.
struct Proposal {
    pose: Pose,
    source: Point,
    target: Point,
}

impl Proposal {
    /// Whether the other one's match lies within tolerance of this pose.
    fn explains(&self, other: &Self, tolerance: Tolerance) -> bool {
        let limit = tolerance.base + tolerance.slope * distance(&other.source, &self.source);
        squared_distance(&apply(&self.pose, &other.source), &other.target) < limit * limit
    }
}

/// One coordinate of all points after another, so that vector instructions take many points at once.
fn columns(points: &[Point]) -> [Vec<f32>; 3] {
    [0, 1, 2].map(|axis| points.iter().map(|p| p[axis]).collect())
}

/// Matches as points and as columns.
struct Matches<'a> {
    source: &'a [Point],
    target: &'a [Point],
    source_columns: [Vec<f32>; 3],
    target_columns: [Vec<f32>; 3],
}

impl<'a> Matches<'a> {
    fn new(source: &'a [Point], target: &'a [Point]) -> Self {
        Self { source, target, source_columns: columns(source), target_columns: columns(target) }
    }
}

/// Graduated robust fit of all matches, starting from `pose`.
fn polish(pose: &Pose, anchor: &Point, matches: &Matches, widths: &[Width]) -> Pose {
    let mut pose = *pose;
    let mut weights = vec![0.0; matches.source.len()];
    for width in widths {
        weigh(&pose, anchor, matches, width, &mut weights);
        match kabsch(matches.source, matches.target, &weights) {
            Some(better) => pose = better,
            None => break,
        }
    }
    pose
}

/// The weight of every match, by how well `pose` lays its source onto its target.
#[multiversion(targets("x86_64+avx512f+avx512bw+avx512cd+avx512dq+avx512vl+fma", "x86_64+avx2+fma"))]
fn weigh(pose: &Pose, anchor: &Point, matches: &Matches, width: &Width, weights: &mut [f32]) {
    let count = weights.len();
    let [x, y, z] = [0, 1, 2].map(|axis| &matches.source_columns[axis][..count]);
    let [u, v, w] = [0, 1, 2].map(|axis| &matches.target_columns[axis][..count]);
    for i in 0..count {
        let (ax, ay, az) = (x[i] - anchor[0], y[i] - anchor[1], z[i] - anchor[2]);
        let width = width.base + width.slope * (ax * ax + ay * ay + az * az).sqrt();
        let dx = pose[0] * x[i] + pose[1] * y[i] + pose[2] * z[i] + pose[9] - u[i];
        let dy = pose[3] * x[i] + pose[4] * y[i] + pose[5] * z[i] + pose[10] - v[i];
        let dz = pose[6] * x[i] + pose[7] * y[i] + pose[8] * z[i] + pose[11] - w[i];
        let in_widths = (dx * dx + dy * dy + dz * dz).sqrt() / width;
        let ratio = in_widths * in_widths;
        // Geman-McClure: (1 + ratio)⁻².
        let weight = 1.0 / ((1.0 + ratio) * (1.0 + ratio));
        weights[i] = if ratio < 9.0 { weight } else { 0.0 };
    }
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
fn kabsch(source: &[Point], target: &[Point], weights: &[f32]) -> Option<Pose> {
    let mut parts = [Sums::default(); PARTS];
    let mut count = 0;
    for ((s, t), &w) in source.iter().zip(target).zip(weights) {
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
