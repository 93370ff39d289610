//! What a patch looks like: an invariant vector, an azimuth-equivariant map and the frame they belong to.
//!
//! **Classic** (no weights). The unit ball about the keypoint, in the patch's frame, is cut into
//! [`RADII`] shells × [`ELEVATIONS`] bands (uniform in the sine of the elevation, so of equal solid angle) ×
//! [`AZIMUTHS`] sectors. Each point is spread over the eight nearest cells by trilinear weights. Along the azimuth
//! sector `a` has its centre at `2π·a / AZIMUTHS`; beyond the centres of the innermost and outermost shells and of
//! the lowest and highest bands points count in full for these, and points nearer to the keypoint than 10⁻⁴ of the
//! radius, which have no direction, do not count. The square root of the occupancy tames dense cells. A rotation about the frame's axis shifts the map along the azimuth, so
//! * `equivariant` is the map less the azimuthal mean of every ring, normalised as a whole, and
//! * `invariant` holds the moduli of the first [`HARMONICS`] azimuthal Fourier coefficients of every ring,
//!   which no shift changes, normalised.

mod cpu;

use super::frame::Frame;
use super::patch::Patches;
use crate::backend::Device;
use crate::error::Result;

/// Radial cells.
pub const RADII: usize = 4;
/// Elevation cells, uniform in the sine of the elevation.
pub const ELEVATIONS: usize = 7;
/// Azimuth cells.
pub const AZIMUTHS: usize = 20;
/// Rings of the map: one per radial and elevation cell.
pub const RINGS: usize = RADII * ELEVATIONS;
/// Azimuthal harmonics 0, 1, … that enter the invariant vector.
pub const HARMONICS: usize = 6;
/// Length of the classic invariant vector.
pub const CLASSIC_WIDTH: usize = RINGS * HARMONICS;

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

/// See the module.
pub trait Describe: Device {
    /// Describes every patch in its frame. Patches without points get zero vectors, which match nothing well.
    fn describe(&self, patches: &Patches<Self>, frames: Self::Buffer<Frame>) -> Result<Features<Self>>;
}
