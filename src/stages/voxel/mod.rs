//! Voxel downsampling: one point, the mean, per occupied cell of a cubic grid.
//!
//! The grid is anchored to the lowest corner of the data, not to the coordinate origin, so that moving a cloud
//! does not change which points share a cell.
//!
//! **Order.** The points come out in a fixed pseudo-random order, by a hash of their cell that maps different
//! cells to different numbers, so that any prefix is an unbiased sample of the cloud. The stages after this one
//! rely on it: a ball query that stops after 512 hits in index order has then taken a fair sample of the ball.

mod cpu;
mod cuda;
mod grid;
mod size;

use crate::backend::Device;
use crate::cloud::Point;
use crate::error::Result;

/// See the module.
pub trait VoxelDownsample: Device {
    /// The mean of the points of each occupied cell of edge `size`, in the order described above.
    /// `points` are finite, and so are their differences; `size > 0`. The number of cells along an axis is at
    /// most 2²¹; where the extent over `size` is larger, the cell grows to fit.
    ///
    /// All in f32: the cell of `p` is the floor of `(p - lowest) / size`, at most 2²¹ - 1 along each axis; its
    /// centre is `lowest + (cell + 0.5) · size`; the mean is `centre + (Σ (p - centre)) / count`, summed in index
    /// order.
    fn voxel_downsample(&self, points: &Self::Buffer<Point>, size: f32) -> Result<Self::Buffer<Point>>;

    /// The cell edge at which about `wanted` cells are occupied: the answer of [`voxel_downsample`] has
    /// between 0.8 and 1.25 × `wanted` points when the cloud has at least twice as many distinct points (at a
    /// resolution of 2²¹ cells along its longest side, and unless no edge at all gives such a number), and a
    /// cloud with fewer gets an edge that keeps most of its points apart. Proportional to the cloud's unit:
    /// `size(k · cloud) = k · size(cloud)`, to the bit where `k` is a power of two. 0 when all points are equal.
    ///
    /// Where the scan lines of a sparse LiDAR lie further apart than that edge, the edge grows until neighbouring
    /// lines share cells: until the count falls, from one edge to √2 times it, by a power of at least 1.2 of the
    /// edge. (It is 2 on a surface, 1 on lines and 0 between isolated points.)
    ///
    /// A secant search on log count over log edge, where surfaces have a slope near -2; every step counts the
    /// occupied cells in a bit set of their hashes (linear counting: Whang et al., TODS 1990).
    ///
    /// [`voxel_downsample`]: VoxelDownsample::voxel_downsample
    fn voxel_size(&self, points: &Self::Buffer<Point>, wanted: usize) -> Result<f32>;
}
