//! A pair to register, and what is known about it.

use std::path::PathBuf;

use nalgebra::Matrix6;
use serde::Serialize;

use crate::transform::RigidTransform;

use super::thresholds::Thresholds;

/// A pair to register, and what is known about it.
#[derive(Debug, Clone, PartialEq)]
pub struct Pair {
    /// Unique within its set, by convention.
    pub name: String,
    /// The set whose summary it belongs to: the name that a list gives, a scene, a sequence.
    pub set: String,
    /// File of the source cloud.
    pub source: PathBuf,
    /// File of the target cloud.
    pub target: PathBuf,
    /// Share of the source that lies on the target, 0..1, where known.
    pub overlap: Option<f64>,
    /// The right answer.
    pub truth: Truth,
    /// When an answer counts as right; none where that follows from the size of the target.
    pub thresholds: Option<Thresholds>,
    /// The information matrix of the right answer, for pairs that are judged by [`super::rmse`] as well.
    pub information: Option<Matrix6<f64>>,
    /// Where the pair stands in the log of its scene, if it comes from one.
    pub fragments: Option<Fragments>,
}

/// What the right answer of a pair is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Truth {
    /// This transform, source to target.
    Transform(RigidTransform),
    /// There is none: the clouds do not overlap.
    NoAnswer,
    /// None is expected, since the clouds hardly overlap; this transform, source to target, is right all the same.
    NotExpected(RigidTransform),
    /// Nobody knows; such a pair counts in times and acceptance only.
    Unknown,
}

/// A pair of fragments of a scene, as 3DMatch numbers them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Fragments {
    /// Number of the target, the first of an entry in a log.
    pub target: usize,
    /// Number of the source, the second one.
    pub source: usize,
    /// Fragments of the scene, the third one.
    pub count: usize,
}
