//! CPU side: poses in parallel.

use rayon::prelude::*;

use super::{Agreement, MeasureAgreement, Scene};
use crate::backend::Cpu;
use crate::error::Result;
use crate::geometry::{Pose, apply, dot, inverse, rotate, subtract};
use crate::stages::surface::Surface;
use crate::stages::viewpoint::RangeImage;

/// Normals agree when they differ by at most 45°.
const LEAST_COSINE: f32 = 0.7;

/// Relative range error that an uncertain viewpoint may cause.
const RANGE_SLACK: f32 = 0.03;

impl MeasureAgreement for Cpu {
    fn measure_agreement(
        &self,
        source: Scene<'_, Self>,
        target: Scene<'_, Self>,
        poses: &Vec<Pose>,
        samples: usize,
        reach: f32,
    ) -> Result<Vec<Agreement>> {
        let measure = |pose: &Pose| {
            let back = inverse(pose);
            let (source_overlap, rmse) = overlap(source.surface, target.surface, pose, samples, reach);
            let (target_overlap, _) = overlap(target.surface, source.surface, &back, samples, reach);
            let (source_in_front, source_in_view) =
                in_front(source.surface, target.view, pose, samples, 2.0 * reach);
            let (target_in_front, target_in_view) =
                in_front(target.surface, source.view, &back, samples, 2.0 * reach);
            Agreement {
                source_overlap,
                target_overlap,
                rmse,
                source_in_front,
                target_in_front,
                source_in_view,
                target_in_view,
            }
        };
        Ok(self.run(|| poses.par_iter().map(measure).collect()))
    }
}

/// Share of `moving`'s samples that lie on `fixed`, and their root mean square distance along its normals.
fn overlap(
    moving: &Surface<Cpu>,
    fixed: &Surface<Cpu>,
    pose: &Pose,
    samples: usize,
    reach: f32,
) -> (f32, f32) {
    let places = &moving.place[..moving.place.len().min(samples)];
    let (mut agreeing, mut squares) = (0u32, 0f32);
    for &place in places {
        let p = apply(pose, &moving.points[place as usize]);
        let Some((i, _)) = fixed.nearest(&p, reach) else { continue };
        let normal = &fixed.normals[i];
        let turned = rotate(pose, &moving.normals[place as usize]);
        if dot(&turned, normal).abs() >= LEAST_COSINE {
            agreeing += 1;
            squares += dot(&subtract(&p, &fixed.points[i]), normal).powi(2);
        }
    }
    (agreeing as f32 / places.len().max(1) as f32, (squares / agreeing.max(1) as f32).sqrt())
}

/// Share of `moving`'s samples that stand in front of what `view` saw by more than `margin`, and share of those in
/// directions in which it saw anything.
fn in_front(
    moving: &Surface<Cpu>,
    view: &RangeImage<Cpu>,
    pose: &Pose,
    samples: usize,
    margin: f32,
) -> (f32, f32) {
    let places = &moving.place[..moving.place.len().min(samples)];
    let (mut front, mut viewed) = (0u32, 0u32);
    for &place in places {
        let (seen, range) = view.seen(&apply(pose, &moving.points[place as usize]));
        if seen.is_finite() {
            viewed += 1;
            front += u32::from(range + margin + RANGE_SLACK * seen < seen);
        }
    }
    let total = places.len().max(1) as f32;
    (front as f32 / total, viewed as f32 / total)
}
