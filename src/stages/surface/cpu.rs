//! CPU side: a counting sort into the grid, then one covariance per point.

use multiversion::multiversion;
use rayon::prelude::*;

use super::{BuildSurface, Grid, REACH, Surface};
use crate::backend::Cpu;
use crate::cloud::Point;
use crate::error::Result;
use crate::geometry::{Symmetric, least_eigenvector};
use crate::stages::bounds::Bounds;
use crate::stages::lanes::LANES;

/// Fewer neighbours than this make a normal that is mostly noise.
const FEW_NEIGHBOURS: usize = 8;
/// A patch is a plane or at least a ribbon when its middle extent exceeds this share of its largest.
const LEAST_WIDTH: f64 = 0.02;

impl BuildSurface for Cpu {
    fn build_surfaces(&self, clouds: &[(&Vec<Point>, f32)]) -> Result<Vec<Surface<Self>>> {
        Ok(self.run(|| clouds.iter().map(|(points, spacing)| build(points, *spacing)).collect()))
    }
}

fn build(points: &[Point], spacing: f32) -> Surface<Cpu> {
    let grid = Grid::over(&Bounds::around(points).unwrap_or_default(), REACH * spacing);
    let (cell_start, place) = grid.sort(points);
    let mut sorted = vec![[0.0; 3]; points.len()];
    for (point, &place) in points.iter().zip(&place) {
        sorted[place as usize] = *point;
    }
    let columns = columns_of(&sorted);
    let mut surface: Surface<Cpu> =
        Surface { points: sorted, columns, normals: Vec::new(), cell_start, place, grid, spacing };
    surface.normals = surface.points.par_iter().map(|p| normal(&surface, p)).collect();
    surface
}

