//! CUDA side: a block goes through its cloud for every sample, with the distances in registers where they fit.
//! Kernels: `kernels/sample.cu`.

use bytemuck::{Pod, Zeroable};

use super::SampleFarthest;
use crate::backend::Device;
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

/// A cloud and what is chosen of it; as in the kernels.
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct Cloud {
    points: u64,
    memory: u64,
    chosen: u64,
    length: u32,
    count: u32,
}

impl<D: Driver> SampleFarthest for Cuda<D> {
    fn sample_farthest(&self, points: &CudaBuffer<Point, D>, count: usize) -> Result<CudaBuffer<u32, D>> {
        Ok(self.sample_farthest_of_each(&[points], count)?.swap_remove(0))
    }

    fn sample_farthest_of_each(
        &self,
        clouds: &[&CudaBuffer<Point, D>],
        count: usize,
    ) -> Result<Vec<CudaBuffer<u32, D>>> {
        let longest = clouds.iter().map(|points| points.len()).max().unwrap_or(0);
        let (kernel, in_memory) = match longest.div_ceil(THREADS) {
            ..=8 => (SMALL, false),
            9..=16 => (MEDIUM, false),
            _ => (LARGE, true),
        };
        let (mut chosen, mut distances, mut jobs) = (Vec::new(), Vec::new(), Vec::new());
        for points in clouds {
            let count = count.min(points.len());
            let (indices, memory) =
                (self.allocate(count)?, self.allocate::<f32>(if in_memory { points.len() } else { 0 })?);
            jobs.push(Cloud {
                points: points.address(),
                memory: memory.address(),
                chosen: indices.address(),
                length: points.len() as u32,
                count: count as u32,
            });
            chosen.push(indices);
            distances.push(memory);
        }
        let (jobs, chosen_counts) = (self.upload(&jobs)?, self.allocate::<u32>(clouds.len())?);
        let grid = Grid::new(clouds.len(), THREADS as u32);
        // SAFETY: there are a job and a number for each block; the buffers of a job have as many elements as it says, and
        // the distances one for each point where the kernel keeps them in memory. All are there until it has ended.
        unsafe { self.launch(kernel, grid, arguments![&jobs, &chosen_counts])? };
        let counts = self.read(&chosen_counts, 0, clouds.len())?;
        Ok(chosen.into_iter().zip(counts).map(|(chosen, count)| chosen.truncated(count as usize)).collect())
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
