//! The grid of cells: which cell holds a point, where the cell's centre is, which place it takes in the order.

use crate::cloud::Point;
use crate::stages::bounds::Bounds;
use crate::stages::lanes::{LANES, floor};

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
    pub fn cell(&self, point: &Point) -> [u32; 3] {
        [0, 1, 2].map(|k| self.coordinate(point[k], k))
    }

    /// The cell at `x` along axis `k`.
    #[inline(always)]
    fn coordinate(&self, x: f32, k: usize) -> u32 {
        let (cell, last) = ((x - self.lowest[k]) / self.size, (CELLS_PER_AXIS - 1) as f32);
        floor(if cell < last { cell } else { last })
    }

    /// The centre of `cell`.
    pub fn centre(&self, cell: [u32; 3]) -> Point {
        [0, 1, 2].map(|k| self.lowest[k] + (cell[k] as f32 + 0.5) * self.size)
    }

    /// The places of the points' cells in the pseudo-random order: different for different cells.
    pub fn places<'a>(&self, points: &[Point], places: &'a mut [u64; BLOCK]) -> &'a [u64] {
        places_of_block(self, points, places);
        &places[..points.len()]
    }
}

/// Most points of one call of [`Grid::places`].
pub(super) const BLOCK: usize = 256;

#[multiversion::multiversion(targets(
    "x86_64+avx512f+avx512bw+avx512cd+avx512dq+avx512vl+fma",
    "x86_64+avx2+fma"
))]
fn places_of_block(grid: &Grid, points: &[Point], places: &mut [u64; BLOCK]) {
    for (points, places) in points.chunks(LANES).zip(places.as_chunks_mut().0) {
        let mut lanes = [grid.lowest; LANES];
        lanes[..points.len()].copy_from_slice(points);
        *places = places_of_lanes(grid, &lanes);
    }
}

/// [`Grid::cell`] and [`mix`], laid out so that whole registers are worked on.
#[inline(always)]
fn places_of_lanes(grid: &Grid, points: &[Point; LANES]) -> [u64; LANES] {
    let coordinates = points.as_flattened();
    let mut cells = [0; 3 * LANES];
    for i in 0..3 * LANES {
        cells[i] = grid.coordinate(coordinates[i], i % 3);
    }
    let mut places = [0; LANES];
    for lane in 0..LANES {
        places[lane] = u64::from(cells[3 * lane])
            | u64::from(cells[3 * lane + 1]) << AXIS_BITS
            | u64::from(cells[3 * lane + 2]) << (2 * AXIS_BITS);
    }
    for place in &mut places {
        *place = mix(*place);
    }
    places
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
