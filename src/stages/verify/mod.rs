//! How well the clouds themselves agree under a pose, and whether that can be relied on.
//!
//! Three witnesses are heard about every candidate: how firmly the surfaces that lie on each other hold it (hold), how
//! much of each stands in front of what the other saw (free space), and how many matches agree (support). The overlap
//! by itself is deceived: rooms and streets are full of walls and floors that lie on each other under wrong poses. So it
//! counts as far as it resists being shifted in any direction, which a floor alone does not. Free space is not deceived:
//! a scan has looked through the space before its surfaces, and nothing of the other scan may stand there. [`judge`]
//! weighs the three.

mod cpu;
mod cuda;
mod information;
pub mod judge;

pub use information::{information, rotation_deviation};

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
    /// How firmly the source's samples hold the pose: the least eigenvalue of `Σ n nᵀ / N` over those that overlap,
    /// where `n` are the target's normals there and `N` is the number of all samples. The share of the samples that
    /// resist a shift in the direction in which the fewest do; 0 for a plane, 0..1/3.
    pub source_hold: f32,
    /// The same for the target's samples and the source's normals.
    pub target_hold: f32,
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

/// A cloud as verification sees it.
pub struct Scene<'a, D: Device + ?Sized> {
    /// Its surface.
    pub surface: &'a Surface<D>,
    /// What it saw.
    pub view: &'a RangeImage<D>,
    /// The finest detail of the clouds, which sets how exactly things can be said: the voxel edge of the fine
    /// surface, whichever `surface` is.
    pub spacing: f32,
}

impl<D: Device + ?Sized> Clone for Scene<'_, D> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<D: Device + ?Sized> Copy for Scene<'_, D> {}

/// Samples of the overlap are grouped, so that those of a group lie near each other and face one way. Space is cut into cubes
/// whose edge is the largest power of two that is at most half the overlap's radius; those whose numbers along every axis
/// agree modulo four are a block. A group is what lies in one of the 64 blocks and has its normal along the same axis most,
/// the first of several.
pub const GROUPS: usize = 64 * 3;

/// What the overlap of two surfaces says about their relative motion.
#[derive(Debug, Clone, Copy, PartialEq, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(C)]
pub struct Observation {
    /// `Σ J Jᵀ` over the overlapping source samples, `J = (arm × n, n)` with the arm from `centre` and the target's
    /// normal `n`: what point-to-plane distances say about (rotation, translation). Row-major.
    pub normal_matrix: [f64; 36],
    /// `Σ K Kᵀ` over the same samples, `K = (arm × d, d)` with the difference `d` between the target's normal and the
    /// sample's own under the pose, the latter turned over where the two point apart: what the normals of both clouds do not
    /// have in common. Of independent noise it is twice as large as the normal matrix, of relief that both clouds show it is
    /// nothing. Row-major.
    pub difference_matrix: [f64; 36],
    /// `Σ g gᵀ` over the [`GROUPS`], `g = Σ J` over a group's samples, whose normals are turned so that the largest coordinate
    /// is positive: what errors say that all samples of a group have in common. Row-major. See [`information()`].
    pub common_matrix: [f64; 36],
    /// Mean of the overlapping source samples, target coordinates.
    pub centre: [f64; 3],
    /// Root mean square arm.
    pub radius: f64,
    /// Sum of squared distances along the normals.
    pub squares: f64,
    /// Mean product of the signed distances of two samples of a group along normals that are turned like those: the variance
    /// that they have in common. At least zero.
    pub common_variance: f64,
    /// Number of overlapping source samples.
    pub count: f64,
    /// The pose that this is said about.
    pub pose: Pose,
}

/// What is compared, and how closely.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AgreementOptions {
    /// Points of each cloud that are looked at: a prefix of the sample order, hence a fair sample.
    pub samples: usize,
    /// Points lie on a surface when one of its points is as near as this (at most one cell of its grid).
    pub reach: f32,
    /// Points stand in front of what was seen when they are nearer by more than this.
    pub margin: f32,
}

/// See the module.
pub trait MeasureAgreement: Device {
    /// The agreement under each pose.
    fn measure_agreement(
        &self,
        source: Scene<'_, Self>,
        target: Scene<'_, Self>,
        poses: &Self::Buffer<Pose>,
        options: AgreementOptions,
    ) -> Result<Self::Buffer<Agreement>>;

    /// What the overlap under a pose, the only one of its buffer, says about it.
    fn observe(
        &self,
        source: &Surface<Self>,
        target: &Surface<Self>,
        pose: &Self::Buffer<Pose>,
        options: AgreementOptions,
    ) -> Result<Observation>;
}
