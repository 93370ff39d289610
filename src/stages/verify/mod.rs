//! How well the clouds themselves agree under a pose, and whether that can be relied on.

mod cpu;

use super::surface::Surface;
use super::viewpoint::RangeImage;
use crate::backend::Device;
use crate::error::Result;
use crate::geometry::Pose;

/// What the clouds say about a pose.
#[derive(Debug, Clone, Copy, PartialEq, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(C)]
pub struct Agreement {
    /// Share of source samples with a target point in reach whose normal agrees, 0..1.
    pub source_overlap: f32,
    /// Share of target samples with a source point in reach whose normal agrees, 0..1.
    pub target_overlap: f32,
    /// Root mean square distance along the target's normals over the overlapping source samples.
    pub rmse: f32,
    /// Share of source samples that stand in front of what the target saw, 0..1.
    pub source_in_front: f32,
    /// Share of target samples that stand in front of what the source saw, 0..1.
    pub target_in_front: f32,
    /// Share of source samples in directions in which the target saw something, 0..1.
    pub source_in_view: f32,
    /// Share of target samples in directions in which the source saw something, 0..1.
    pub target_in_view: f32,
}

impl Agreement {
    /// Lab.
    pub fn quality(&self) -> f32 {
        let w: f32 = std::env::var("FW").map_or(1.0, |x| x.parse().unwrap());
        0.5 * (self.source_overlap + self.target_overlap)
            - w * 0.5 * (self.source_in_front + self.target_in_front)
    }
}

/// A cloud as verification sees it.
pub struct Scene<'a, D: Device + ?Sized> {
    /// Its surface.
    pub surface: &'a Surface<D>,
    /// What it saw.
    pub view: &'a RangeImage<D>,
}

/// See the module.
pub trait MeasureAgreement: Device {
    /// The agreement under each pose, over the first `samples` points of each cloud, pairing points within
    /// `reach` (at most one cell of the surfaces' grids).
    fn measure_agreement(
        &self,
        source: Scene<'_, Self>,
        target: Scene<'_, Self>,
        poses: &Self::Buffer<Pose>,
        samples: usize,
        reach: f32,
    ) -> Result<Self::Buffer<Agreement>>;
}
