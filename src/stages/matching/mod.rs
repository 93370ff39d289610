//! Mutual nearest neighbours among the invariant vectors of two clouds.

mod cpu;
mod cuda;
mod fixed_point;

use crate::backend::Device;
use crate::error::Result;

/// Index of a source keypoint and of a target keypoint.
pub type Match = [u32; 2];

/// See the module.
pub trait MatchMutual: Device {
    /// All pairs `(s, t)` such that `t` is the row of `target` nearest to row `s` of `source` and `s` is the row
    /// of `source` nearest to row `t`. Rows are `width` values: unit vectors, or up to four of them side by side. So the
    /// nearest row is the one with the largest inner product; a row without a positive one has none. Ties go to the lower
    /// index; the answer ascends in `s`.
    ///
    /// Values count as whole numbers of steps of 2⁻¹⁴: the nearest, even on ties, short of one; what is not a number
    /// counts as zero. Sums of products are then whole numbers of 32 bits, the same in any order and on tensor cores, so
    /// all devices see the same ties. What is rounded away moves a product by some 2·10⁻⁵, which is nothing beside what
    /// sets two scans of a place apart. Sums of longer rows than these wrap.
    fn match_mutual(
        &self,
        source: &Self::Buffer<f32>,
        target: &Self::Buffer<f32>,
        width: usize,
    ) -> Result<Self::Buffer<Match>>;

    /// The rows of all `parts` side by side: row `i` is row `i` of the first part, then that of the second, and so on. A
    /// part is a buffer and the length of its rows; all have equally many rows.
    ///
    /// The inner product of joined rows is the sum of the parts' products, so that unit rows of several descriptions of
    /// a keypoint count alike.
    fn join_rows(&self, parts: &[(&Self::Buffer<f32>, usize)]) -> Result<Self::Buffer<f32>>;
}
