//! CPU side: candidates in parallel; the search for the pairs of a single candidate is split into fixed blocks of points.

use rayon::prelude::*;

use super::schedule::Schedule;
use super::step::{Pair, step};
use super::{Errors, LEAST_COSINE, LIMIT_MARGIN, RefineOptions, RefinePoses};
use crate::backend::Cpu;
use crate::cloud::Point;
use crate::error::Result;
use crate::geometry::{Pose, apply, distance, dot, rotate, subtract};
use crate::stages::surface::Surface;

/// A source point.
struct Sample {
    point: Point,
    normal: Point,
    variance: f32,
}

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
        let [source_errors, target_errors] = options.errors;
        let sample = |&i: &u32| {
            let (point, normal) = (source.points[i as usize], source.normals[i as usize]);
            Sample { point, normal, variance: source_errors.variance(&point) }
        };
        let samples: Vec<Sample> = places.iter().map(sample).collect();
        let target = Target { surface: target, errors: target_errors };
        let schedule = Schedule::new(&options, target.surface.spacing);
        let refine = |pose: &Pose| refine(*pose, &samples, &target, &schedule);
        Ok(self.run(|| poses.par_iter().map(refine).collect()))
    }
}

/// What samples are laid on.
struct Target<'a> {
    surface: &'a Surface<Cpu>,
    errors: Errors,
}

fn refine(mut pose: Pose, samples: &[Sample], target: &Target, schedule: &Schedule) -> Pose {
    // Which point each sample was nearest to in the round before.
    let mut nearest = vec![None; samples.len()];
    for round in 0..schedule.rounds {
        let reach = schedule.reach(round);
        let pairs_of = |(block, nearest): (&[Sample], &mut [Option<usize>])| {
            let mut pairs = Vec::with_capacity(block.len());
            let pair = |(sample, nearest)| pair(&pose, sample, target, reach, nearest);
            pairs.extend(block.iter().zip(nearest).filter_map(pair));
            pairs
        };
        let blocks = samples.par_chunks(BLOCK).zip(nearest.par_chunks_mut(BLOCK));
        let blocks: Vec<Vec<Pair>> = blocks.map(pairs_of).collect();
        let Some(moved) = step(&blocks, schedule.point_share, &mut pose) else { break };
        if moved < schedule.negligible && round >= schedule.settled {
            break;
        }
    }
    pose
}

fn pair(
    pose: &Pose,
    sample: &Sample,
    target: &Target,
    reach: f32,
    nearest: &mut Option<usize>,
) -> Option<Pair> {
    let Target { surface: target, errors } = target;
    let moved = apply(pose, &sample.point);
    // No further than to the point that was nearest before.
    let limit =
        nearest.map_or(reach, |i| reach.min(distance(&moved, &target.points[i]) + LIMIT_MARGIN * reach));
    let found = target.nearest(&moved, limit);
    *nearest = found.map(|(i, _)| i);
    let (i, d2) = found?;
    let normal = target.normals[i];
    let facing = dot(&rotate(pose, &sample.normal), &normal).abs();
    let usable = facing > LEAST_COSINE;
    // Geman-McClure, width a third of the reach.
    let robust = (1.0 + 9.0 * d2 / (reach * reach)).powi(-2);
    let weight = robust / (sample.variance + errors.variance(&target.points[i]));
    usable.then(|| Pair { moved, offset: subtract(&moved, &target.points[i]), normal, weight })
}
