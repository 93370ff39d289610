//! Candidates in the order of how likely they are right, after clouds and matches were asked about each.

mod cpu;
mod cuda;

use bytemuck::{Pod, Zeroable};

use super::consensus::Support;
use super::verify::Agreement;
use super::verify::judge::Circumstances;
use crate::backend::Device;
use crate::error::Result;
use crate::geometry::Pose;

/// What the clouds and the matches say about one candidate. Kernels have the same: `Candidate` in `kernels/rank.cu`.
#[derive(Debug, Clone, Copy, PartialEq, Pod, Zeroable)]
#[repr(C)]
pub struct Candidate {
    /// Before refinement, canonical frames.
    pub estimated: Pose,
    /// After refinement.
    pub pose: Pose,
    /// The clouds' word.
    pub agreement: Agreement,
    /// The matches' word.
    pub support: Support,
    /// Log-odds that it is right, taken alone.
    pub log_odds: f32,
}

/// What is known of some candidates: one entry of each buffer for every one.
pub struct Judged<'a, D: Device + ?Sized> {
    /// Before refinement.
    pub estimated: &'a D::Buffer<Pose>,
    /// After refinement.
    pub poses: &'a D::Buffer<Pose>,
    /// The clouds' word about the refined ones.
    pub agreement: &'a D::Buffer<Agreement>,
    /// The matches' word about them.
    pub support: &'a D::Buffer<Support>,
    /// What holds for all of them.
    pub circumstances: Circumstances,
}

/// Candidates in their order, and apart from them their poses.
pub struct Ranked<D: Device + ?Sized> {
    /// Best first.
    pub candidates: D::Buffer<Candidate>,
    /// Before refinement.
    pub estimated: D::Buffer<Pose>,
    /// After refinement.
    pub poses: D::Buffer<Pose>,
}

/// See the module.
pub trait RankCandidates: Device {
    /// The best `most` candidates, or all where there are fewer: by their
    /// [`log_odds`](super::verify::judge::log_odds), descending in the order of [`f32::total_cmp`]; on ties the earlier
    /// one first.
    fn rank_candidates(&self, judged: Judged<'_, Self>, most: usize) -> Result<Ranked<Self>>;
}
