//! Furthest point sampling: each new point is the one furthest from all points chosen so far.
//!
//! Exact and nested: the first `k` of a longer run are the run of length `k`, so one run serves every scale.

mod cpu;
mod cuda;
mod order;

use crate::backend::Device;
use crate::cloud::Point;
use crate::error::Result;
use crate::geometry::Extent;

/// Points of a cloud that are spread over it, in the order in which they were chosen.
pub struct Sample<D: Device + ?Sized> {
    /// Their indices in the cloud.
    pub indices: D::Buffer<u32>,
    /// The points themselves.
    pub points: D::Buffer<Point>,
    /// How far they spread.
    pub extent: Extent,
}

/// See the module.
pub trait SampleFarthest: Device {
    /// A sample of `min(count, len)` points. Starts with index 0; then always the point whose squared distance
    /// (f32, `(dx·dx + dy·dy) + dz·dz`) to the nearest chosen point is largest, the lowest index on ties.
    /// Stops early when every remaining point coincides with a chosen one, so indices are distinct.
    ///
    /// The reference implementation of BUFFER-X never picks points within 0.032 of the coordinate origin; that
    /// quirk is left out, since it depends on the unit and on where the cloud happens to lie.
    fn sample_farthest(&self, points: &Self::Buffer<Point>, count: usize) -> Result<Sample<Self>> {
        Ok(self.sample_farthest_of_each(&[points], count)?.swap_remove(0))
    }

    /// The same of each cloud. Devices sample them side by side, in hardly more time than one takes.
    fn sample_farthest_of_each(
        &self,
        clouds: &[&Self::Buffer<Point>],
        count: usize,
    ) -> Result<Vec<Sample<Self>>>;

    /// `points[indices[i]]` for every `i`; all indices are below the number of points.
    fn gather_points(
        &self,
        points: &Self::Buffer<Point>,
        indices: &Self::Buffer<u32>,
    ) -> Result<Self::Buffer<Point>>;
}
