//! CPU side: a coarse search over positions in and around the cloud, then a pattern search from the best.

use multiversion::multiversion;
use rayon::prelude::*;

use super::{EstimateViewpoint, RangeImage, Viewpoint};
use crate::backend::Cpu;
use crate::cloud::Point;
use crate::error::Result;
use crate::geometry::{cross, distance, dot, normalised, subtract};

/// Points that take part in the coarse search and in the fine one.
const COARSE_POINTS: usize = 1_500;
const FINE_POINTS: usize = 6_000;
/// Positions per axis of the lattice over the bounding box grown by [`MARGIN`] of it on every side.
const STEPS: usize = 7;
const MARGIN: f32 = 0.5;
/// Distances of positions all around the cloud, in root mean square radii, and their number per distance.
const AROUND: [f32; 3] = [2.0, 4.0, 8.0];
const DIRECTIONS: usize = 40;
/// Offsets from the densest place that are tried as well, as shares of the mean distance from it.
const NEAR_OFFSETS: [f32; 4] = [0.02, 0.06, 0.15, 0.35];
/// Starts of the fine search.
const STARTS: usize = 4;
/// Cells that the seen directions are divided into, about.
const CELLS: f32 = 500.0;
/// Fewest and most cells along the edge of a cube face.
const FACE_CELLS: (f32, f32) = (4.0, 128.0);
/// A mean direction longer than this belongs to a view that faces one way.
const NARROW_VIEW: f32 = 0.3;
/// Times the step of the pattern search is halved.
const HALVINGS: usize = 5;

/// Points that make a range image, at most, and how many of them share a cell.
const IMAGE_POINTS: usize = 60_000;
const POINTS_PER_CELL: f32 = 5.0;
/// Fewest and most cells along the edge of a range image's face.
const IMAGE_EDGE: (f32, f32) = (8.0, 256.0);

impl EstimateViewpoint for Cpu {
    fn estimate_viewpoint(&self, points: &Vec<Point>) -> Result<Viewpoint> {
        let fine = select(points, FINE_POINTS);
        let coarse = &fine[..fine.len().min(COARSE_POINTS)];
        Ok(self.run(|| {
            let starts = starts(coarse);
            let mut ranked: Vec<(f32, usize)> = starts
                .par_iter()
                .enumerate()
                .map_init(Vec::new, |cells, (i, start)| (unevenness(coarse, &start.position, cells), i))
                .collect();
            ranked.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
            ranked.truncate(STARTS);
            let found: Vec<Viewpoint> =
                ranked.par_iter().map(|&(_, i)| pattern_search(&fine, &starts[i])).collect();
            let better = |a: Viewpoint, b: Viewpoint| if b.unevenness < a.unevenness { b } else { a };
            found.into_iter().reduce(better).expect("there is at least one start")
        }))
    }

    fn range_image(&self, points: &Vec<Point>, eye: Point) -> Result<RangeImage<Self>> {
        Ok(self.run(|| {
            let chosen = select(points, IMAGE_POINTS);
            let mut directions = vec![[0.0; 3]; chosen.len()];
            let mean = unit_directions(&chosen, &eye, &mut directions);
            let edge = face_edge(solid_angle(&mean), chosen.len() as f32 / POINTS_PER_CELL, IMAGE_EDGE);
            let mut image: RangeImage<Self> = RangeImage {
                eye,
                edge: edge as u32,
                nearest: vec![f32::INFINITY; 6 * (edge * edge) as usize],
            };
            for (p, direction) in chosen.iter().zip(&directions) {
                let nearest = &mut image.nearest[cube_cell(direction, edge)];
                *nearest = nearest.min(distance(p, &eye));
            }
            image.nearest = image.least_of_neighbours();
            image
        }))
    }
}

/// Where a search starts and how far it steps along each axis.
struct Start {
    position: Point,
    step: Point,
}

/// At most `count` points, chosen by a fixed hash of their index so that no pattern in their order matters.
fn select(points: &[Point], count: usize) -> Vec<Point> {
    if points.len() <= count {
        return points.to_vec();
    }
    let hash = |i: usize| {
        (i as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15).rotate_left(29).wrapping_mul(0xBF58_476D_1CE4_E5B9)
    };
    (0..count).map(|i| points[(u128::from(hash(i)) * points.len() as u128 >> 64) as usize]).collect()
}

