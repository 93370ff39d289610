//! Fewer points that look the same.

use std::collections::HashSet;

use nalgebra::Vector3;

use crate::cloud::{Cloud, Point};

/// Points that quantiles are taken of.
const SAMPLE: usize = 20_000;
/// A point that is further outside the middle 98 % of the points than this many times their greatest range is no part of
/// the scene, and would shrink it to a dot.
const STRAY: f64 = 3.0;
/// Steps in which the cells of the thinned cloud are found: their edge is then right to some percent.
const STEPS: usize = 6;

/// A cloud's finite points without strays, relative to its centre.
pub struct Usable {
    /// In the cloud's frame.
    pub centre: Vector3<f64>,
    /// Relative to `centre`, in the order of the cloud.
    pub points: Vec<Point>,
}

impl Usable {
    /// Of this cloud; nothing, around the origin, when no point is finite.
    pub fn of(cloud: &Cloud) -> Self {
        let finite: Vec<Point> =
            cloud.points.iter().filter(|p| p.iter().all(|x| x.is_finite())).copied().collect();
        let range = [0, 1, 2].map(|axis| Range::of(&finite, axis));
        let middle = range.map(|range| range.middle());
        let margin = STRAY * range.iter().map(|range| range.high - range.low).fold(0.0, f64::max);
        let inside = |p: &&Point| (0..3).all(|k| range[k].contains(f64::from(p[k]), margin));
        let relative = |p: &Point| [0, 1, 2].map(|k| (f64::from(p[k]) - middle[k]) as f32);
        Self {
            centre: Vector3::from(middle) + Vector3::from(cloud.origin),
            points: finite.iter().filter(inside).map(relative).collect(),
        }
    }
}

/// The middle 98 % of some values.
#[derive(Clone, Copy)]
struct Range {
    low: f64,
    high: f64,
}

impl Range {
    fn of(points: &[Point], axis: usize) -> Self {
        let mut values: Vec<f32> = spread(points, SAMPLE).map(|p| p[axis]).collect();
        values.sort_unstable_by(f32::total_cmp);
        let at = |share: f64| {
            let last = values.len().saturating_sub(1) as f64;
            values.get((share * last).round() as usize).copied().map_or(0.0, f64::from)
        };
        Self { low: at(0.01), high: at(0.99) }
    }

    fn middle(&self) -> f64 {
        0.5 * (self.low + self.high)
    }

    fn contains(&self, value: f64, margin: f64) -> bool {
        // Where most points coincide, nothing tells what is far.
        margin == 0.0 || (self.low - margin..=self.high + margin).contains(&value)
    }
}

/// At most `most` points, evenly spread over the list.
pub fn spread(points: &[Point], most: usize) -> impl Iterator<Item = Point> + Clone + '_ {
    points.iter().step_by(points.len().div_ceil(most).max(1)).copied()
}

/// At most `most` points, evenly spread over the space: the first of each cell of a grid that is as fine as that allows.
pub fn thin(points: &[Point], most: usize) -> Vec<Point> {
    if points.len() <= most {
        return points.to_vec();
    }
    let candidates: Vec<Point> = spread(points, 4 * most).collect();
    let fits = |edge: f64| first_of_each_cell(&candidates, edge).len() <= most;
    let size = size_of(&candidates);
    let mut fine = size / most as f64;
    let mut coarse = 2.0 * size.max(f64::MIN_POSITIVE);
    for _ in 0..STEPS {
        // Geometric: the two may be orders of magnitude apart.
        let edge = (fine * coarse).sqrt();
        if fits(edge) {
            coarse = edge;
        } else {
            fine = edge;
        }
    }
    let mut kept = first_of_each_cell(&candidates, coarse);
    // Points that are all but equal, far from the centre, may never fit.
    kept.truncate(most);
    kept
}

/// The greatest coordinate.
fn size_of(points: &[Point]) -> f64 {
    points.iter().flatten().fold(0.0, |size, x| f64::max(size, f64::from(x.abs())))
}

fn first_of_each_cell(points: &[Point], edge: f64) -> Vec<Point> {
    let mut seen = HashSet::with_capacity(points.len());
    points.iter().filter(|p| seen.insert(p.map(|x| (f64::from(x) / edge).floor() as i64))).copied().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(count: usize) -> Vec<Point> {
        (0..count).map(|i| [i as f32 * 0.01, 0.0, 0.0]).collect()
    }

    #[test]
    fn few_points_stay_as_they_are() {
        assert_eq!(thin(&line(10), 10), line(10));
        assert!(thin(&[], 10).is_empty());
    }

    #[test]
    fn many_points_become_nearly_as_many_as_allowed_and_stay_evenly_spread() {
        let thinned = thin(&line(100_000), 1_000);
        assert!((500..=1_000).contains(&thinned.len()), "{}", thinned.len());
        let gaps = thinned.windows(2).map(|pair| pair[1][0] - pair[0][0]);
        let (least, most) = gaps.fold((f32::MAX, 0f32), |(least, most), gap| (least.min(gap), most.max(gap)));
        assert!(most < 2.0 * least, "gaps of {least} to {most}");
    }

    #[test]
    fn equal_points_become_one() {
        assert_eq!(thin(&[[1.0, 2.0, 3.0]; 100], 10).len(), 1);
        assert_eq!(thin(&[[0.0; 3]; 100], 10).len(), 1);
    }

    #[test]
    fn strays_and_points_that_are_not_finite_are_left_out() {
        let mut points = line(1_000);
        points.push([1e6, 0.0, 0.0]);
        points.push([f32::NAN, 0.0, 0.0]);
        let usable = Usable::of(&Cloud { origin: [100.0, 0.0, 0.0], points });
        assert_eq!(usable.points.len(), 1_000);
        assert!((usable.centre.x - 105.0).abs() < 0.1, "{}", usable.centre);
        assert!(Usable::of(&Cloud::from_f32(vec![[f32::NAN; 3]; 3])).points.is_empty());
    }
}
