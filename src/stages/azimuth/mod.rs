//! The angle about the axis between two matched patches.
//!
//! Turning a patch about its axis shifts its equivariant map, so the angle is where the circular correlation of
//! the two maps peaks; a parabola through the peak and its neighbours gives the fraction of a cell.
//!
//! The published network brings a learned alternative for its own maps, the **cost volume** (BUFFER, Ao et al., CVPR 2023,
//! section 3.4): the difference of the maps for every shift of the source's, without the two elevations about the poles;
//! convolutions over shifts, elevations and azimuths, without padding and each but the last rectified, down to one value
//! per shift; the softmax of these, and under it the mean shift.

mod cost_volume;
mod cpu;
mod cuda;

pub use cost_volume::{CpuCostVolume, CudaCostVolume};

use super::describe::learned::Layer;
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

/// The learned alternative; see the module.
pub trait AlignByCostVolume: Device {
    /// A cost volume on the device, ready to be used by several threads.
    type CostVolume: Send + Sync;

    /// Brings the convolutions to the device; their sizes are
    /// [`COST_VOLUME_LAYERS`](super::describe::minispinnet::COST_VOLUME_LAYERS).
    fn load_cost_volume(&self, layers: &[Layer]) -> Result<Self::CostVolume>;

    /// The angle of every match, as [`AlignAzimuth`] has it: the mean `s` under the softmax. It lies in 0 to 19 cells, so
    /// maps whose true shift lies between the last cell and the first one are far off, as in the original. The maps are
    /// those of [`minispinnet`](super::describe::minispinnet).
    fn align_by_cost_volume(
        &self,
        source: &Self::Buffer<f32>,
        target: &Self::Buffer<f32>,
        volume: &Self::CostVolume,
        matches: &Self::Buffer<Match>,
    ) -> Result<Self::Buffer<f32>>;
}
