//! Voxel downsampling: one point, the mean, per occupied cell of a cubic grid.
//!
//! The grid is anchored to the lowest corner of the data, not to the coordinate origin, so that moving a cloud
//! does not change which points share a cell.
//!
//! **Order.** The points come out in a fixed pseudo-random order (by a hash of their cell, ties by the cell), so
//! that any prefix is an unbiased sample of the cloud. The stages after this one rely on it: a ball query that
//! stops after 512 hits in index order has then taken a fair sample of the ball.

pub(in crate::stages) mod bounds;
mod cpu;
mod grid;
mod size;

use crate::backend::Device;
use crate::cloud::Point;
use crate::error::Result;

/// See the module.
pub trait VoxelDownsample: Device {
    /// The mean of the points of each occupied cell of edge `size`, in the order described above.
    /// `points` are finite and `size > 0`. The number of cells along an axis is at most 2²¹; where the extent
    /// over `size` is larger, the cell grows to fit. Sums are taken in index order, in f32 relative to the
    /// cell's centre.
    fn voxel_downsample(&self, points: &Self::Buffer<Point>, size: f32) -> Result<Self::Buffer<Point>>;

    /// The cell edge at which about `wanted` cells are occupied: the answer of [`voxel_downsample`] has
    /// between 0.8 and 1.25 × `wanted` points when the cloud has at least twice as many distinct points, and a
    /// cloud with fewer gets an edge that keeps most of its points apart. Proportional to the
    /// cloud's unit: `size(k · cloud) = k · size(cloud)`. 0 when all points are equal.
    ///
    /// Counts cells at power-of-two edges by one sort of Morton codes, then interpolates log count over log
    /// edge; surfaces give a slope near -2.
    ///
    /// [`voxel_downsample`]: VoxelDownsample::voxel_downsample
    fn voxel_size(&self, points: &Self::Buffer<Point>, wanted: usize) -> Result<f32>;
}
