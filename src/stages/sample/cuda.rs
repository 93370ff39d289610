//! CUDA side: a block for each cloud. It puts neighbours next to each other in rows, and for every sample goes only through
//! the rows that it may change. Kernels: `kernels/sample.cu`.

use bytemuck::{Pod, Zeroable};

use super::{Sample, SampleFarthest};
use crate::backend::Device;
use crate::backend::cuda::{Cuda, CudaBuffer, Driver, Grid, Kernel, arguments};
use crate::cloud::Point;
use crate::error::Result;
use crate::geometry::Extent;

const SMALL: Kernel = Kernel::new("sample", "sample_farthest_small");
const LARGE: Kernel = Kernel::new("sample", "sample_farthest_large");
const MEASURE: Kernel = Kernel::new("sample", "measure_samples");
const GATHER: Kernel = Kernel::new("sample", "gather_points");

/// Threads of the block that samples, as in the kernels.
const THREADS: usize = 1024;
/// Values in memory for each point: coordinates, index and distance.
const VALUES: usize = 5;
/// Points of a short row.
const ROW: usize = 32;
/// Shared memory for each row: a point, its index and a distance. Before there are rows, the counts of 4096 cells are there,
/// which are no more.
const BYTES_OF_A_ROW: usize = 20;
/// Threads of the block that measures what was sampled, as in the kernels.
const MEASURING_THREADS: u32 = 256;
const GATHERING_THREADS: u32 = 256;

/// A cloud and what is chosen of it; as in the kernels.
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct Cloud {
    points: u64,
    memory: u64,
    indices: u64,
    chosen: u64,
    length: u32,
    count: u32,
}

/// What became of it; as in the kernels.
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct Outcome {
    number: u32,
    centre: Point,
    radius: f32,
}

/// Buffers that a cloud's sample is put into, and what the kernel works in.
struct Job<D: Driver> {
    indices: CudaBuffer<u32, D>,
    chosen: CudaBuffer<Point, D>,
    memory: CudaBuffer<[f32; VALUES], D>,
}

impl<D: Driver> SampleFarthest for Cuda<D> {
    fn sample_farthest_of_each(
        &self,
        clouds: &[&CudaBuffer<Point, D>],
        count: usize,
    ) -> Result<Vec<Sample<Self>>> {
        let jobs: Vec<Job<D>> = clouds.iter().map(|points| self.job(points, count)).collect::<Result<_>>()?;
        let described: Vec<Cloud> =
            clouds.iter().zip(&jobs).map(|(points, job)| job.describe(points)).collect();
        let (described, outcomes) = (self.upload(&described)?, self.allocate::<Outcome>(clouds.len())?);
        let longest = clouds.iter().map(|points| points.len()).max().unwrap_or(0);
        let (kernel, grid) = sampling(clouds.len(), longest);
        // SAFETY: there are a job and an outcome for each block; the buffers of a job have as many elements as it says, and its
        // memory as many values for each point as the kernel wants. All are there until it has ended.
        unsafe { self.launch(kernel, grid, arguments![&described, &outcomes])? };
        let grid = Grid::new(clouds.len(), MEASURING_THREADS);
        // SAFETY: as above; as many points were chosen of each cloud as its outcome says.
        unsafe { self.launch(MEASURE, grid, arguments![&described, &outcomes])? };
        let outcomes = self.read(&outcomes, 0, clouds.len())?;
        Ok(jobs.into_iter().zip(outcomes).map(|(job, outcome)| job.sample(outcome)).collect())
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

impl<D: Driver> Cuda<D> {
    fn job(&self, points: &CudaBuffer<Point, D>, count: usize) -> Result<Job<D>> {
        let count = count.min(points.len());
        Ok(Job {
            indices: self.allocate(count)?,
            chosen: self.allocate(count)?,
            memory: self.allocate(points.len())?,
        })
    }
}

/// What samples so many clouds of at most `longest` points.
fn sampling(clouds: usize, longest: usize) -> (Kernel, Grid) {
    let (kernel, rows_of_a_lane) = if longest <= THREADS * ROW { (SMALL, 1) } else { (LARGE, 2) };
    (kernel, Grid::new(clouds, THREADS as u32).with_shared(rows_of_a_lane * THREADS * BYTES_OF_A_ROW))
}

impl<D: Driver> Job<D> {
    fn describe(&self, points: &CudaBuffer<Point, D>) -> Cloud {
        Cloud {
            points: points.address(),
            memory: self.memory.address(),
            indices: self.indices.address(),
            chosen: self.chosen.address(),
            length: points.len() as u32,
            count: self.indices.len() as u32,
        }
    }

    fn sample(self, outcome: Outcome) -> Sample<Cuda<D>> {
        let Outcome { number, centre, radius } = outcome;
        Sample {
            indices: self.indices.truncated(number as usize),
            points: self.chosen.truncated(number as usize),
            extent: Extent { centre, radius },
        }
    }
}
