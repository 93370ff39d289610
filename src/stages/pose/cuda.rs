//! CUDA side: one thread per match. Poses are the CPU's up to the last bit of sine and cosine. Kernels: `kernels/pose.cu`.

use super::{Hypotheses, Placed, RecoverPoses};
use crate::backend::cuda::{Cuda, CudaBuffer, Driver, Grid, Kernel, arguments};
use crate::error::Result;
use crate::stages::matching::Match;

const RECOVER_POSES: Kernel = Kernel::new("pose", "recover_poses");

const THREADS: u32 = 128;

impl<D: Driver> RecoverPoses for Cuda<D> {
    fn recover_poses(
        &self,
        source: Placed<'_, Self>,
        target: Placed<'_, Self>,
        matches: &CudaBuffer<Match, D>,
        angles: &CudaBuffer<f32, D>,
    ) -> Result<Hypotheses<Self>> {
        let count = matches.len();
        let hypotheses = Hypotheses {
            poses: self.allocate(count)?,
            source: self.allocate(count)?,
            target: self.allocate(count)?,
        };
        let arguments = arguments![
            source.keypoints,
            source.frames,
            target.keypoints,
            target.frames,
            matches,
            angles,
            count,
            &hypotheses.poses,
            &hypotheses.source,
            &hypotheses.target,
        ];
        // SAFETY: matches hold indices of keypoints, each of which has a frame; there are `count` matches, angles, poses
        // and points of either side.
        unsafe { self.launch(RECOVER_POSES, Grid::over(count, THREADS), arguments)? };
        Ok(hypotheses)
    }
}
