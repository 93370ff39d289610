//! Patches: the points within a radius of each keypoint, as offsets from it.
//!
//! The radius follows from the data ([`GatherPatches::neighbour_radii`]); both clouds of a pair share it.

mod blocks;
mod cells;
mod cpu;
mod cuda;
mod radii;

use crate::backend::Device;
use crate::cloud::Point;
use crate::error::Result;

/// Most offsets a patch may hold.
pub const PATCH_CAPACITY: usize = 512;

/// The patches of one cloud at one scale, on device `D`.
pub struct Patches<D: Device + ?Sized> {
    /// `count.len() × PATCH_CAPACITY` offsets from the keypoint, divided by the radius (so within the unit
    /// ball), row after row; entries past `count[i]` are undefined.
    pub offsets: D::Buffer<Point>,
    /// Number of offsets of each patch, 0..=`PATCH_CAPACITY`.
    pub count: D::Buffer<u32>,
    /// The radius the offsets were divided by, in the clouds' unit.
    pub radius: f32,
}

/// See the module.
pub trait GatherPatches: Device {
    /// For each keypoint the first [`PATCH_CAPACITY`] points, **in index order**, with squared distance
    /// `(dx·dx + dy·dy) + dz·dz < radius·radius` (f32, strict). The keypoint itself, being a point of the
    /// cloud, is among them when it comes early enough; it has offset zero. Offsets are `(p - keypoint) / radius`.
    ///
    /// Points come in random order (see [`crate::stages::voxel`]), so a full patch is a fair sample of its ball.
    /// The reference repeats the first hit to fill short patches and then blanks repeats; counts say
    /// the same without the blanks.
    fn gather_patches(
        &self,
        points: &Self::Buffer<Point>,
        keypoints: &Self::Buffer<Point>,
        radius: f32,
    ) -> Result<Patches<Self>>;

    /// For each `share` (0..1) the radius at which a keypoint's ball holds that share of the cloud on average:
    /// the `share` quantile of the distances between at most 500 of the keypoints and at most 4 000 of the
    /// points (prefixes of both, which are fair samples). In order of `shares`; 0 when there are no distances.
    ///
    /// Of `n` squared distances (f32, as above) in ascending order the quantile is the one with `⌊share · n⌋`
    /// before it, or else the last; the radius is its square root.
    fn neighbour_radii(
        &self,
        points: &Self::Buffer<Point>,
        keypoints: &Self::Buffer<Point>,
        shares: &[f32],
    ) -> Result<Vec<f32>>;
}
