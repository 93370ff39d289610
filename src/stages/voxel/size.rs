//! The search for the cell edge that leaves a wanted number of points. Devices take the same steps: `VoxelSearch` in
//! `kernels/voxel.cu`.

use std::ops::RangeInclusive;

use rayon::prelude::*;

use super::grid::{BLOCK, CELLS_PER_AXIS, Grid};
use crate::cloud::Point;
use crate::stages::bounds::Bounds;

/// Count over edge, both as logarithms, for a surface.
const SURFACE_SLOPE: f64 = -2.0;
/// Slopes to be believed: between those of a line and of a solid, and a little more.
const SLOPES: RangeInclusive<f64> = -3.5..=-0.7;
/// An edge is good enough when its count is within this factor of the target.
const TOLERANCE: f64 = 1.08;
/// Share of the distinct points that is asked for where the cloud is too small for the wanted number.
const LARGEST_SHARE: f64 = 0.75;
/// A bracket this narrow holds a jump of the count (a lattice has such), not the target.
const FINEST_BRACKET: f64 = 1.002;
/// Most counts of one search. Scans need two or three.
const MOST_STEPS: usize = 40;
/// Steps after which a search that does not settle halves its bracket instead.
const STEPS_BEFORE_BISECTION: usize = 10;

/// The edge at which about `wanted` cells are occupied; see [`super::VoxelDownsample::voxel_size`].
pub(super) fn voxel_size(points: &[Point], wanted: usize) -> f32 {
    let bounds = Bounds::around(points).unwrap_or_default();
    let longest = f64::from(bounds.longest_side());
    if longest == 0.0 || !longest.is_finite() {
        return 0.0;
    }
    let count = |points: &[Point], edge: f64| count_cells(points, &Grid::new(&bounds, edge as f32));
    let finest = longest / f64::from(CELLS_PER_AXIS);
    let target = target(points, wanted.max(1), |points| count(points, finest));
    let search = Search { target, low: finest, high: 2.0 * longest, latest: None, slope: SURFACE_SLOPE };
    let count = |edge: f64| count(points, edge);
    let (edge, cells) = search.run(longest / 32.0, count);
    coarsen_to_surface(edge, cells, count) as f32
}

/// The smallest edge from `edge` on, in steps of √2, at which the count falls as it does on a surface and not as
/// on the scan lines that a sparse LiDAR leaves: below that, neighbours in space share no neighbourhood.
fn coarsen_to_surface(mut edge: f64, mut cells: f64, count: impl Fn(f64) -> f64) -> f64 {
    for _ in 0..MOST_COARSENINGS {
        let wider = edge * std::f64::consts::SQRT_2;
        let fewer = count(wider);
        let slope = (cells / fewer).ln() / std::f64::consts::SQRT_2.ln();
        if slope >= LEAST_SLOPE || fewer < FEWEST_CELLS {
            break;
        }
        (edge, cells) = (wider, fewer);
    }
    edge
}

/// Least fall of the count (both as logarithms): 2 on a surface, 1 on lines, 0 between isolated points.
const LEAST_SLOPE: f64 = 1.2;
/// Coarsening stops at so few cells.
const FEWEST_CELLS: f64 = 2_000.0;
/// Steps of coarsening at most: a factor of 32.
const MOST_COARSENINGS: usize = 10;

/// The number of cells to aim at: `wanted`, or less where there are too few points that the finest edge, whose cells
/// are counted, tells apart.
fn target(points: &[Point], wanted: usize, count: impl Fn(&[Point]) -> f64) -> f64 {
    let possible = |points: &[Point]| LARGEST_SHARE * count(points);
    // A few points mostly settle it.
    let some = &points[..points.len().min(2 * wanted)];
    if possible(some) >= wanted as f64 { wanted as f64 } else { possible(points).min(wanted as f64) }
}

/// A secant search on logarithms of edge and count, kept inside a bracket. Edges enter only as ratios, so the
/// answer scales with the cloud.
struct Search {
    target: f64,
    /// An edge with too many cells.
    low: f64,
    /// An edge with too few cells.
    high: f64,
    /// The last edge and its count.
    latest: Option<(f64, f64)>,
    /// Count over edge, both as logarithms, as far as known.
    slope: f64,
}

impl Search {
    /// The best edge, and the count there.
    fn run(mut self, first_guess: f64, count: impl Fn(f64) -> f64) -> (f64, f64) {
        let mut edge = first_guess;
        let mut best = (f64::INFINITY, (edge, f64::INFINITY));
        for step in 0..MOST_STEPS {
            let cells = count(edge);
            let error = (cells / self.target).ln().abs();
            if error < best.0 {
                best = (error, (edge, cells));
            }
            if error <= TOLERANCE.ln() {
                break;
            }
            self.learn(edge, cells);
            if self.high / self.low < FINEST_BRACKET {
                break;
            }
            edge = self.next_edge(edge, cells, step);
        }
        best.1
    }

    fn learn(&mut self, edge: f64, cells: f64) {
        if cells > self.target {
            self.low = self.low.max(edge);
        } else {
            self.high = self.high.min(edge);
        }
        if let Some((edge_before, cells_before)) = self.latest {
            let slope = (cells / cells_before).ln() / (edge / edge_before).ln();
            if slope.is_finite() {
                self.slope = slope.clamp(*SLOPES.start(), *SLOPES.end());
            }
        }
        self.latest = Some((edge, cells));
    }

    fn next_edge(&self, edge: f64, cells: f64, step: usize) -> f64 {
        let secant = edge * (self.target / cells).powf(1.0 / self.slope);
        if step < STEPS_BEFORE_BISECTION && self.low < secant && secant < self.high {
            secant
        } else {
            (self.low * self.high).sqrt()
        }
    }
}

/// Bits of the sketch that counts cells: 256 KiB, which stays in a core's cache.
pub(super) const SKETCH_BITS: u32 = 21;
/// Points that one task puts into a sketch.
const POINTS_PER_TASK: usize = 1 << 15;

/// The number of occupied cells, by linear counting: every cell sets the bit at its hash, and the share of bits
/// still clear tells how many cells there were, collisions included. Off by 0.05 % (one standard deviation) up
/// to a million cells, exact in effect below a thousand, and several times faster than sorting. Setting bits
/// commutes, so the answer does not depend on threads.
fn count_cells(points: &[Point], grid: &Grid) -> f64 {
    let sketch = points
        .par_chunks(POINTS_PER_TASK)
        .fold(empty_sketch, |mut sketch, chunk| {
            mark_cells(chunk, grid, &mut sketch);
            sketch
        })
        .reduce(empty_sketch, union);
    cells_of_bits(sketch.iter().map(|word| word.count_ones()).sum())
}

/// The number of cells that set so many bits of a sketch.
fn cells_of_bits(set: u32) -> f64 {
    let bits = f64::from(1 << SKETCH_BITS);
    -bits * (-f64::from(set) / bits).ln_1p()
}

fn empty_sketch() -> Vec<u64> {
    vec![0; 1 << (SKETCH_BITS - 6)]
}

fn union(mut a: Vec<u64>, b: Vec<u64>) -> Vec<u64> {
    for (word, other) in a.iter_mut().zip(b) {
        *word |= other;
    }
    a
}

fn mark_cells(points: &[Point], grid: &Grid, sketch: &mut [u64]) {
    let mut places = [0; BLOCK];
    for block in points.chunks(BLOCK) {
        for place in grid.places(block, &mut places) {
            let bit = place >> (u64::BITS - SKETCH_BITS);
            sketch[(bit / 64) as usize] |= 1 << (bit % 64);
        }
    }
}
