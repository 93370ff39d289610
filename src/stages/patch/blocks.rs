//! Ball queries in index order.
//!
//! The cloud is cut into blocks of consecutive indices, each block sorted into grid cells. A ball looks at block
//! after block and stops when its patch is full; since points come in random order, a large ball is full after
//! the first blocks, however large the cloud. Inside a block the hits come cell by cell; they are marked in a bit
//! set, and the number of marks before its own is a hit's place in index order.

use multiversion::multiversion;
use rayon::prelude::*;

use super::PATCH_CAPACITY;
use super::cells::{Cells, Reach};
use crate::cloud::Point;
use crate::stages::lanes::{BITS, LANES};

/// Share of a typical patch that one block is to fill: small blocks waste little on dense balls, large blocks
/// visit few cells.
const FILL_PER_BLOCK: f64 = 0.4;
/// Fewest points of a block.
const SMALLEST_BLOCK: usize = 1 << 10;
/// Most points of a block.
const LARGEST_BLOCK: usize = 1 << 15;

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
        let blocks = points.par_chunks(length).map(|part| Block::new(&cells, part)).collect();
        Self { blocks, cells, radius }
    }

    /// The first [`PATCH_CAPACITY`] offsets, in index order, of points within the radius of `centre`, and their
    /// number.
    pub fn gather(&self, centre: &Point, scratch: &mut Scratch) -> ([Point; PATCH_CAPACITY], u32) {
        let count = gather(self, centre, scratch);
        (*scratch.offsets.first_chunk().expect("the scratch holds a patch"), count)
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

/// Memory of a search, kept from one to the next.
pub(super) struct Scratch {
    /// Places of the hits in their block, in the order of the search.
    hits: Vec<u32>,
    /// Bit `i`: the `i`-th point of the block is a hit.
    marks: [u64; LARGEST_BLOCK / 64],
    /// Number of hits in earlier words of `marks`.
    before: [u32; LARGEST_BLOCK / 64],
    /// Differences from the keypoint in index order, and a last entry for those that find no room.
    offsets: [Point; PATCH_CAPACITY + 1],
}

impl Scratch {
    pub fn new() -> Self {
        Self {
            hits: vec![0; LARGEST_BLOCK + LANES],
            marks: [0; LARGEST_BLOCK / 64],
            before: [0; LARGEST_BLOCK / 64],
            offsets: [[0.0; 3]; PATCH_CAPACITY + 1],
        }
    }
}

/// The [`LANES`] values from `begin` on.
#[inline(always)]
fn lanes(values: &[f32], begin: usize) -> &[f32; LANES] {
    values[begin..].first_chunk().expect("runs end before the unused entries")
}

/// The numbers of the bits of every byte, ascending: packs the hits among eight points without a branch on any
/// of them, since whether a point is a hit is hard to foretell.
static CHOICES: [[u8; 8]; 256] = {
    let mut choices = [[0; 8]; 256];
    let mut byte = 0;
    while byte < 256 {
        let (mut bit, mut count) = (0, 0);
        while bit < 8 {
            if byte >> bit & 1 == 1 {
                choices[byte][count] = bit;
                count += 1;
            }
            bit += 1;
        }
        byte += 1;
    }
    choices
};

/// Lists `begin` plus the numbers of the bits set in `byte`, from `found` on; returns how many are listed then.
#[inline(always)]
fn list_lanes(byte: u32, begin: usize, list: &mut [u32], found: usize) -> usize {
    let choices = &CHOICES[byte as usize % CHOICES.len()];
    for (slot, &choice) in list[found..found + 8].iter_mut().zip(choices) {
        *slot = begin as u32 + u32::from(choice);
    }
    found + byte.count_ones() as usize
}

/// A point and its index in its block before sorting.
#[derive(Clone, Copy)]
struct Indexed {
    point: Point,
    index: u32,
}

/// Points of consecutive indices, sorted by cell.
struct Block {
    /// Coordinates, and [`LANES`] unused entries, so that a run of points can be read in whole lanes.
    x: Vec<f32>,
    y: Vec<f32>,
    z: Vec<f32>,
    /// The same once more, as hits are read one by one.
    points: Vec<Indexed>,
    /// Cell `c` is `start[c]..start[c + 1]`.
    start: Vec<u32>,
}

impl Block {
    /// A counting sort.
    fn new(grid: &Cells, points: &[Point]) -> Self {
        let cells: Vec<u32> = points.iter().map(|point| grid.cell(point) as u32).collect();
        let mut start = vec![0u32; grid.count() + 1];
        for &cell in &cells {
            start[cell as usize + 1] += 1;
        }
        for cell in 1..start.len() {
            start[cell] += start[cell - 1];
        }
        let mut next = start.clone();
        let mut sorted = vec![Indexed { point: [0.0; 3], index: 0 }; points.len()];
        for (index, (&cell, &point)) in (0..).zip(cells.iter().zip(points)) {
            let place = &mut next[cell as usize];
            sorted[*place as usize] = Indexed { point, index };
            *place += 1;
        }
        let unused = std::iter::repeat_n(0.0, LANES);
        let axis = |k: usize| sorted.iter().map(|entry| entry.point[k]).chain(unused.clone()).collect();
        Self { x: axis(0), y: axis(1), z: axis(2), points: sorted, start }
    }

    /// Lists the hits in the reach of a ball; returns their number.
    #[inline(always)]
    fn find(&self, reach: &Reach, centre: &Point, radius_squared: f32, hits: &mut [u32]) -> usize {
        let mut found = 0;
        for z in reach.layers() {
            for y in reach.rows() {
                let Some(cells) = reach.run(y, z) else { continue };
                let run = self.start[*cells.start()] as usize..self.start[cells.end() + 1] as usize;
                for begin in run.clone().step_by(LANES) {
                    let mut within = self.within(begin, centre, radius_squared);
                    if run.end < begin + LANES {
                        within &= (1 << (run.end - begin)) - 1;
                    }
                    found = list_lanes(within & 0xff, begin, hits, found);
                    found = list_lanes(within >> 8, begin + 8, hits, found);
                }
            }
        }
        found
    }

    /// Which of the [`LANES`] points from `begin` on lie within the ball, one bit each.
    #[inline(always)]
    fn within(&self, begin: usize, centre: &Point, radius_squared: f32) -> u32 {
        let (x, y, z) = (lanes(&self.x, begin), lanes(&self.y, begin), lanes(&self.z, begin));
        let mut within = 0;
        for lane in 0..LANES {
            let hit = squared_distance([x[lane], y[lane], z[lane]], centre) < radius_squared;
            within |= if hit { BITS[lane] } else { 0 };
        }
        within
    }

    /// Puts the differences of the listed hits in index order behind the first `taken`; returns how many there
    /// are then. The place of a hit is the number of marks before its own.
    #[inline(always)]
    fn order(&self, centre: &Point, found: usize, taken: usize, scratch: &mut Scratch) -> usize {
        let Scratch { hits, marks, before, offsets } = scratch;
        let hits = &hits[..found];
        for &hit in hits {
            let index = self.points[hit as usize].index;
            marks[index as usize / 64] |= 1 << (index % 64);
        }
        let words = self.points.len().div_ceil(64);
        let mut count = taken as u32;
        for (before, word) in before[..words].iter_mut().zip(&marks[..words]) {
            *before = count;
            count += word.count_ones();
        }
        for &hit in hits {
            let Indexed { point, index } = self.points[hit as usize];
            let word = index as usize / 64;
            let earlier = marks[word] & ((1 << (index % 64)) - 1);
            let place = (before[word] + earlier.count_ones()) as usize;
            offsets[place.min(PATCH_CAPACITY)] =
                [point[0] - centre[0], point[1] - centre[1], point[2] - centre[2]];
        }
        marks[..words].fill(0);
        count as usize
    }
}

/// The work of [`Blocks::gather`]: leaves the patch at the front of `scratch.offsets` and returns its length.
#[multiversion(targets(
    "x86_64+avx512f+avx512bw+avx512cd+avx512dq+avx512vl+fma+popcnt+bmi1+bmi2",
    "x86_64+avx2+fma+popcnt+bmi1+bmi2"
))]
fn gather(blocks: &Blocks, centre: &Point, scratch: &mut Scratch) -> u32 {
    let reach = blocks.cells.reach(centre, blocks.radius);
    let radius_squared = blocks.radius * blocks.radius;
    let mut taken = 0;
    for block in &blocks.blocks {
        let found = block.find(&reach, centre, radius_squared, &mut scratch.hits);
        taken = block.order(centre, found, taken, scratch);
        if taken >= PATCH_CAPACITY {
            taken = PATCH_CAPACITY;
            break;
        }
    }
    let (offsets, unused) = scratch.offsets.split_at_mut(taken);
    for offset in offsets.as_flattened_mut() {
        *offset /= blocks.radius;
    }
    unused.fill([0.0; 3]);
    taken as u32
}
