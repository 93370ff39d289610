//! The learned descriptor: statistics of the points in every cell, and a small network over them.
//!
//! **Cell features.** A cell's own frame is the patch's, turned about its axis to the cell's sector and moved to the
//! cell's centre. In it the offsets `d` of the points, with their trilinear weights `w`, are summed up to
//! `W = Σ w`, `m = Σ w d` and `S = Σ w d dᵀ`. With `q = 1 / (W + 1)`, `h = 1 /` [`RADII`](super::RADII) and `n` the
//! number of points of the patch, the [`FEATURES`] of a cell are, in this order,
//! `W q`, `m q / h` (x, y, z), `S q / h²` (xx, yy, zz, xy, xz, yz) and `ln(1 + W ·` [`FULL_PATCH`] `/ n) / 3`.
//!
//! **Network.** Since the cells' frames turn with the sectors, a rotation of the patch about its axis shifts the
//! features along the azimuth, and so all that follows is a circular convolution along the azimuth; shells and
//! bands are channels. A stem (all features of a sector to `channels`, rectified) is followed by residual layers
//! `h ← h + max(conv₃(h), 0)` of growing dilation.
//! * `equivariant` is a linear map of every sector to `rings` values, normalised as a whole.
//! * `invariant` comes from what no shift changes: mean, maximum and the moduli of the harmonics 1 to
//!   [`HARMONICS`] of every channel, and the moduli of the harmonics 0 to [`RAW_HARMONICS`]` - 1` of the
//!   [`RAW_FEATURES`] of every cell (of the first the square root). They are scaled, go through one hidden layer and,
//!   beside it, a linear one; the sum is normalised.
//!
//! Every layer is a matrix product. The weights come in a file; see [`Weights`].

mod cells;
mod cpu;
mod cuda;
mod network;
mod weights;

pub use cells::{CellFeatures, FEATURE_ORDER, SECTOR};
pub use cpu::CpuNetwork;
pub use cuda::CudaNetwork;
pub use weights::{Architecture, Layer, Weights};

use super::Features;
use crate::backend::Device;
use crate::error::Result;
use crate::stages::frame::Frame;
use crate::stages::patch::Patches;

/// Statistics of one cell.
pub const FEATURES: usize = 11;
/// Points of a patch at which the density feature is the plain logarithm of the occupancy.
pub const FULL_PATCH: f32 = 511.0;
/// The highest azimuthal harmonic of the network's channels in the invariant vector.
pub const HARMONICS: usize = 3;
/// Azimuthal harmonics of the raw features in the invariant vector: 0, 1, …
pub const RAW_HARMONICS: usize = 7;
/// The cell features whose harmonics enter the invariant vector.
pub const RAW_FEATURES: [usize; 6] = [0, 1, 3, 4, 6, 10];

/// See the module.
pub trait DescribeLearned: Device {
    /// A network on the device, ready to be used by several threads.
    type Network: Send + Sync;

    /// Brings the weights to the device.
    fn load_network(&self, weights: &Weights) -> Result<Self::Network>;

    /// Describes every patch in its frame. Patches without points all get one and the same description.
    fn describe_learned(
        &self,
        patches: &Patches<Self>,
        frames: Self::Buffer<Frame>,
        network: &Self::Network,
    ) -> Result<Features<Self>>;
}
