//! Every hypothesis scored against every match of every scale.
//!
//! A match `(s, t)` supports a hypothesis `(R, t₀)` when `|R·s + t₀ − t| < base + slope · |s − anchor|`. The
//! anchor is the hypothesis's own keypoint: its rotation is known only to a few degrees, and that error has
//! a lever arm that starts there. (BUFFER-X measures the arm from the coordinate origin, which depends on where
//! the cloud happens to lie; an anchor of zero and `slope = π/60` reproduce it.)

mod cpu;
mod cuda;

use super::pose::{Hypotheses, Pose};
use crate::backend::Device;
use crate::cloud::Point;
use crate::error::Result;

/// How far a match may be off; see the module.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Tolerance {
    /// In the clouds' unit.
    pub base: f32,
    /// Radians.
    pub slope: f32,
}

/// What the matches say about a hypothesis.
#[derive(Debug, Clone, Copy, PartialEq, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(C)]
pub struct Support {
    /// Number of matches within their tolerance.
    pub count: u32,
    /// `Σ (1 − (residual / tolerance)²)` over them, summed in an order that depends on their number only.
    pub score: f32,
}

/// See the module.
pub trait ScoreHypotheses: Device {
    /// The support of each of `poses` among `matches`. Lever arms start at `anchors`, of which there are as many as poses,
    /// or at the origin.
    fn score_hypotheses(
        &self,
        poses: &Self::Buffer<Pose>,
        anchors: Option<&Self::Buffer<Point>>,
        matches: &Hypotheses<Self>,
        tolerance: Tolerance,
    ) -> Result<Self::Buffer<Support>>;
}
