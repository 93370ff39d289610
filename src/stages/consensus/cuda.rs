//! CUDA side: sixteen threads share a hypothesis, each of which takes every sixteenth match, as the CPU's lanes do;
//! supports are equal to the bit. Kernel: `kernels/consensus.cu`.

use super::{ScoreHypotheses, Support, Tolerance};
use crate::backend::cuda::{Cuda, CudaBuffer, Driver, Grid, Kernel, arguments};
use crate::cloud::Point;
use crate::error::Result;
use crate::stages::lanes::LANES;
use crate::stages::pose::{Hypotheses, Pose};

const SCORE: Kernel = Kernel::new("consensus", "score_hypotheses");

/// Threads of a block, as in the kernel. Few, so that a short list of hypotheses is spread over many blocks.
const THREADS: u32 = 128;

impl<D: Driver> ScoreHypotheses for Cuda<D> {
    fn score_hypotheses(
        &self,
        poses: &CudaBuffer<Pose, D>,
        anchors: Option<&CudaBuffer<Point, D>>,
        matches: &Hypotheses<Self>,
        tolerance: Tolerance,
    ) -> Result<CudaBuffer<Support, D>> {
        let support = self.allocate(poses.len())?;
        let Hypotheses { source, target, .. } = matches;
        let grid = Grid::over(poses.len() * LANES, THREADS);
        let arguments = arguments![
            poses,
            anchors.map_or(0, CudaBuffer::address),
            poses.len(),
            source,
            target,
            source.len(),
            tolerance.base,
            tolerance.slope,
            &support
        ];
        // SAFETY: there are as many supports as poses, as many anchors or none, and as many targets as sources.
        unsafe { self.launch(SCORE, grid, arguments)? };
        Ok(support)
    }
}
