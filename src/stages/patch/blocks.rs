//! Ball queries in index order.

use rayon::prelude::*;

use super::PATCH_CAPACITY;
use crate::cloud::Point;
use crate::stages::voxel::bounds::Bounds;

/// Share of a typical ball's capacity that one block is to fill: small blocks waste little on dense balls, large
/// blocks visit few cells.
const FILL_PER_BLOCK: f64 = 0.6;
/// Fewest points of a block.
const SMALLEST_BLOCK: usize = 2048;
/// Most points of a block.
const LARGEST_BLOCK: usize = 1 << 15;
/// Cell edge over radius.
const EDGE_OVER_RADIUS: f32 = 0.5;
/// Most cells along one axis.
const CELLS_PER_AXIS: f32 = 256.0;

/// A cloud, ready for ball queries.
pub(super) struct Blocks {
    blocks: Vec<Block>,
    grid: Grid,
}

impl Blocks {
    /// Sorts `points` for balls of `radius` around points like `keypoints`.
    pub fn new(points: &[Point], keypoints: &[Point], radius: f32) -> Self {
        let length = block_length(points, keypoints, radius);
        let grid = Grid::new(points, radius, length);
        let block = |(i, part): (usize, &[Point])| Block::new(&grid, part, (i * length) as u32);
        let blocks = points.par_chunks(length).enumerate().map(block).collect();
        Self { blocks, grid }
    }

    /// Finds the first [`PATCH_CAPACITY`] points, in index order, within `radius` of `centre`.
    pub fn search(&self, centre: &Point, radius: f32, hits: &mut Hits) {
        hits.indices.clear();
        let reach = self.grid.reach(centre, radius);
        for block in &self.blocks {
            block.search(&self.grid, &reach, centre, radius * radius, hits);
            if hits.indices.len() >= PATCH_CAPACITY {
                hits.indices.truncate(PATCH_CAPACITY);
                break;
            }
        }
    }
}

/// What one search finds; kept between searches for its memory.
#[derive(Default)]
pub(super) struct Hits {
    indices: Vec<u32>,
    unsorted: Vec<u32>,
}

impl Hits {
    /// Ascending.
    pub fn indices(&self) -> &[u32] {
        &self.indices
    }
}

/// The length at which a block fills [`FILL_PER_BLOCK`] of the average patch.
fn block_length(points: &[Point], keypoints: &[Point], radius: f32) -> usize {
    let (some_points, some_keypoints) =
        (&points[..points.len().min(2048)], &keypoints[..keypoints.len().min(32)]);
    let within =
        |centre: &Point| some_points.iter().filter(|p| squared_distance(p, centre) < radius * radius).count();
    let hits: usize = some_keypoints.iter().map(within).sum();
    let pairs = some_points.len() * some_keypoints.len();
    let length = FILL_PER_BLOCK * PATCH_CAPACITY as f64 * pairs as f64 / hits.max(1) as f64;
    (length as usize).clamp(SMALLEST_BLOCK, LARGEST_BLOCK)
}

/// The arithmetic that the contract fixes.
#[inline(always)]
fn squared_distance(a: &Point, b: &Point) -> f32 {
    let [dx, dy, dz] = [0, 1, 2].map(|k| a[k] - b[k]);
    (dx * dx + dy * dy) + dz * dz
}

/// Cells, common to all blocks.
struct Grid {
    lowest: Point,
    cells_per_unit: f32,
    shape: [usize; 3],
}

impl Grid {
    /// Cells of about [`EDGE_OVER_RADIUS`] radii, larger where they would outnumber the points of a block.
    fn new(points: &[Point], radius: f32, block_length: usize) -> Self {
        let Some(bounds) = Bounds::around(points) else {
            return Self { lowest: [0.0; 3], cells_per_unit: 0.0, shape: [1; 3] };
        };
        let mut edge = (EDGE_OVER_RADIUS * radius).max(bounds.longest_side() / CELLS_PER_AXIS);
        loop {
            let grid = Self::of_edge(&bounds, edge);
            if grid.cells() <= 2 * block_length {
                return grid;
            }
            edge *= 1.25;
        }
    }

