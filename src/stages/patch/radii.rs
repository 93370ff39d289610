//! Radii from the data: quantiles of the distances between keypoints and points.

use rayon::prelude::*;

use crate::cloud::Point;

/// Most keypoints that are looked at.
const MOST_KEYPOINTS: usize = 500;
/// Most points that are looked at.
const MOST_POINTS: usize = 4000;

/// See [`super::GatherPatches::neighbour_radii`].
pub(super) fn neighbour_radii(points: &[Point], keypoints: &[Point], shares: &[f32]) -> Vec<f32> {
    let points = &points[..points.len().min(MOST_POINTS)];
    let keypoints = &keypoints[..keypoints.len().min(MOST_KEYPOINTS)];
    let mut squared: Vec<f32> = keypoints
        .par_iter()
        .flat_map_iter(|k| {
            points.iter().map(move |p| {
                let [dx, dy, dz] = [0, 1, 2].map(|axis| p[axis] - k[axis]);
                (dx * dx + dy * dy) + dz * dz
            })
        })
        .collect();
    let total = squared.len();
    shares
        .iter()
        .map(|&share| {
            if total == 0 {
                return 0.0;
            }
            let rank = ((f64::from(share) * total as f64) as usize).min(total - 1);
            squared.select_nth_unstable_by(rank, f32::total_cmp).1.sqrt()
        })
        .collect()
}
