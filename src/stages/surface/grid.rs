//! The grid of cells over a cloud.

use super::Grid;
use crate::backend::cuda::Argument;
use crate::stages::bounds::Bounds;
use crate::stages::lanes::floor;

/// Most cells of a grid (64 MiB of starts); cells grow where a stray point would ask for more.
const MOST_CELLS: u64 = 1 << 24;

impl Grid {
    /// A grid of cells of edge `cell`, or larger where that would make too many.
    pub(super) fn over(bounds: &Bounds, cell: f32) -> Self {
        let mut cell = cell.max(f32::MIN_POSITIVE);
        loop {
            let size = bounds.extent().map(|length| ((length / cell).max(0.0) as u64).saturating_add(1));
            let cells = size.iter().try_fold(1u64, |product, n| product.checked_mul(*n));
            if cells.is_some_and(|cells| cells <= MOST_CELLS) {
                return Self { low: bounds.lowest, cell, size: size.map(|n| n as u32) };
            }
            cell *= 1.26;
        }
    }

    /// Number of cells.
    pub(super) fn cells(&self) -> usize {
        self.size.iter().map(|n| *n as usize).product()
    }

    /// Coordinate along one axis of the cell that a position lies in: the first cell for what lies before it, the last
    /// one for what lies beyond.
    #[inline(always)]
    pub(super) fn coordinate(&self, position: f32, axis: usize) -> u32 {
        let cells = (position - self.low[axis]) * (1.0 / self.cell);
        floor(cells.max(0.0).min((self.size[axis] - 1) as f32))
    }
}

impl From<Grid> for Argument<'_> {
    fn from(grid: Grid) -> Self {
        Self::value(grid)
    }
}
