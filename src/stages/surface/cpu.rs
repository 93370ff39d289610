//! CPU side: a counting sort into the grid, then one covariance per point.

use rayon::prelude::*;

use super::{BuildSurface, Grid, REACH, Surface};
use crate::backend::Cpu;
use crate::cloud::Point;
use crate::error::Result;
use crate::geometry::{Symmetric, dot, least_eigenvector, squared_distance, subtract};

/// Most cells of a grid (64 MiB of starts); cells grow where a stray point would ask for more.
const MOST_CELLS: u64 = 1 << 24;
/// Fewer neighbours than this make a normal that is mostly noise.
const FEW_NEIGHBOURS: usize = 8;
/// A patch is a plane or at least a ribbon when its middle extent exceeds this share of its largest.
const LEAST_WIDTH: f64 = 0.02;

impl BuildSurface for Cpu {
    fn build_surface(&self, points: &Vec<Point>, spacing: f32) -> Result<Surface<Self>> {
        Ok(self.run(|| {
            let grid = Grid::around(points, REACH * spacing);
            let (cell_start, place) = grid.sort(points);
            let mut sorted = vec![[0.0; 3]; points.len()];
            for (point, &place) in points.iter().zip(&place) {
                sorted[place as usize] = *point;
            }
            let mut surface: Surface<Self> =
                Surface { points: sorted, normals: Vec::new(), cell_start, place, grid, spacing };
            surface.normals = surface.points.par_iter().map(|p| surface.normal(p)).collect();
            surface
        }))
    }
}

impl Grid {
    /// A grid of cells of edge `cell`, or larger where that would make too many.
    fn around(points: &[Point], cell: f32) -> Self {
        let (mut low, mut high) = ([f32::INFINITY; 3], [f32::NEG_INFINITY; 3]);
        for p in points {
            for k in 0..3 {
                low[k] = low[k].min(p[k]);
                high[k] = high[k].max(p[k]);
            }
        }
        let mut cell = cell.max(f32::MIN_POSITIVE);
        loop {
            let size = [0, 1, 2].map(|k| (((high[k] - low[k]) / cell).max(0.0) as u64).saturating_add(1));
            let cells = size.iter().try_fold(1u64, |product, n| product.checked_mul(*n));
            if cells.is_some_and(|cells| cells <= MOST_CELLS) {
                return Self { low, cell, size: size.map(|n| n as u32) };
            }
            cell *= 1.26;
        }
    }

    /// Cell coordinates of a position, which may lie outside.
    #[inline(always)]
    fn coordinates(&self, p: &Point) -> [i32; 3] {
        let scale = 1.0 / self.cell;
        [0, 1, 2].map(|k| ((p[k] - self.low[k]) * scale).floor() as i32)
    }

    /// Start of every cell's run and, for each point, its place when sorted by cell.
    fn sort(&self, points: &[Point]) -> (Vec<u32>, Vec<u32>) {
        let cells = self.size.iter().map(|n| *n as usize).product::<usize>();
        let inside = |p: &Point| {
            let c = self.coordinates(p);
            let [x, y, z] = [0, 1, 2].map(|k| c[k].clamp(0, self.size[k] as i32 - 1) as usize);
            (z * self.size[1] as usize + y) * self.size[0] as usize + x
        };
        let cell_of: Vec<u32> = points.iter().map(|p| inside(p) as u32).collect();
        let mut start = vec![0u32; cells + 1];
        for &cell in &cell_of {
            start[cell as usize + 1] += 1;
        }
        for cell in 0..cells {
            start[cell + 1] += start[cell];
        }
        let mut next = start.clone();
        let place = cell_of
            .iter()
            .map(|&cell| {
                let place = next[cell as usize];
                next[cell as usize] += 1;
                place
            })
            .collect();
        (start, place)
    }
}

impl Surface<Cpu> {
    /// Calls `visit` with every run of points in the cells within `reach` cells of `p`.
    #[inline(always)]
    fn for_runs(&self, p: &Point, reach: i32, mut visit: impl FnMut(std::ops::Range<usize>)) {
        let c = self.grid.coordinates(p);
        let [nx, ny, nz] = self.grid.size.map(|n| n as i32);
        let (x0, x1) = ((c[0].saturating_sub(reach)).max(0), (c[0].saturating_add(reach)).min(nx - 1));
        if x0 > x1 {
            return;
        }
        for z in c[2].saturating_sub(reach).max(0)..=c[2].saturating_add(reach).min(nz - 1) {
            for y in c[1].saturating_sub(reach).max(0)..=c[1].saturating_add(reach).min(ny - 1) {
                let row = (z * ny + y) as usize * nx as usize;
                let first = self.cell_start[row + x0 as usize] as usize;
                let last = self.cell_start[row + x1 as usize + 1] as usize;
                visit(first..last);
            }
        }
    }

    /// The point nearest to `p` and its squared distance, if any lies within `limit` (at most one cell).
    /// The lowest index wins a tie.
    #[inline(always)]
    pub fn nearest(&self, p: &Point, limit: f32) -> Option<(usize, f32)> {
        let mut best = (usize::MAX, limit * limit);
        self.for_runs(p, 1, |run| {
            for i in run {
                let d2 = squared_distance(&self.points[i], p);
                if d2 < best.1 {
                    best = (i, d2);
                }
            }
        });
        (best.0 != usize::MAX).then_some(best)
    }

    /// Unit normal of the neighbourhood of `p`, or zero where it spans no plane.
    fn normal(&self, p: &Point) -> Point {
        let near = self.covariance(p, 1);
        let (count, covariance) = if near.0 < FEW_NEIGHBOURS { self.covariance(p, 2) } else { near };
        if count < 4 {
            return [0.0; 3];
        }
        match least_eigenvector(&covariance) {
            (values, Some(normal)) if values[1] > LEAST_WIDTH * values[2] => {
                [normal.x as f32, normal.y as f32, normal.z as f32]
            }
            _ => [0.0; 3],
        }
    }

    /// Count and centred covariance of the points within `reach` cells' edge of `p`.
    fn covariance(&self, p: &Point, reach: i32) -> (usize, Symmetric) {
        let limit = (reach as f32 * REACH * self.spacing).powi(2);
        let mut count = 0usize;
        let mut sum = [0.0f32; 3];
        let mut products = [0.0f32; 6];
        self.for_runs(p, reach, |run| {
            for q in &self.points[run] {
                let d = subtract(q, p);
                if dot(&d, &d) < limit {
                    count += 1;
                    for k in 0..3 {
                        sum[k] += d[k];
                    }
                    let terms =
                        [d[0] * d[0], d[0] * d[1], d[0] * d[2], d[1] * d[1], d[1] * d[2], d[2] * d[2]];
                    for (product, term) in products.iter_mut().zip(terms) {
                        *product += term;
                    }
                }
            }
        });
        let n = count.max(1) as f64;
        let mean = sum.map(|s| f64::from(s) / n);
        let pairs = [(0, 0), (0, 1), (0, 2), (1, 1), (1, 2), (2, 2)];
        let centred =
            std::array::from_fn(|k| f64::from(products[k]) / n - mean[pairs[k].0] * mean[pairs[k].1]);
        (count, centred)
    }
}
