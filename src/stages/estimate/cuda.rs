//! CUDA side: one block chooses, then a block for each candidate polishes it, and the last of them drops those that have
//! come together. Sums are made in the CPU's order and the small solver is the CPU's, so poses are equal to the bit. Only
//! the number of candidates goes to the host. Kernels: `kernels/estimate.cu`.

use super::{EstimateOptions, EstimatePoses};
use crate::backend::cuda::{Argument, Cuda, CudaBuffer, Driver, Grid, Kernel, arguments};
use crate::error::Result;
use crate::stages::consensus::Support;
use crate::stages::pose::{Hypotheses, Pose};

const RANK: Kernel = Kernel::new("estimate", "rank_scores");
const CHOOSE: Kernel = Kernel::new("estimate", "choose_hypotheses");
const POLISH: Kernel = Kernel::new("estimate", "polish_candidates");

/// Threads of a block that ranks or chooses and of one that polishes, as in the kernels.
const THREADS: u32 = 256;
const POLISHING_THREADS: u32 = 512;
/// Bits of a score, by which hypotheses are sorted.
const SCORE_BITS: u32 = u32::BITS;
/// Numbers of an extent: centre and radius.
const EXTENT: usize = 4;

/// Hypotheses to polish.
struct Chosen<D: Driver> {
    /// Their indices, the first `count` of which there are.
    indices: CudaBuffer<u32, D>,
    count: CudaBuffer<u32, D>,
    /// How many are polished.
    finished: CudaBuffer<u32, D>,
    /// Centre and radius of the matches' source points.
    extent: CudaBuffer<f32, D>,
}

impl<D: Driver> EstimatePoses for Cuda<D> {
    fn estimate_poses(
        &self,
        hypotheses: &Hypotheses<Self>,
        support: &CudaBuffer<Support, D>,
        options: EstimateOptions,
    ) -> Result<CudaBuffer<Pose, D>> {
        let most = options.candidates.min(support.len());
        if most == 0 {
            return self.allocate(0);
        }
        let chosen = self.choose(hypotheses, support, &options, most)?;
        self.polish(hypotheses, &chosen, &options)
    }
}

impl<D: Driver> Cuda<D> {
    /// The `most` best supported hypotheses that are `distinct`, or fewer.
    fn choose(
        &self,
        hypotheses: &Hypotheses<Self>,
        support: &CudaBuffer<Support, D>,
        &EstimateOptions { tolerance, distinct, .. }: &EstimateOptions,
        most: usize,
    ) -> Result<Chosen<D>> {
        let (Hypotheses { poses, source, target }, length) = (hypotheses, support.len());
        let (keys, extent) = (self.allocate(length)?, self.allocate(EXTENT)?);
        let blocks = Grid::new(length.div_ceil(THREADS as usize) + 1, THREADS);
        // SAFETY: as many source points as supports, and a key for each; `extent` has room for one.
        unsafe { self.launch(RANK, blocks, arguments![support, source, length, &keys, &extent])? };
        let (_, order) = self.sort(keys, 0..SCORE_BITS)?;
        let (indices, count, finished) = (self.allocate(most)?, self.allocate(1)?, self.allocate(1)?);
        let arguments = arguments![
            poses,
            source,
            target,
            &order,
            length,
            &extent,
            distinct,
            tolerance.base,
            tolerance.slope,
            most,
            &indices,
            &count,
            &finished
        ];
        // SAFETY: as many poses, sources and targets as supports and indices in `order`; `indices` has room for `most`; one
        // extent, one count and one number of finished ones.
        unsafe { self.launch(CHOOSE, Grid::new(1, THREADS), arguments)? };
        Ok(Chosen { indices, count, finished, extent })
    }

    /// The chosen hypotheses, fitted to all matches, as far as they are distinct then.
    fn polish(
        &self,
        hypotheses: &Hypotheses<Self>,
        chosen: &Chosen<D>,
        options: &EstimateOptions,
    ) -> Result<CudaBuffer<Pose, D>> {
        let most = chosen.indices.len();
        let (polished, indices) = (self.allocate::<Pose>(most)?, self.allocate::<u32>(most)?);
        let (kept, kept_count) = (self.allocate(most)?, self.allocate::<u32>(1)?);
        let Hypotheses { poses, source, target } = hypotheses;
        let widths = Argument::value(options.widths().map(|width| [width.base, width.slope]));
        let Chosen { indices: of_chosen, count, finished, extent } = chosen;
        let limit = options.distinct_polished();
        let arguments = arguments![
            poses,
            source,
            target,
            source.len(),
            of_chosen,
            count,
            widths,
            extent,
            limit,
            finished,
            &polished,
            &indices,
            &kept,
            &kept_count
        ];
        // SAFETY: as many sources and targets as poses, and the first `count` of the chosen indices, at most all, are below
        // their number; all outputs have as many elements as there are chosen indices.
        unsafe { self.launch(POLISH, Grid::new(most, POLISHING_THREADS), arguments)? };
        Ok(kept.truncated(self.last(&kept_count)? as usize))
    }
}
