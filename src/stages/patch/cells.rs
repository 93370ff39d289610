//! The grid in which balls look for points.

use crate::cloud::Point;
use crate::stages::voxel::bounds::Bounds;

/// Cell edge over radius.
const EDGE_OVER_RADIUS: f32 = 0.5;
/// Most cells along one axis.
const CELLS_PER_AXIS: f32 = 256.0;

/// Cubic cells over a cloud, in rows along x.
pub(super) struct Cells {
    lowest: Point,
    per_unit: f32,
    shape: [usize; 3],
}

impl Cells {
    /// Cells of [`EDGE_OVER_RADIUS`] radii over `points`; larger ones where they would be more than twice as many
    /// as the points of a block.
    pub fn new(points: &[Point], radius: f32, block_length: usize) -> Self {
        let bounds = Bounds::around(points).unwrap_or(Bounds { lowest: [0.0; 3], highest: [0.0; 3] });
        let mut edge = (EDGE_OVER_RADIUS * radius).max(bounds.longest_side() / CELLS_PER_AXIS);
        loop {
            let cells = Self::of_edge(&bounds, edge);
            if cells.count() <= 2 * block_length {
                return cells;
            }
            edge *= 1.25;
        }
    }

    fn of_edge(bounds: &Bounds, edge: f32) -> Self {
        let per_unit = if edge > 0.0 { (1.0 / edge).min(f32::MAX) } else { 0.0 };
        let shape = bounds.extent().map(|side| (side * per_unit).min(CELLS_PER_AXIS) as usize + 1);
        Self { lowest: bounds.lowest, per_unit, shape }
    }

    /// Number of cells.
    pub fn count(&self) -> usize {
        self.shape.iter().product()
    }

    /// The cell that holds `point`.
    pub fn cell(&self, point: &Point) -> usize {
        let [x, y, z] = [0, 1, 2].map(|k| self.coordinate(point[k], k));
        self.row(y, z) + x
    }

    /// The first cell of a row along x.
    #[inline(always)]
    pub fn row(&self, y: usize, z: usize) -> usize {
        (z * self.shape[1] + y) * self.shape[0]
    }

    /// The cells that a ball may touch. The radius is widened by more than the rounding of a squared distance,
    /// so no hit lies outside of them.
    pub fn reach(&self, centre: &Point, radius: f32) -> Reach {
        let wider = radius * (1.0 + 1e-5);
        Reach {
            lowest: [0, 1, 2].map(|k| self.coordinate(centre[k] - wider, k)),
            highest: [0, 1, 2].map(|k| self.coordinate(centre[k] + wider, k)),
        }
    }

    /// Cell coordinate along axis `k`; outside of the grid that of its border. Monotone in `x`, rounding
    /// included, which is all that a search relies on.
    fn coordinate(&self, x: f32, k: usize) -> usize {
        // The cast saturates.
        (((x - self.lowest[k]) * self.per_unit) as usize).min(self.shape[k] - 1)
    }
}

/// A box of cells, ends included.
pub(super) struct Reach {
    pub lowest: [usize; 3],
    pub highest: [usize; 3],
}
