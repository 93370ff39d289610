//! One pair: registering it, and comparing the answer with the truth.

use std::time::{Duration, Instant};

use nalgebra::Vector3;
use serde::Serialize;

use crate::engine::Engine;
use crate::error::{Error, Result};
use crate::io::read_cloud;
use crate::registration::{Details, KeypointMatch, Registration, Status};
use crate::transform::RigidTransform;

use super::nees::nees;
use super::pair::{Fragments, Pair, Truth};
use super::rmse::{self, rmse};
use super::thresholds::{Bounds, Thresholds, extent};

/// What became of one pair.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Row {
    /// The pair's set.
    pub set: String,
    /// The pair's name.
    pub name: String,
    /// The pair's overlap, where it is known.
    pub overlap: Option<f64>,
    /// Whether there is a right answer that can be expected; `None` where nobody knows.
    pub has_answer: Option<bool>,
    /// "accepted", "rejected" or "error".
    pub status: &'static str,
    /// Why it was rejected or failed; empty when accepted.
    pub reason: String,
    /// The engine's own confidence.
    pub confidence: Option<f64>,
    /// Share of the source that lies on the target by the answer.
    pub found_overlap: Option<f64>,
    /// Matches that agree with the answer.
    pub inliers: Option<usize>,
    /// See [`Registration::inlier_rmse`].
    pub inlier_rmse: Option<f64>,
    /// Rotation error in degrees, where the right answer is known.
    pub rre: Option<f64>,
    /// Translation error, where the right answer is known.
    pub rte: Option<f64>,
    /// The error of [`super::rmse`], for pairs that are judged by it.
    pub rmse: Option<f64>,
    /// The error of [`super::nees`], where the right answer is known.
    pub nees: Option<f64>,
    /// Whether the transform is right; `None` where nobody knows.
    pub success: Option<bool>,
    /// Whether it is right by the strict thresholds, where there are some.
    pub strict_success: Option<bool>,
    /// Whether it is right by [`super::rmse`], for pairs that are judged by it.
    pub rmse_success: Option<bool>,
    /// Share of right ones among all matches: those whose points the right transform lays within a third of the distance
    /// of [`Thresholds::right`] of each other (0.1 m for 3DMatch and ETH, as is usual). `None` where the right answer is
    /// not known or there is no match.
    pub inlier_ratio: Option<f64>,
    /// See [`Registration::warnings`].
    pub warnings: Vec<String>,
    /// Reading both files and registering them; registering alone where pairs were run side by side.
    pub seconds: f64,
    /// The part of it that reading took.
    pub reading_seconds: f64,
    /// The answer, row-major.
    #[serde(rename = "T_target_source")]
    pub target_from_source: Option<[f64; 16]>,
    /// What the errors were compared with.
    pub thresholds: Option<Thresholds>,
    /// Where the pair stands in the log of its scene.
    pub fragments: Option<Fragments>,
}

/// Time spent on a pair.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Spent {
    pub reading: Duration,
    pub total: Duration,
}

/// Registers a pair and judges the answer. A pair that fails is a row with its error.
pub fn evaluate_pair(engine: &Engine, pair: &Pair) -> Row {
    let (start, mut spent) = (Instant::now(), Spent::default());
    let mut target_extent = 0.0;
    let answer = register_files(engine, pair, &mut spent.reading, &mut target_extent);
    spent.total = start.elapsed();
    judge(pair, answer, target_extent, spent)
}

fn register_files(
    engine: &Engine,
    pair: &Pair,
    reading: &mut Duration,
    target_extent: &mut f64,
) -> Result<(Registration, Details)> {
    let start = Instant::now();
    let clouds = read_cloud(&pair.source).and_then(|source| Ok((source, read_cloud(&pair.target)?)));
    *reading = start.elapsed();
    let (source, target) = clouds?;
    *target_extent = extent(&target);
    engine.register_with_details(&source, &target)
}

/// What an answer is worth, or that there is none. The extent of the target says when an answer is right where the pair
/// does not.
pub(crate) fn judge(
    pair: &Pair,
    answer: Result<(Registration, Details)>,
    target_extent: f64,
    spent: Spent,
) -> Row {
    match answer {
        Ok((found, details)) => success(pair, &found, &details.matches, target_extent, spent),
        Err(error) => failure(pair, &error, spent),
    }
}

