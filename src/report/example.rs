//! A small pair for the tests: a room's corner with a box, seen whole and moved.

use std::time::Duration;

use nalgebra::{Rotation3, Vector3};

use super::Subject;
use crate::cloud::Cloud;
use crate::config::Config;
use crate::registration::{Details, Evidence, KeypointMatch, Registration, Status, Timings};
use crate::transform::RigidTransform;

/// What a [`Subject`] refers to.
pub struct Example {
    pub source: Cloud,
    pub target: Cloud,
    pub registration: Registration,
    pub details: Details,
    pub config: Config,
    pub names: [String; 2],
}

impl Example {
    pub fn new() -> Self {
        let rotation = *Rotation3::from_euler_angles(0.4, -0.2, 1.1).matrix();
        let target_from_source = RigidTransform::new(rotation, Vector3::new(0.5, 1.5, -0.3));
        let target: Vec<[f64; 3]> = (0..6_000).map(corner).collect();
        let back = target_from_source.inverse();
        let source: Vec<[f64; 3]> =
            target.iter().skip(1_000).map(|p| back.apply(&Vector3::from(*p)).into()).collect();
        let matches = (0..60).map(|i| keypoint_match(&source, &target, 50 * i, i % 3 != 0)).collect();
        Self {
            registration: registration(target_from_source),
            details: Details { matches, voxel: 0.02, tolerance: 0.06, evidence: evidence() },
            source: Cloud::from_f64(&source),
            target: Cloud::from_f64(&target),
            config: Config::default(),
            names: ["scan 1.ply".into(), "scan 2.ply".into()],
        }
    }

    pub fn subject(&self) -> Subject<'_> {
        Subject {
            source_name: &self.names[0],
            target_name: &self.names[1],
            source: &self.source,
            target: &self.target,
            registration: &self.registration,
            details: &self.details,
            config: &self.config,
            read: Duration::from_millis(1),
            total: Duration::from_millis(9),
        }
    }
}

/// Points on a floor, two walls and a low box, in turn.
fn corner(i: usize) -> [f64; 3] {
    let (u, v) = ((i * 7919 % 1009) as f64 / 1009.0, (i * 104_729 % 997) as f64 / 997.0);
    match i % 4 {
        0 => [3.0 * u, 2.0 * v, 0.0],
        1 => [3.0 * u, 0.0, v],
        2 => [0.0, 2.0 * u, v],
        _ => [1.0 + 0.5 * u, 1.0 + 0.4 * v, 0.4],
    }
}

fn keypoint_match(source: &[[f64; 3]], target: &[[f64; 3]], i: usize, inlier: bool) -> KeypointMatch {
    let other = if inlier { i } else { i + 777 };
    KeypointMatch { source: source[i], target: target[other + 1_000], inlier }
}

fn registration(target_from_source: RigidTransform) -> Registration {
    let mut timings = Timings::default();
    timings.add("voxel", Duration::from_millis(3));
    timings.add("matching", Duration::from_millis(2));
    Registration {
        target_from_source,
        status: Status::Accepted,
        reason: String::new(),
        confidence: 0.987_654_321,
        overlap: 0.75,
        inliers: 40,
        inlier_rmse: 0.001,
        information: [[0.0; 6]; 6],
        information_centre: [0.0; 3],
        unobserved: Vec::new(),
        warnings: Vec::new(),
        timings,
        device: "cpu".into(),
        seed: 0,
    }
}

fn evidence() -> Vec<Evidence> {
    let of = |source_overlap, inliers, log_odds| Evidence {
        source_overlap,
        target_overlap: 0.7,
        inliers,
        log_odds,
        ..Evidence::default()
    };
    vec![of(0.75, 40, 5.0), of(0.3, 4, -6.0)]
}