/// A lattice in and around the cloud, and offsets around its densest place, where a LiDAR stands.
fn starts(points: &[Point]) -> Vec<Start> {
    let (mut low, mut high) = ([f32::INFINITY; 3], [f32::NEG_INFINITY; 3]);
    for p in points {
        for k in 0..3 {
            low[k] = low[k].min(p[k]);
            high[k] = high[k].max(p[k]);
        }
    }
    let step = [0, 1, 2].map(|k| (high[k] - low[k]) * (1.0 + 2.0 * MARGIN) / (STEPS - 1) as f32);
    let first = [0, 1, 2].map(|k| low[k] - (high[k] - low[k]) * MARGIN);
    let mut starts = Vec::with_capacity(STEPS.pow(3) + 6 * NEAR_OFFSETS.len() + 1);
    for i in 0..STEPS.pow(3) {
        let index = [i % STEPS, i / STEPS % STEPS, i / STEPS / STEPS];
        starts.push(Start { position: [0, 1, 2].map(|k| first[k] + step[k] * index[k] as f32), step });
    }
    let radius = (points.iter().map(|p| dot(p, p)).sum::<f32>() / points.len() as f32).sqrt();
    for distance in AROUND.map(|share| share * radius) {
        for i in 0..DIRECTIONS {
            let position = fibonacci_direction(i, DIRECTIONS).map(|x| x * distance);
            starts.push(Start { position, step: [0.4 * distance; 3] });
        }
    }
    let (median, mean_distance) = geometric_median(points);
    for share in NEAR_OFFSETS {
        for direction in 0..6 {
            let mut position = median;
            position[direction / 2] += if direction % 2 == 0 { share } else { -share } * mean_distance;
            starts.push(Start { position, step: [0.5 * share * mean_distance; 3] });
        }
    }
    starts.push(Start { position: median, step: [0.02 * mean_distance; 3] });
    starts
}

/// The `i`-th of `count` directions spread evenly over the sphere.
fn fibonacci_direction(i: usize, count: usize) -> Point {
    let z = 1.0 - (2 * i + 1) as f32 / count as f32;
    let azimuth = i as f32 * std::f32::consts::PI * (3.0 - 5f32.sqrt());
    let r = (1.0 - z * z).sqrt();
    [r * azimuth.cos(), r * azimuth.sin(), z]
}

/// The position with the least sum of distances (Weiszfeld 1937), and the mean distance from it.
fn geometric_median(points: &[Point]) -> (Point, f32) {
    let mut centre = [0.0f32; 3];
    let mut mean_distance = 0.0;
    for _ in 0..10 {
        let (mut sum, mut weights, mut distances) = ([0.0f32; 3], 0.0f32, 0.0f32);
        for p in points {
            let d = distance(p, &centre);
            let weight = 1.0 / d.max(1e-6);
            for k in 0..3 {
                sum[k] += weight * p[k];
            }
            weights += weight;
            distances += d;
        }
        centre = sum.map(|s| s / weights);
        mean_distance = distances / points.len() as f32;
    }
    (centre, mean_distance)
}

/// Moves along the axes while that makes the view more even, then halves the step.
fn pattern_search(points: &[Point], start: &Start) -> Viewpoint {
    let mut cells = Vec::new();
    let mut position = start.position;
    let mut best = unevenness(points, &position, &mut cells);
    for halving in 0..=HALVINGS {
        let scale = 0.5f32.powi(halving as i32);
        for _ in 0..4 {
            let before = best;
            for direction in 0..6 {
                let mut moved = position;
                let axis = direction / 2;
                moved[axis] += if direction % 2 == 0 { scale } else { -scale } * start.step[axis];
                let value = unevenness(points, &moved, &mut cells);
                if value < best {
                    (best, position) = (value, moved);
                }
            }
            if best >= before {
                break;
            }
        }
    }
    Viewpoint { position, unevenness: best }
}

/// `ln(occupied · Σ c(c − 1) / (n(n − 1)))` of the counts `c` of points per cell of directions from `eye`: zero when
/// the occupied cells are equally full, up to chance.
fn unevenness(points: &[Point], eye: &Point, cells: &mut Vec<u32>) -> f32 {
    let mut directions = [[0f32; 3]; FINE_POINTS];
    let directions = &mut directions[..points.len()];
    let mean = unit_directions(points, eye, directions);
    let edge = face_edge(solid_angle(&mean), CELLS, FACE_CELLS);
    let axes = image_axes(directions, &mean);
    cells.clear();
    cells.resize(6 * (edge * edge) as usize, 0);
    for direction in directions.iter() {
        cells[cube_cell(&axes.map(|axis| dot(&axis, direction)), edge)] += 1;
    }
    let occupied = cells.iter().filter(|c| **c > 0).count() as f32;
    let pairs: u64 = cells.iter().map(|&c| u64::from(c) * u64::from(c.saturating_sub(1))).sum();
    let n = points.len() as f32;
    (occupied * pairs.max(1) as f32 / (n * (n - 1.0).max(1.0))).ln()
}

