//! CUDA side: many threads weigh the offsets of a patch, and eight lanes sum them up, as on the CPU. Kernel:
//! `kernels/frame.cu`. The frames are the CPU's but for the last bit of some values: a device rounds cos, acos and hypot
//! in its own way.

use super::{Covariance, EstimateFrames, Frame, Orientation};
use crate::backend::cuda::{Cuda, CudaBuffer, Driver, Grid, Kernel, arguments};
use crate::cloud::Point;
use crate::error::Result;
use crate::stages::patch::Patches;

const ESTIMATE: Kernel = Kernel::new("frame", "estimate_frames");

/// Threads and patches of a block, as in the kernel.
const THREADS: u32 = 256;
const PATCHES_PER_BLOCK: usize = 4;

impl<D: Driver> EstimateFrames for Cuda<D> {
    fn estimate_frames(
        &self,
        patches: &Patches<Self>,
        keypoints: &CudaBuffer<Point, D>,
        covariance: Covariance,
        orientation: Orientation,
    ) -> Result<CudaBuffer<Frame, D>> {
        let count = keypoints.len().min(patches.count.len());
        let frames = self.allocate(count)?;
        // Numbers as in the kernel.
        let (rule, place) = match orientation {
            Orientation::Fixed(axis) => (0u32, axis),
            Orientation::Towards(place) => (1, place),
            Orientation::AwayFrom(place) => (2, place),
        };
        let weighted = u32::from(covariance == Covariance::Weighted);
        let (offsets, counts) = (&patches.offsets, &patches.count);
        let grid = Grid::new(count.div_ceil(PATCHES_PER_BLOCK), THREADS);
        let arguments = arguments![offsets, counts, keypoints, count, weighted, rule, place, &frames];
        // SAFETY: there are at least `count` patches and keypoints, and a frame for each.
        unsafe { self.launch(ESTIMATE, grid, arguments)? };
        Ok(frames)
    }
}
