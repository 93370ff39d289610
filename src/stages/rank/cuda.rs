//! CUDA side: a thread for every candidate counts those that come before it. Kernels: `kernels/rank.cu`.

use super::{Judged, RankCandidates, Ranked};
use crate::backend::cuda::{Argument, Cuda, Driver, Grid, Kernel, arguments};
use crate::error::Result;
use crate::stages::verify::judge::WEIGHTS;

const RANK: Kernel = Kernel::new("rank", "rank_candidates");

/// Threads of a block, as in the kernel.
const THREADS: u32 = 64;

impl<D: Driver> RankCandidates for Cuda<D> {
    fn rank_candidates(&self, judged: Judged<'_, Self>, most: usize) -> Result<Ranked<Self>> {
        let Judged { estimated, poses, agreement, support, circumstances } = judged;
        let (count, most) = (poses.len(), most.min(poses.len()));
        let ranked = Ranked {
            candidates: self.allocate(most)?,
            estimated: self.allocate(most)?,
            poses: self.allocate(most)?,
        };
        let arguments = arguments![
            estimated,
            poses,
            agreement,
            support,
            count,
            most,
            Argument::value(WEIGHTS),
            circumstances.source_reliance,
            circumstances.target_reliance,
            circumstances.chance,
            circumstances.hold_of_one,
            &ranked.candidates,
            &ranked.estimated,
            &ranked.poses
        ];
        // SAFETY: `count` of all that is known of candidates, and room for `most` of these and of either pose.
        unsafe { self.launch(RANK, Grid::over(count, THREADS), arguments)? };
        Ok(ranked)
    }
}
