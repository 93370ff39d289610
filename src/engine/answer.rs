//! From what the pipeline has found to the answer, in the files' frames and units.

use nalgebra::{Matrix3, Matrix6, Vector3};

use crate::cloud::Point;
use crate::config::Config;
use crate::geometry::to_vector;
use crate::pipeline::{self, Answer, Candidate, Matches, to_rigid};
use crate::registration::{Details, Evidence, KeypointMatch, Registration, Status, Timings};
use crate::stages::clean::{CanonicalCloud, CanonicalPair};
use crate::stages::verify;
use crate::stages::verify::judge::FreeMotion;

/// Answers with at least this confidence are accepted. Of 1 491 simulated and recorded pairs (`docs/benchmarks.md`), most of
/// which overlap little or not at all, one in 113 of those that it accepts is wrong.
pub const LEAST_CONFIDENCE: f64 = 0.75;

/// Fewer points in contact than this say nothing about a transform.
const LEAST_CONTACTS: f64 = 20.0;

/// An answer whose rotation may be off by more than this, in degrees, one standard deviation, is not accepted: what is
/// sampled as coarsely as that fits a wrong place nearly as well.
const LARGEST_DEVIATION: f64 = 3.0;

/// The answer in the files' frames and units.
pub(super) fn registration(
    pair: &CanonicalPair,
    answer: &Answer,
    config: &Config,
    timings: Timings,
    device: String,
    warnings: Vec<String>,
) -> Registration {
    let target_from_canonical = pair.target.cloud_from_canonical.rotation;
    let (status, reason) = verdict(answer);
    let overlap = answer.candidates.first().map_or(0.0, |c| c.agreement.source_overlap);
    let count = answer.observation.count.max(1.0);
    let rmse = (answer.observation.squares / count).sqrt() * pair.unit();
    Registration {
        target_from_source: pair.to_file_frames(&to_rigid(&answer.pose)),
        status,
        reason,
        confidence: answer.confidence,
        overlap: f64::from(overlap),
        inliers: answer.candidates.first().map_or(0, |c| c.support.count as usize),
        inlier_rmse: rmse,
        information: information(answer, &target_from_canonical, pair.unit()),
        information_centre: place(pair.target, &answer.observation.centre.into(), pair.unit()),
        unobserved: answer.free.iter().map(|motion| in_words(motion, &target_from_canonical)).collect(),
        timings,
        device,
        warnings,
        seed: config.seed,
    }
}

/// What the answer rests on, in the files' frames and units.
pub(super) fn details(pair: &CanonicalPair, answer: &Answer, matches: &Matches) -> Details {
    let unit = pair.unit();
    let keypoints = matches.source.iter().zip(&matches.target).zip(&matches.inlier);
    let keypoint_match = |((s, t), inlier): ((&Point, &Point), &bool)| KeypointMatch {
        source: place(pair.source, &to_vector(s), unit),
        target: place(pair.target, &to_vector(t), unit),
        inlier: *inlier,
    };
    let voxel = f64::from(answer.spacing) * unit;
    Details {
        matches: keypoints.map(keypoint_match).collect(),
        voxel,
        tolerance: f64::from(pipeline::TOLERANCE) * voxel,
        evidence: answer.distinct.iter().map(evidence).collect(),
    }
}

/// A canonical place in a file's frame and unit.
fn place(cloud: &CanonicalCloud, canonical: &Vector3<f64>, unit: f64) -> [f64; 3] {
    cloud.cloud_from_canonical.apply(&(canonical * unit)).into()
}

fn evidence(candidate: &Candidate) -> Evidence {
    let agreement = &candidate.agreement;
    Evidence {
        source_overlap: agreement.source_overlap.into(),
        target_overlap: agreement.target_overlap.into(),
        source_hold: agreement.source_hold.into(),
        target_hold: agreement.target_hold.into(),
        source_in_front: agreement.source_in_front.into(),
        target_in_front: agreement.target_in_front.into(),
        inliers: candidate.support.count as usize,
        log_odds: candidate.log_odds.into(),
    }
}

fn verdict(answer: &Answer) -> (Status, String) {
    if answer.candidates.is_empty() {
        return (Status::Rejected, "no part of one cloud resembles a part of the other".into());
    }
    if answer.observation.count < LEAST_CONTACTS {
        return (
            Status::Rejected,
            "too little of the two surfaces meets to tell whether they belong together".into(),
        );
    }
    if !answer.free.is_empty() {
        let reason = "the overlap does not determine the transform: the surfaces slide or turn on each other";
        return (Status::Rejected, reason.into());
    }
    let deviation = verify::rotation_deviation(&answer.observation).map_or(0.0, f64::to_degrees);
    if deviation > LARGEST_DEVIATION {
        let reason = format!(
            "the overlap holds the rotation too loosely: its standard deviation is {deviation:.1} degrees, at most \
             {LARGEST_DEVIATION} is relied on"
        );
        return (Status::Rejected, reason);
    }
    if answer.confidence < LEAST_CONFIDENCE {
        let reason = format!(
            "the clouds do not agree clearly enough on this transform: confidence {:.2}, {LEAST_CONFIDENCE} is needed",
            answer.confidence
        );
        return (Status::Rejected, reason);
    }
    (Status::Accepted, String::new())
}

/// The information of [`verify::information`], turned to the target file's axes and divided by the unit where a length
/// enters.
fn information(answer: &Answer, turn: &Matrix3<f64>, unit: f64) -> [[f64; 6]; 6] {
    let mut both = Matrix6::zeros();
    both.fixed_view_mut::<3, 3>(0, 0).copy_from(turn);
    both.fixed_view_mut::<3, 3>(3, 3).copy_from(&(turn / unit));
    let matrix = both * verify::information(&answer.observation) * both.transpose();
    std::array::from_fn(|r| std::array::from_fn(|c| matrix[(r, c)]))
}

fn in_words(motion: &FreeMotion, turn: &Matrix3<f64>) -> String {
    let (what, axis): (_, &Vector3<f64>) = match motion {
        FreeMotion::Rotation(axis) => ("rotation about", axis),
        FreeMotion::Translation(axis) => ("translation along", axis),
    };
    let axis = turn * axis;
    format!("{what} ({:.2}, {:.2}, {:.2})", axis.x, axis.y, axis.z)
}
