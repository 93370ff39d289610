//! Building blocks of several stages: prefix sums and a stable sort. Kernels: `kernels/primitives.cu`.

use super::{Cuda, CudaBuffer, Driver, Grid, Kernel, arguments};
use crate::backend::{Device, Element};
use crate::error::Result;

const SUM_BLOCKS: Kernel = Kernel::new("primitives", "sum_blocks");
const ADD_BLOCK_SUMS: Kernel = Kernel::new("primitives", "add_block_sums");
const NUMBER_ITEMS: Kernel = Kernel::new("primitives", "number_items");
const COUNT_DIGITS: Kernel = Kernel::new("primitives", "count_digits");
const SCATTER_BY_DIGIT: Kernel = Kernel::new("primitives", "scatter_by_digit");

/// Threads of a block in these kernels.
const THREADS: u32 = 256;
/// Values of a sorted digit.
const DIGITS: usize = 256;
const DIGIT_BITS: u32 = 8;
/// Keys that one warp sorts, and warps of a block.
const TILE: usize = 1024;
const WARPS: usize = THREADS as usize / 32;

impl<D: Driver> Cuda<D> {
    /// Exclusive prefix sums, one more than there are `values`: element `i` is the sum of all before the `i`-th, so the
    /// last one is the sum of all. Sums wrap at 2³².
    pub fn prefix_sums(&self, values: &CudaBuffer<u32, D>) -> Result<CudaBuffer<u32, D>> {
        let sums = self.allocate(values.len() + 1)?;
        let grid = Grid::over(sums.len(), THREADS);
        let blocks = grid.blocks[0] as usize;
        let totals = self.allocate::<u32>(blocks)?;
        // SAFETY: there are `values.len()` values, one more sum, and a total for each block.
        unsafe { self.launch(SUM_BLOCKS, grid, arguments![values, values.len(), &sums, &totals])? };
        if blocks > 1 {
            let before = self.prefix_sums(&totals)?;
            // SAFETY: `before` has an element for each block and one more.
            unsafe { self.launch(ADD_BLOCK_SUMS, grid, arguments![&sums, sums.len(), &before])? };
        }
        Ok(sums)
    }

    /// The keys in ascending order of their lowest `bits` bits, and the index at which each was; equal ones in the order
    /// in which they were.
    pub fn sort(
        &self,
        keys: CudaBuffer<u64, D>,
        bits: u32,
    ) -> Result<(CudaBuffer<u64, D>, CudaBuffer<u32, D>)> {
        let len = keys.len();
        let (mut keys, mut order) = (keys, self.allocate::<u32>(len)?);
        // SAFETY: `order` has `len` elements.
        unsafe { self.launch(NUMBER_ITEMS, Grid::over(len, THREADS), arguments![&order, len])? };
        for shift in (0..bits).step_by(DIGIT_BITS as usize) {
            (keys, order) = self.sort_by_digit(&keys, &order, shift)?;
        }
        Ok((keys, order))
    }

    /// One pass of the sort: by the eight bits from `shift` on.
    fn sort_by_digit(
        &self,
        keys: &CudaBuffer<u64, D>,
        order: &CudaBuffer<u32, D>,
        shift: u32,
    ) -> Result<(CudaBuffer<u64, D>, CudaBuffer<u32, D>)> {
        let len = keys.len();
        let tiles = len.div_ceil(TILE);
        let grid = Grid::new(tiles.div_ceil(WARPS), THREADS);
        let counts = self.allocate::<u32>(DIGITS * tiles)?;
        // SAFETY: `len` keys in `tiles` tiles; `counts` has an element for every digit of every tile.
        unsafe { self.launch(COUNT_DIGITS, grid, arguments![keys, len, shift, tiles, &counts])? };
        let places = self.prefix_sums(&counts)?;
        let (sorted, moved) = (self.allocate(len)?, self.allocate(len)?);
        let arguments = arguments![keys, order, len, shift, tiles, &places, &sorted, &moved];
        // SAFETY: as above; `places` has an element for every count and one more, and each key and index has a place in
        // `sorted` and `moved`.
        unsafe { self.launch(SCATTER_BY_DIGIT, grid, arguments)? };
        Ok((sorted, moved))
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