impl Grid {
    /// Start of every cell's run and, for each point, its place when sorted by cell.
    fn sort(&self, points: &[Point]) -> (Vec<u32>, Vec<u32>) {
        let cells = self.cells();
        let inside = |p: &Point| {
            let [x, y, z] = [0, 1, 2].map(|axis| self.coordinate(p[axis], axis) as usize);
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
    /// The point nearest to `p` and its squared distance, if any lies within `limit`, which is best no more than a
    /// cell. The lowest index wins a tie.
    #[inline(always)]
    pub fn nearest(&self, p: &Point, limit: f32) -> Option<(usize, f32)> {
        let (index, squared) = nearest(self, p, limit);
        (index != u32::MAX).then_some((index as usize, squared))
    }

    /// One coordinate of all points, and the spare block.
    #[inline(always)]
    fn column(&self, axis: usize) -> &[f32] {
        let length = self.columns.len() / 3;
        &self.columns[axis * length..][..length]
    }
}

/// The points coordinate by coordinate; see [`Surface::columns`].
fn columns_of(points: &[Point]) -> Vec<f32> {
    let spare = || std::iter::repeat_n(f32::INFINITY, LANES);
    (0..3).flat_map(|axis| points.iter().map(move |p| p[axis]).chain(spare())).collect()
}

/// Calls `visit` with every run of points in the cells that the cube of half edge `reach` about `p` touches.
#[inline(always)]
fn for_runs(surface: &Surface<Cpu>, p: &Point, reach: f32, mut visit: impl FnMut(usize, usize)) {
    let grid = &surface.grid;
    let outside = |axis: usize| {
        let from_low = p[axis] - grid.low[axis];
        from_low < -reach || from_low > grid.size[axis] as f32 * grid.cell + reach
    };
    if outside(0) | outside(1) | outside(2) {
        return;
    }
    let (x0, x1) = (grid.coordinate(p[0] - reach, 0), grid.coordinate(p[0] + reach, 0));
    let (y0, y1) = (grid.coordinate(p[1] - reach, 1), grid.coordinate(p[1] + reach, 1));
    let (z0, z1) = (grid.coordinate(p[2] - reach, 2), grid.coordinate(p[2] + reach, 2));
    for z in z0..=z1 {
        for y in y0..=y1 {
            let row = (z as usize * grid.size[1] as usize + y as usize) * grid.size[0] as usize;
            let first = surface.cell_start[row + x0 as usize] as usize;
            let last = surface.cell_start[row + x1 as usize + 1] as usize;
            if first < last {
                visit(first, last);
            }
        }
    }
}

/// Index and squared distance of the point nearest to `p` within `limit`, or `u32::MAX`.
#[multiversion(targets("x86_64+avx512f+avx512bw+avx512cd+avx512dq+avx512vl+fma", "x86_64+avx2+fma"))]
fn nearest(surface: &Surface<Cpu>, p: &Point, limit: f32) -> (u32, f32) {
    let (xs, ys, zs) = (surface.column(0), surface.column(1), surface.column(2));
    let furthest = limit * limit;
    let mut least = [furthest; LANES];
    let mut index = [u32::MAX; LANES];
    for_runs(surface, p, limit, |first, last| {
        let mut start = first;
        while start < last {
            let (x, y, z) = (block(xs, start), block(ys, start), block(zs, start));
            for i in 0..LANES {
                // Points past the run belong to other cells; looking at them too does no harm.
                let (dx, dy, dz) = (x[i] - p[0], y[i] - p[1], z[i] - p[2]);
                let squared = dx * dx + dy * dy + dz * dz;
                let at = (start + i) as u32;
                let nearer =
                    (squared < least[i]) | ((squared == least[i]) & (at < index[i]) & (index[i] != u32::MAX));
                index[i] = if nearer { at } else { index[i] };
                least[i] = if nearer { squared } else { least[i] };
            }
            start += LANES;
        }
    });
    let mut best = (u32::MAX, furthest);
    for i in 0..LANES {
        if index[i] != u32::MAX && (least[i] < best.1 || (least[i] == best.1 && index[i] < best.0)) {
            best = (index[i], least[i]);
        }
    }
    best
}

/// A block of lanes of a column.
#[inline(always)]
fn block(column: &[f32], first: usize) -> &[f32; LANES] {
    column[first..first + LANES].try_into().expect("a slice of LANES values")
}

/// Unit normal of the neighbourhood of `p`, or zero where it spans no plane.
fn normal(surface: &Surface<Cpu>, p: &Point) -> Point {
    let reach = REACH * surface.spacing;
    let near = covariance(surface, p, reach);
    let (count, covariance) =
        if near.0 < FEW_NEIGHBOURS { covariance(surface, p, 2.0 * reach) } else { near };
    if count < 4 {
        return [0.0; 3];
    }
    match least_eigenvector(&covariance) {
        Some((values, normal)) if values[1] > LEAST_WIDTH * values[2] => {
            [normal.x as f32, normal.y as f32, normal.z as f32]
        }
        _ => [0.0; 3],
    }
}

/// Count and centred covariance of the points within `reach` of `p`.
#[multiversion(targets("x86_64+avx512f+avx512bw+avx512cd+avx512dq+avx512vl+fma", "x86_64+avx2+fma"))]
fn covariance(surface: &Surface<Cpu>, p: &Point, reach: f32) -> (usize, Symmetric) {
    let limit = reach * reach;
    let mut sums = [[0f32; LANES]; 10];
    let (xs, ys, zs) = (surface.column(0), surface.column(1), surface.column(2));
    for_runs(surface, p, reach, |first, last| {
        let mut start = first;
        while start < last {
            let (x, y, z) = (block(xs, start), block(ys, start), block(zs, start));
            let left = (last - start) as u32;
            for i in 0..LANES {
                let (dx, dy, dz) = (x[i] - p[0], y[i] - p[1], z[i] - p[2]);
                let inside = (dx * dx + dy * dy + dz * dz < limit) & ((i as u32) < left);
                let (one, dx, dy, dz) = if inside { (1.0, dx, dy, dz) } else { (0.0, 0.0, 0.0, 0.0) };
                let terms = [one, dx, dy, dz, dx * dx, dx * dy, dx * dz, dy * dy, dy * dz, dz * dz];
                for (sum, term) in sums.iter_mut().zip(terms) {
                    sum[i] += term;
                }
            }
            start += LANES;
        }
    });
    let [count, x, y, z, xx, xy, xz, yy, yz, zz] = sums.map(|lanes| f64::from(lanes.iter().sum::<f32>()));
    let n = count.max(1.0);
    let mean = [x / n, y / n, z / n];
    let products = [(xx, 0, 0), (xy, 0, 1), (xz, 0, 2), (yy, 1, 1), (yz, 1, 2), (zz, 2, 2)];
    (count as usize, products.map(|(sum, a, b)| sum / n - mean[a] * mean[b]))
}
