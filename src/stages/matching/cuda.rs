//! CUDA side: a block per tile of products on tensor cores, whose maxima meet in 64-bit numbers. Kernels:
//! `kernels/matching.cu`.

use bytemuck::{Pod, Zeroable};

use super::{MOST_PARTS, Match, MatchMutual, Rows};
use crate::backend::cuda::{Argument, Cuda, CudaBuffer, Driver, Grid, Kernel, arguments};
use crate::error::Result;

const TO_FIXED_POINT: Kernel = Kernel::new("matching", "to_fixed_point");
const BEST_PRODUCTS: Kernel = Kernel::new("matching", "best_products");
const COLLECT_MUTUAL: Kernel = Kernel::new("matching", "collect_mutual");

/// Rows and columns of a tile, as in the kernel, and the threads that compute it.
const TILE: usize = 64;
const TILE_THREADS: u32 = 256;
const THREADS: u32 = 256;
/// Threads of the block that collects, as in the kernel.
const COLLECTORS: u32 = 1024;
/// Rows of fixed-point values fill up whole steps of this many words of four.
const STEP_WORDS: usize = 8;

/// Rows in fixed point, see `kernels/fixed_point.cuh`, and the best product of each.
struct FixedRows<D: Driver> {
    high: CudaBuffer<u32, D>,
    low: CudaBuffer<u32, D>,
    best: CudaBuffer<u64, D>,
}

/// The same for the kernel, with the values that they are made from; as there.
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct Vectors {
    parts: [u64; MOST_PARTS],
    widths: [u32; MOST_PARTS],
    high: u64,
    low: u64,
    best: u64,
    count: u32,
    padding: u32,
}

impl<D: Driver> FixedRows<D> {
    fn vectors(&self, rows: &[Rows<'_, Cuda<D>>]) -> Argument<'_> {
        let Self { high, low, best } = self;
        let [high, low] = [high, low].map(CudaBuffer::address);
        let (best, count) = (best.address(), best.len() as u32);
        let (mut parts, mut widths) = ([0; MOST_PARTS], [0; MOST_PARTS]);
        for (i, &(part, width)) in rows.iter().enumerate() {
            (parts[i], widths[i]) = (part.address(), width as u32);
        }
        Argument::value(Vectors { parts, widths, high, low, best, count, padding: 0 })
    }
}

impl<D: Driver> Cuda<D> {
    fn fixed_rows(&self, count: usize, words: usize) -> Result<FixedRows<D>> {
        let (high, low) = (self.allocate(count * words)?, self.allocate(count * words)?);
        Ok(FixedRows { high, low, best: self.allocate(count)? })
    }

    /// Both sides in fixed point, without any best products yet.
    fn to_fixed_point(
        &self,
        [source, target]: [&[Rows<'_, Self>]; 2],
        [rows, columns]: [usize; 2],
        words: usize,
    ) -> Result<[FixedRows<D>; 2]> {
        let (s, t) = (self.fixed_rows(rows, words)?, self.fixed_rows(columns, words)?);
        let grid = Grid::over(rows.max(columns) * words, THREADS).rows(2);
        let arguments = arguments![s.vectors(source), t.vectors(target), words];
        // SAFETY: each part of a set of `count` rows has count × its width values; there are count × words words of either
        // digit, one at least, and `count` ranks.
        unsafe { self.launch(TO_FIXED_POINT, grid, arguments)? };
        Ok([s, t])
    }
}

impl<D: Driver> MatchMutual for Cuda<D> {
    fn match_mutual(
        &self,
        source: &[Rows<'_, Self>],
        target: &[Rows<'_, Self>],
    ) -> Result<CudaBuffer<Match, D>> {
        assert!(
            source.len() <= MOST_PARTS && target.len() <= MOST_PARTS,
            "more than {MOST_PARTS} descriptions"
        );
        let [rows, columns] = [source, target].map(count);
        if rows == 0 || columns == 0 {
            return self.allocate(0);
        }
        let width: usize = source.iter().map(|(_, width)| width).sum();
        let words = width.div_ceil(4 * STEP_WORDS) * STEP_WORDS;
        let [s, t] = self.to_fixed_point([source, target], [rows, columns], words)?;
        let tiles = Grid::new(columns.div_ceil(TILE), TILE_THREADS).rows(rows.div_ceil(TILE));
        let arguments = arguments![&s.high, &s.low, rows, &t.high, &t.low, columns, words, &s.best, &t.best];
        // SAFETY: the parts of the source have rows × words words, those of the target columns × words, and `words` is a
        // multiple of STEP_WORDS; there is a best for each row and column.
        unsafe { self.launch(BEST_PRODUCTS, tiles, arguments)? };

        let (matches, count) = (self.allocate(rows.min(columns))?, self.allocate::<u32>(1)?);
        let arguments = arguments![&s.best, rows, &t.best, &matches, &count];
        // SAFETY: as above; ranks hold indices of rows and columns, and a row or column is in at most one match.
        unsafe { self.launch(COLLECT_MUTUAL, Grid::new(1, COLLECTORS), arguments)? };
        Ok(matches.truncated(self.last(&count)? as usize))
    }
}

/// The number of a cloud's rows.
fn count<D: Driver>(rows: &[Rows<'_, Cuda<D>>]) -> usize {
    rows.first().map_or(0, |(part, width)| part.len() / width)
}
