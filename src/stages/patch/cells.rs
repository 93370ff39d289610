//! The grid in which balls look for points.

use std::ops::RangeInclusive;

use crate::cloud::Point;
use crate::stages::bounds::Bounds;

/// Cell edge over radius.
const EDGE_OVER_RADIUS: f32 = 0.5;
/// Most cells along one axis.
const CELLS_PER_AXIS: f32 = 256.0;
/// What rounding may move a coordinate by, in cells: coordinates are below a thousand, so far less than this.
const SLACK: f32 = 1e-3;
/// Squared radii below this are near the end of f32, where products lose their digits: no cells then.
const LEAST_SQUARED_RADIUS: f32 = 1e-30;

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
        if radius * radius < LEAST_SQUARED_RADIUS || !edge.is_finite() {
            return Self { lowest: bounds.lowest, per_unit: 0.0, shape: [1; 3] };
        }
        loop {
            let per_unit = 1.0 / edge;
            let shape = bounds.extent().map(|side| (side * per_unit) as usize + 1);
            if shape.iter().product::<usize>() <= 2 * block_length {
                return Self { lowest: bounds.lowest, per_unit, shape };
            }
            edge *= 1.25;
        }
    }

    /// Number of cells.
    pub fn count(&self) -> usize {
        self.shape.iter().product()
    }

    /// The cell that holds `point`, a point of the cloud.
    pub fn cell(&self, point: &Point) -> usize {
        let [x, y, z] = [0, 1, 2].map(|k| self.clipped(self.coordinate(point[k], k), k));
        self.row(y, z) + x
    }

    /// The first cell of a row along x.
    #[inline(always)]
    fn row(&self, y: usize, z: usize) -> usize {
        (z * self.shape[1] + y) * self.shape[0]
    }

    /// Coordinate in cells along axis `k`.
    #[inline(always)]
    fn coordinate(&self, x: f32, k: usize) -> f32 {
        (x - self.lowest[k]) * self.per_unit
    }

    /// The cell at a coordinate along axis `k`; outside of the grid that at its border.
    #[inline(always)]
    fn clipped(&self, coordinate: f32, k: usize) -> usize {
        // The cast saturates, and NaN becomes zero.
        (coordinate as usize).min(self.shape[k] - 1)
    }

    /// The cells that a ball may touch.
    #[inline(always)]
    pub fn reach(&self, centre: &Point, radius: f32) -> Reach<'_> {
        let centre = [0, 1, 2].map(|k| self.coordinate(centre[k], k));
        Reach { cells: self, centre, radius: radius * self.per_unit + SLACK }
    }
}

/// A ball, in cells.
pub(super) struct Reach<'a> {
    cells: &'a Cells,
    centre: Point,
    radius: f32,
}

impl Reach<'_> {
    /// The layers that the ball may touch.
    #[inline(always)]
    pub fn layers(&self) -> RangeInclusive<usize> {
        self.range(2, self.radius)
    }

    /// The rows of each layer that the ball may touch.
    #[inline(always)]
    pub fn rows(&self) -> RangeInclusive<usize> {
        self.range(1, self.radius)
    }

    /// The cells of row `y` of layer `z` that the ball may touch.
    #[inline(always)]
    pub fn run(&self, y: usize, z: usize) -> Option<RangeInclusive<usize>> {
        let (aside_y, aside_z) = (self.aside(1, y), self.aside(2, z));
        let squared = self.radius * self.radius - aside_y * aside_y - aside_z * aside_z;
        // Without cells everything here is NaN or zero, and the only cell is searched.
        if squared < 0.0 {
            return None;
        }
        let (row, run) = (self.cells.row(y, z), self.range(0, squared.sqrt() + SLACK));
        Some(row + run.start()..=row + run.end())
    }

    /// The cells along axis `k` within `distance` of the centre.
    #[inline(always)]
    fn range(&self, k: usize, distance: f32) -> RangeInclusive<usize> {
        let [first, last] = [self.centre[k] - distance, self.centre[k] + distance];
        self.cells.clipped(first, k)..=self.cells.clipped(last, k)
    }

    /// How far the `i`-th cell along axis `k` is from the centre.
    #[inline(always)]
    fn aside(&self, k: usize, i: usize) -> f32 {
        let low = i as f32;
        (low - self.centre[k]).max(self.centre[k] - (low + 1.0)).max(SLACK) - SLACK
    }
}
