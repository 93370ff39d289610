//! CPU side: exact furthest point sampling with buckets (QuickFPS, Han et al., TCAD 2023).
//!
//! The cloud is cut into buckets of neighbouring points. A new sample can only change the buckets whose box is
//! nearer to it than their furthest point is to the samples before; all others are skipped.
//!
//! Skipping is exact to the bit: rounding is monotone, and a box distance is computed with the very operations
//! of a point distance, so in f32 too it is never larger than the distance to any point inside the box.

use multiversion::multiversion;
use rayon::prelude::*;

use super::SampleFarthest;
use super::order::nearby_first;
use crate::backend::Cpu;
use crate::cloud::Point;
use crate::error::Result;

/// Points of one bucket: four wide vector registers.
const BUCKET: usize = 64;
/// Lanes of a reduction, a wide vector register.
const LANES: usize = 16;

impl SampleFarthest for Cpu {
    fn sample_farthest(&self, points: &Vec<Point>, count: usize) -> Result<Vec<u32>> {
        Ok(self.run(|| sample(points, count)))
    }

    fn gather_points(&self, points: &Vec<Point>, indices: &Vec<u32>) -> Result<Vec<Point>> {
        Ok(indices.iter().map(|&index| points[index as usize]).collect())
    }
}

fn sample(points: &[Point], count: usize) -> Vec<u32> {
    let count = count.min(points.len());
    if count == 0 {
        return Vec::new();
    }
    let order = nearby_first(points);
    let mut buckets: Vec<Bucket> = order.par_chunks(BUCKET).map(|part| Bucket::new(points, part)).collect();
    let mut boxes = Boxes::around(&buckets);
    select(points, &mut buckets, &mut boxes, count)
}

/// Neighbouring points. Unused entries repeat the last point with distance zero, so that they are never chosen.
struct Bucket {
    x: [f32; BUCKET],
    y: [f32; BUCKET],
    z: [f32; BUCKET],
    /// Squared distance to the nearest chosen point.
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

    /// Takes `chosen` into account; returns the largest of the squared distances.
    #[inline(always)]
    fn update(&mut self, chosen: &Point) -> f32 {
        for i in 0..BUCKET {
            let (dx, dy, dz) = (self.x[i] - chosen[0], self.y[i] - chosen[1], self.z[i] - chosen[2]);
            let squared = (dx * dx + dy * dy) + dz * dz;
            self.nearest[i] = if squared < self.nearest[i] { squared } else { self.nearest[i] };
        }
        largest(&self.nearest)
    }

    /// Lowest place in the cloud of a point at squared distance `squared`.
    fn first_at(&self, squared: f32) -> u32 {
        let at = |i: &usize| self.nearest[*i] == squared;
        (0..BUCKET).filter(at).map(|i| self.index[i]).min().unwrap_or(u32::MAX)
    }
}

/// The boxes around the buckets, coordinate by coordinate, and the largest squared distance in each bucket.
struct Boxes {
    lowest: [Vec<f32>; 3],
    highest: [Vec<f32>; 3],
    furthest: Vec<f32>,
}

impl Boxes {
    fn around(buckets: &[Bucket]) -> Self {
        let axis = |bucket: &Bucket, k: usize| [bucket.x, bucket.y, bucket.z][k];
        let fold = |k: usize, pick: fn(f32, f32) -> f32| {
            buckets.iter().map(|bucket| axis(bucket, k).into_iter().reduce(pick).unwrap_or(0.0)).collect()
        };
        Self {
            lowest: [0, 1, 2].map(|k| fold(k, f32::min)),
            highest: [0, 1, 2].map(|k| fold(k, f32::max)),
            furthest: vec![f32::INFINITY; buckets.len()],
        }
    }

    /// Writes the buckets that `chosen` may change to the front of `reached`; returns their number.
    #[inline(always)]
    fn reached_by(&self, chosen: &Point, reached: &mut [u32]) -> usize {
        let count = self.furthest.len();
        let [low_x, low_y, low_z] = [0, 1, 2].map(|k| &self.lowest[k][..count]);
        let [high_x, high_y, high_z] = [0, 1, 2].map(|k| &self.highest[k][..count]);
        let reached = &mut reached[..count];
        let mut length = 0;
        for b in 0..count {
            let dx = outside(chosen[0], low_x[b], high_x[b]);
            let dy = outside(chosen[1], low_y[b], high_y[b]);
            let dz = outside(chosen[2], low_z[b], high_z[b]);
            reached[length] = b as u32;
            length += usize::from((dx * dx + dy * dy) + dz * dz < self.furthest[b]);
        }
        length
    }
}

/// How far `x` lies outside of `low..=high`.
#[inline(always)]
fn outside(x: f32, low: f32, high: f32) -> f32 {
    let (below, above) = (low - x, x - high);
    let distance = if below > above { below } else { above };
    if distance > 0.0 { distance } else { 0.0 }
}

/// The largest of `values`, 0 for none; none is negative.
#[inline(always)]
fn largest(values: &[f32]) -> f32 {
    let mut lanes = [0.0f32; LANES];
    let (blocks, rest) = values.as_chunks::<LANES>();
    for block in blocks {
        for lane in 0..LANES {
            lanes[lane] = if block[lane] > lanes[lane] { block[lane] } else { lanes[lane] };
        }
    }
    lanes.iter().chain(rest).fold(0.0, |a, &b| if b > a { b } else { a })
}

#[multiversion(targets("x86_64+avx512f+avx512bw+avx512cd+avx512dq+avx512vl+fma", "x86_64+avx2+fma"))]
fn select(points: &[Point], buckets: &mut [Bucket], boxes: &mut Boxes, count: usize) -> Vec<u32> {
    let mut chosen = vec![0];
    let mut reached = vec![0; buckets.len()];
    while chosen.len() < count {
        let newest = points[chosen[chosen.len() - 1] as usize];
        let length = boxes.reached_by(&newest, &mut reached);
        for &b in &reached[..length] {
            boxes.furthest[b as usize] = buckets[b as usize].update(&newest);
        }
        let furthest = largest(&boxes.furthest);
        if furthest == 0.0 {
            break;
        }
        let tied = boxes.furthest.iter().zip(buckets.iter()).filter(|(value, _)| **value == furthest);
        chosen.extend(tied.map(|(_, bucket)| bucket.first_at(furthest)).min());
    }
    chosen
}
