//! CUDA side: a block per tile of products on tensor cores, whose maxima meet in 64-bit numbers; and half a warp per pair
//! of maps that are correlated. Kernels: `kernels/matching.cu`.

use bytemuck::{Pod, Zeroable};

use super::{By, CLASSES, Described, FREQUENCIES, MOST_PARTS, Match, MatchMutual, PARTNERS};
use crate::backend::cuda::{Argument, Cuda, CudaBuffer, Driver, Grid, Kernel, arguments};
use crate::error::Result;

const TO_FIXED_POINT: Kernel = Kernel::new("matching", "to_fixed_point");
const BEST_PRODUCTS: Kernel = Kernel::new("matching", "best_products");
const SHORTLIST_PRODUCTS: Kernel = Kernel::new("matching", "shortlist_products");
const TRANSFORM_MAPS: Kernel = Kernel::new("matching", "transform_maps");
const MOST_SIMILAR: Kernel = Kernel::new("matching", "most_similar");
const NEXT_RANKS: Kernel = Kernel::new("matching", "next_ranks");
const COLLECT_MUTUAL: Kernel = Kernel::new("matching", "collect_mutual");

/// Rows and columns of a tile, as in the kernel, and the threads that compute it.
const TILE: usize = 64;
const TILE_THREADS: u32 = 256;
const THREADS: u32 = 256;
/// Threads that look for what is most similar to one vector.
const WARP: usize = 32;
/// Threads of the block that collects, as in the kernel.
const COLLECTORS: u32 = 1024;
/// Rows of fixed-point values fill up whole steps of this many words of four.
const STEP_WORDS: usize = 8;

/// A cloud's rows in fixed point, see `kernels/fixed_point.cuh`.
struct FixedRows<D: Driver> {
    high: CudaBuffer<u32, D>,
    low: CudaBuffer<u32, D>,
    count: usize,
    /// Of a row, of either digit.
    words: usize,
}

/// The same for the kernel; as there.
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct FixedVectors {
    high: u64,
    low: u64,
    count: u32,
    words: u32,
}

/// What rows are made from, their digits, and ranks that are to be zeroed, for the kernel; as there.
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct Vectors {
    parts: [u64; MOST_PARTS],
    widths: [u32; MOST_PARTS],
    high: u64,
    low: u64,
    ranks: u64,
    count: u32,
    ranks_each: u32,
}

/// Maps and their coefficients, for the kernel; as there.
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct MapSet {
    parts: [u64; MOST_PARTS],
    rings: [u32; MOST_PARTS],
    coefficients: u64,
    count: u32,
    padding: u32,
}

/// Ranks for the kernel; as there.
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct RankSet {
    of_source: u64,
    of_target: u64,
    rows: u32,
    columns: u32,
}

/// One description of a cloud.
type Part<'a, D> = Described<'a, Cuda<D>>;

/// Ranks of the vectors of a source and of a target, `each` of every one.
struct Ranks<D: Driver> {
    of_source: CudaBuffer<u64, D>,
    of_target: CudaBuffer<u64, D>,
    each: usize,
}

impl<D: Driver> Ranks<D> {
    fn rows(&self) -> usize {
        self.of_source.len() / self.each
    }

    fn columns(&self) -> usize {
        self.of_target.len() / self.each
    }

    fn set(&self) -> Argument<'_> {
        let [of_source, of_target] = [&self.of_source, &self.of_target].map(CudaBuffer::address);
        Argument::value(RankSet {
            of_source,
            of_target,
            rows: self.rows() as u32,
            columns: self.columns() as u32,
        })
    }
}

