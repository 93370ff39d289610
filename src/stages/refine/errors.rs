//! How far the points of a cloud can be trusted, by how far away they were seen.

use bytemuck::{Pod, Zeroable};

use crate::cloud::Point;
use crate::geometry::squared_distance;
use crate::stages::viewpoint::Viewpoint;

/// Wider views are a LiDAR's. A cone of 106° has this mean direction, and the images of depth cameras fit into that.
const LEAST_NARROW: f32 = 0.8;
/// Variance of a camera's points that are right in front of it, where that of points as far away as the middle of the cloud
/// is one.
const LEAST_VARIANCE: f32 = 0.01;

/// The variance of a cloud's points, of which only the ratio to others counts. Kernels take it as it is: `Errors` in
/// `kernels/refine.cu`.
///
/// A depth camera finds range `z` from a disparity that is as uncertain everywhere, so that errors grow with `z²`, noise,
/// quantisation and what is left of its calibration alike (Khoshelham and Elberink 2012); those of a LiDAR do not grow.
#[derive(Debug, Clone, Copy, PartialEq, Pod, Zeroable)]
#[repr(C)]
pub struct Errors {
    /// Where the cloud was seen from, in its coordinates.
    pub seen_from: Point,
    /// The part of the variance that does not grow, more than zero.
    pub constant: f32,
    /// One over the squared range at which the other part is one, or zero where nothing grows.
    pub growth: f32,
}

impl Errors {
    /// All points are equally uncertain.
    pub const EVEN: Self = Self { seen_from: [0.0; 3], constant: 0.5, growth: 0.0 };

    /// Of source and target, seen from there. Two cameras are taken for of one kind, and what is not a camera's for as
    /// uncertain as what the other's camera sees in the middle.
    pub fn of_pair(source: &Viewpoint, target: &Viewpoint) -> [Self; 2] {
        let squared_range = |viewpoint: &Viewpoint| squared_distance(&viewpoint.position, &[0.0; 3]);
        let ranges: Vec<f32> =
            [source, target].into_iter().filter(|&from| is_camera(from)).map(squared_range).collect();
        let sum: f32 = ranges.iter().sum();
        let growth = ranges.len() as f32 / sum;
        if !growth.is_normal() {
            return [Self::EVEN; 2];
        }
        [source, target].map(|from| {
            let (constant, growth) = if is_camera(from) { (LEAST_VARIANCE, growth) } else { (1.0, 0.0) };
            Self { seen_from: from.position, constant, growth }
        })
    }

    /// The variance of a point.
    pub(super) fn variance(&self, point: &Point) -> f32 {
        let grown = self.growth * squared_distance(point, &self.seen_from);
        self.constant + grown * grown
    }
}

/// Whether a cloud is what a camera sees from there. Only a scan that was seen from one place has ranges.
fn is_camera(viewpoint: &Viewpoint) -> bool {
    viewpoint.narrowness > LEAST_NARROW && !viewpoint.is_uncertain()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn viewpoint(range: f32, narrowness: f32) -> Viewpoint {
        Viewpoint { position: [range, 0.0, 0.0], unevenness: 0.1, opposite: 1.0, narrowness }
    }

    #[test]
    fn the_errors_of_cameras_grow_with_the_square_of_range() {
        let [near, far] = Errors::of_pair(&viewpoint(1.0, 0.9), &viewpoint(3.0, 0.9));
        assert_eq!(near.variance(&[1.0, 0.0, 0.0]), LEAST_VARIANCE);
        // As far away from both, as uncertain; one where the mean of both squared ranges is.
        for errors in [near, far] {
            let at = |range: f32| errors.variance(&[errors.seen_from[0], range, 0.0]) - errors.constant;
            assert!((at(5f32.sqrt()) - 1.0).abs() < 1e-5, "{}", at(5f32.sqrt()));
            assert!((at(4.0) / at(2.0) - 16.0).abs() < 1e-4);
        }
    }

    #[test]
    fn those_of_other_clouds_do_not_grow() {
        let lidar = viewpoint(1.0, 0.2);
        let model = Viewpoint { opposite: 0.1, ..viewpoint(1.0, 0.9) };
        assert_eq!(Errors::of_pair(&lidar, &model), [Errors::EVEN; 2]);
        let [camera, other] = Errors::of_pair(&viewpoint(2.0, 0.9), &lidar);
        assert_eq!(camera.variance(&[0.0; 3]), 1.0 + LEAST_VARIANCE);
        assert_eq!([other.variance(&[0.0; 3]), other.variance(&[9.0; 3])], [1.0; 2]);
    }

    #[test]
    fn no_range_is_no_reason_to_weigh() {
        for range in [0.0, f32::NAN, f32::INFINITY] {
            assert_eq!(Errors::of_pair(&viewpoint(range, 0.9), &viewpoint(range, 0.9)), [Errors::EVEN; 2]);
        }
    }
}
