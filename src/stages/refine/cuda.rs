//! CUDA side: a block, or a cluster of them, refines a pose through all its rounds. Pairs, sums and the small solver are
//! the CPU's, so poses are equal to the bit. Kernel: `kernels/refine.cu`.

use super::schedule::{MOST_REACHES, Schedule};
use super::{RefineOptions, RefinePoses};
use crate::backend::cuda::{Argument, Cuda, CudaBuffer, Driver, Grid, Kernel, arguments};
use crate::error::Result;
use crate::geometry::Pose;
use crate::stages::surface::Surface;

const REFINE: Kernel = Kernel::new("refine", "refine_poses");

/// Threads of a block, and most blocks that refine a pose together, as in the kernel.
const THREADS: u32 = 512;
const MOST_BLOCKS: u32 = 8;
/// The blocks of all poses are no more than this where a pose has several, which leaves room for other pairs: two are all
/// that a multiprocessor can hold.
const MOST_IN_ALL: usize = 128;
/// A block with fewer samples would wait for the others longer than it takes to look for their pairs.
const LEAST_SHARE: usize = 250;
/// Shared memory for the factors of two tiles of 128 pairs: 19 of each, in rows that are longer by at most 8.
const SHARED: usize = 2 * 19 * (128 + 8) * size_of::<f64>();

/// Moved sample, offset, normal and weight, as the kernel has them.
type Pair = [f32; 10];

impl<D: Driver> RefinePoses for Cuda<D> {
    fn refine_poses(
        &self,
        source: &Surface<Self>,
        target: &Surface<Self>,
        poses: &CudaBuffer<Pose, D>,
        options: RefineOptions,
    ) -> Result<CudaBuffer<Pose, D>> {
        let samples = source.place.len().min(options.samples);
        let blocks = blocks_for_each(poses.len(), samples, self.driver().largest_cluster());
        self.refine_by_clusters(source, target, poses, options, blocks)
    }
}

impl<D: Driver> Cuda<D> {
    /// [`RefinePoses::refine_poses`] with so many blocks for each pose: 1, 2, 4 or 8, and no more than the device has in a
    /// cluster. Their number does not show.
    #[doc(hidden)]
    pub fn refine_by_clusters(
        &self,
        source: &Surface<Self>,
        target: &Surface<Self>,
        poses: &CudaBuffer<Pose, D>,
        options: RefineOptions,
        blocks: u32,
    ) -> Result<CudaBuffer<Pose, D>> {
        let schedule = Schedule::new(&options, target.spacing);
        let samples = source.place.len().min(options.samples);
        let reaches: [f32; MOST_REACHES] = schedule.reaches;
        let pairs = self.allocate::<Pair>(samples * poses.len())?;
        let nearest = self.allocate::<u32>(samples * poses.len())?;
        let refined = self.allocate(poses.len())?;
        let arguments = arguments![
            &source.points,
            &source.normals,
            &source.place,
            samples,
            &target.points,
            &target.normals,
            &target.columns,
            target.columns.len() / 3,
            &target.cell_start,
            target.grid,
            Argument::value(reaches),
            schedule.rounds,
            schedule.settled,
            schedule.negligible,
            blocks,
            poses,
            &pairs,
            &nearest,
            &refined
        ];
        let grid = Grid::new(poses.len() * blocks as usize, THREADS).in_clusters(blocks).with_shared(SHARED);
        // SAFETY: `samples` is at most the number of places, which are below the number of source points, and `pairs` and
        // `nearest` have as many for each pose. A target's columns and cells are as long as its grid and its points ask
        // for, there is a reach for each round up to `settled`, and a refined pose for each pose. There are `blocks` blocks for each pose, of one cluster where they are
        // several, and they have shared memory for the factors of two tiles.
        unsafe { self.launch(REFINE, grid, arguments)? };
        Ok(refined)
    }
}

/// How many blocks refine each of so many poses on so many samples, where a cluster may have so many of them. They divide
/// the running sums among themselves, so they are a power of two.
fn blocks_for_each(poses: usize, samples: usize, largest_cluster: u32) -> u32 {
    let is_fitting = |&blocks: &u32| {
        let all = blocks as usize;
        blocks <= largest_cluster && all * poses <= MOST_IN_ALL && all * LEAST_SHARE <= samples
    };
    [MOST_BLOCKS, 4, 2].into_iter().find(is_fitting).unwrap_or(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_poses_with_many_samples_get_several_blocks() {
        assert_eq!(blocks_for_each(1, 8 * LEAST_SHARE, 8), 8);
        assert_eq!(blocks_for_each(1, 8 * LEAST_SHARE - 1, 8), 4);
        assert_eq!(blocks_for_each(MOST_IN_ALL / 8 + 1, 8 * LEAST_SHARE, 8), 4);
        assert_eq!(blocks_for_each(MOST_IN_ALL / 2, 8 * LEAST_SHARE, 8), 2);
        assert_eq!(blocks_for_each(MOST_IN_ALL / 2 + 1, 8 * LEAST_SHARE, 8), 1);
        assert_eq!(blocks_for_each(1, 8 * LEAST_SHARE, 1), 1);
        assert_eq!(blocks_for_each(0, 0, 8), 1);
    }
}
