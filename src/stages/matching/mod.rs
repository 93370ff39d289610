//! Mutual nearest neighbours among the invariant vectors of two clouds.

mod cpu;
mod cuda;

use crate::backend::Device;
use crate::error::Result;

/// Index of a source keypoint and of a target keypoint.
pub type Match = [u32; 2];

/// See the module.
pub trait MatchMutual: Device {
    /// All pairs `(s, t)` such that `t` is the row of `target` nearest to row `s` of `source` and `s` is the row
    /// of `source` nearest to row `t`. Rows are unit vectors of length `width`, so the nearest row is the one
    /// with the largest inner product. Ties go to the lower index; the answer ascends in `s`.
    ///
    /// Products (f32) are summed up from the first column to the last with fused multiply-adds, so that devices agree on
    /// rows that are nearly as near. (Processors without these instructions round each product.)
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
