//! Building blocks of several stages: prefix sums and a stable sort. Kernels: `kernels/primitives.cu`.

use std::ops::Range;

use super::{Cuda, CudaBuffer, Driver, Grid, Kernel, arguments};
use crate::backend::{Device, Element};
use crate::error::Result;

const SUM_BLOCKS: Kernel = Kernel::new("primitives", "sum_blocks");
const ADD_BLOCK_SUMS: Kernel = Kernel::new("primitives", "add_block_sums");
const SUM_ALL: Kernel = Kernel::new("primitives", "sum_all");
const SORT_FEW: Kernel = Kernel::new("primitives", "sort_few");
const FIND_MIXED: Kernel = Kernel::new("primitives", "find_mixed_runs");
const SORT_MIXED: Kernel = Kernel::new("primitives", "sort_mixed_runs");
const COUNT_DIGITS: Kernel = Kernel::new("primitives", "count_digits");
const SUM_DIGITS: Kernel = Kernel::new("primitives", "sum_digits");
const SCATTER_BY_DIGIT: Kernel = Kernel::new("primitives", "scatter_by_digit");

/// Threads of a block in these kernels.
const THREADS: u32 = 256;
/// Values of a sorted digit.
const DIGITS: usize = 256;
const DIGIT_BITS: u32 = 8;
/// Warps of a block that sorts, each a tile of keys.
const WARPS: usize = THREADS as usize / 32;
/// Keys of a tile: few, so that many warps have work, but of many keys more, since every tile has a count for each digit.
const SMALL_TILE: usize = 256;
const LARGE_TILE: usize = 1024;
const MANY_KEYS: usize = 1 << 17;
/// Threads of the block that sums up everything, the most values for that, and the most keys that are sorted in one launch.
const MANY_THREADS: u32 = 1024;
const FEW_VALUES: usize = 1 << 15;
const FEW_KEYS: usize = 2048;
/// Threads of a block that sums up the counts of a digit.
const DIGIT_THREADS: u32 = 128;

/// Keys, and the index at which each was.
type Sorted<D> = (CudaBuffer<u64, D>, CudaBuffer<u32, D>);

/// How a sort deals its keys out to warps.
struct Tiles<D: Driver> {
    /// Keys of a tile.
    tile: usize,
    /// By digit, then by tile; then their sums.
    counts: CudaBuffer<u32, D>,
    /// Of each digit.
    totals: CudaBuffer<u32, D>,
}

impl<D: Driver> Cuda<D> {
    /// Exclusive prefix sums, one more than there are `values`: element `i` is the sum of all before the `i`-th, so the
    /// last one is the sum of all. Sums wrap at 2³².
    pub fn prefix_sums(&self, values: &CudaBuffer<u32, D>) -> Result<CudaBuffer<u32, D>> {
        let sums = self.allocate(values.len() + 1)?;
        if values.len() <= FEW_VALUES {
            let grid = Grid::new(1, MANY_THREADS);
            // SAFETY: there are `values.len()` values and one more sum.
            unsafe { self.launch(SUM_ALL, grid, arguments![values, values.len(), &sums])? };
            return Ok(sums);
        }
        let grid = Grid::over(sums.len(), THREADS);
        let totals = self.allocate::<u32>(grid.blocks[0] as usize)?;
        // SAFETY: there are `values.len()` values, one more sum, and a total for each block.
        unsafe { self.launch(SUM_BLOCKS, grid, arguments![values, values.len(), &sums, &totals])? };
        let before = self.prefix_sums(&totals)?;
        // SAFETY: `before` has an element for each block and one more.
        unsafe { self.launch(ADD_BLOCK_SUMS, grid, arguments![&sums, sums.len(), &before])? };
        Ok(sums)
    }

