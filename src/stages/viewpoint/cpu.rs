//! CPU side: a coarse search over positions in and around the cloud, then pattern searches from the best.

use multiversion::multiversion;
use rayon::prelude::*;

use super::{EstimateViewpoint, RangeImage, Viewpoint};
use crate::backend::Cpu;
use crate::cloud::Point;
use crate::error::Result;
use crate::geometry::{cross, distance, dot, normalised, subtract};
use crate::stages::lanes::{LANES, floor};

/// Points that take part in the coarse search, in the pattern searches and in the last of them. Multiples of
/// [`LANES`].
pub(super) const COARSE_POINTS: usize = 1_024;
pub(super) const SEARCH_POINTS: usize = 2_560;
pub(super) const FINE_POINTS: usize = 6_144;
/// Positions per axis of the lattice over the bounding box grown by [`MARGIN`] of it on every side.
pub(super) const STEPS: usize = 6;
const MARGIN: f32 = 0.5;
/// Distances of positions all around the cloud, in root mean square radii, and their number per distance.
pub(super) const AROUND: [f32; 3] = [2.0, 4.0, 8.0];
pub(super) const DIRECTIONS: usize = 30;
/// Offsets from the densest place that are tried as well, as shares of the mean distance from it.
pub(super) const NEAR_OFFSETS: [f32; 4] = [0.02, 0.06, 0.15, 0.35];
/// Starts of pattern searches.
pub(super) const STARTS: usize = 4;
/// Times the step of a pattern search is halved, and how often it goes around with one step at most.
const HALVINGS: u32 = 4;
const ROUNDS: usize = 3;
/// Cells that the seen directions are divided into, about.
const CELLS: f32 = 500.0;
/// Fewest and most cells along the edge of a cube face.
const FACE_CELLS: (f32, f32) = (4.0, 128.0);
/// A mean direction longer than this belongs to a view that faces one way.
const NARROW_VIEW: f32 = 0.3;
/// Points that make a range image, at most, and how many of them share a cell.
pub(super) const IMAGE_POINTS: usize = 60_000;
pub(super) const POINTS_PER_CELL: f32 = 5.0;
/// Fewest and most cells along the edge of a range image's face.
pub(super) const IMAGE_EDGE: (f32, f32) = (8.0, 256.0);

impl EstimateViewpoint for Cpu {
    fn estimate_viewpoint(&self, points: &Vec<Point>) -> Result<Viewpoint> {
        let chosen = select(points, FINE_POINTS);
        let columns = |count: usize| Columns::new(&chosen[..chosen.len().min(count)]);
        let (coarse, medium, fine) = (columns(COARSE_POINTS), columns(SEARCH_POINTS), columns(FINE_POINTS));
        Ok(self.run(|| {
            let starts = starts(&chosen[..chosen.len().min(COARSE_POINTS)]);
            let mut ranked: Vec<(f32, usize)> = starts
                .par_iter()
                .enumerate()
                .map_init(Scratch::default, |scratch, (i, start)| {
                    (scratch.unevenness(&coarse, &start.position), i)
                })
                .collect();
            ranked.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
            ranked.truncate(STARTS);
            let found: Vec<Found> =
                ranked.par_iter().map(|&(_, i)| pattern_search(&medium, starts[i], 0..=HALVINGS)).collect();
            let better = |a: usize, b: usize| if found[b].unevenness < found[a].unevenness { b } else { a };
            let best = (0..found.len()).reduce(better).expect("there is at least one start");
            let start = Start { position: found[best].position, step: starts[ranked[best].1].step };
            let Found { position, unevenness, narrowness } =
                pattern_search(&fine, start, HALVINGS - 1..=HALVINGS + 1);
            let opposite = Scratch::default().unevenness(&fine, &position.map(|x| -x));
            Viewpoint { position, unevenness: unevenness.ln(), opposite: opposite.ln(), narrowness }
        }))
    }

    fn range_image(&self, points: &Vec<Point>, eye: Point) -> Result<RangeImage<Self>> {
        Ok(self.run(|| {
            let chosen = select(points, IMAGE_POINTS);
            let mean = unit_directions(&Columns::new(&chosen), &eye, &mut Vec::new());
            let edge = face_edge(solid_angle(&mean), chosen.len() as f32 / POINTS_PER_CELL, IMAGE_EDGE);
            let mut image: RangeImage<Self> = RangeImage {
                eye,
                edge: edge as u32,
                nearest: vec![f32::INFINITY; 6 * (edge * edge) as usize],
            };
            for p in &chosen {
                let d = subtract(p, &eye);
                let nearest = &mut image.nearest[cube_cell(d[0], d[1], d[2], edge) as usize];
                *nearest = nearest.min(dot(&d, &d).sqrt());
            }
            image.nearest = image.least_of_neighbours();
            image
        }))
    }

    fn estimate_views(&self, clouds: &[&Vec<Point>]) -> Result<Vec<(Viewpoint, RangeImage<Self>)>> {
        let view = |points: &&Vec<Point>| {
            let viewpoint = self.estimate_viewpoint(points)?;
            Ok((viewpoint, self.range_image(points, viewpoint.position)?))
        };
        self.run(|| clouds.par_iter().map(view).collect())
    }
}

