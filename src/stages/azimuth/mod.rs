//! The angle about the axis between two matched patches.
//!
//! Turning a patch about its axis shifts its equivariant map, so the angle is where the circular correlation of
//! the two maps peaks; a parabola through the peak and its neighbours gives the fraction of a cell.

mod cpu;

use super::matching::Match;
use crate::backend::Device;
use crate::error::Result;

/// See the module.
pub trait AlignAzimuth: Device {
    /// For every match the angle in radians, 0..2π, by which the source patch is to be turned about its axis:
    /// the `s` (in cells) that maximises `Σ source[ring, k] · target[ring, k + s]`, the lowest on ties, refined
    /// by a parabola.
    fn align_azimuth(
        &self,
        source: &Self::Buffer<f32>,
        target: &Self::Buffer<f32>,
        rings: usize,
        matches: &Self::Buffer<Match>,
    ) -> Result<Self::Buffer<f32>>;
}
