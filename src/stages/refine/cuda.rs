//! CUDA side: a block refines a pose through all its rounds. Pairs, sums and the small solver are the CPU's, so poses
//! are equal to the bit. Kernel: `kernels/refine.cu`.

use super::schedule::Schedule;
use super::{RefineOptions, RefinePoses};
use crate::backend::Device;
use crate::backend::cuda::{Cuda, CudaBuffer, Driver, Grid, Kernel, arguments};
use crate::error::Result;
use crate::geometry::Pose;
use crate::stages::surface::Surface;

const REFINE: Kernel = Kernel::new("refine", "refine_poses");

/// Threads of a block, as in the kernel.
const THREADS: u32 = 512;

/// Sample, target point and weight, as the kernel has them.
type Pair = [u32; 3];

impl<D: Driver> RefinePoses for Cuda<D> {
    fn refine_poses(
        &self,
        source: &Surface<Self>,
        target: &Surface<Self>,
        poses: &CudaBuffer<Pose, D>,
        options: RefineOptions,
    ) -> Result<CudaBuffer<Pose, D>> {
        let schedule = Schedule::new(&options, target.spacing);
        let samples = source.place.len().min(options.samples);
        let reaches = self.upload(&schedule.reaches)?;
        let pairs = self.allocate::<Pair>(samples * poses.len())?;
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
            &reaches,
            reaches.len(),
            schedule.settled,
            schedule.negligible,
            poses,
            &pairs,
            &refined
        ];
        // SAFETY: `samples` is at most the number of places, which are below the number of source points, and `pairs` has
        // as many for each pose. A target's columns and cells are as long as its grid and its points ask for, a reach for
        // each round, a refined pose for each pose.
        unsafe { self.launch(REFINE, Grid::new(poses.len(), THREADS), arguments)? };
        Ok(refined)
    }
}
