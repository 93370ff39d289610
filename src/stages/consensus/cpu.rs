//! CPU side: hypotheses in parallel, matches in vector lanes.

use multiversion::multiversion;
use rayon::prelude::*;

use super::{ScoreHypotheses, Support, Tolerance};
use crate::backend::Cpu;
use crate::cloud::Point;
use crate::error::Result;
use crate::stages::lanes::LANES;
use crate::stages::pose::{Hypotheses, Pose};

impl ScoreHypotheses for Cpu {
    fn score_hypotheses(
        &self,
        poses: &Vec<Pose>,
        anchors: Option<&Vec<Point>>,
        matches: &Hypotheses<Self>,
        tolerance: Tolerance,
    ) -> Result<Vec<Support>> {
        let columns = Columns::new(&matches.source, &matches.target);
        let anchor = |i: usize| anchors.map_or([0.0; 3], |anchors| anchors[i]);
        let support = |(i, pose): (usize, &Pose)| support(&columns, pose, &anchor(i), tolerance);
        Ok(self.run(|| poses.par_iter().enumerate().map(support).collect()))
    }
}

/// Matches as six columns, padded to whole lanes with matches that fit nothing.
struct Columns {
    source: [Vec<f32>; 3],
    target: [Vec<f32>; 3],
}

impl Columns {
    fn new(source: &[Point], target: &[Point]) -> Self {
        let padded = source.len().next_multiple_of(LANES);
        let column = |points: &[Point], axis: usize, padding: f32| {
            let mut column: Vec<f32> = points.iter().map(|p| p[axis]).collect();
            column.resize(padded, padding);
            column
        };
        Self {
            source: [0, 1, 2].map(|axis| column(source, axis, 0.0)),
            target: [0, 1, 2].map(|axis| column(target, axis, f32::INFINITY)),
        }
    }
}

#[multiversion(targets("x86_64+avx512f+avx512bw+avx512cd+avx512dq+avx512vl+fma", "x86_64+avx2+fma"))]
fn support(matches: &Columns, pose: &Pose, anchor: &Point, tolerance: Tolerance) -> Support {
    let mut counts = [0u32; LANES];
    let mut scores = [0f32; LANES];
    let blocks = matches.source[0].len() / LANES;
    for block in 0..blocks {
        let lanes = |column: &Vec<f32>| -> [f32; LANES] {
            column[block * LANES..][..LANES].try_into().expect("a block is LANES long")
        };
        let [x, y, z] = [lanes(&matches.source[0]), lanes(&matches.source[1]), lanes(&matches.source[2])];
        let [u, v, w] = [lanes(&matches.target[0]), lanes(&matches.target[1]), lanes(&matches.target[2])];
        for i in 0..LANES {
            let dx = pose[0] * x[i] + pose[1] * y[i] + pose[2] * z[i] + pose[9] - u[i];
            let dy = pose[3] * x[i] + pose[4] * y[i] + pose[5] * z[i] + pose[10] - v[i];
            let dz = pose[6] * x[i] + pose[7] * y[i] + pose[8] * z[i] + pose[11] - w[i];
            let (ax, ay, az) = (x[i] - anchor[0], y[i] - anchor[1], z[i] - anchor[2]);
            let arm = (ax * ax + ay * ay + az * az).sqrt();
            let limit = tolerance.base + tolerance.slope * arm;
            let ratio = (dx * dx + dy * dy + dz * dz) / (limit * limit);
            counts[i] += u32::from(ratio < 1.0);
            scores[i] += if ratio < 1.0 { 1.0 - ratio } else { 0.0 };
        }
    }
    Support { count: counts.iter().sum(), score: scores.iter().sum() }
}
