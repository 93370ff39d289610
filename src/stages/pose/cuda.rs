//! CUDA side: one thread per match. Poses are the CPU's up to the last bit of sine and cosine. Kernels: `kernels/pose.cu`.

use bytemuck::{Pod, Zeroable};

use super::{Hypotheses, Placed, RecoverPoses};
use crate::backend::cuda::{Argument, Cuda, CudaBuffer, Driver, Grid, Kernel, arguments};
use crate::error::Result;
use crate::stages::matching::Match;

const RECOVER_POSES: Kernel = Kernel::new("pose", "recover_poses");
const JOIN_HYPOTHESES: Kernel = Kernel::new("pose", "join_hypotheses");

/// Parts that are joined in one launch, as in the kernel.
const PARTS: usize = 4;

/// Where the hypotheses of a part are and which ones they will be; as in the kernel.
#[derive(Clone, Copy, Default, Pod, Zeroable)]
#[repr(C)]
struct Part {
    poses: u64,
    source: u64,
    target: u64,
    count: u32,
    first: u32,
}

impl Part {
    fn of<D: Driver>(hypotheses: &Hypotheses<Cuda<D>>, first: usize) -> Self {
        let Hypotheses { poses, source, target } = hypotheses;
        let (count, first) = (poses.len() as u32, first as u32);
        Self { poses: poses.address(), source: source.address(), target: target.address(), count, first }
    }
}

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

    fn join_hypotheses(&self, parts: &[&Hypotheses<Self>]) -> Result<Hypotheses<Self>> {
        let total = parts.iter().map(|part| part.poses.len()).sum();
        let joined = Hypotheses {
            poses: self.allocate(total)?,
            source: self.allocate(total)?,
            target: self.allocate(total)?,
        };
        let mut first = 0;
        for parts in parts.chunks(PARTS) {
            let mut placed = [Part::default(); PARTS];
            for (placed, part) in placed.iter_mut().zip(parts) {
                *placed = Part::of(part, first);
                first += part.poses.len();
            }
            let longest = placed.iter().map(|part| part.count as usize).max().unwrap_or(0);
            let [one, two, three, four] = placed.map(Argument::value);
            let arguments = arguments![one, two, three, four, &joined.poses, &joined.source, &joined.target];
            // SAFETY: a part has `count` of each, which end up from `first` on: no further than at `total`.
            unsafe {
                self.launch(JOIN_HYPOTHESES, Grid::over(longest, THREADS).rows(parts.len()), arguments)?
            };
        }
        Ok(joined)
    }
}
