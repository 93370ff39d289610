//! CPU side: poses in parallel.

use rayon::prelude::*;

use super::{Agreement, MeasureAgreement};
use crate::backend::Cpu;
use crate::error::Result;
use crate::geometry::{Pose, apply, dot, inverse, rotate, subtract};
use crate::stages::surface::Surface;

/// Normals agree when they differ by at most 45°.
const LEAST_COSINE: f32 = 0.7;

impl MeasureAgreement for Cpu {
    fn measure_agreement(
        &self,
        source: &Surface<Self>,
        target: &Surface<Self>,
        poses: &Vec<Pose>,
        samples: usize,
        reach: f32,
    ) -> Result<Vec<Agreement>> {
        let measure = |pose: &Pose| {
            let (source_overlap, rmse) = overlap(source, target, pose, samples, reach);
            let (target_overlap, _) = overlap(target, source, &inverse(pose), samples, reach);
            Agreement { source_overlap, target_overlap, rmse }
        };
        Ok(self.run(|| poses.par_iter().map(measure).collect()))
    }
}

/// Share of `moving`'s samples that lie on `fixed`, and their root mean square distance along its normals.
fn overlap(moving: &Surface<Cpu>, fixed: &Surface<Cpu>, pose: &Pose, samples: usize, reach: f32) -> (f32, f32) {
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