/// The axes of the image that a pinhole camera would have: across, up and towards the mean direction, turned so
/// that the spread across is largest. A cube face so placed sees a depth image as evenly as its camera did.
/// The cloud's own axes where the directions point all around.
fn image_axes(directions: &[Point], mean: &Point) -> [Point; 3] {
    let length = dot(mean, mean).sqrt();
    if length < NARROW_VIEW {
        return [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]];
    }
    let ahead = mean.map(|x| x / length);
    let least = (0..3).fold(0, |k, i| if ahead[i].abs() < ahead[k].abs() { i } else { k });
    let across =
        normalised(&std::array::from_fn(|k| f32::from(u8::from(k == least)) - ahead[least] * ahead[k]));
    let up = cross(&ahead, &across);
    let (mut xx, mut xy, mut yy) = (0f32, 0f32, 0f32);
    for direction in directions {
        let (x, y) = (dot(&across, direction), dot(&up, direction));
        xx += x * x;
        xy += x * y;
        yy += y * y;
    }
    let (sin, cos) = (0.5 * (2.0 * xy).atan2(xx - yy)).sin_cos();
    let turned = |a: f32, b: f32| [0, 1, 2].map(|k| a * across[k] + b * up[k]);
    [turned(cos, sin), turned(-sin, cos), ahead]
}

/// Cells along a cube face's edge so that `solid_angle` holds about `cells` of them.
fn face_edge(solid_angle: f32, cells: f32, (fewest, most): (f32, f32)) -> f32 {
    let sphere = 4.0 * std::f32::consts::PI;
    (sphere / solid_angle.max(1e-6) * cells / 6.0).sqrt().clamp(fewest, most).floor()
}

impl RangeImage<Cpu> {
    /// The nearest range seen around the direction of `p`, and the range of `p` itself.
    #[inline(always)]
    pub fn seen(&self, p: &Point) -> (f32, f32) {
        let d = subtract(p, &self.eye);
        (self.nearest[cube_cell(&d, self.edge as f32)], dot(&d, &d).sqrt())
    }

    /// For every cell that saw something, the least of its own range and its neighbours' on the face.
    fn least_of_neighbours(&self) -> Vec<f32> {
        let edge = self.edge as usize;
        let around = |i: usize| i.saturating_sub(1)..(i + 2).min(edge);
        let least = |cell: usize| {
            let (face, u, v) = (cell / (edge * edge), cell / edge % edge, cell % edge);
            let row = |u: usize| &self.nearest[(face * edge + u) * edge..][..edge];
            around(u).flat_map(|u| row(u)[around(v)].iter()).fold(f32::INFINITY, |a, b| a.min(*b))
        };
        let unseen = |cell: usize| self.nearest[cell].is_infinite();
        (0..self.nearest.len()).map(|cell| if unseen(cell) { f32::INFINITY } else { least(cell) }).collect()
    }
}

/// Solid angle of a cap with this mean direction: one of half angle α has mean length (1 + cos α)/2 and solid
/// angle 2π(1 − cos α).
fn solid_angle(mean: &Point) -> f32 {
    4.0 * std::f32::consts::PI * (1.0 - dot(mean, mean).sqrt())
}

/// Unit directions from `eye`, and their mean.
#[multiversion(targets("x86_64+avx512f+avx512bw+avx512cd+avx512dq+avx512vl+fma", "x86_64+avx2+fma"))]
fn unit_directions(points: &[Point], eye: &Point, directions: &mut [Point]) -> Point {
    let mut sum = [0f32; 3];
    for (p, direction) in points.iter().zip(directions.iter_mut()) {
        let d = [p[0] - eye[0], p[1] - eye[1], p[2] - eye[2]];
        let scale = 1.0 / (d[0] * d[0] + d[1] * d[1] + d[2] * d[2]).sqrt().max(f32::MIN_POSITIVE);
        for k in 0..3 {
            direction[k] = d[k] * scale;
            sum[k] += direction[k];
        }
    }
    sum.map(|x| x / points.len().max(1) as f32)
}

/// Cell of a direction on a cube whose faces have `edge` × `edge` cells.
#[inline(always)]
fn cube_cell(d: &Point, edge: f32) -> usize {
    let a = d.map(f32::abs);
    let (face, main, u, v) = if a[0] >= a[1] && a[0] >= a[2] {
        (usize::from(d[0] < 0.0), a[0], d[1], d[2])
    } else if a[1] >= a[2] {
        (2 + usize::from(d[1] < 0.0), a[1], d[0], d[2])
    } else {
        (4 + usize::from(d[2] < 0.0), a[2], d[0], d[1])
    };
    let scale = 0.5 * edge / main.max(f32::MIN_POSITIVE);
    let cell = |x: f32| ((x * scale + 0.5 * edge) as usize).min(edge as usize - 1);
    (face * edge as usize + cell(u)) * edge as usize + cell(v)
}
