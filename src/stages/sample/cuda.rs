//! CUDA side: a block for each cloud. It goes through all points of a small cloud for every sample, with points and
//! distances in registers; of a larger one it puts neighbours next to each other in rows, and goes only through the rows
//! that a sample may change. Kernels: `kernels/sample.cu`.

use bytemuck::{Pod, Zeroable};

use super::{Sample, SampleFarthest};
use crate::backend::Device;
use crate::backend::cuda::{Cuda, CudaBuffer, Driver, Grid, Kernel, arguments};
use crate::cloud::Point;
use crate::error::Result;
use crate::geometry::Extent;

const SMALL: Kernel = Kernel::new("sample", "sample_farthest_small");
const MEDIUM: Kernel = Kernel::new("sample", "sample_farthest_medium");
const IN_CLUSTER: Kernel = Kernel::new("sample", "sample_farthest_in_cluster");
const LARGE: Kernel = Kernel::new("sample", "sample_farthest_large");
const BY_ROWS: Kernel = Kernel::new("sample", "sample_farthest_by_rows");
const BY_LONG_ROWS: Kernel = Kernel::new("sample", "sample_farthest_by_long_rows");
const MEASURE: Kernel = Kernel::new("sample", "measure_samples");
const GATHER: Kernel = Kernel::new("sample", "gather_points");

/// Threads of the block that samples, as in the kernels.
const THREADS: usize = 1024;
/// Most points of a cloud that a block keeps in registers, eight of each thread, and goes through for every sample.
const SMALL_CLOUD: usize = 8 * THREADS;
/// Values in memory for each point that is in a row: coordinates, index and distance.
const VALUES_IN_ROWS: usize = 5;
/// Most points of a cloud that has rows of 32 points, one for each thread.
const SHORT_ROWS: usize = 32 * THREADS;
/// Shared memory of the kernels that work by rows: for each row a point and its index, and before there are rows the
/// counts of 4096 cells, which are no more.
const SHARED_OF_A_ROW_EACH: usize = 16 * THREADS;
/// Shared memory of the medium kernel: eight points of each thread.
const MEDIUM_SHARED: usize = 8 * THREADS * size_of::<Point>();
/// Blocks of a cluster that samples a cloud, threads of each, and points of each thread, as in the kernels.
const CLUSTER: u32 = 8;
const CLUSTER_THREADS: u32 = 256;
const MOST_IN_CLUSTER: usize = 16 * (CLUSTER * CLUSTER_THREADS) as usize;
/// Threads of the block that measures what was sampled, as in the kernels.
const MEASURING_THREADS: u32 = 256;
const GATHERING_THREADS: u32 = 256;

/// How a cloud is sampled. The result is the same.
#[doc(hidden)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// By a block that looks only at the rows of neighbouring points that a sample may change.
    Rows,
    /// By a cluster of blocks that look at all points, where there are clusters and a cloud fits; otherwise by a block.
    Cluster,
    /// By a block that looks at all points.
    Block,
}

impl Way {
    /// What is taken for clouds of at most `longest` points: where all fit into registers, passing over some gains little.
    fn for_clouds_of(longest: usize) -> Self {
        if longest <= SMALL_CLOUD { Self::Block } else { Self::Rows }
    }
}

/// A kernel that samples, its grid, and how many values in memory it wants for each point.
type Sampling = (Kernel, Grid, usize);

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

/// Buffers that a cloud's sample is put into, and what the kernel asks for to work in.
struct Job<D: Driver> {
    indices: CudaBuffer<u32, D>,
    chosen: CudaBuffer<Point, D>,
    memory: CudaBuffer<f32, D>,
}

impl<D: Driver> SampleFarthest for Cuda<D> {
    fn sample_farthest_of_each(
        &self,
        clouds: &[&CudaBuffer<Point, D>],
        count: usize,
    ) -> Result<Vec<Sample<Self>>> {
        self.sample_farthest_by(clouds, count, Way::for_clouds_of(longest(clouds)))
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
    /// All ways, for benches and tests.
    #[doc(hidden)]
    pub const WAYS: [Way; 3] = [Way::Rows, Way::Cluster, Way::Block];

    /// [`SampleFarthest::sample_farthest_of_each`] in this way.
    #[doc(hidden)]
    pub fn sample_farthest_by(
        &self,
        clouds: &[&CudaBuffer<Point, D>],
        count: usize,
        way: Way,
    ) -> Result<Vec<Sample<Self>>> {
        let (kernel, grid, values) = self.sampling(clouds.len(), longest(clouds), way);
        let jobs: Vec<Job<D>> =
            clouds.iter().map(|points| self.job(points, count, values)).collect::<Result<_>>()?;
        let described: Vec<Cloud> =
            clouds.iter().zip(&jobs).map(|(points, job)| job.describe(points)).collect();
        let (described, outcomes) = (self.upload(&described)?, self.allocate::<Outcome>(clouds.len())?);
        // SAFETY: there are a job and an outcome for each block or cluster; the buffers of a job have as many elements as it says, and
        // its memory as many values for each point as the kernel wants. All are there until it has ended.
        unsafe { self.launch(kernel, grid, arguments![&described, &outcomes])? };
        let grid = Grid::new(clouds.len(), MEASURING_THREADS);
        // SAFETY: as above; as many points were chosen of each cloud as its outcome says.
        unsafe { self.launch(MEASURE, grid, arguments![&described, &outcomes])? };
        let outcomes = self.read(&outcomes, 0, clouds.len())?;
        Ok(jobs.into_iter().zip(outcomes).map(|(job, outcome)| job.sample(outcome)).collect())
    }

    /// What samples so many clouds of at most `longest` points in this way.
    fn sampling(&self, clouds: usize, longest: usize, way: Way) -> Sampling {
        let has_clusters = self.driver().largest_cluster() >= CLUSTER && longest <= MOST_IN_CLUSTER;
        match way {
            Way::Rows => by_rows(clouds, longest),
            Way::Cluster if has_clusters => in_clusters(clouds),
            Way::Cluster | Way::Block => by_blocks(clouds, longest),
        }
    }

    fn job(&self, points: &CudaBuffer<Point, D>, count: usize, values: usize) -> Result<Job<D>> {
        let count = count.min(points.len());
        Ok(Job {
            indices: self.allocate(count)?,
            chosen: self.allocate(count)?,
            memory: self.allocate(values * points.len())?,
        })
    }
}

fn longest<D: Driver>(clouds: &[&CudaBuffer<Point, D>]) -> usize {
    clouds.iter().map(|points| points.len()).max().unwrap_or(0)
}

fn by_rows(clouds: usize, longest: usize) -> Sampling {
    let grid = Grid::new(clouds, THREADS as u32);
    if longest <= SHORT_ROWS {
        (BY_ROWS, grid.with_shared(SHARED_OF_A_ROW_EACH), VALUES_IN_ROWS)
    } else {
        (BY_LONG_ROWS, grid.with_shared(2 * SHARED_OF_A_ROW_EACH), VALUES_IN_ROWS)
    }
}

fn in_clusters(clouds: usize) -> Sampling {
    (IN_CLUSTER, Grid::new(CLUSTER as usize * clouds, CLUSTER_THREADS).in_clusters(CLUSTER), 0)
}

fn by_blocks(clouds: usize, longest: usize) -> Sampling {
    let grid = Grid::new(clouds, THREADS as u32);
    match longest.div_ceil(THREADS) {
        ..=8 => (SMALL, grid, 0),
        9..=16 => (MEDIUM, grid.with_shared(MEDIUM_SHARED), 0),
        _ => (LARGE, grid, 1),
    }
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
