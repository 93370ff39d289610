//! MiniSpinNet, the published network of BUFFER (Ao et al., CVPR 2023, section 3.3) and of BUFFER-X, from a converted
//! checkpoint. 59 million multiply-adds a patch; [`learned`](super::learned) takes a small part of that.
//!
//! **Spherical sampling** (SpinNet, Ao et al., CVPR 2021, section 3.2). In the patch's frame, divided by its radius,
//! the centre of cell (shell `k` of [`SHELLS`], elevation `j` of [`ELEVATIONS`], azimuth `i` of [`AZIMUTHS`]) lies at the
//! distance `(k + ½) / 3`, at the angle `π (j + ½) / 7` from the axis and at the azimuth `2π (i + ½) / 20`. A cell takes the
//! first [`SAMPLES`] points of the patch, in their order, whose distance from its centre is below [`REACH`], turned by
//! `-2π i / 20` about the axis. The checkpoints were trained with three peculiarities, so they are part of the contract:
//! * of a patch only the first [`MOST_POINTS`] points count;
//! * the first point of a patch counts as one at the keypoint;
//! * a cell with fewer than [`SAMPLES`] points is filled up with points at the keypoint, which count like all others.
//!
//! **Network.** A shared layer of 3 → [`POINT_CHANNELS`], rectified, and its maximum over the samples of a cell; then
//! convolutions of 3 × 3 over elevations (zeros beyond the first and the last) and azimuths (circular), each but the last
//! rectified, with as many channels as [`CHANNELS`] says; shells are channels of the first one. With `x` the last map:
//! * `equivariant` is `x`, normalised over its channels in every cell; ring `channel · ELEVATIONS + elevation`.
//! * `invariant` is the mean over the cells of `a x`, normalised, with the attention `a`, two layers from the channels of
//!   a cell to [`ATTENTION_CHANNELS`] and to one value, both rectified.
//!
//! Batch normalisation is folded into the layers before it when a checkpoint is converted; see [`Weights`].

mod cpu;
mod cuda;
mod network;
mod sampling;
mod weights;

pub use cpu::CpuMiniSpinNet;
pub use cuda::CudaMiniSpinNet;
pub use network::Steps;
pub use sampling::Sampling;
pub use weights::{COST_VOLUME_LAYERS, Weights};

use super::{AZIMUTHS, ELEVATIONS, Features};
use crate::backend::Device;
use crate::error::Result;
use crate::stages::frame::Frame;
use crate::stages::patch::{PATCH_CAPACITY, Patches};

/// Radial cells.
pub const SHELLS: usize = 3;
/// Cells of a patch.
pub const CELLS: usize = SHELLS * ELEVATIONS * AZIMUTHS;
/// Points that a cell takes.
pub const SAMPLES: usize = 10;
/// Points of a patch that count.
pub const MOST_POINTS: usize = PATCH_CAPACITY - 1;
/// Distance from a cell's centre up to which points belong to it, in radii of the patch.
pub const REACH: f32 = (0.8 / SHELLS as f64) as f32;
/// Channels of the layer that points go through.
pub const POINT_CHANNELS: usize = 16;
/// Channels before the first convolution, and after each.
pub const CHANNELS: [usize; 9] = [SHELLS * POINT_CHANNELS, 64, 64, 128, 128, 64, 64, WIDTH, WIDTH];
/// Hidden values of the attention.
pub const ATTENTION_CHANNELS: usize = 16;
/// Length of the invariant vector, and channels of the map.
pub const WIDTH: usize = 32;
/// Rings of the equivariant map.
pub const MAP_RINGS: usize = WIDTH * ELEVATIONS;

/// See the module.
pub trait DescribeMiniSpinNet: Device {
    /// A network on the device, ready to be used by several threads.
    type MiniSpinNet: Send + Sync;

    /// Brings the weights to the device.
    fn load_minispinnet(&self, weights: &Weights) -> Result<Self::MiniSpinNet>;

    /// Describes every patch in its frame. Patches without points all get one and the same description.
    fn describe_minispinnet(
        &self,
        patches: &Patches<Self>,
        frames: Self::Buffer<Frame>,
        network: &Self::MiniSpinNet,
    ) -> Result<Features<Self>>;
}
