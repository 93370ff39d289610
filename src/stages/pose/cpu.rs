//! CPU side.

use rayon::prelude::*;

use super::{Hypotheses, Placed, Pose, RecoverPoses};
use crate::backend::Cpu;
use crate::cloud::Point;
use crate::error::Result;
use crate::stages::frame::Frame;
use crate::stages::matching::Match;

impl RecoverPoses for Cpu {
    fn recover_poses(
        &self,
        source: Placed<'_, Self>,
        target: Placed<'_, Self>,
        matches: &Vec<Match>,
        angles: &Vec<f32>,
    ) -> Result<Hypotheses<Self>> {
        let recover = |(&[s, t], &angle): (&Match, &f32)| {
            let (s, t) = (s as usize, t as usize);
            let rotation = rotation(&source.frames[s], &target.frames[t], angle);
            place(rotation, source.keypoints[s], target.keypoints[t])
        };
        Ok(Hypotheses {
            poses: self.run(|| matches.par_iter().zip(angles).map(recover).collect()),
            source: matches.iter().map(|m| source.keypoints[m[0] as usize]).collect(),
            target: matches.iter().map(|m| target.keypoints[m[1] as usize]).collect(),
        })
    }

    fn join_hypotheses(&self, parts: &[&Hypotheses<Self>]) -> Result<Hypotheses<Self>> {
        Ok(Hypotheses {
            poses: parts.iter().flat_map(|part| &part.poses).copied().collect(),
            source: parts.iter().flat_map(|part| &part.source).copied().collect(),
            target: parts.iter().flat_map(|part| &part.target).copied().collect(),
        })
    }
}

/// `R_t · R_z(angle) · R_sᵀ`, row-major.
fn rotation(source: &Frame, target: &Frame, angle: f32) -> [f32; 9] {
    let (sin, cos) = angle.sin_cos();
    let mut turned = [0.0; 9];
    for row in 0..3 {
        let t = &target[3 * row..];
        turned[3 * row] = t[0] * cos + t[1] * sin;
        turned[3 * row + 1] = t[1] * cos - t[0] * sin;
        turned[3 * row + 2] = t[2];
    }
    let mut rotation = [0.0; 9];
    for row in 0..3 {
        for column in 0..3 {
            rotation[3 * row + column] = (0..3).map(|k| turned[3 * row + k] * source[3 * column + k]).sum();
        }
    }
    rotation
}

/// Adds the translation that takes `source` to `target`.
fn place(rotation: [f32; 9], source: Point, target: Point) -> Pose {
    let mut pose = [0.0; 12];
    pose[..9].copy_from_slice(&rotation);
    for row in 0..3 {
        let moved: f32 = (0..3).map(|k| rotation[3 * row + k] * source[k]).sum();
        pose[9 + row] = target[row] - moved;
    }
    pose
}