impl<D: Driver> FixedRows<D> {
    fn vectors(&self) -> Argument<'_> {
        let Self { high, low, count, words } = self;
        let [high, low] = [high, low].map(CudaBuffer::address);
        Argument::value(FixedVectors { high, low, count: *count as u32, words: *words as u32 })
    }

    /// The same, as they are made from `parts`, and `ranks` beside them.
    fn made_from(&self, parts: &[Part<'_, D>], ranks: &CudaBuffer<u64, D>) -> Argument<'_> {
        let mut vectors = Vectors {
            parts: [0; MOST_PARTS],
            widths: [0; MOST_PARTS],
            high: self.high.address(),
            low: self.low.address(),
            ranks: ranks.address(),
            count: self.count as u32,
            ranks_each: (ranks.len() / self.count) as u32,
        };
        for (i, part) in parts.iter().enumerate() {
            (vectors.parts[i], vectors.widths[i]) = (part.invariant.address(), part.width as u32);
        }
        Argument::value(vectors)
    }
}

impl<D: Driver> Cuda<D> {
    fn fixed_rows(&self, count: usize, words: usize) -> Result<FixedRows<D>> {
        let (high, low) = (self.allocate(count * words)?, self.allocate(count * words)?);
        Ok(FixedRows { high, low, count, words })
    }

    /// Both clouds in fixed point, with so many ranks beside each row, which are zeros.
    fn to_fixed_point(
        &self,
        clouds: [&[Part<'_, D>]; 2],
        counts: [usize; 2],
        ranks_each: usize,
    ) -> Result<([FixedRows<D>; 2], Ranks<D>)> {
        let width: usize = clouds[0].iter().map(|part| part.width).sum();
        let words = width.div_ceil(4 * STEP_WORDS) * STEP_WORDS;
        let rows = [self.fixed_rows(counts[0], words)?, self.fixed_rows(counts[1], words)?];
        let ranks = self.ranks(counts, ranks_each)?;
        let grid = Grid::over(counts[0].max(counts[1]) * words, THREADS).rows(2);
        let source = rows[0].made_from(clouds[0], &ranks.of_source);
        let target = rows[1].made_from(clouds[1], &ranks.of_target);
        // SAFETY: each part of a cloud of `count` rows has count × its width values; there are count × words words of either
        // digit, one at least, and count × ranks_each ranks.
        unsafe { self.launch(TO_FIXED_POINT, grid, arguments![source, target, words])? };
        Ok((rows, ranks))
    }

    fn ranks(&self, [rows, columns]: [usize; 2], each: usize) -> Result<Ranks<D>> {
        Ok(Ranks { of_source: self.allocate(rows * each)?, of_target: self.allocate(columns * each)?, each })
    }

    /// For every row of either cloud the highest ranks of its products: one, or one of each class.
    fn rank_products(
        &self,
        clouds: [&[Part<'_, D>]; 2],
        counts: [usize; 2],
        kernel: Kernel,
        ranks_each: usize,
    ) -> Result<Ranks<D>> {
        let ([source, target], ranks) = self.to_fixed_point(clouds, counts, ranks_each)?;
        let tiles = Grid::new(counts[1].div_ceil(TILE), TILE_THREADS).rows(counts[0].div_ceil(TILE));
        let arguments = arguments![source.vectors(), target.vectors(), &ranks.of_source, &ranks.of_target];
        // SAFETY: both digits of a cloud of `count` rows have count × words words, and `words` is a multiple of STEP_WORDS;
        // there are as many ranks for each row and column as the kernel writes.
        unsafe { self.launch(kernel, tiles, arguments)? };
        Ok(ranks)
    }

    /// For every row of either cloud its partners by products, and by products and maps.
    fn rank_shortlists(
        &self,
        clouds: [&[Part<'_, D>]; 2],
        counts: [usize; 2],
    ) -> Result<(Ranks<D>, Ranks<D>)> {
        let products = self.rank_products(clouds, counts, SHORTLIST_PRODUCTS, CLASSES)?;
        let similarities = self.ranks(counts, CLASSES)?;
        let rings: usize = clouds[0].iter().map(|part| part.rings).sum();
        let coefficients = [
            self.allocate(counts[0] * rings * FREQUENCIES)?,
            self.allocate(counts[1] * rings * FREQUENCIES)?,
        ];
        let [source, target] = [0, 1].map(|i| map_set(clouds[i], counts[i], &coefficients[i]));
        let (nearest, similar) = (self.ranks(counts, PARTNERS)?, self.ranks(counts, PARTNERS)?);
        let grid = Grid::over(counts[0].max(counts[1]) * rings, THREADS).rows(2);
        // SAFETY: each part of a cloud of `count` rows has count × its rings × AZIMUTHS values, and the coefficients have room
        // for FREQUENCIES words of every ring of all parts; there are PARTNERS ranks for each row, and a ring at least.
        unsafe {
            self.launch(TRANSFORM_MAPS, grid, arguments![source, target, nearest.set(), similar.set()])?
        };
        let grid = Grid::over((counts[0] + counts[1]) * WARP, THREADS);
        let lists = (products.set(), similarities.set());
        let arguments = arguments![source, target, lists.0, lists.1, nearest.set(), similar.set()];
        // SAFETY: as above; there are CLASSES ranks of products and of similarities for each row, and the indices of the
        // former are those of rows.
        unsafe { self.launch(MOST_SIMILAR, grid, arguments)? };
        let grid = Grid::over((counts[0] + counts[1]) * CLASSES, THREADS);
        // SAFETY: as above; the indices of ranks of similarities are those of rows where the products have one.
        unsafe { self.launch(NEXT_RANKS, grid, arguments![lists.0, lists.1, nearest.set(), similar.set()])? };
        Ok((nearest, similar))
    }

    /// The pairs of rows that are each other's partners by either ranks.
    fn collect_mutual(&self, first: &Ranks<D>, second: &Ranks<D>) -> Result<CudaBuffer<Match, D>> {
        let each = first.each;
        assert!(each <= PARTNERS && second.each == each, "more than {PARTNERS} partners");
        let most = 2 * each * first.rows().min(first.columns());
        let (matches, count) = (self.allocate(most)?, self.allocate::<u32>(1)?);
        let arguments = arguments![first.set(), second.set(), each, &matches, &count];
        // SAFETY: there are `each` ranks for each row and column; ranks hold indices of rows and columns, and a row or column is
        // in at most `each` matches by either.
        unsafe { self.launch(COLLECT_MUTUAL, Grid::new(1, COLLECTORS), arguments)? };
        Ok(matches.truncated(self.last(&count)? as usize))
    }
}

impl<D: Driver> MatchMutual for Cuda<D> {
    fn match_mutual(
        &self,
        source: &[Described<'_, Self>],
        target: &[Described<'_, Self>],
        by: By,
    ) -> Result<CudaBuffer<Match, D>> {
        assert!(
            source.len() <= MOST_PARTS && target.len() <= MOST_PARTS,
            "more than {MOST_PARTS} descriptions"
        );
        let (clouds, counts) = ([source, target], [source, target].map(count));
        if counts.contains(&0) {
            return self.allocate(0);
        }
        if by == By::Vectors {
            let nearest = self.rank_products(clouds, counts, BEST_PRODUCTS, 1)?;
            return self.collect_mutual(&nearest, &nearest);
        }
        let (nearest, similar) = self.rank_shortlists(clouds, counts)?;
        self.collect_mutual(if by == By::Maps { &similar } else { &nearest }, &similar)
    }
}

/// The number of a cloud's rows.
fn count<D: Driver>(parts: &[Part<'_, D>]) -> usize {
    parts.first().map_or(0, |part| part.invariant.len() / part.width)
}

fn map_set<'a, D: Driver>(
    parts: &[Part<'_, D>],
    count: usize,
    coefficients: &'a CudaBuffer<u32, D>,
) -> Argument<'a> {
    let (count, coefficients) = (count as u32, coefficients.address());
    let mut set = MapSet { parts: [0; MOST_PARTS], rings: [0; MOST_PARTS], coefficients, count, padding: 0 };
    for (i, part) in parts.iter().enumerate() {
        (set.parts[i], set.rings[i]) = (part.equivariant.address(), part.rings as u32);
    }
    Argument::value(set)
}
