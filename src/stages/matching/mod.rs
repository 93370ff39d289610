//! Mutual nearest neighbours among the descriptions of two clouds.
//!
//! Of what looks the same in several places, a wall's corners or its windows, the right partner is often the second most
//! similar one. The poses of wrong matches disagree with each other, so a right match is worth many wrong ones, and more
//! than one partner of a keypoint is taken.
//!
//! How similar two patches are is told by their invariant vectors, and by their equivariant maps: these have what is lost
//! when a vector is made independent of the azimuth, and their circular correlation is high at one turn if the patches
//! show the same. A correlation costs some thirty times a product of vectors, so the products choose which pairs are
//! correlated at all: those of a *shortlist*.

mod correlation;
mod cpu;
mod cuda;
mod fixed_point;
mod partners;

use crate::backend::Device;
use crate::error::Result;

/// Index of a source keypoint and of a target keypoint.
pub type Match = [u32; 2];

/// One description of all keypoints of a cloud.
pub struct Described<'a, D: Device + ?Sized> {
    /// `count × width` values, unit rows.
    pub invariant: &'a D::Buffer<f32>,
    /// Length of a row, 1 at least.
    pub width: usize,
    /// `count × rings × AZIMUTHS` values, each map of unit length.
    pub equivariant: &'a D::Buffer<f32>,
    /// Rings of a map, 1 at least.
    pub rings: usize,
}

/// What makes two keypoints a match.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum By {
    /// No other row of either has a larger product with the other.
    Vectors,
    /// Of the pairs of the shortlist that have the one, and of those that have the other, theirs is among the [`PARTNERS`]
    /// most similar.
    Maps,
    /// That, or theirs is among those with the [`PARTNERS`] largest products.
    Either,
}

/// Most descriptions that are matched together.
pub const MOST_PARTS: usize = 4;
/// Vectors whose indices are equal modulo this are a class; a shortlist has one of each.
pub const CLASSES: usize = 16;
/// Partners that a keypoint can have by vectors, and by maps. Where the right one is among the most similar at all it is
/// most often the first or the second; all stages behind this one have as much more to do with each.
pub const PARTNERS: usize = 2;
/// The azimuthal frequencies by which maps are compared are 1 to this. What is constant along a ring the vectors tell;
/// of what is finer, little is the same in two scans.
pub const FREQUENCIES: usize = 4;

/// See the module.
pub trait MatchMutual: Device {
    /// All matches `(s, t)`, in ascending order. The clouds are described in up to [`MOST_PARTS`] ways, in the same order,
    /// with the same widths and rings.
    ///
    /// * The *product* of a pair is the sum of the inner products of its invariant vectors. One that is not positive does
    ///   not count.
    /// * The *shortlist* has, for each row of the source, of each class of target rows the one with the largest product
    ///   with it, and, for each row of the target, of each class of source rows the same.
    /// * The *similarity* of a pair of the shortlist is its product and, of each description, the highest value of the
    ///   circular correlation `Σ source[ring, k] · target[ring, k + s]` over the turns `s`, or zero if that is more, both maps
    ///   reduced to their azimuthal [frequencies](FREQUENCIES).
    ///
    /// Ties go to the lower index.
    ///
    /// Values count as whole numbers of steps of 2⁻¹⁴: the nearest, even on ties, short of one; what is not a number
    /// counts as zero. So do the coefficients of the maps and the correlations at each frequency, rounded in halves
    /// upwards. Sums of products are then whole numbers of 32 bits, the same in any order and on tensor cores, so all
    /// devices see the same ties. What is rounded away moves a product by some 2·10⁻⁵, which is nothing beside what sets
    /// two scans of a place apart. Sums of rows that are longer than these would wrap.
    fn match_mutual(
        &self,
        source: &[Described<'_, Self>],
        target: &[Described<'_, Self>],
        by: By,
    ) -> Result<Self::Buffer<Match>>;
}
