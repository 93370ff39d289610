//! The reference axis and frame of each patch.
//!
//! The axis is the eigenvector of the least eigenvalue of a covariance of the patch's offsets; see [`Covariance`]. Its
//! sign is chosen by the caller's rule; see [`Orientation`]. The frame is the shortest rotation that takes `e_z` to the
//! axis; the remaining angle about the axis is what the azimuth stage finds. Source: BUFFER (Ao et al., CVPR 2023),
//! section 3.2.

mod cpu;
mod cuda;

use super::patch::Patches;
use crate::backend::Device;
use crate::cloud::Point;
use crate::error::Result;

/// A rotation, row-major; its columns are the frame's axes in the cloud's coordinates: `p_cloud = R · p_frame`.
pub type Frame = [f32; 9];

/// How the sign of the axis is chosen, and where the axis comes from.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Orientation {
    /// The axis points towards this position (the sensor, or a place that saw the surfaces), cloud coordinates.
    /// On a tie (perpendicular) the component of largest magnitude is positive.
    Towards(Point),
    /// The axis points away from this position.
    AwayFrom(Point),
    /// Every patch takes this unit axis; no eigenvector is computed.
    Fixed(Point),
}

/// Of which covariance the axis is the least eigenvector.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Covariance {
    /// `Σ d dᵀ`, the keypoint as the centre: what published networks were trained with.
    AboutKeypoint,
    /// `Σ w (d − m)(d − m)ᵀ` with weights `w = 1 − |d|` that fall towards the rim, as in SHOT (Tombari et al., ECCV 2010),
    /// and the weighted mean `m` as the centre. What two scans see of a place differs most at the rim, and a keypoint
    /// need not lie in the middle of its surface, so axes repeat better.
    Weighted,
}

/// See the module.
pub trait EstimateFrames: Device {
    /// One frame per patch. `keypoints[i]` is the centre of patch `i`. Patches that leave the axis open (fewer than
    /// three points, or all on one line through the covariance's centre: second eigenvalue at most 10⁻¹² of the largest)
    /// get the axis `e_z`, oriented like the others.
    fn estimate_frames(
        &self,
        patches: &Patches<Self>,
        keypoints: &Self::Buffer<Point>,
        covariance: Covariance,
        orientation: Orientation,
    ) -> Result<Self::Buffer<Frame>>;
}
