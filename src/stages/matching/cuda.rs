//! CUDA side: a block per tile of products on tensor cores, whose maxima meet in 64-bit numbers. Kernels:
//! `kernels/matching.cu`.

use super::{Match, MatchMutual};
use crate::backend::cuda::{Cuda, CudaBuffer, Driver, Grid, Kernel, arguments};
use crate::error::Result;

const TO_FIXED_POINT: Kernel = Kernel::new("matching", "to_fixed_point");
const BEST_PRODUCTS: Kernel = Kernel::new("matching", "best_products");
const MARK_MUTUAL: Kernel = Kernel::new("matching", "mark_mutual");
const COLLECT_MUTUAL: Kernel = Kernel::new("matching", "collect_mutual");
const PLACE_ROWS: Kernel = Kernel::new("matching", "place_rows");

/// Rows and columns of a tile, as in the kernel, and the threads that compute it.
const TILE: usize = 64;
const TILE_THREADS: u32 = 256;
const THREADS: u32 = 256;
/// Rows of fixed-point values fill up whole steps of this many words of four.
const STEP_WORDS: usize = 16;

/// Rows in fixed point; see `kernels/fixed_point.cuh`.
struct FixedRows<D: Driver> {
    high: CudaBuffer<u32, D>,
    low: CudaBuffer<u32, D>,
    /// Words of a row in each of them.
    words: usize,
}

impl<D: Driver> Cuda<D> {
    fn fixed_rows(&self, rows: &CudaBuffer<f32, D>, count: usize, width: usize) -> Result<FixedRows<D>> {
        let words = width.div_ceil(4 * STEP_WORDS) * STEP_WORDS;
        let (high, low) = (self.allocate(count * words)?, self.allocate(count * words)?);
        let grid = Grid::over(count * words, THREADS);
        // SAFETY: `rows` has count × width values, `high` and `low` count × words words.
        unsafe { self.launch(TO_FIXED_POINT, grid, arguments![rows, count, width, words, &high, &low])? };
        Ok(FixedRows { high, low, words })
    }
}

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
        let (s, t) = (self.fixed_rows(source, rows, width)?, self.fixed_rows(target, columns, width)?);
        let arguments =
            arguments![&s.high, &s.low, rows, &t.high, &t.low, columns, s.words, &best_target, &best_source];
        // SAFETY: the parts of the source have rows × words words, those of the target columns × words, and `words` is a
        // multiple of STEP_WORDS; there is a best for each row and column.
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
