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
/// The blocks of all poses are no more than this where a pose has several: two are all that a multiprocessor can hold.
const MOST_IN_ALL: usize = 128;
/// The same where other streams use the device, too: blocks of a cluster wait for each other, so more of them end sooner,
/// but do less in all.
const MOST_AMONG_STREAMS: usize = 48;
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
        let most_in_all = if self.driver().streams() > 1 { MOST_AMONG_STREAMS } else { MOST_IN_ALL };
        let blocks = blocks_for_each(poses.len(), samples, self.driver().largest_cluster(), most_in_all);
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
        let [source_errors, target_errors] = options.errors;
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
            Argument::value(source_errors),
            Argument::value(target_errors),
            Argument::value(reaches),
            schedule.rounds,
            schedule.settled,
            schedule.negligible,
            schedule.point_share,
            blocks,
            poses,
            &pairs,
            &nearest,
            &refined
        ];
        let grid = Grid::new(poses.len() * blocks as usize, THREADS).in_clusters(blocks).with_shared(SHARED);
        // SAFETY: `samples` is at most the number of places, which are below the number of source points, and `pairs` and
        // `nearest` have as many for each pose. A target's columns and cells are as long as its grid and its points ask
        // for, there is a reach for each round up to `settled`, and a refined pose for each pose. There are `blocks` blocks for
        // each pose, of one cluster where they are several, and they have shared memory for the factors of two tiles.
        unsafe { self.launch(REFINE, grid, arguments)? };
        Ok(refined)
    }
}

/// How many blocks refine each of so many poses on so many samples, where a cluster, and all clusters together, may have so
/// many of them. They divide the running sums among themselves, so they are a power of two.
fn blocks_for_each(poses: usize, samples: usize, largest_cluster: u32, most_in_all: usize) -> u32 {
    let is_fitting = |&blocks: &u32| {
        let all = blocks as usize;
        blocks <= largest_cluster && all * poses <= most_in_all && all * LEAST_SHARE <= samples
    };
    [MOST_BLOCKS, 4, 2].into_iter().find(is_fitting).unwrap_or(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_poses_with_many_samples_get_several_blocks() {
        const SAMPLES: usize = 8 * LEAST_SHARE;
        assert_eq!(blocks_for_each(1, SAMPLES, 8, 48), 8);
        assert_eq!(blocks_for_each(1, SAMPLES - 1, 8, 48), 4);
        assert_eq!(blocks_for_each(7, SAMPLES, 8, 48), 4);
        assert_eq!(blocks_for_each(24, SAMPLES, 8, 48), 2);
        assert_eq!(blocks_for_each(25, SAMPLES, 8, 48), 1);
        assert_eq!(blocks_for_each(12, SAMPLES, 8, 16), 1);
        assert_eq!(blocks_for_each(1, SAMPLES, 1, 48), 1);
        assert_eq!(blocks_for_each(0, 0, 8, 48), 1);
    }
}
