//! CUDA side: a reduction in two steps. Kernels: `kernels/bounds.cu`.

use super::Bounds;
use crate::backend::Device;
use crate::backend::cuda::{Cuda, CudaBuffer, Driver, Grid, Kernel, arguments};
use crate::cloud::Point;
use crate::error::Result;

const BOUND_POINTS: Kernel = Kernel::new("bounds", "bound_points");
const BOUND_PARTS: Kernel = Kernel::new("bounds", "bound_parts");

const THREADS: u32 = 256;
/// Fewest points that a thread of the first step looks at.
const POINTS_PER_THREAD: usize = 4;
/// Most blocks of the first step, enough to fill a large device.
const MOST_BLOCKS: usize = 1024;

impl<D: Driver> Cuda<D> {
    /// The smallest box around `points`, one element; without points its lowest corner is at infinity and the highest
    /// one below.
    pub(in crate::stages) fn bounds(&self, points: &CudaBuffer<Point, D>) -> Result<CudaBuffer<Bounds, D>> {
        let blocks = points.len().div_ceil(POINTS_PER_THREAD * THREADS as usize).min(MOST_BLOCKS);
        let (parts, whole) = (self.allocate::<Bounds>(blocks)?, self.allocate::<Bounds>(1)?);
        // SAFETY: `points.len()` points, and a part for each block.
        unsafe {
            self.launch(BOUND_POINTS, Grid::new(blocks, THREADS), arguments![points, points.len(), &parts])?
        };
        // SAFETY: `blocks` parts, and one element in `whole`.
        unsafe { self.launch(BOUND_PARTS, Grid::new(1, THREADS), arguments![&parts, blocks, &whole])? };
        Ok(whole)
    }

    /// The same on the host, of one cloud or several, `None` for one without points; waits for the device.
    pub(in crate::stages) fn bounds_on_host(
        &self,
        bounds: &CudaBuffer<Bounds, D>,
    ) -> Result<Vec<Option<Bounds>>> {
        let there_are_points = |bounds: &Bounds| bounds.lowest[0] <= bounds.highest[0];
        Ok(self.download(bounds)?.into_iter().map(|bounds| Some(bounds).filter(there_are_points)).collect())
    }
}