    /// The keys in ascending order of these bits, of which there is one at least, and the index at which each was; equal
    /// ones in the order in which they were.
    pub fn sort(&self, keys: CudaBuffer<u64, D>, bits: Range<u32>) -> Result<Sorted<D>> {
        let len = keys.len();
        if len <= FEW_KEYS {
            return self.sort_few(&keys, bits);
        }
        let tile = if len < MANY_KEYS { SMALL_TILE } else { LARGE_TILE };
        let counts = self.allocate(DIGITS * len.div_ceil(tile))?;
        let tiles = Tiles { tile, counts, totals: self.allocate(DIGITS)? };
        let (mut from, mut to) = ((keys, CudaBuffer::empty()), (self.allocate(len)?, self.allocate(len)?));
        for shift in bits.step_by(DIGIT_BITS as usize) {
            self.sort_by_digit(&from, shift, &tiles, &to)?;
            // What the keys came in has no indices beside them yet.
            let free = if from.1.is_empty() { (from.0, self.allocate(len)?) } else { from };
            (from, to) = (to, free);
        }
        Ok(from)
    }

    /// The same by all 64 bits, faster where the upper half of different keys is hardly ever the same, as of hashes.
    pub fn sort_hashes(&self, keys: CudaBuffer<u64, D>) -> Result<Sorted<D>> {
        let (keys, order) = self.sort(keys, u32::BITS..u64::BITS)?;
        let len = keys.len();
        let (count, mixed) = (self.zeroed::<u32>(1)?, self.allocate::<u32>(len)?);
        let grid = Grid::over(len, THREADS);
        // SAFETY: `len` keys, and room for as many notes.
        unsafe { self.launch(FIND_MIXED, grid, arguments![&keys, len, &count, &mixed])? };
        // SAFETY: as above, and an index for each key.
        unsafe { self.launch(SORT_MIXED, Grid::new(1, 1), arguments![&keys, &order, len, &count, &mixed])? };
        Ok((keys, order))
    }

    fn sort_few(&self, keys: &CudaBuffer<u64, D>, bits: Range<u32>) -> Result<Sorted<D>> {
        let len = keys.len();
        let (sorted, order) = (self.allocate(len)?, self.allocate(len)?);
        let mask = u64::MAX >> (u64::BITS - (bits.end - bits.start)) << bits.start;
        let grid = Grid::over(len, THREADS);
        // SAFETY: at most FEW_KEYS keys, and as many elements in `sorted` and `order`.
        unsafe { self.launch(SORT_FEW, grid, arguments![keys, len, mask, &sorted, &order])? };
        Ok((sorted, order))
    }

    /// One pass of the sort, by the eight bits from `shift` on: keys, and their indices where there are any, `from` one
    /// pair of arrays `to` another.
    fn sort_by_digit(&self, from: &Sorted<D>, shift: u32, tiles: &Tiles<D>, to: &Sorted<D>) -> Result<()> {
        let (keys, len) = (&from.0, from.0.len());
        let Tiles { tile, counts, totals } = tiles;
        let number = counts.len() / DIGITS;
        let grid = Grid::new(number.div_ceil(WARPS), THREADS);
        // SAFETY: `len` keys in `number` tiles; `counts` has an element for every digit of every tile.
        unsafe { self.launch(COUNT_DIGITS, grid, arguments![keys, len, shift, *tile, number, counts])? };
        // SAFETY: as above, and there is a total for each digit.
        unsafe {
            self.launch(SUM_DIGITS, Grid::new(DIGITS, DIGIT_THREADS), arguments![counts, number, totals])?
        };
        let arguments = arguments![keys, &from.1, len, shift, *tile, number, counts, totals, &to.0, &to.1];
        // SAFETY: as above; indices are as many as keys or none, and each key and index has a place among those it goes to.
        unsafe { self.launch(SCATTER_BY_DIGIT, grid, arguments) }
    }

    /// The last element on the host: the sum of all, of prefix sums. Waits for the device.
    pub fn last(&self, sums: &CudaBuffer<u32, D>) -> Result<u32> {
        Ok(self.read(sums, sums.len() - 1, 1)?[0])
    }

    /// A copy.
    pub fn duplicate<T: Element>(&self, buffer: &CudaBuffer<T, D>) -> Result<CudaBuffer<T, D>> {
        self.concatenate(&[buffer])
    }
}
