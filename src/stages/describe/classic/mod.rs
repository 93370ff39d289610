//! The descriptor without weights: how many points lie in the cells.
//!
//! The square root of the occupancy tames dense cells. A rotation about the frame's axis shifts the map along the
//! azimuth, so
//! * `equivariant` is the map less the azimuthal mean of every ring, normalised as a whole, and
//! * `invariant` holds the moduli of the first [`HARMONICS`] azimuthal Fourier coefficients of every ring,
//!   which no shift changes, normalised.

mod cpu;
mod cuda;
mod fourier;

use super::{Features, RINGS};
use crate::backend::Device;
use crate::error::Result;
use crate::stages::frame::Frame;
use crate::stages::patch::Patches;

/// Azimuthal harmonics 0, 1, … that enter the invariant vector.
pub const HARMONICS: usize = 6;
/// Length of the classic invariant vector.
pub const CLASSIC_WIDTH: usize = RINGS * HARMONICS;

/// See the module.
pub trait DescribeClassic: Device {
    /// Describes every patch in its frame. Patches without points get zero vectors, which match nothing well.
    fn describe_classic(
        &self,
        patches: &Patches<Self>,
        frames: Self::Buffer<Frame>,
    ) -> Result<Features<Self>>;
}
