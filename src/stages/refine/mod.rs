//! From a rough pose to the one at which the surfaces meet: point-to-plane ICP with robust weights.
//!
//! Each round pairs a fair sample of the source with its nearest target points and minimises
//! `Σ w ((n·(R p + t − q))² + ε·|R p + t − q|²)` by one Gauss-Newton step (Chen and Medioni 1992); the small
//! point-to-point part `ε` keeps directions in which the planes slide from running away. Weights are
//! Geman-McClure with a width that shrinks with the reach, over the variance that the pair's points have by their
//! [`Errors`].

mod cpu;
mod cuda;
mod errors;
mod schedule;
mod step;

pub use errors::Errors;

use super::surface::Surface;
use crate::backend::Device;
use crate::error::Result;
use crate::geometry::Pose;

/// Normals of a pair may differ by at most 60°: what is met from the side is another surface.
const LEAST_COSINE: f32 = 0.5;
/// Share of the reach by which a search goes further than to the point that it is sure to find: more than rounding takes
/// away.
const LIMIT_MARGIN: f32 = 1.0 / 65536.0;

/// How long and how closely to refine.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RefineOptions {
    /// Source points that take part: a prefix of the sample order, hence a fair sample.
    pub samples: usize,
    /// Most rounds, 62 at most; stops early when a step moves nothing by more than a thousandth of the spacing.
    pub rounds: usize,
    /// Largest pairing distance in the first round, in spacings (at most the surface's reach).
    pub first_reach: f32,
    /// In the last round.
    pub last_reach: f32,
    /// Weight `ε` of the point-to-point part. The more of it, the more rounds it takes along planes.
    pub point_share: f64,
    /// Errors of source and target.
    pub errors: [Errors; 2],
}

/// See the module.
pub trait RefinePoses: Device {
    /// Each pose after refinement, in their order. `source` is read in its sample order.
    fn refine_poses(
        &self,
        source: &Surface<Self>,
        target: &Surface<Self>,
        poses: &Self::Buffer<Pose>,
        options: RefineOptions,
    ) -> Result<Self::Buffer<Pose>>;
}
