//! Where a cloud was seen from.
//!
//! A depth camera, a spinning LiDAR or a turntable scanner samples directions evenly, so a raw scan looks evenly
//! dense from where the sensor stood and from nowhere else: nearer surfaces are denser by the inverse square of
//! the distance, slanted ones sparser by the cosine, and only from the true position do both cancel. The
//! estimate is the position that makes the directions to the points most even. It travels with the cloud, unlike
//! the coordinate origin, which is the sensor only for a scan that nobody has moved.
//!
//! For a fused fragment or a map there is no single sensor; the estimate is then a place in front of the
//! surfaces, good enough to tell their seen side, and its unevenness says that it is no sensor.

mod cpu;
mod cuda;

use crate::backend::Device;
use crate::cloud::Point;
use crate::error::Result;

/// See the module.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Viewpoint {
    /// In the cloud's coordinates.
    pub position: Point,
    /// `ln(occupied directions · Σ share²)` over cells of directions, the shares unbiased: 0 for a perfectly even
    /// view, about 0.1 for a raw depth image, above 0.3 for fused clouds.
    pub unevenness: f32,
    /// The same from the opposite side of the origin, as far away.
    pub opposite: f32,
    /// Length of the mean unit direction to the points: near 0 where the cloud lies all around, 1 where it lies one
    /// way.
    pub narrowness: f32,
}

/// From the opposite side a raw scan is more uneven by this at least: recorded depth images by 0.76, range scans of an object
/// from five radii away by 0.075.
const LEAST_ONE_SIDED: f32 = 0.07;
/// A raw depth image is about as uneven as 0.1 and rarely more than this.
const MOST_UNEVEN: f32 = 0.2;
/// Narrower views face one way and have a back.
const LEAST_NARROW: f32 = 0.5;

impl Viewpoint {
    /// Whether the surfaces may have been seen from the other side: the cloud looks like a raw scan nowhere, or from there as
    /// well, and it does not surround the place.
    pub fn is_uncertain(&self) -> bool {
        self.has_a_back() && self.unevenness > MOST_UNEVEN || self.is_two_sided()
    }

    /// Whether it looks about as even from the opposite side: so do terrain seen from the air and models sampled all over.
    pub fn is_two_sided(&self) -> bool {
        self.has_a_back() && self.opposite - self.unevenness < LEAST_ONE_SIDED
    }

    fn has_a_back(&self) -> bool {
        self.narrowness > LEAST_NARROW
    }
}

/// How far a cloud was seen in every direction from its viewpoint, on the six faces of a cube.
pub struct RangeImage<D: Device + ?Sized> {
    /// Where it was seen from.
    pub eye: Point,
    /// Cells along the edge of a face.
    pub edge: u32,
    /// Nearest range in the cell and its eight neighbours on the face; infinite where nothing was seen in the
    /// cell itself.
    pub nearest: D::Buffer<f32>,
}

/// See the module.
pub trait EstimateViewpoint: Device {
    /// The position from which `points`, as they were recorded (not thinned) and centred, look most evenly dense.
    /// Deterministic; a fixed pseudo-random selection of at most 6 144 points takes part.
    fn estimate_viewpoint(&self, points: &Self::Buffer<Point>) -> Result<Viewpoint>;

    /// The ranges at which `points`, as they were recorded, are seen from `eye`.
    fn range_image(&self, points: &Self::Buffer<Point>, eye: Point) -> Result<RangeImage<Self>>;

    /// The viewpoint of each cloud, and the ranges that were seen from there. Devices look at the clouds side by side, and
    /// wait once for all.
    fn estimate_views(&self, clouds: &[&Self::Buffer<Point>]) -> Result<Vec<(Viewpoint, RangeImage<Self>)>>;
}
