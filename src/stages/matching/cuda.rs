//! CUDA side: a block per tile of products, whose maxima meet in 64-bit numbers. Kernels: `kernels/matching.cu`.

use super::{Match, MatchMutual};
use crate::backend::cuda::{Cuda, CudaBuffer, Driver, Grid, Kernel, arguments};
use crate::error::Result;

const BEST_PRODUCTS: Kernel = Kernel::new("matching", "best_products");
const MARK_MUTUAL: Kernel = Kernel::new("matching", "mark_mutual");
const COLLECT_MUTUAL: Kernel = Kernel::new("matching", "collect_mutual");
const PLACE_ROWS: Kernel = Kernel::new("matching", "place_rows");

/// Rows and columns of a tile, as in the kernel, and the threads that compute it.
const TILE: usize = 64;
const TILE_THREADS: u32 = 256;
const THREADS: u32 = 256;

impl<D: Driver> MatchMutual for Cuda<D> {
    fn match_mutual(
        &self,
        source: &CudaBuffer<f32, D>,
        target: &CudaBuffer<f32, D>,
        width: usize,
    ) -> Result<CudaBuffer<Match, D>> {
        let (rows, columns) = (source.len() / width, target.len() / width);
        if rows == 0 || columns == 0 {
            return self.allocate(0);
        }
        let (best_target, best_source) = (self.zeroed::<u64>(rows)?, self.zeroed::<u64>(columns)?);
        let tiles = Grid::new(columns.div_ceil(TILE), TILE_THREADS).rows(rows.div_ceil(TILE));
        let arguments = arguments![source, rows, target, columns, width, &best_target, &best_source];
        // SAFETY: `source` has rows × width values, `target` columns × width; there is a best for each row and column.
        unsafe { self.launch(BEST_PRODUCTS, tiles, arguments)? };

        let grid = Grid::over(rows, THREADS);
        let mutual = self.allocate::<u32>(rows)?;
        // SAFETY: as above, and there is a mark for each row; ranks hold indices of rows and columns.
        unsafe { self.launch(MARK_MUTUAL, grid, arguments![&best_target, rows, &best_source, &mutual])? };
        let places = self.prefix_sums(&mutual)?;
        let matches = self.allocate(rows.min(columns))?;
        // SAFETY: `places` has an element for each row and one more; a row or column is in at most one match.
        unsafe { self.launch(COLLECT_MUTUAL, grid, arguments![&best_target, rows, &places, &matches])? };
        Ok(matches.truncated(self.last(&places)? as usize))
    }

    fn join_rows(&self, parts: &[(&CudaBuffer<f32, D>, usize)]) -> Result<CudaBuffer<f32, D>> {
        let rows = parts.first().map_or(0, |(part, width)| part.len() / width);
        let stride: usize = parts.iter().map(|(_, width)| width).sum();
        let joined = self.allocate(rows * stride)?;
        let mut first = 0;
        for &(part, width) in parts {
            let grid = Grid::over(rows * width, THREADS);
            // SAFETY: `part` has rows × width values, and rows of the joined ones have `stride`, at least first + width.
            unsafe { self.launch(PLACE_ROWS, grid, arguments![part, rows, width, &joined, stride, first])? };
            first += width;
        }
        Ok(joined)
    }
}