/// The row of a pair that has an answer, right or wrong.
fn success(
    pair: &Pair,
    registration: &Registration,
    matches: &[KeypointMatch],
    target_extent: f64,
    spent: Spent,
) -> Row {
    let thresholds = pair.thresholds.unwrap_or_else(|| Thresholds::of_extent(target_extent));
    let answer = &registration.target_from_source;
    let truth = match pair.truth {
        Truth::Transform(truth) => Some(truth),
        Truth::NoAnswer | Truth::NotExpected(_) | Truth::Unknown => None,
    };
    let errors_from =
        |truth: RigidTransform| (truth.angle_to(answer).to_degrees(), truth.distance_to(answer));
    let (rre, rte) = truth.map(errors_from).unzip();
    let rmse = truth.zip(pair.information).map(|(truth, information)| rmse(&truth, answer, &information));
    let within = |bounds: Bounds| match pair.truth {
        Truth::Transform(truth) | Truth::NotExpected(truth) => {
            let (rotation, translation) = errors_from(truth);
            Some(bounds.hold(rotation, translation))
        }
        Truth::NoAnswer => Some(false),
        Truth::Unknown => None,
    };
    let success = within(thresholds.right);
    let strict = thresholds.strict.and_then(within);
    Row {
        status: registration.status.as_str(),
        reason: registration.reason.clone(),
        confidence: Some(registration.confidence),
        found_overlap: Some(registration.overlap),
        inliers: Some(registration.inliers),
        inlier_rmse: Some(registration.inlier_rmse),
        rre,
        rte,
        rmse,
        nees: truth.map(|truth| nees(&truth, registration)),
        success,
        strict_success: success.zip(strict).map(|(success, strict)| success && strict),
        rmse_success: rmse.map(|rmse| rmse <= rmse::LIMIT),
        inlier_ratio: truth.and_then(|truth| inlier_ratio(matches, &truth, thresholds.right.distance / 3.0)),
        warnings: registration.warnings.clone(),
        target_from_source: Some(answer.to_row_major()),
        thresholds: Some(thresholds),
        ..blank(pair, spent)
    }
}

/// Share of the matches whose points lie within `reach` of each other under the right transform.
fn inlier_ratio(matches: &[KeypointMatch], truth: &RigidTransform, reach: f64) -> Option<f64> {
    let error = |m: &KeypointMatch| (truth.apply(&m.source.into()) - Vector3::from(m.target)).norm();
    let right = matches.iter().filter(|m| error(m) < reach).count();
    (!matches.is_empty()).then(|| right as f64 / matches.len() as f64)
}

/// A failed pair is not right by any measure that it would have been judged by.
fn failure(pair: &Pair, error: &Error, spent: Spent) -> Row {
    let row = blank(pair, spent);
    let success = row.has_answer.map(|_| false);
    let has_strict = pair.thresholds.is_none_or(|thresholds| thresholds.strict.is_some());
    Row {
        reason: error.to_string(),
        success,
        strict_success: success.filter(|_| has_strict),
        rmse_success: pair.information.map(|_| false),
        ..row
    }
}

/// What is known about a pair before its answer is.
fn blank(pair: &Pair, spent: Spent) -> Row {
    Row {
        set: pair.set.clone(),
        name: pair.name.clone(),
        overlap: pair.overlap,
        has_answer: match pair.truth {
            Truth::Transform(_) => Some(true),
            Truth::NoAnswer | Truth::NotExpected(_) => Some(false),
            Truth::Unknown => None,
        },
        status: "error",
        reason: String::new(),
        confidence: None,
        found_overlap: None,
        inliers: None,
        inlier_rmse: None,
        rre: None,
        rte: None,
        rmse: None,
        nees: None,
        success: None,
        strict_success: None,
        rmse_success: None,
        inlier_ratio: None,
        warnings: Vec::new(),
        seconds: spent.total.as_secs_f64(),
        reading_seconds: spent.reading.as_secs_f64(),
        target_from_source: None,
        thresholds: pair.thresholds,
        fragments: pair.fragments,
    }
}

impl Row {
    /// Whether the engine vouched for the answer.
    pub fn is_accepted(&self) -> bool {
        self.status == Status::Accepted.as_str()
    }

