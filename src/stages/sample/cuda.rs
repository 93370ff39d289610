//! CUDA side: one block goes through the cloud for every sample, with the distances in registers where they fit.
//! Kernels: `kernels/sample.cu`.

use super::SampleFarthest;
use crate::backend::cuda::{Cuda, CudaBuffer, Driver, Grid, Kernel, arguments};
use crate::cloud::Point;
use crate::error::Result;

const SMALL: Kernel = Kernel::new("sample", "sample_farthest_small");
const MEDIUM: Kernel = Kernel::new("sample", "sample_farthest_medium");
const LARGE: Kernel = Kernel::new("sample", "sample_farthest_large");
const GATHER: Kernel = Kernel::new("sample", "gather_points");

/// Threads of the block that samples, as in the kernels.
const THREADS: usize = 1024;
const GATHERING_THREADS: u32 = 256;

impl<D: Driver> SampleFarthest for Cuda<D> {
    fn sample_farthest(&self, points: &CudaBuffer<Point, D>, count: usize) -> Result<CudaBuffer<u32, D>> {
        let count = count.min(points.len());
        if count == 0 {
            return self.allocate(0);
        }
        let (kernel, remembered) = match points.len().div_ceil(THREADS) {
            ..=8 => (SMALL, 0),
            9..=16 => (MEDIUM, 0),
            _ => (LARGE, points.len()),
        };
        let distances = self.allocate::<f32>(remembered)?;
        let (chosen, chosen_count) = (self.allocate(count)?, self.allocate::<u32>(1)?);
        let arguments = arguments![points, points.len(), count, &distances, &chosen, &chosen_count];
        // SAFETY: `chosen` has `count` elements, `chosen_count` one, and `distances` one for each point where the kernel
        // keeps them in memory.
        unsafe { self.launch(kernel, Grid::new(1, THREADS as u32), arguments)? };
        Ok(chosen.truncated(self.read(&chosen_count, 0, 1)?[0] as usize))
    }

    fn gather_points(
        &self,
        points: &CudaBuffer<Point, D>,
        indices: &CudaBuffer<u32, D>,
    ) -> Result<CudaBuffer<Point, D>> {
        let gathered = self.allocate(indices.len())?;
        let grid = Grid::over(indices.len(), GATHERING_THREADS);
        // SAFETY: all indices are below the number of points, by the contract, and `gathered` has one element for each.
        unsafe { self.launch(GATHER, grid, arguments![points, indices, indices.len(), &gathered])? };
        Ok(gathered)
    }
}