/// Where a search starts and how far it steps along each axis.
#[derive(Clone, Copy)]
struct Start {
    position: Point,
    step: Point,
}

/// Where a search ended.
struct Found {
    position: Point,
    /// Before the logarithm, which devices round differently: one where the view is even.
    unevenness: f32,
    narrowness: f32,
}

/// At most `count` points, chosen by a fixed hash of their index so that no pattern in their order matters.
fn select(points: &[Point], count: usize) -> Vec<Point> {
    if points.len() <= count {
        return points.to_vec();
    }
    let hash = |i: usize| {
        (i as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15).rotate_left(29).wrapping_mul(0xBF58_476D_1CE4_E5B9)
    };
    (0..count).map(|i| points[((u128::from(hash(i)) * points.len() as u128) >> 64) as usize]).collect()
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
pub(super) fn fibonacci_direction(i: usize, count: usize) -> Point {
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

/// Moves along the axes while that makes the view more even, with steps halved as often as `halvings` says.
fn pattern_search(points: &Columns, start: Start, halvings: std::ops::RangeInclusive<u32>) -> Found {
    let mut scratch = Scratch::default();
    let mut position = start.position;
    let mut best = scratch.unevenness(points, &position);
    for halving in halvings {
        let scale = 0.5f32.powi(halving as i32);
        for _ in 0..ROUNDS {
            let before = best;
            for direction in 0..6 {
                let mut moved = position;
                let axis = direction / 2;
                moved[axis] += if direction % 2 == 0 { scale } else { -scale } * start.step[axis];
                let value = scratch.unevenness(points, &moved);
                if value < best {
                    (best, position) = (value, moved);
                }
            }
            if best >= before {
                break;
            }
        }
    }
    let mean = unit_directions(points, &position, &mut Vec::new());
    Found { position, unevenness: best, narrowness: dot(&mean, &mean).sqrt() }
}

/// Points as whole blocks of [`LANES`] per coordinate; a rest that fills no block is left out.
struct Columns {
    blocks: Vec<[[f32; LANES]; 3]>,
}

impl Columns {
    fn new(points: &[Point]) -> Self {
        let block = |points: &[Point]| [0, 1, 2].map(|axis| std::array::from_fn(|lane| points[lane][axis]));
        Self { blocks: points.chunks_exact(LANES).map(block).collect() }
    }
}

/// Memory of one worker.
#[derive(Default)]
struct Scratch {
    directions: Vec<[[f32; LANES]; 3]>,
    cells: Vec<u32>,
}

impl Scratch {
    /// `occupied · Σ c(c − 1) / (n(n − 1))` of the counts `c` of points per cell of directions from `eye`: one when the
    /// occupied cells are equally full, up to chance.
    fn unevenness(&mut self, points: &Columns, eye: &Point) -> f32 {
        let mean = unit_directions(points, eye, &mut self.directions);
        let edge = face_edge(solid_angle(&mean), CELLS, FACE_CELLS);
        let axes = image_axes(&self.directions, &mean);
        self.cells.clear();
        self.cells.resize(6 * (edge * edge) as usize, 0);
        count_in_cells(&self.directions, &axes, edge, &mut self.cells);
        let (occupied, pairs) = occupied_and_pairs(&self.cells);
        let n = (points.blocks.len() * LANES) as f32;
        occupied as f32 * pairs.max(1) as f32 / (n * (n - 1.0).max(1.0))
    }
}

/// Unit directions from `eye`, and their mean.
#[multiversion(targets("x86_64+avx512f+avx512bw+avx512cd+avx512dq+avx512vl+fma", "x86_64+avx2+fma"))]
fn unit_directions(points: &Columns, eye: &Point, directions: &mut Vec<[[f32; LANES]; 3]>) -> Point {
    directions.clear();
    let mut sums = [[0f32; LANES]; 3];
    for block in &points.blocks {
        let mut unit = [[0f32; LANES]; 3];
        for i in 0..LANES {
            let (x, y, z) = (block[0][i] - eye[0], block[1][i] - eye[1], block[2][i] - eye[2]);
            let scale = 1.0 / (x * x + y * y + z * z).max(f32::MIN_POSITIVE).sqrt();
            (unit[0][i], unit[1][i], unit[2][i]) = (x * scale, y * scale, z * scale);
            sums[0][i] += unit[0][i];
            sums[1][i] += unit[1][i];
            sums[2][i] += unit[2][i];
        }
        directions.push(unit);
    }
    let count = (directions.len() * LANES).max(1) as f32;
    sums.map(|lanes| lanes.iter().sum::<f32>() / count)
}

/// Solid angle of a cap with this mean direction: one of half angle α has mean length (1 + cos α)/2 and solid
/// angle 2π(1 − cos α).
fn solid_angle(mean: &Point) -> f32 {
    4.0 * std::f32::consts::PI * (1.0 - dot(mean, mean).sqrt())
}

/// The axes of the image that a pinhole camera would have: across, up and towards the mean direction, turned so
/// that the spread across is largest. A cube face so placed sees a depth image as evenly as its camera did.
/// The cloud's own axes where the directions point all around.
fn image_axes(directions: &[[[f32; LANES]; 3]], mean: &Point) -> [Point; 3] {
    let length = dot(mean, mean).sqrt();
    if length < NARROW_VIEW {
        return [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]];
    }
    let ahead = mean.map(|x| x / length);
    let least = (0..3).fold(0, |k, i| if ahead[i].abs() < ahead[k].abs() { i } else { k });
    let across =
        normalised(&std::array::from_fn(|k| f32::from(u8::from(k == least)) - ahead[least] * ahead[k]));
    let up = cross(&ahead, &across);
    let [xx, xy, yy] = second_moments(directions, &across, &up);
    let (sin, cos) = half_angle(xx - yy, 2.0 * xy);
    let turned = |a: f32, b: f32| [0, 1, 2].map(|k| a * across[k] + b * up[k]);
    [turned(cos, sin), turned(-sin, cos), ahead]
}

/// Sine and cosine of half the angle of (x, y). By roots, which all devices round alike.
fn half_angle(x: f32, y: f32) -> (f32, f32) {
    let length = (x * x + y * y).sqrt();
    if length > 0.0 {
        let (sine, cosine) = (y / length, x / length);
        if x >= 0.0 {
            let half = (0.5 + 0.5 * cosine).sqrt();
            (0.5 * sine / half, half)
        } else {
            let half = (0.5 - 0.5 * cosine).sqrt().copysign(y);
            (half, 0.5 * sine / half)
        }
    } else {
        (0.0, 1.0)
    }
}

/// `Σ x²`, `Σ x y`, `Σ y²` of the directions' coordinates along two axes.
#[multiversion(targets("x86_64+avx512f+avx512bw+avx512cd+avx512dq+avx512vl+fma", "x86_64+avx2+fma"))]
fn second_moments(directions: &[[[f32; LANES]; 3]], across: &Point, up: &Point) -> [f32; 3] {
    let mut sums = [[0f32; LANES]; 3];
    for d in directions {
        for i in 0..LANES {
            let x = across[0] * d[0][i] + across[1] * d[1][i] + across[2] * d[2][i];
            let y = up[0] * d[0][i] + up[1] * d[1][i] + up[2] * d[2][i];
            sums[0][i] += x * x;
            sums[1][i] += x * y;
            sums[2][i] += y * y;
        }
    }
    sums.map(|lanes| lanes.iter().sum())
}

/// Counts the directions per cell of a cube with these axes.
#[multiversion(targets("x86_64+avx512f+avx512bw+avx512cd+avx512dq+avx512vl+fma", "x86_64+avx2+fma"))]
fn count_in_cells(directions: &[[[f32; LANES]; 3]], axes: &[Point; 3], edge: f32, cells: &mut [u32]) {
    let mut cell = [0u32; LANES];
    for d in directions {
        for i in 0..LANES {
            let along = |axis: &Point| axis[0] * d[0][i] + axis[1] * d[1][i] + axis[2] * d[2][i];
            cell[i] = cube_cell(along(&axes[0]), along(&axes[1]), along(&axes[2]), edge);
        }
        for &at in &cell {
            cells[at as usize] += 1;
        }
    }
}

/// Number of cells that hold something, and `Σ c (c − 1)` over the counts `c`, which at most [`FINE_POINTS`] points keep
/// within 32 bits.
#[multiversion(targets("x86_64+avx512f+avx512bw+avx512cd+avx512dq+avx512vl+fma", "x86_64+avx2+fma"))]
fn occupied_and_pairs(cells: &[u32]) -> (u32, u32) {
    let (mut occupied, mut pairs) = (0, 0);
    for &count in cells {
        occupied += u32::from(count > 0);
        pairs += count * count.saturating_sub(1);
    }
    (occupied, pairs)
}

/// Cell of a direction on a cube whose faces have `edge` × `edge` cells. Without branches, so that it vectorises.
#[inline(always)]
fn cube_cell(x: f32, y: f32, z: f32, edge: f32) -> u32 {
    let (ax, ay, az) = (x.abs(), y.abs(), z.abs());
    let largest = ax.max(ay).max(az);
    let (along_x, along_z) = (ax == largest, (az == largest) & (ax != largest) & (ay != largest));
    let main = if along_x {
        x
    } else if along_z {
        z
    } else {
        y
    };
    let u = if along_x { y } else { x };
    let v = if along_z { y } else { z };
    let face = if along_x {
        0.0
    } else if along_z {
        4.0
    } else {
        2.0
    } + if main < 0.0 { 1.0 } else { 0.0 };
    let scale = 0.5 * edge / largest.max(f32::MIN_POSITIVE);
    let cell = |x: f32| floor((x * scale + 0.5 * edge).max(0.0).min(edge - 1.0));
    let edge = floor(edge);
    (floor(face) * edge + cell(u)) * edge + cell(v)
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
        (self.nearest[cube_cell(d[0], d[1], d[2], self.edge as f32) as usize], dot(&d, &d).sqrt())
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
