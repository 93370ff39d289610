//! Mutual nearest neighbours among the invariant vectors of two clouds.

mod cpu;
mod cuda;
mod fixed_point;

use crate::backend::Device;
use crate::error::Result;

/// Index of a source keypoint and of a target keypoint.
pub type Match = [u32; 2];

/// One description of all keypoints of a cloud: a row of values for each of them, and their number in a row.
pub type Rows<'a, D> = (&'a <D as Device>::Buffer<f32>, usize);

/// Most descriptions that are matched together.
pub const MOST_PARTS: usize = 4;

/// See the module.
pub trait MatchMutual: Device {
    /// All pairs `(s, t)` such that `t` is the row of `target` nearest to row `s` of `source` and `s` is the row
    /// of `source` nearest to row `t`. A cloud's rows are those of its descriptions side by side: of up to [`MOST_PARTS`],
    /// in the same order and as long in both clouds. Each is a unit vector, so the nearest row is the one with the largest
    /// inner product, which is the sum of those of the parts; a row without a positive one has none. Ties go to the lower
    /// index; the answer ascends in `s`.
    ///
    /// Values count as whole numbers of steps of 2⁻¹⁴: the nearest, even on ties, short of one; what is not a number
    /// counts as zero. Sums of products are then whole numbers of 32 bits, the same in any order and on tensor cores, so
    /// all devices see the same ties. What is rounded away moves a product by some 2·10⁻⁵, which is nothing beside what
    /// sets two scans of a place apart. Sums of rows that are longer than these would wrap.
    fn match_mutual(
        &self,
        source: &[Rows<'_, Self>],
        target: &[Rows<'_, Self>],
    ) -> Result<Self::Buffer<Match>>;
}
