//! Patches in their frames, as files hold them.

use crate::backend::Cpu;
use crate::cloud::Point;
use crate::error::Result;
use crate::pipeline::scan::Prepared;
use crate::stages::frame::{Covariance, EstimateFrames, Frame, Orientation};
use crate::stages::patch::{GatherPatches, PATCH_CAPACITY, Patches};

/// Offsets are stored in steps of one over this: 3·10⁻⁵ of the radius, far below the noise of any sensor.
const STEPS: f32 = 32_767.0;

/// The patches at some centres of one cloud and their frames.
pub(super) struct FramedPatches {
    pub patches: Patches<Cpu>,
    pub frames: Vec<Frame>,
}

impl FramedPatches {
    /// As [`crate::pipeline::Pipeline::describe`] makes them.
    pub fn new(
        backend: &Cpu,
        cloud: &Prepared<Cpu>,
        centres: &Vec<Point>,
        radius: f32,
        orientation: Orientation,
    ) -> Result<Self> {
        let patches = backend.gather_patches(&cloud.points, centres, radius)?;
        let frames = backend.estimate_frames(&patches, centres, Covariance::Weighted, orientation)?;
        Ok(Self { patches, frames })
    }

    /// Offsets of patch `i` in the cloud's frame.
    pub fn offsets(&self, i: usize) -> &[Point] {
        &self.patches.offsets[i * PATCH_CAPACITY..][..self.patches.count[i] as usize]
    }

    /// Offsets of patch `i` in the patch's frame, quantised.
    pub fn stored(&self, i: usize) -> impl Iterator<Item = [i16; 3]> + '_ {
        let frame = &self.frames[i];
        // Rᵀ d; the conversion saturates what rounding leaves beyond 1.
        self.offsets(i).iter().map(|d| {
            [0, 1, 2].map(|k| {
                ((frame[k] * d[0] + frame[3 + k] * d[1] + frame[6 + k] * d[2]) * STEPS).round() as i16
            })
        })
    }
}
