//! CPU side: exact furthest point sampling with buckets (QuickFPS, Han et al., TCAD 2023).
//!
//! The cloud is cut into buckets of neighbouring points, under two levels of boxes. A new sample can only change
//! the buckets whose box is nearer to it than their furthest point is to the samples before; all others are
//! skipped.
//!
//! Skipping is exact to the bit: rounding is monotone, and a box distance is computed with the very operations
//! of a point distance, so in f32 too it is never larger than the distance to any point inside the box.

use multiversion::multiversion;
use rayon::prelude::*;

use super::order::nearby_first;
use super::{Sample, SampleFarthest};
use crate::backend::Cpu;
use crate::cloud::Point;
use crate::error::Result;
use crate::geometry::Extent;
use crate::stages::lanes::{BITS, LANES};

/// Points of one bucket.
const BUCKET: usize = 4 * LANES;

impl SampleFarthest for Cpu {
    fn sample_farthest_of_each(&self, clouds: &[&Vec<Point>], count: usize) -> Result<Vec<Sample<Self>>> {
        Ok(self.run(|| clouds.par_iter().map(|points| sample(points, count)).collect()))
    }

    fn gather_points(&self, points: &Vec<Point>, indices: &Vec<u32>) -> Result<Vec<Point>> {
        Ok(gather(points, indices))
    }
}

fn gather(points: &[Point], indices: &[u32]) -> Vec<Point> {
    indices.iter().map(|&index| points[index as usize]).collect()
}

fn sample(points: &[Point], count: usize) -> Sample<Cpu> {
    let indices = chosen(points, count);
    let points = gather(points, &indices);
    let extent = Extent::of(&points);
    Sample { indices, points, extent }
}

fn chosen(points: &[Point], count: usize) -> Vec<u32> {
    match count.min(points.len()) {
        0 => Vec::new(),
        count => select(points, &mut Tree::new(points), count),
    }
}

#[multiversion(targets("x86_64+avx512f+avx512bw+avx512cd+avx512dq+avx512vl+fma", "x86_64+avx2+fma"))]
fn select(points: &[Point], tree: &mut Tree, count: usize) -> Vec<u32> {
    let mut chosen = vec![0];
    while chosen.len() < count {
        tree.update(&points[chosen[chosen.len() - 1] as usize]);
        match tree.furthest() {
            0.0 => break,
            furthest => chosen.push(tree.first_at(furthest)),
        }
    }
    chosen
}

/// The cloud in buckets, and two levels of boxes around them. Child `i` of block `b` is bucket (or lower block)
/// `LANES * b + i`.
struct Tree {
    buckets: Vec<Bucket>,
    lower: Vec<Boxes>,
    upper: Vec<Boxes>,
}

impl Tree {
    fn new(points: &[Point]) -> Self {
        let order = nearby_first(points);
        let buckets: Vec<Bucket> = order.par_chunks(BUCKET).map(|part| Bucket::new(points, part)).collect();
        let bounds: Vec<[Point; 2]> = buckets.par_iter().map(Bucket::bounds).collect();
        let lower: Vec<Boxes> = bounds.chunks(LANES).map(Boxes::new).collect();
        let bounds: Vec<[Point; 2]> = lower.iter().map(Boxes::bounds).collect();
        let upper = bounds.chunks(LANES).map(Boxes::new).collect();
        Self { buckets, lower, upper }
    }

    /// Takes the new sample `chosen` into account.
    #[inline(always)]
    fn update(&mut self, chosen: &Point) {
        for (i, upper) in self.upper.iter_mut().enumerate() {
            for lane in set_lanes(upper.reached_by(chosen)) {
                let block = LANES * i + lane;
                let lower = &mut self.lower[block];
                for lane in set_lanes(lower.reached_by(chosen)) {
                    lower.furthest[lane] = self.buckets[LANES * block + lane].update(chosen);
                }
                upper.furthest[lane] = largest(&lower.furthest);
            }
        }
    }

    /// The largest squared distance of a point to its nearest sample.
    #[inline(always)]
    fn furthest(&self) -> f32 {
        self.upper.iter().map(|boxes| largest(&boxes.furthest)).fold(0.0, larger)
    }

    /// The lowest index of a point at squared distance `squared`.
    #[inline(always)]
    fn first_at(&self, squared: f32) -> u32 {
        let mut first = u32::MAX;
        for (i, upper) in self.upper.iter().enumerate() {
            for block in set_lanes(equal(&upper.furthest, squared)).map(|lane| LANES * i + lane) {
                for lane in set_lanes(equal(&self.lower[block].furthest, squared)) {
                    first = first.min(self.buckets[LANES * block + lane].first_at(squared));
                }
            }
        }
        first
    }
}

/// Neighbouring points. Unused entries repeat the last point with distance zero, so that they are never chosen.
struct Bucket {
    x: [f32; BUCKET],
    y: [f32; BUCKET],
    z: [f32; BUCKET],
    /// Squared distance to the nearest sample.
    nearest: [f32; BUCKET],
    /// Place in the cloud.
    index: [u32; BUCKET],
}

