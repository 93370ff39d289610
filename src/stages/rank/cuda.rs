//! CUDA side: a thread for every candidate counts those that come before it. Kernels: `kernels/rank.cu`.

use super::{Candidate, Judged, RankCandidates};
use crate::backend::cuda::{Argument, Cuda, CudaBuffer, Driver, Grid, Kernel, arguments};
use crate::error::Result;
use crate::geometry::Pose;
use crate::stages::verify::judge::WEIGHTS;

const WEIGH: Kernel = Kernel::new("rank", "weigh_candidates");
const RANK: Kernel = Kernel::new("rank", "rank_candidates");
const TAKE_POSES: Kernel = Kernel::new("rank", "take_poses");

const THREADS: u32 = 64;

impl<D: Driver> RankCandidates for Cuda<D> {
    fn rank_candidates(&self, judged: Judged<'_, Self>, most: usize) -> Result<CudaBuffer<Candidate, D>> {
        let Judged { estimated, poses, agreement, support } = judged;
        let (count, most) = (poses.len(), most.min(poses.len()));
        let grid = Grid::over(count, THREADS);
        let log_odds = self.allocate::<f32>(count)?;
        let arguments = arguments![agreement, support, count, Argument::value(WEIGHTS), &log_odds];
        // SAFETY: `count` agreements, supports and log-odds.
        unsafe { self.launch(WEIGH, grid, arguments)? };
        let candidates = self.allocate(most)?;
        let arguments = arguments![estimated, poses, agreement, support, &log_odds, count, most, &candidates];
        // SAFETY: `count` of all that is known of candidates, and room for `most` of these.
        unsafe { self.launch(RANK, grid, arguments)? };
        Ok(candidates)
    }

    fn poses_of(
        &self,
        candidates: &CudaBuffer<Candidate, D>,
    ) -> Result<(CudaBuffer<Pose, D>, CudaBuffer<Pose, D>)> {
        let count = candidates.len();
        let (estimated, poses) = (self.allocate(count)?, self.allocate(count)?);
        let arguments = arguments![candidates, count, &estimated, &poses];
        // SAFETY: `count` candidates, and two poses for each.
        unsafe { self.launch(TAKE_POSES, Grid::over(count, THREADS), arguments)? };
        Ok((estimated, poses))
    }
}
