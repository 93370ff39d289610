//! What a patch looks like: an invariant vector, an azimuth-equivariant map and the frame they belong to.
//!
//! There are two descriptors with one grid: [`classic`], made by hand, and [`learned`], a small network. The unit
//! ball about the keypoint, in the patch's frame, is cut into [`RADII`] shells × [`ELEVATIONS`] bands (uniform in the
//! sine of the elevation, so of equal solid angle) × [`AZIMUTHS`] sectors. Each point is spread over the eight nearest
//! cells by trilinear weights. Along the azimuth sector `a` has its centre at `2π·a / AZIMUTHS`; beyond the centres of
//! the innermost and outermost shells and of the lowest and highest bands points count in full for these, and points
//! nearer to the keypoint than 10⁻⁴ of the radius, which have no direction, do not count.

pub mod classic;
pub(super) mod fragments;
pub mod learned;
pub mod minispinnet;
mod places;
pub(super) mod product;
pub mod weights;

use super::frame::Frame;
use crate::backend::Device;

/// Radial cells.
pub const RADII: usize = 4;
/// Elevation cells, uniform in the sine of the elevation.
pub const ELEVATIONS: usize = 7;
/// Azimuth cells.
pub const AZIMUTHS: usize = 20;
/// Rings of the grid: one per radial and elevation cell.
pub const RINGS: usize = RADII * ELEVATIONS;

/// The description of all patches of one cloud at one scale, on device `D`.
pub struct Features<D: Device + ?Sized> {
    /// `count × width` values, unit rows; equal up to noise for equal surroundings in any orientation.
    pub invariant: D::Buffer<f32>,
    /// Length of one invariant vector.
    pub width: usize,
    /// `count × rings × AZIMUTHS` values; turning the patch by `φ` about its axis shifts each ring by
    /// `φ · AZIMUTHS / 2π` cells.
    pub equivariant: D::Buffer<f32>,
    /// Rings of one equivariant map.
    pub rings: usize,
    /// `R` of each patch: `p_cloud = R · p_patch`.
    pub frames: D::Buffer<Frame>,
}

impl<D: Device> Features<D> {
    /// Bytes of all buffers.
    pub fn bytes(&self, device: &D) -> usize {
        device.bytes(&self.invariant) + device.bytes(&self.equivariant) + device.bytes(&self.frames)
    }
}

/// What describes a patch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Descriptor {
    /// See [`classic`].
    Classic,
    /// See [`learned`].
    Learned,
}

/// To unit length; zero stays zero.
fn normalise(values: &mut [f32]) {
    let norm = values.iter().map(|x| x * x).sum::<f32>().sqrt();
    if norm > 0.0 {
        for value in values {
            *value /= norm;
        }
    }
}
