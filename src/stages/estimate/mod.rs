//! From thousands of rough hypotheses to a few good candidates.
//!
//! The best supported hypotheses that differ from each other are polished by graduated robust fitting: weighted
//! Kabsch with Geman-McClure weights whose width shrinks from the consensus tolerance to a few voxels
//! (Black and Rangarajan 1996; Yang et al., "Graduated Non-Convexity", RA-L 2020).

mod cpu;
mod cuda;
mod rotation;
mod widths;

use super::consensus::{Support, Tolerance};
use super::pose::{Hypotheses, Pose};
use crate::backend::Device;
use crate::error::Result;

/// What counts as different, and how many are wanted.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct EstimateOptions {
    /// Most candidates to return.
    pub candidates: usize,
    /// The tolerance the hypotheses were scored with.
    pub tolerance: Tolerance,
    /// Residual at which a match has a quarter of its weight in the last round, in the clouds' unit.
    pub precision: f32,
    /// Hypotheses are the same when they move the source's matches less than this far apart, and so are polished
    /// candidates at 0.3 of it. A hypothesis whose own match a better one lays right, within the tolerance, is passed over
    /// as well: many rough hypotheses of one pose differ by more than this, and would leave no room for others.
    pub distinct: f32,
}

/// See the module.
pub trait EstimatePoses: Device {
    /// At most `options.candidates` polished poses, best support first (ties: lower index). A hypothesis stays as it
    /// is where the matches near it do not determine a pose: fewer than three, on one point or on a line.
    fn estimate_poses(
        &self,
        hypotheses: &Hypotheses<Self>,
        support: &Self::Buffer<Support>,
        options: EstimateOptions,
    ) -> Result<Self::Buffer<Pose>>;
}