impl Bucket {
    fn new(points: &[Point], part: &[u32]) -> Self {
        let index: [u32; BUCKET] = std::array::from_fn(|i| part[i.min(part.len() - 1)]);
        let coordinate = |k: usize| std::array::from_fn(|i| points[index[i] as usize][k]);
        let nearest = std::array::from_fn(|i| if i < part.len() { f32::INFINITY } else { 0.0 });
        Self { x: coordinate(0), y: coordinate(1), z: coordinate(2), nearest, index }
    }

    /// Lowest and highest corner.
    fn bounds(&self) -> [Point; 2] {
        let axes = [&self.x, &self.y, &self.z];
        [
            axes.map(|axis| axis.iter().fold(axis[0], |a, &b| smaller(a, b))),
            axes.map(|axis| axis.iter().fold(axis[0], |a, &b| larger(a, b))),
        ]
    }

    /// Takes the new sample `chosen` into account; returns the largest of the squared distances.
    #[inline(always)]
    fn update(&mut self, chosen: &Point) -> f32 {
        for i in 0..BUCKET {
            let (dx, dy, dz) = (self.x[i] - chosen[0], self.y[i] - chosen[1], self.z[i] - chosen[2]);
            let squared = (dx * dx + dy * dy) + dz * dz;
            self.nearest[i] = if squared < self.nearest[i] { squared } else { self.nearest[i] };
        }
        largest(&self.nearest)
    }

    /// The lowest index of a point at squared distance `squared`.
    #[inline(always)]
    fn first_at(&self, squared: f32) -> u32 {
        let mut first = u32::MAX;
        for i in 0..BUCKET {
            let candidate = if self.nearest[i] == squared { self.index[i] } else { u32::MAX };
            first = first.min(candidate);
        }
        first
    }
}

/// Up to [`LANES`] boxes side by side. Unused lanes have no furthest point, so that they are never reached.
struct Boxes {
    lowest: [[f32; LANES]; 3],
    highest: [[f32; LANES]; 3],
    /// The largest squared distance of a point of the box to its nearest sample.
    furthest: [f32; LANES],
}

impl Boxes {
    fn new(bounds: &[[Point; 2]]) -> Self {
        // Unused lanes repeat the last box: the bounds of all stay what they are.
        let corner = |end: usize, k: usize| std::array::from_fn(|i| bounds[i.min(bounds.len() - 1)][end][k]);
        Self {
            lowest: [0, 1, 2].map(|k| corner(0, k)),
            highest: [0, 1, 2].map(|k| corner(1, k)),
            furthest: std::array::from_fn(|i| if i < bounds.len() { f32::INFINITY } else { 0.0 }),
        }
    }

    /// Lowest and highest corner of all.
    fn bounds(&self) -> [Point; 2] {
        [
            self.lowest.map(|axis| axis.into_iter().fold(axis[0], smaller)),
            self.highest.map(|axis| axis.into_iter().fold(axis[0], larger)),
        ]
    }

    /// The boxes in which `chosen` may change a distance, one bit each.
    #[inline(always)]
    fn reached_by(&self, chosen: &Point) -> u32 {
        let mut reached = 0;
        for (lane, bit) in BITS.into_iter().enumerate() {
            let [dx, dy, dz] =
                [0, 1, 2].map(|k| outside(chosen[k], self.lowest[k][lane], self.highest[k][lane]));
            let nearer = (dx * dx + dy * dy) + dz * dz < self.furthest[lane];
            reached |= if nearer { bit } else { 0 };
        }
        reached
    }
}

/// How far `x` lies outside of `low..=high`.
#[inline(always)]
fn outside(x: f32, low: f32, high: f32) -> f32 {
    larger(larger(low - x, x - high), 0.0)
}

#[inline(always)]
fn smaller(a: f32, b: f32) -> f32 {
    if a < b { a } else { b }
}

#[inline(always)]
fn larger(a: f32, b: f32) -> f32 {
    // `f32::max` would care for NaN, which does not come here, at the price of more instructions.
    if a > b { a } else { b }
}

/// The largest of `values`, of which none is negative.
#[inline(always)]
fn largest<const N: usize>(values: &[f32; N]) -> f32 {
    let mut lanes = [0.0f32; LANES];
    for block in values.as_chunks::<LANES>().0 {
        for lane in 0..LANES {
            lanes[lane] = larger(block[lane], lanes[lane]);
        }
    }
    let mut width = LANES / 2;
    while width > 0 {
        for lane in 0..width {
            lanes[lane] = larger(lanes[lane], lanes[lane + width]);
        }
        width /= 2;
    }
    lanes[0]
}

/// The lanes whose value is `value`, one bit each.
#[inline(always)]
fn equal(values: &[f32; LANES], value: f32) -> u32 {
    values.iter().zip(BITS).fold(0, |equal, (x, bit)| equal | if *x == value { bit } else { 0 })
}

/// The numbers of the bits that are set, ascending.
#[inline(always)]
fn set_lanes(mut mask: u32) -> impl Iterator<Item = usize> {
    std::iter::from_fn(move || {
        let lane = mask.trailing_zeros() as usize;
        mask &= mask.wrapping_sub(1);
        (lane < LANES).then_some(lane)
    })
}
