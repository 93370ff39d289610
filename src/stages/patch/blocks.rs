//! Ball queries in index order.
//!
//! The cloud is cut into blocks of consecutive indices, each block sorted into grid cells. A ball looks at block
//! after block and stops when its patch is full; since points come in random order, a large ball is full after
//! the first blocks, however large the cloud. Inside a block the hits are marked in a bit set, which hands them
//! back in index order.

use multiversion::multiversion;
use rayon::prelude::*;

use super::PATCH_CAPACITY;
use super::cells::{Cells, Reach};
use crate::cloud::Point;

/// Share of a typical patch that one block is to fill: small blocks waste little on dense balls, large blocks
/// visit few cells.
const FILL_PER_BLOCK: f64 = 0.6;
/// Fewest points of a block.
const SMALLEST_BLOCK: usize = 1 << 11;
/// Most points of a block.
const LARGEST_BLOCK: usize = 1 << 15;
/// Points that are tested together.
const LANES: usize = 16;

/// A cloud, ready for ball queries of one radius.
pub(super) struct Blocks {
    blocks: Vec<Block>,
    cells: Cells,
    radius: f32,
}

impl Blocks {
    /// Sorts `points` for balls of `radius` around points like `keypoints`.
    pub fn new(points: &[Point], keypoints: &[Point], radius: f32) -> Self {
        let length = block_length(points, keypoints, radius);
        let cells = Cells::new(points, radius, length);
        let block = |(i, part): (usize, &[Point])| Block::new(&cells, part, i * length);
        let blocks = points.par_chunks(length).enumerate().map(block).collect();
        Self { blocks, cells, radius }
    }

    /// Finds the first [`PATCH_CAPACITY`] points, in index order, within the radius of `centre`.
    pub fn search(&self, centre: &Point, hits: &mut Hits) {
        hits.indices.clear();
        let reach = self.cells.reach(centre, self.radius);
        for block in &self.blocks {
            mark_hits(block, &self.cells, &reach, centre, self.radius * self.radius, &mut hits.marks);
            hits.collect_marks(block);
            if hits.indices.len() == PATCH_CAPACITY {
                break;
            }
        }
    }
}

/// The length at which a block fills [`FILL_PER_BLOCK`] of the average patch.
fn block_length(points: &[Point], keypoints: &[Point], radius: f32) -> usize {
    let (some_points, some_keypoints) =
        (&points[..points.len().min(1024)], &keypoints[..keypoints.len().min(32)]);
    let within = |centre: &Point| {
        some_points.iter().filter(|p| squared_distance(**p, centre) < radius * radius).count()
    };
    let hits: usize = some_keypoints.iter().map(within).sum();
    let pairs = some_points.len() * some_keypoints.len();
    let length = FILL_PER_BLOCK * PATCH_CAPACITY as f64 * pairs as f64 / hits.max(1) as f64;
    (length as usize).clamp(SMALLEST_BLOCK, LARGEST_BLOCK)
}

/// The arithmetic that the contract fixes.
#[inline(always)]
fn squared_distance([x, y, z]: Point, centre: &Point) -> f32 {
    let (dx, dy, dz) = (x - centre[0], y - centre[1], z - centre[2]);
    (dx * dx + dy * dy) + dz * dz
}

/// What one search finds; kept between searches for its memory.
pub(super) struct Hits {
    indices: Vec<u32>,
    /// Bit `i`: the `i`-th point of the current block is a hit.
    marks: [u64; LARGEST_BLOCK / 64],
}

impl Hits {
    /// No hits.
    pub fn new() -> Self {
        Self { indices: Vec::with_capacity(PATCH_CAPACITY), marks: [0; LARGEST_BLOCK / 64] }
    }

    /// Ascending.
    pub fn indices(&self) -> &[u32] {
        &self.indices
    }

    /// Clears the marks; their indices go to the list, as far as there is room.
    fn collect_marks(&mut self, block: &Block) {
        for (word, first) in
            self.marks[..block.length.div_ceil(64)].iter_mut().zip((block.first_index..).step_by(64))
        {
            let mut marks = std::mem::take(word);
            while marks != 0 && self.indices.len() < PATCH_CAPACITY {
                self.indices.push(first + marks.trailing_zeros());
                marks &= marks - 1;
            }
        }
    }
}

/// Points of consecutive indices, sorted by cell.
struct Block {
    first_index: u32,
    length: usize,
    /// Coordinates, and [`LANES`] unused entries, so that a run of points can be read in whole lanes.
    x: Vec<f32>,
    y: Vec<f32>,
    z: Vec<f32>,
    /// Index minus `first_index`.
    index: Vec<u32>,
    /// Cell `c` is `start[c]..start[c + 1]`.
    start: Vec<u32>,
}

impl Block {
    /// A counting sort.
    fn new(grid: &Cells, points: &[Point], first_index: usize) -> Self {
        let cells: Vec<u32> = points.iter().map(|point| grid.cell(point) as u32).collect();
        let mut start = vec![0u32; grid.count() + 1];
        for &cell in &cells {
            start[cell as usize + 1] += 1;
        }
        for cell in 1..start.len() {
            start[cell] += start[cell - 1];
        }
        let mut next = start.clone();
        let room = points.len() + LANES;
        let (mut x, mut y, mut z, mut index) =
            (vec![0.0; room], vec![0.0; room], vec![0.0; room], vec![0; room]);
        for (i, (&cell, point)) in cells.iter().zip(points).enumerate() {
            let place = next[cell as usize] as usize;
            next[cell as usize] += 1;
            (x[place], y[place], z[place]) = (point[0], point[1], point[2]);
            index[place] = i as u32;
        }
        Self { first_index: first_index as u32, length: points.len(), x, y, z, index, start }
    }

    /// Marks the hits among the points of `run`.
    #[inline(always)]
    fn mark(&self, run: std::ops::Range<usize>, centre: &Point, radius_squared: f32, marks: &mut [u64]) {
        for begin in run.clone().step_by(LANES) {
            let end = begin + LANES;
            let (x, y, z) = (&self.x[begin..end], &self.y[begin..end], &self.z[begin..end]);
            let mut within = 0u32;
            for lane in 0..LANES {
                let hit = squared_distance([x[lane], y[lane], z[lane]], centre) < radius_squared;
                within |= u32::from(hit) << lane;
            }
            if run.end < end {
                within &= (1 << (run.end - begin)) - 1;
            }
            let index = &self.index[begin..end];
            while within != 0 {
                let hit = index[within.trailing_zeros() as usize % LANES];
                marks[hit as usize / 64] |= 1 << (hit % 64);
                within &= within - 1;
            }
        }
    }
}

/// Marks the hits of one block.
#[multiversion(targets("x86_64+avx512f+avx512bw+avx512cd+avx512dq+avx512vl+fma", "x86_64+avx2+fma"))]
fn mark_hits(
    block: &Block,
    cells: &Cells,
    reach: &Reach,
    centre: &Point,
    radius_squared: f32,
    marks: &mut [u64],
) {
    for z in reach.lowest[2]..=reach.highest[2] {
        for y in reach.lowest[1]..=reach.highest[1] {
            // The cells of a row follow each other, so their points are one run.
            let row = cells.row(y, z);
            let (first, last) = (row + reach.lowest[0], row + reach.highest[0]);
            let run = block.start[first] as usize..block.start[last + 1] as usize;
            block.mark(run, centre, radius_squared, marks);
        }
    }
}