    /// Whether the pair could not be registered at all.
    pub fn has_failed(&self) -> bool {
        self.status == "error"
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::registration::Timings;
    use nalgebra::{Matrix6, Rotation3, Vector3};
    use std::path::PathBuf;

    pub fn transform(degrees: f64, shift: f64) -> RigidTransform {
        let rotation = Rotation3::from_axis_angle(&Vector3::y_axis(), degrees.to_radians());
        RigidTransform::new(*rotation.matrix(), Vector3::new(shift, 0.0, 0.0))
    }

    pub fn pair(set: &str, truth: Truth) -> Pair {
        let file = PathBuf::from("cloud.ply");
        Pair {
            name: "one".into(),
            set: set.into(),
            source: file.clone(),
            target: file,
            overlap: None,
            truth,
            thresholds: Thresholds::of_set(set),
            information: None,
            fragments: None,
        }
    }

    /// The row of a pair whose answer is this far from the truth, in half a second.
    pub fn row(pair: &Pair, status: Status, confidence: f64, answer: RigidTransform) -> Row {
        let spent = Spent { reading: Duration::from_millis(100), total: Duration::from_millis(500) };
        let registration = Registration {
            target_from_source: answer,
            status,
            reason: String::new(),
            confidence,
            overlap: 0.5,
            inliers: 10,
            inlier_rmse: 0.01,
            information: [[0.0; 6]; 6],
            information_centre: [0.0; 3],
            unobserved: Vec::new(),
            warnings: Vec::new(),
            timings: Timings::default(),
            device: "cpu".into(),
            seed: 0,
        };
        judge(pair, Ok((registration, Details::default())), 4.0, spent)
    }

    /// The row of a pair that failed after two seconds.
    pub fn failed_row(pair: &Pair) -> Row {
        let spent = Spent { total: Duration::from_secs(2), ..Spent::default() };
        judge(pair, Err(Error::Device("gone".into())), 4.0, spent)
    }

    #[test]
    fn errors_are_measured_against_the_truth() {
        let truth = Truth::Transform(transform(30.0, 1.0));
        let near = transform(37.0, 1.05);
        let judged = row(&pair("frame-hi", truth), Status::Accepted, 0.9, near);
        assert!((judged.rre.unwrap() - 7.0).abs() < 1e-9 && (judged.rte.unwrap() - 0.05).abs() < 1e-12);
        assert_eq!((judged.success, judged.strict_success), (Some(true), Some(false)));
        assert_eq!((judged.seconds, judged.reading_seconds), (0.5, 0.1));
        let judged = row(&pair("object-hi", truth), Status::Accepted, 0.9, near);
        assert_eq!((judged.success, judged.thresholds), (Some(false), Some(Thresholds::of_extent(4.0))));
    }

    #[test]
    fn where_no_answer_is_expected_only_the_true_one_is_right_and_unknown_ones_are_not_judged() {
        let judged = |set, truth| row(&pair(set, truth), Status::Rejected, 0.1, transform(0.0, 0.0));
        let wrong = judged("frame-none", Truth::NoAnswer);
        assert_eq!((wrong.success, wrong.has_answer), (Some(false), Some(false)));
        for (shift, is_right) in [(0.1, true), (5.0, false)] {
            let hardly = judged("frame-none", Truth::NotExpected(transform(0.0, shift)));
            assert_eq!((hardly.success, hardly.has_answer, hardly.rte), (Some(is_right), Some(false), None));
        }
        let unknown = judged("frame", Truth::Unknown);
        assert_eq!((unknown.success, unknown.has_answer), (None, None));
    }

    #[test]
    fn the_root_mean_square_is_judged_where_there_is_information() {
        let truth = Truth::Transform(transform(0.0, 0.0));
        let judged = |shift| {
            let pair = Pair { information: Some(Matrix6::identity()), ..pair("frame", truth) };
            row(&pair, Status::Accepted, 0.9, transform(0.0, shift))
        };
        assert_eq!((judged(0.2).rmse, judged(0.2).rmse_success), (Some(0.2), Some(true)));
        assert_eq!((judged(0.25).success, judged(0.25).rmse_success), (Some(true), Some(false)));
        assert_eq!(row(&pair("frame", truth), Status::Accepted, 0.9, transform(0.0, 0.0)).rmse_success, None);
    }

    #[test]
    fn the_inlier_ratio_is_that_of_the_truth_not_of_the_answer() {
        let truth = transform(90.0, 1.0);
        let off_by = |distance: f64| {
            let source = Vector3::new(1.0, 2.0, 3.0);
            let target = truth.apply(&source) + Vector3::z() * distance;
            KeypointMatch { source: source.into(), target: target.into(), inlier: false }
        };
        let matches = [0.0, 0.09, 0.11, 5.0].map(off_by);
        assert_eq!(inlier_ratio(&matches, &truth, 0.1), Some(0.5));
        assert_eq!(inlier_ratio(&[], &truth, 0.1), None);
    }

    #[test]
    fn a_failure_is_wrong_by_every_measure_of_its_pair() {
        let truth = Truth::Transform(transform(0.0, 0.0));
        let full = Pair { information: Some(Matrix6::identity()), ..pair("frame", truth) };
        let row = failed_row(&full);
        let successes = (row.success, row.strict_success, row.rmse_success);
        assert_eq!(successes, (Some(false), Some(false), Some(false)));
        let row = failed_row(&Pair { thresholds: Some(Thresholds::ETH), ..pair("wood", truth) });
        assert_eq!((row.success, row.strict_success, row.rmse_success), (Some(false), None, None));
        assert_eq!(failed_row(&pair("frame", Truth::Unknown)).success, None);
        assert!(row.has_failed() && !row.is_accepted());
    }
}
