//! One pose per match: `R = R_t · R_z(angle) · R_sᵀ`, `t = p_t − R · p_s`.

mod cpu;
mod cuda;

use super::frame::Frame;
use super::matching::Match;
use crate::backend::Device;
use crate::cloud::Point;
use crate::error::Result;
pub use crate::geometry::Pose;

/// One side of the matches: where the keypoints are and how their patches are turned.
pub struct Placed<'a, D: Device + ?Sized> {
    /// Keypoints.
    pub keypoints: &'a D::Buffer<Point>,
    /// Frame of each keypoint's patch.
    pub frames: &'a D::Buffer<Frame>,
}

/// Everything the matches say: one entry of each buffer per match, of one scale or of all.
pub struct Hypotheses<D: Device + ?Sized> {
    /// The pose that lays the match's source patch onto its target patch.
    pub poses: D::Buffer<Pose>,
    /// The match's source keypoint.
    pub source: D::Buffer<Point>,
    /// The match's target keypoint.
    pub target: D::Buffer<Point>,
}

/// See the module.
pub trait RecoverPoses: Device {
    /// The hypothesis of every match, in their order; `angles[i]` belongs to `matches[i]`.
    fn recover_poses(
        &self,
        source: Placed<'_, Self>,
        target: Placed<'_, Self>,
        matches: &Self::Buffer<Match>,
        angles: &Self::Buffer<f32>,
    ) -> Result<Hypotheses<Self>>;

    /// The hypotheses of all parts, one part after another.
    fn join_hypotheses(&self, parts: &[&Hypotheses<Self>]) -> Result<Hypotheses<Self>>;
}
