//! The grid of cells: which cell holds a point, where the cell's centre is, which place it takes in the order.

use super::bounds::Bounds;
use crate::cloud::Point;

/// Bits of a cell's coordinate along one axis; three of them are packed into one key.
const AXIS_BITS: u32 = 21;
/// Most cells along one axis.
pub(super) const CELLS_PER_AXIS: u32 = 1 << AXIS_BITS;

/// A cubic grid that starts at the lowest corner of the data.
#[derive(Debug, Clone, Copy)]
pub(super) struct Grid {
    lowest: Point,
    size: f32,
}

impl Grid {
    /// The grid of cell edge `size` over `bounds`; the edge grows where the cells would be too many.
    pub fn new(bounds: &Bounds, size: f32) -> Self {
        let smallest = bounds.longest_side() / CELLS_PER_AXIS as f32;
        Self { lowest: bounds.lowest, size: size.max(smallest) }
    }

    /// The cell that holds `point`.
    #[inline(always)]
    pub fn cell(&self, point: &Point) -> [u32; 3] {
        // Coordinates are not negative, so the cast (towards zero) is the floor.
        [0, 1, 2].map(|k| (((point[k] - self.lowest[k]) / self.size) as i32 as u32).min(CELLS_PER_AXIS - 1))
    }

    /// The centre of `cell`.
    pub fn centre(&self, cell: [u32; 3]) -> Point {
        [0, 1, 2].map(|k| self.lowest[k] + (cell[k] as f32 + 0.5) * self.size)
    }

    /// The place of `point`'s cell in the pseudo-random order: different for different cells.
    #[inline(always)]
    pub fn place(&self, point: &Point) -> u64 {
        let [x, y, z] = self.cell(point);
        mix(u64::from(x) | u64::from(y) << AXIS_BITS | u64::from(z) << (2 * AXIS_BITS))
    }
}

/// Scatters keys over all 64 bits (the finaliser of SplitMix64). Each step can be undone, so different keys stay
/// different and the order has no ties.
#[inline(always)]
fn mix(key: u64) -> u64 {
    let mut x = key.wrapping_add(0x9e37_79b9_7f4a_7c15);
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}