    fn of_edge(bounds: &Bounds, edge: f32) -> Self {
        let cells_per_unit = if edge > 0.0 { (1.0 / edge).min(f32::MAX) } else { 0.0 };
        let shape = bounds.extent().map(|side| (side * cells_per_unit).min(CELLS_PER_AXIS) as usize + 1);
        Self { lowest: bounds.lowest, cells_per_unit, shape }
    }

    fn cells(&self) -> usize {
        self.shape.iter().product()
    }

    /// Cell coordinate along axis `k`. Monotone in `x`, rounding included, which is all that searches rely on.
    #[inline(always)]
    fn coordinate(&self, x: f32, k: usize) -> usize {
        // The cast saturates: what lies outside of the grid counts as its border.
        (((x - self.lowest[k]) * self.cells_per_unit) as usize).min(self.shape[k] - 1)
    }

    fn cell(&self, point: &Point) -> usize {
        let [x, y, z] = [0, 1, 2].map(|k| self.coordinate(point[k], k));
        self.row(y, z) + x
    }

    /// The first cell of a row along x.
    fn row(&self, y: usize, z: usize) -> usize {
        (z * self.shape[1] + y) * self.shape[0]
    }

    /// The cells that a ball may touch. The radius is widened by more than the rounding of a squared distance,
    /// so no hit lies outside of them.
    fn reach(&self, centre: &Point, radius: f32) -> Reach {
        let wider = radius * (1.0 + 1e-5);
        Reach {
            lowest: [0, 1, 2].map(|k| self.coordinate(centre[k] - wider, k)),
            highest: [0, 1, 2].map(|k| self.coordinate(centre[k] + wider, k)),
        }
    }
}

/// A box of cells, ends included.
struct Reach {
    lowest: [usize; 3],
    highest: [usize; 3],
}

/// Points of consecutive indices, sorted by cell; indices ascend inside each cell.
struct Block {
    x: Vec<f32>,
    y: Vec<f32>,
    z: Vec<f32>,
    index: Vec<u32>,
    /// Cell `c` is `start[c]..start[c + 1]`.
    start: Vec<u32>,
}

impl Block {
    /// A counting sort.
    fn new(grid: &Grid, points: &[Point], first_index: u32) -> Self {
        let cells: Vec<usize> = points.iter().map(|point| grid.cell(point)).collect();
        let mut start = vec![0u32; grid.cells() + 1];
        for &cell in &cells {
            start[cell + 1] += 1;
        }
        for cell in 1..start.len() {
            start[cell] += start[cell - 1];
        }
        let mut next = start.clone();
        let zeros = || vec![0.0; points.len()];
        let mut block = Self { x: zeros(), y: zeros(), z: zeros(), index: vec![0; points.len()], start };
        for ((&cell, point), index) in cells.iter().zip(points).zip(first_index..) {
            let place = next[cell] as usize;
            next[cell] += 1;
            (block.x[place], block.y[place], block.z[place]) = (point[0], point[1], point[2]);
            block.index[place] = index;
        }
        block
    }

    /// Appends the hits of this block, ascending.
    fn search(&self, grid: &Grid, reach: &Reach, centre: &Point, radius_squared: f32, hits: &mut Hits) {
        hits.unsorted.clear();
        for z in reach.lowest[2]..=reach.highest[2] {
            for y in reach.lowest[1]..=reach.highest[1] {
                let row = grid.row(y, z);
                let run = self.start[row + reach.lowest[0]]..self.start[row + reach.highest[0] + 1];
                self.test(run.start as usize..run.end as usize, centre, radius_squared, &mut hits.unsorted);
            }
        }
        hits.unsorted.sort_unstable();
        hits.indices.extend_from_slice(&hits.unsorted);
    }

    fn test(&self, run: std::ops::Range<usize>, centre: &Point, radius_squared: f32, found: &mut Vec<u32>) {
        for i in run {
            if squared_distance(&[self.x[i], self.y[i], self.z[i]], centre) < radius_squared {
                found.push(self.index[i]);
            }
        }
    }
}
