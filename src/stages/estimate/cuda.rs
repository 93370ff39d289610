//! CUDA side: one block chooses, then a block for each candidate polishes it, then one block drops those that have come
//! together. Sums are made in the CPU's order and the small solver is the CPU's, so poses are equal to the bit. Only the
//! number of candidates goes to the host. Kernels: `kernels/estimate.cu`.

use super::{EstimateOptions, EstimatePoses};
use crate::backend::cuda::{Argument, Cuda, CudaBuffer, Driver, Grid, Kernel, arguments};
use crate::error::Result;
use crate::stages::consensus::Support;
use crate::stages::pose::{Hypotheses, Pose};

const RANK: Kernel = Kernel::new("estimate", "rank_scores");
const MEASURE: Kernel = Kernel::new("estimate", "measure_extent");
const CHOOSE: Kernel = Kernel::new("estimate", "choose_hypotheses");
const POLISH: Kernel = Kernel::new("estimate", "polish_candidates");
const KEEP: Kernel = Kernel::new("estimate", "keep_distinct_candidates");

/// Threads of a block, as in the kernels.
const THREADS: u32 = 256;
/// Bits of a score, by which hypotheses are sorted.
const SCORE_BITS: u32 = u32::BITS;
/// Numbers of an extent: centre and radius.
const EXTENT: usize = 4;

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
        let extent = self.extent(hypotheses)?;
        let (chosen, count) = self.choose(hypotheses, support, &extent, options.distinct, most)?;
        let polished = self.polish(hypotheses, &chosen, &count, &options)?;

        let (kept, indices) = (self.allocate(most)?, chosen);
        let kept_count = self.allocate::<u32>(1)?;
        let limit = options.distinct_polished();
        let arguments = arguments![&polished, &count, &extent, limit, &indices, &kept, &kept_count];
        // SAFETY: `count` is at most `most`, which is the length of all arrays; one extent.
        unsafe { self.launch(KEEP, Grid::new(1, THREADS), arguments)? };
        Ok(kept.truncated(self.last(&kept_count)? as usize))
    }
}

impl<D: Driver> Cuda<D> {
    /// Centre and radius of the matches' source points.
    fn extent(&self, hypotheses: &Hypotheses<Self>) -> Result<CudaBuffer<f32, D>> {
        let (source, extent) = (&hypotheses.source, self.allocate(EXTENT)?);
        // SAFETY: `extent` has room for one.
        unsafe { self.launch(MEASURE, Grid::new(1, THREADS), arguments![source, source.len(), &extent])? };
        Ok(extent)
    }

    /// Indices of the best supported hypotheses that are `distinct`, in an array of length `most`, and how many they are.
    fn choose(
        &self,
        hypotheses: &Hypotheses<Self>,
        support: &CudaBuffer<Support, D>,
        extent: &CudaBuffer<f32, D>,
        distinct: f32,
        most: usize,
    ) -> Result<(CudaBuffer<u32, D>, CudaBuffer<u32, D>)> {
        let (poses, length) = (&hypotheses.poses, support.len());
        let keys = self.allocate(length)?;
        // SAFETY: a key for each support.
        unsafe { self.launch(RANK, Grid::over(length, THREADS), arguments![support, length, &keys])? };
        let (_, order) = self.sort(keys, 0..SCORE_BITS)?;
        let (chosen, count) = (self.allocate(most)?, self.allocate(1)?);
        let arguments = arguments![poses, &order, length, extent, distinct, most, &chosen, &count];
        // SAFETY: as many poses as supports and indices in `order`; `chosen` has room for `most`; one extent.
        unsafe { self.launch(CHOOSE, Grid::new(1, THREADS), arguments)? };
        Ok((chosen, count))
    }

    /// The first `count` of the `chosen` hypotheses, fitted to all matches.
    fn polish(
        &self,
        hypotheses: &Hypotheses<Self>,
        chosen: &CudaBuffer<u32, D>,
        count: &CudaBuffer<u32, D>,
        options: &EstimateOptions,
    ) -> Result<CudaBuffer<Pose, D>> {
        let polished = self.allocate(chosen.len())?;
        let Hypotheses { poses, source, target } = hypotheses;
        let widths = Argument::value(options.widths().map(|width| [width.base, width.slope]));
        let arguments = arguments![poses, source, target, source.len(), chosen, count, widths, &polished];
        // SAFETY: as many sources and targets as poses, and the first `count` of `chosen`, at most all, are below their
        // number; a polished pose for each.
        unsafe { self.launch(POLISH, Grid::new(chosen.len(), THREADS), arguments)? };
        Ok(polished)
    }
}
