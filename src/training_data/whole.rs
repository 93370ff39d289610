//! All patches of both clouds of a scene, for validation by matching.

use super::file::{Content, Tensor};
use super::patches::FramedPatches;
use super::scene::Scene;
use crate::backend::Cpu;
use crate::cloud::Point;
use crate::error::Result;
use crate::pipeline::scan::Prepared;
use crate::stages::frame::{Frame, Orientation};

/// Keypoints of a cloud: fewer than the pipeline takes, for speed.
const KEYPOINTS: usize = 500;
/// Shares of the cloud in a patch: those of the pipeline, and a small one that is hard.
const SHARES: [f32; 3] = [0.05, 0.02, 0.005];

/// Both clouds as the pipeline looks at them first.
pub(super) fn tensors(scene: &Scene) -> Result<Content> {
    let radii = scene.radii(&SHARES)?;
    let axes = scene.axes[0];
    let source = Side::new(scene, &scene.source, &radii, axes.0)?;
    let target = Side::new(scene, &scene.target, &radii, axes.1)?;
    let rows = (source.keypoints.len() + target.keypoints.len()) as u64;
    let tensors = vec![
        Tensor::of("source_offsets", &source.offsets),
        Tensor::of("source_count", &source.count),
        Tensor::of("source_frame", &source.frames),
        Tensor::of("source_keypoint", &source.keypoints),
        Tensor::of("target_offsets", &target.offsets),
        Tensor::of("target_count", &target.count),
        Tensor::of("target_frame", &target.frames),
        Tensor::of("target_keypoint", &target.keypoints),
        Tensor::of("target_from_source", &scene.target_from_source),
        Tensor::of("radius", &radii),
    ];
    Ok(Content { metadata: scene.metadata(), tensors, rows })
}

/// One cloud's fields.
struct Side {
    keypoints: Vec<Point>,
    offsets: Vec<[i16; 3]>,
    count: Vec<i32>,
    frames: Vec<Frame>,
}

impl Side {
    fn new(scene: &Scene, cloud: &Prepared<Cpu>, radii: &[f32], orientation: Orientation) -> Result<Self> {
        // A prefix of furthest points is furthest points.
        let keypoints = cloud.keypoints[..cloud.keypoints.len().min(KEYPOINTS)].to_vec();
        let (mut offsets, mut count, mut frames) = (Vec::new(), Vec::new(), Vec::new());
        for &radius in radii {
            let framed = FramedPatches::new(&scene.pipeline.backend, cloud, &keypoints, radius, orientation)?;
            for i in 0..keypoints.len() {
                offsets.extend(framed.stored(i));
                count.push(framed.offsets(i).len() as i32);
            }
            frames.extend(framed.frames);
        }
        Ok(Self { keypoints, offsets, count, frames })
    }
}
