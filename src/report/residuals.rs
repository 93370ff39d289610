//! How far the moved source is from the target, point by point.

use std::collections::HashMap;

use rayon::prelude::*;
use serde::Serialize;

use crate::cloud::Point;
use crate::geometry::squared_distance;

/// Bars of the histogram.
const BINS: usize = 30;
/// The colours end at this many times the median distance, or at the reach.
const COLOURED: f32 = 4.0;

/// Distances from source points to the nearest target point.
pub struct Residuals {
    /// One per point; `None` where no target point is in reach.
    pub distances: Vec<Option<f32>>,
    /// How far was looked, in the clouds' unit.
    pub reach: f32,
    /// Where the colours end.
    pub scale: f32,
}

impl Residuals {
    /// Of `points` to the nearest of `target`, as far as `reach`; all in one frame.
    pub fn new(points: &[Point], target: &[Point], reach: f32) -> Self {
        // The next smaller one if it is not positive: nothing is found then, as it should be.
        let reach = if reach.is_finite() { reach.max(f32::MIN_POSITIVE) } else { f32::MIN_POSITIVE };
        let neighbours = Neighbours::new(target, reach);
        let distances: Vec<_> = points.par_iter().map(|p| neighbours.distance(p)).collect();
        let scale = median(&distances).map_or(reach, |median| round_up(COLOURED * median).min(reach));
        // Equal clouds have no residual at all.
        let scale = if scale > 0.0 { scale } else { reach };
        Self { distances, reach, scale }
    }

    /// What the page's histogram shows.
    pub fn histogram(&self) -> Histogram {
        let mut histogram = Histogram {
            reach: self.reach,
            scale: self.scale,
            median: median(&self.distances),
            bins: vec![0; BINS],
            beyond_scale: 0,
            beyond_reach: 0,
        };
        for distance in &self.distances {
            let bin = distance.map(|distance| (distance / self.scale * BINS as f32) as usize);
            match bin {
                Some(bin) if bin < BINS => histogram.bins[bin] += 1,
                Some(_) => histogram.beyond_scale += 1,
                None => histogram.beyond_reach += 1,
            }
        }
        histogram
    }

    /// Each distance in a byte: 0..=253 up to the scale, 254 beyond it, 255 beyond the reach.
    pub fn to_bytes(&self) -> Vec<u8> {
        let byte = |distance: f32| match distance / self.scale {
            share if share <= 1.0 => (253.0 * share).round() as u8,
            _ => 254,
        };
        self.distances.iter().map(|distance| distance.map_or(255, byte)).collect()
    }
}

/// How many points are how far from the target. Lengths in the clouds' unit.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Histogram {
    reach: f32,
    scale: f32,
    /// Of the points with a target point in reach.
    median: Option<f32>,
    /// Equal parts of 0..scale.
    bins: Vec<usize>,
    beyond_scale: usize,
    beyond_reach: usize,
}

fn median(distances: &[Option<f32>]) -> Option<f32> {
    let mut known: Vec<f32> = distances.iter().copied().flatten().collect();
    let middle = known.len() / 2;
    (!known.is_empty()).then(|| *known.select_nth_unstable_by(middle, f32::total_cmp).1)
}

/// To 1, 2 or 5 times a power of ten.
fn round_up(value: f32) -> f32 {
    if value <= 0.0 {
        return 0.0;
    }
    let power = 10f32.powf(value.log10().floor());
    let steps = [1.0, 2.0, 5.0, 10.0].map(|step| step * power);
    steps.into_iter().find(|step| *step >= value * 0.9999).unwrap_or(10.0 * power)
}

/// Points in cells as wide as the reach, so that the nearest one is in a cell next to the asked-for place.
struct Neighbours {
    reach: f32,
    cells: HashMap<[i64; 3], Vec<Point>>,
}

impl Neighbours {
    fn new(points: &[Point], reach: f32) -> Self {
        let mut cells: HashMap<_, Vec<Point>> = HashMap::new();
        for point in points {
            cells.entry(cell(point, reach)).or_default().push(*point);
        }
        Self { reach, cells }
    }

    fn distance(&self, place: &Point) -> Option<f32> {
        let [x, y, z] = cell(place, self.reach);
        let around = |k: i64| (-1..=1).map(move |step| k.saturating_add(step));
        let near = around(x).flat_map(|x| around(y).flat_map(move |y| around(z).map(move |z| [x, y, z])));
        let points = near.filter_map(|cell| self.cells.get(&cell)).flatten();
        let least = points.map(|p| squared_distance(p, place)).fold(f32::INFINITY, f32::min).sqrt();
        (least <= self.reach).then_some(least)
    }
}

fn cell(point: &Point, edge: f32) -> [i64; 3] {
    point.map(|x| (f64::from(x) / f64::from(edge)).floor() as i64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances_are_those_of_a_slow_search() {
        let scatter = |i: usize, k: usize| ((i * 37) % [101, 103, 97][k]) as f32 * 0.1;
        let points: Vec<Point> = (0..300).map(|i| [scatter(i, 0), scatter(i, 1), scatter(i, 2)]).collect();
        let (source, target) = points.split_at(100);
        let found = Residuals::new(source, target, 1.0).distances;
        for (place, found) in source.iter().zip(&found) {
            let slow = target.iter().map(|p| squared_distance(p, place)).fold(f32::INFINITY, f32::min).sqrt();
            assert_eq!(*found, (slow <= 1.0).then_some(slow));
        }
        assert!(found.iter().any(Option::is_some) && found.iter().any(Option::is_none));
    }

    #[test]
    fn every_point_is_in_the_histogram_once() {
        let source: Vec<Point> = (0..100).map(|i| [0.0, 0.0, i as f32 * 0.02]).collect();
        let residuals = Residuals::new(&source, &[[0.0; 3]], 1.0);
        let histogram = residuals.histogram();
        let total = histogram.bins.iter().sum::<usize>() + histogram.beyond_scale + histogram.beyond_reach;
        assert_eq!((total, histogram.beyond_reach), (100, 49));
        let bytes = residuals.to_bytes();
        assert_eq!((bytes[0], bytes[99]), (0, 255));
    }

    #[test]
    fn nothing_to_compare_and_no_reach() {
        assert_eq!(Residuals::new(&[[0.0; 3]], &[], 1.0).distances, [None]);
        assert_eq!(Residuals::new(&[], &[[0.0; 3]], 1.0).histogram().median, None);
        for reach in [0.0, -1.0, f32::NAN, f32::INFINITY] {
            let residuals = Residuals::new(&[[1.0; 3]], &[[0.0; 3]], reach);
            assert_eq!(residuals.distances, [None], "{reach}");
            assert!(residuals.scale > 0.0);
        }
    }

    #[test]
    fn scales_are_round() {
        for (value, expected) in [(0.011, 0.02), (0.2, 0.2), (3.0, 5.0), (7.0, 10.0), (0.0, 0.0)] {
            assert!((round_up(value) - expected).abs() < 1e-6, "{value}: {}", round_up(value));
        }
    }
}
