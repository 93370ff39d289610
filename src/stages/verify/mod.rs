//! How well the clouds themselves agree under a pose, and whether that can be relied on.

mod cpu;

use super::surface::Surface;
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
}

/// See the module.
pub trait MeasureAgreement: Device {
    /// The agreement under each pose, over the first `samples` points of each cloud, pairing points within
    /// `reach` (at most one cell of the surfaces' grids).
    fn measure_agreement(
        &self,
        source: &Surface<Self>,
        target: &Surface<Self>,
        poses: &Self::Buffer<Pose>,
        samples: usize,
        reach: f32,
    ) -> Result<Self::Buffer<Agreement>>;
}
