//! CPU side: candidates in parallel; the search for the pairs of a single candidate is split into fixed blocks of points.

use rayon::prelude::*;

use super::schedule::Schedule;
use super::step::{Pair, step};
use super::{LEAST_COSINE, RefineOptions, RefinePoses};
use crate::backend::Cpu;
use crate::cloud::Point;
use crate::error::Result;
use crate::geometry::{Pose, apply, dot, rotate, subtract};
use crate::stages::surface::Surface;

/// Points that one task looks at; the result does not depend on it.
const BLOCK: usize = 512;

impl RefinePoses for Cpu {
    fn refine_poses(
        &self,
        source: &Surface<Self>,
        target: &Surface<Self>,
        poses: &Vec<Pose>,
        options: RefineOptions,
    ) -> Result<Vec<Pose>> {
        let places = &source.place[..source.place.len().min(options.samples)];
        let samples: Vec<(Point, Point)> =
            places.iter().map(|&i| (source.points[i as usize], source.normals[i as usize])).collect();
        let schedule = Schedule::new(&options, target.spacing);
        let refine = |pose: &Pose| refine(*pose, &samples, target, &schedule);
        Ok(self.run(|| poses.par_iter().map(refine).collect()))
    }
}

fn refine(mut pose: Pose, samples: &[(Point, Point)], target: &Surface<Cpu>, schedule: &Schedule) -> Pose {
    for (round, &reach) in schedule.reaches.iter().enumerate() {
        let pairs_of = |block: &[(Point, Point)]| {
            let mut pairs = Vec::with_capacity(block.len());
            pairs.extend(block.iter().filter_map(|sample| pair(&pose, sample, target, reach)));
            pairs
        };
        let blocks: Vec<Vec<Pair>> = samples.par_chunks(BLOCK).map(pairs_of).collect();
        let Some(moved) = step(&blocks, &mut pose) else { break };
        if moved < schedule.negligible && round >= schedule.settled {
            break;
        }
    }
    pose
}

fn pair(pose: &Pose, sample: &(Point, Point), target: &Surface<Cpu>, reach: f32) -> Option<Pair> {
    let moved = apply(pose, &sample.0);
    let (i, d2) = target.nearest(&moved, reach)?;
    let normal = target.normals[i];
    let facing = dot(&rotate(pose, &sample.1), &normal).abs();
    let usable = facing > LEAST_COSINE;
    // Geman-McClure, width a third of the reach.
    let weight = (1.0 + 9.0 * d2 / (reach * reach)).powi(-2);
    usable.then(|| Pair { moved, offset: subtract(&moved, &target.points[i]), normal, weight })
}
