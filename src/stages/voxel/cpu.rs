//! CPU side: points are dealt into parts by the place of their cell in the output order, then every part groups
//! its points in a small hash table. A cell lies in one part only and the parts follow each other in the output,
//! so parts are independent tasks and the points of a cell still meet in index order.

use rayon::prelude::*;

use super::grid::{BLOCK, Grid};
use super::{VoxelDownsample, size};
use crate::backend::Cpu;
use crate::cloud::Point;
use crate::error::Result;
use crate::stages::bounds::Bounds;

/// Points that one task deals.
const POINTS_PER_TASK: usize = 1 << 14;
/// About as many points go to one part: its table then fits the innermost cache.
const POINTS_PER_PART: usize = 1 << 10;
/// log₂ of the most parts.
const MOST_PART_BITS: u32 = 10;

impl VoxelDownsample for Cpu {
    fn voxel_downsample(&self, points: &Vec<Point>, size: f32) -> Result<Vec<Point>> {
        Ok(self.run(|| downsample(points, size)))
    }

    fn voxel_size(&self, points: &Vec<Point>, wanted: usize) -> Result<f32> {
        Ok(self.run(|| size::voxel_size(points, wanted)))
    }
}

fn downsample(points: &[Point], size: f32) -> Vec<Point> {
    let Some(bounds) = Bounds::around(points) else { return Vec::new() };
    let grid = Grid::new(&bounds, size);
    let part_bits = (points.len() / POINTS_PER_PART).max(1).ilog2().min(MOST_PART_BITS);
    let hands: Vec<Hand> =
        points.par_chunks(POINTS_PER_TASK).map(|chunk| Hand::deal(chunk, &grid, part_bits)).collect();
    let means: Vec<Vec<Point>> =
        (0..1 << part_bits).into_par_iter().map(|part| means_of_part(&hands, part, &grid)).collect();
    means.concat()
}

/// A chunk of the cloud, dealt into parts; index order is kept inside each part.
struct Hand {
    points: Vec<Point>,
    /// Part `i` is `points[start[i]..start[i + 1]]`.
    start: Vec<u32>,
}

impl Hand {
    /// A counting sort by the leading `part_bits` of the place.
    fn deal(chunk: &[Point], grid: &Grid, part_bits: u32) -> Self {
        let mut places = [0; BLOCK];
        let mut part_of = Vec::with_capacity(chunk.len());
        for block in chunk.chunks(BLOCK) {
            let places = grid.places(block, &mut places);
            part_of.extend(places.iter().map(|place| (place >> 1 >> (63 - part_bits)) as u16));
        }
        let mut start = vec![0u32; (1 << part_bits) + 1];
        for &part in &part_of {
            start[usize::from(part) + 1] += 1;
        }
        for part in 0..1 << part_bits {
            start[part + 1] += start[part];
        }
        let mut next = start.clone();
        let mut points = vec![[0.0; 3]; chunk.len()];
        for (&part, &point) in part_of.iter().zip(chunk) {
            let slot = &mut next[usize::from(part)];
            points[*slot as usize] = point;
            *slot += 1;
        }
        Self { points, start }
    }

    fn part(&self, part: usize) -> &[Point] {
        &self.points[self.start[part] as usize..self.start[part + 1] as usize]
    }
}

/// The points met so far in one cell.
struct Cell {
    place: u64,
    centre: Point,
    /// Sum of the points' offsets from the centre.
    sum: Point,
    count: u32,
}

impl Cell {
    /// The cell of `point`, without it.
    fn around(point: &Point, place: u64, grid: &Grid) -> Self {
        Self { place, centre: grid.centre(grid.cell(point)), sum: [0.0; 3], count: 0 }
    }

    fn add(&mut self, point: &Point) {
        self.sum = [0, 1, 2].map(|k| self.sum[k] + (point[k] - self.centre[k]));
        self.count += 1;
    }

    fn mean(&self) -> Point {
        [0, 1, 2].map(|k| self.centre[k] + self.sum[k] / self.count as f32)
    }
}

/// The means of the cells of one part, in the output order.
fn means_of_part(hands: &[Hand], part: usize, grid: &Grid) -> Vec<Point> {
    let mut table = CellTable::with_room_for(hands.iter().map(|hand| hand.part(part).len()).sum());
    let mut places = [0; BLOCK];
    for block in hands.iter().flat_map(|hand| hand.part(part).chunks(BLOCK)) {
        for (&place, point) in grid.places(block, &mut places).iter().zip(block) {
            table.cell_of(point, place, grid).add(point);
        }
    }
    let mut cells = table.cells;
    cells.sort_unstable_by_key(|cell| cell.place);
    cells.iter().map(Cell::mean).collect()
}

/// Cells by their place: open addressing, linear probing.
struct CellTable {
    cells: Vec<Cell>,
    /// 0 where empty, else 1 + an index into `cells`.
    slots: Vec<u32>,
}

impl CellTable {
    fn with_room_for(points: usize) -> Self {
        Self { cells: Vec::new(), slots: vec![0; (2 * points).next_power_of_two()] }
    }

    /// The cell of `point`, made when it is the first of its cell. The table never fills: it has twice as many
    /// slots as there are points.
    fn cell_of(&mut self, point: &Point, place: u64, grid: &Grid) -> &mut Cell {
        let mask = self.slots.len() - 1;
        // The leading bits are equal within a part; the trailing ones are not.
        let mut slot = place as usize & mask;
        loop {
            match self.slots[slot] as usize {
                0 => {
                    self.cells.push(Cell::around(point, place, grid));
                    self.slots[slot] = self.cells.len() as u32;
                    return self.cells.last_mut().expect("just pushed");
                }
                taken if self.cells[taken - 1].place == place => return &mut self.cells[taken - 1],
                _ => slot = (slot + 1) & mask,
            }
        }
    }
}
