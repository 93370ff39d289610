//! CUDA side: one thread per match and shift, which sums up in the order of the CPU. Kernels: `kernels/azimuth.cu`.

use super::AlignAzimuth;
use crate::backend::cuda::{Cuda, CudaBuffer, Driver, Grid, Kernel, arguments};
use crate::error::Result;
use crate::stages::describe::AZIMUTHS;
use crate::stages::matching::Match;

const ALIGN_AZIMUTH: Kernel = Kernel::new("azimuth", "align_azimuth");

/// Matches of a block, as in the kernel.
const MATCHES: usize = 8;

impl<D: Driver> AlignAzimuth for Cuda<D> {
    fn align_azimuth(
        &self,
        source: &CudaBuffer<f32, D>,
        target: &CudaBuffer<f32, D>,
        rings: usize,
        matches: &CudaBuffer<Match, D>,
    ) -> Result<CudaBuffer<f32, D>> {
        let count = matches.len();
        let angles = self.allocate(count)?;
        let grid = Grid::new(count.div_ceil(MATCHES), (MATCHES * AZIMUTHS) as u32);
        let arguments = arguments![source, target, rings, matches, count, &angles];
        // SAFETY: both maps have `rings` rings for every index in the matches; there is an angle for each match.
        unsafe { self.launch(ALIGN_AZIMUTH, grid, arguments)? };
        Ok(angles)
    }
}
