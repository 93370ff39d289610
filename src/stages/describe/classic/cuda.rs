//! CUDA side of the classic descriptor: a block for each patch. Kernel: `kernels/classic.cu`.

use super::fourier::FOURIER;
use super::{CLASSIC_WIDTH, DescribeClassic};
use crate::backend::Device;
use crate::backend::cuda::{Cuda, CudaBuffer, Driver, Grid, Kernel, arguments};
use crate::error::Result;
use crate::stages::describe::{AZIMUTHS, Features, RINGS};
use crate::stages::frame::Frame;
use crate::stages::patch::Patches;

const DESCRIBE: Kernel = Kernel::new("classic", "describe_classic");

/// Threads of a block, as in the kernel.
const THREADS: u32 = 256;

impl<D: Driver> DescribeClassic for Cuda<D> {
    fn describe_classic(
        &self,
        patches: &Patches<Self>,
        frames: CudaBuffer<Frame, D>,
    ) -> Result<Features<Self>> {
        let count = frames.len();
        let invariant = self.allocate(count * CLASSIC_WIDTH)?;
        let equivariant = self.allocate(count * RINGS * AZIMUTHS)?;
        let table = self.upload(FOURIER.as_flattened())?;
        let arguments =
            arguments![&patches.offsets, &patches.count, &frames, &table, &invariant, &equivariant];
        // SAFETY: there are `count` patches and frames, CLASSIC_WIDTH values of `invariant` and RINGS · AZIMUTHS of
        // `equivariant` for each, and a row of the table for every sector.
        unsafe { self.launch(DESCRIBE, Grid::new(count, THREADS), arguments)? };
        Ok(Features { invariant, width: CLASSIC_WIDTH, equivariant, rings: RINGS, frames })
    }
}
