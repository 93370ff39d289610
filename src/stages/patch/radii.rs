//! Radii from the data: quantiles of the distances between keypoints and points.
//!
//! Two million distances are neither stored nor sorted. A first pass counts them by the leading bits of their
//! squares, which tells in which bin each quantile lies; a second pass collects what lies in that bin.

use multiversion::multiversion;
use rayon::prelude::*;

use crate::cloud::Point;

/// Most keypoints that are looked at.
const MOST_KEYPOINTS: usize = 500;
/// Most points that are looked at.
const MOST_POINTS: usize = 4000;
/// Keypoints of one task.
const KEYPOINTS_PER_TASK: usize = 32;
/// Points that are worked on together.
const LANES: usize = 16;
/// Bits of a float below those that number its bin; a bin spans 1/64 of a power of two. The bits of floats that
/// are not negative ascend with their values.
const BIN_SHIFT: u32 = 17;
/// Number of bins: all floats that are not negative, infinity included.
const BINS: usize = (f32::INFINITY.to_bits() >> BIN_SHIFT) as usize + 1;

/// How many of the points and of the keypoints are looked at.
pub(super) fn looked_at(points: usize, keypoints: usize) -> (usize, usize) {
    (points.min(MOST_POINTS), keypoints.min(MOST_KEYPOINTS))
}

/// How many of `total` distances lie before the quantile.
pub(super) fn rank(share: f32, total: usize) -> usize {
    ((f64::from(share) * total as f64) as usize).min(total - 1)
}

/// See [`super::GatherPatches::neighbour_radii`].
pub(super) fn neighbour_radii(points: &[Point], keypoints: &[Point], shares: &[f32]) -> Vec<f32> {
    let (point_count, keypoint_count) = looked_at(points.len(), keypoints.len());
    let (points, keypoints) = (&points[..point_count], &keypoints[..keypoint_count]);
    let total = points.len() * keypoints.len();
    if total == 0 {
        return vec![0.0; shares.len()];
    }
    let points = Coordinates::of(points);
    let bins = count_bins(&points, keypoints);
    let quantile = |&share: &f32| {
        let rank = rank(share, total);
        let (bin, before) = bin_of_rank(&bins, rank);
        let mut squared = collect_bin(&points, keypoints, bin);
        f32::from_bits(*squared.select_nth_unstable(rank - before).1).sqrt()
    };
    shares.iter().map(quantile).collect()
}

/// Points, coordinate by coordinate.
struct Coordinates {
    x: Vec<f32>,
    y: Vec<f32>,
    z: Vec<f32>,
}

impl Coordinates {
    fn of(points: &[Point]) -> Self {
        let axis = |k: usize| points.iter().map(|point| point[k]).collect();
        Self { x: axis(0), y: axis(1), z: axis(2) }
    }

    /// The bits of the squared distances of all points from `centre`.
    #[inline(always)]
    fn squared_distances(&self, centre: &Point, bits: &mut Vec<u32>) {
        bits.clear();
        bits.extend(self.x.iter().zip(&self.y).zip(&self.z).map(|((x, y), z)| {
            let (dx, dy, dz) = (x - centre[0], y - centre[1], z - centre[2]);
            ((dx * dx + dy * dy) + dz * dz).to_bits()
        }));
    }
}

/// How many squared distances lie in each bin.
fn count_bins(points: &Coordinates, keypoints: &[Point]) -> Vec<u32> {
    let add = |mut a: Vec<u32>, b: Vec<u32>| {
        a.iter_mut().zip(b).for_each(|(a, b)| *a += b);
        a
    };
    let tasks = keypoints.par_chunks(KEYPOINTS_PER_TASK);
    tasks.map(|keypoints| count_bins_of_task(points, keypoints)).reduce_with(add).unwrap_or_default()
}

#[multiversion(targets("x86_64+avx512f+avx512bw+avx512cd+avx512dq+avx512vl+fma", "x86_64+avx2+fma"))]
fn count_bins_of_task(points: &Coordinates, keypoints: &[Point]) -> Vec<u32> {
    let mut bins = vec![0; BINS];
    let mut squared = Vec::new();
    for keypoint in keypoints {
        points.squared_distances(keypoint, &mut squared);
        for &bits in &squared {
            bins[(bits >> BIN_SHIFT) as usize] += 1;
        }
    }
    bins
}

/// The bin in which the number of this rank lies, and how many numbers lie in the bins below it.
fn bin_of_rank(bins: &[u32], rank: usize) -> (u32, usize) {
    let mut before = 0;
    for (bin, &count) in (0..).zip(bins) {
        if rank < before + count as usize {
            return (bin, before);
        }
        before += count as usize;
    }
    unreachable!("the rank is below the number of distances")
}

/// The bits of the squared distances that lie in `bin`.
fn collect_bin(points: &Coordinates, keypoints: &[Point], bin: u32) -> Vec<u32> {
    let tasks = keypoints.par_chunks(KEYPOINTS_PER_TASK);
    tasks.flat_map_iter(|keypoints| collect_bin_of_task(points, keypoints, bin)).collect()
}

#[multiversion(targets("x86_64+avx512f+avx512bw+avx512cd+avx512dq+avx512vl+fma", "x86_64+avx2+fma"))]
fn collect_bin_of_task(points: &Coordinates, keypoints: &[Point], bin: u32) -> Vec<u32> {
    let mut found = Vec::new();
    let mut squared = Vec::new();
    for keypoint in keypoints {
        points.squared_distances(keypoint, &mut squared);
        for lanes in squared.chunks(LANES) {
            // Few lanes lie in one bin, so most blocks are passed over at once.
            let any = lanes.iter().fold(false, |any, bits| any | (bits >> BIN_SHIFT == bin));
            if any {
                found.extend(lanes.iter().filter(|&&bits| bits >> BIN_SHIFT == bin));
            }
        }
    }
    found
}
