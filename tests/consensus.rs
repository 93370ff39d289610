//! Support of hypotheses among matches.

mod common;

use common::found::{on_every_backend, on_every_device, on_one_device};
use common::{Golden, any_rotation, beyond_f32, cube, one_and_two_threads, parts_of, pose_of, random};
use coregister::cloud::Point;
use coregister::geometry::{IDENTITY, apply};
use coregister::stages::consensus::{ScoreHypotheses, Support, Tolerance};
use coregister::stages::pose::{Hypotheses, Pose};
use nalgebra::{Rotation3, Vector3};
use rand::RngExt;

/// Hypotheses, each with the start of its lever arm, and matches.
struct Case {
    poses: Vec<Pose>,
    anchors: Vec<Point>,
    source: Vec<Point>,
    target: Vec<Point>,
}

fn supports<B: ScoreHypotheses>(backend: &B, case: &Case, tolerance: Tolerance) -> Vec<Support> {
    let (poses, anchors) = (backend.upload(&case.poses).unwrap(), backend.upload(&case.anchors).unwrap());
    let matches = Hypotheses {
        poses: backend.upload(&[]).unwrap(), // of no account here
        source: backend.upload(&case.source).unwrap(),
        target: backend.upload(&case.target).unwrap(),
    };
    let score = |anchors| backend.score_hypotheses(&poses, anchors, &matches, tolerance).unwrap();
    let found = backend.download(&score(Some(&anchors))).unwrap();
    if case.anchors.iter().all(|anchor| *anchor == [0.0; 3]) {
        assert_eq!(
            backend.download(&score(None)).unwrap(),
            found,
            "the origin is the anchor where there is none"
        );
    }
    found
}

/// `(residual / tolerance)²` of every match.
fn ratios(case: &Case, hypothesis: usize, tolerance: Tolerance) -> Vec<f64> {
    let (rotation, translation) = parts_of(&case.poses[hypothesis]);
    let vector = |p: &Point| Vector3::from(p.map(f64::from));
    let anchor = vector(&case.anchors[hypothesis]);
    let ratio = |(s, t): (&Point, &Point)| {
        let residual = (rotation * vector(s) + translation - vector(t)).norm();
        let limit = f64::from(tolerance.base) + f64::from(tolerance.slope) * (vector(s) - anchor).norm();
        (residual / limit).powi(2)
    };
    case.source.iter().zip(&case.target).map(ratio).collect()
}

fn assert_supports<B: ScoreHypotheses>(backend: &B, case: &Case, tolerance: Tolerance) {
    let found = supports(backend, case, tolerance);
    assert_eq!(found.len(), case.poses.len());
    for (i, found) in found.iter().enumerate() {
        let ratios = ratios(case, i, tolerance);
        let count = ratios.iter().filter(|ratio| **ratio < 1.0).count() as u32;
        let doubtful = ratios.iter().filter(|ratio| (**ratio - 1.0).abs() < 1e-5).count() as u32;
        assert!(found.count.abs_diff(count) <= doubtful, "{i}: {} {count}", found.count);
        let score: f64 = ratios.iter().map(|ratio| (1.0 - ratio).max(0.0)).sum();
        assert!(
            (f64::from(found.score) - score).abs() < 1e-5 * score.max(1.0),
            "{i}: {} {score}",
            found.score
        );
    }
}

/// `matches` matches of which every third obeys one pose up to noise; that pose, variants of it and others.
fn case(hypotheses: usize, matches: usize) -> Case {
    let mut random = random((1000 * hypotheses + matches) as u64);
    let truth = pose_of(&any_rotation(&mut random), [0.5, -1.0, 2.0]);
    let source = cube(matches, 4.0, 1);
    let mut target = cube(matches, 4.0, 2);
    for (t, s) in target.iter_mut().zip(&source).step_by(3) {
        *t = apply(&truth, s).map(|x| x + random.random_range(-0.1..0.1));
    }
    let mut pose = |i: usize| {
        if i % 2 == 1 {
            return pose_of(&any_rotation(&mut random), [0.0; 3]);
        }
        let tilt = Rotation3::from_euler_angles(0.0, 0.01 * i as f64, 0.0);
        let (rotation, shift) = parts_of(&truth);
        pose_of(&(tilt * Rotation3::from_matrix(&rotation)), shift.into())
    };
    Case {
        poses: (0..hypotheses).map(&mut pose).collect(),
        anchors: cube(hypotheses, 4.0, 3),
        source,
        target,
    }
}

fn check<B: ScoreHypotheses>(backend: &B) {
    for (hypotheses, matches) in
        [(40, 333), (5, 16), (5, 17), (5, 15), (7, 1), (7, 2), (1, 1000), (3, 0), (0, 20), (130, 64)]
    {
        let case = case(hypotheses, matches);
        for (base, slope) in [(0.15, 0.06), (0.2, 0.0), (0.0, 0.1), (100.0, 0.0), (0.0, 0.0)] {
            let tolerance = Tolerance { base, slope };
            if (base, slope) == (0.0, 0.0) {
                let nothing = Support { count: 0, score: 0.0 };
                assert!(supports(backend, &case, tolerance).iter().all(|found| *found == nothing));
            } else {
                assert_supports(backend, &case, tolerance);
            }
        }
    }
}

#[test]
fn equals_brute_force() {
    on_every_backend!(check);
}

fn check_limit<B: ScoreHypotheses>(backend: &B) {
    // Residuals of 1, 2 and 3; lever arms of 0, 4 and 8.
    let case = Case {
        poses: vec![IDENTITY; 2],
        anchors: vec![[0.0; 3], [8.0, 0.0, 0.0]],
        source: vec![[0.0; 3], [0.0, 4.0, 0.0], [8.0, 0.0, 0.0]],
        target: vec![[1.0, 0.0, 0.0], [0.0, 4.0, 2.0], [8.0, 3.0, 0.0]],
    };
    let counts = |base, slope| {
        let found = supports(backend, &case, Tolerance { base, slope });
        found.iter().map(|support| support.count).collect::<Vec<_>>()
    };
    assert_eq!(counts(1.0, 0.0), [0, 0], "a residual equal to the tolerance is too much");
    assert_eq!(counts(2.0, 0.0), [1, 1]);
    // Lever arms from the second anchor: 8, the root of 80, 0.
    assert_eq!(counts(1.0, 0.25), [0, 2]);
    assert_eq!(counts(1.0, 0.5), [2, 2]);
    let half = supports(backend, &case, Tolerance { base: 2.0, slope: 0.0 });
    assert_eq!(half[0].score, 0.75);
}

#[test]
fn tolerance_grows_from_the_anchor() {
    on_every_backend!(check_limit);
}

#[test]
fn the_number_of_threads_does_not_show() {
    let case = case(100, 999);
    let tolerance = Tolerance { base: 0.15, slope: 0.06 };
    let [one, two] = one_and_two_threads().map(|cpu| supports(&cpu, &case, tolerance));
    assert_eq!(one, two);
}

/// To the bit: also where matches end within the lanes or within a tile, and where numbers leave f32.
fn agrees_with_the_cpu<B: ScoreHypotheses>(backend: &B) {
    let [_, cpu] = one_and_two_threads();
    for (hypotheses, matches) in [(0, 7), (1, 0), (1, 1), (3, 31), (9, 511), (9, 512), (17, 513), (40, 1100)]
    {
        let case = case(hypotheses, matches);
        for (base, slope) in [(0.15, 0.06), (100.0, 0.0), (0.0, 0.0), (f32::MAX, 1.0), (1e-30, 1e-20)] {
            let tolerance = Tolerance { base, slope };
            let [found, expected] = [supports(backend, &case, tolerance), supports(&cpu, &case, tolerance)];
            assert_eq!(found, expected, "{hypotheses} {matches} {tolerance:?}");
        }
    }
    let far = Case {
        poses: vec![IDENTITY; 2],
        anchors: vec![[0.0; 3], [3e38, -3e38, 0.0]],
        source: beyond_f32(),
        target: beyond_f32(),
    };
    let tolerance = Tolerance { base: 0.1, slope: 0.06 };
    assert_eq!(supports(backend, &far, tolerance), supports(&cpu, &far, tolerance));
}

#[test]
fn cuda_agrees_with_the_cpu() {
    on_every_device!(agrees_with_the_cpu);
}

fn check_reference<B: ScoreHypotheses>(backend: &B) {
    let golden = Golden::open("consensus");
    let rotations = golden.floats("R");
    let translations = golden.points("t");
    let pose = |(r, t): (&[f32], &Point)| -> Pose { [r, t].concat().try_into().unwrap() };
    let case = Case {
        poses: rotations.chunks(9).zip(&translations).map(pose).collect(),
        anchors: vec![[0.0; 3]; translations.len()],
        source: golden.points("src"),
        target: golden.points("tgt"),
    };
    let tolerance = Tolerance { base: 0.0, slope: std::f32::consts::PI / 60.0 };
    let found = supports(backend, &case, tolerance);
    let expected = golden.integers("inlier_count");
    assert_eq!(found.len(), expected.len());
    for (i, (found, expected)) in found.iter().zip(&expected).enumerate() {
        assert!(found.count.abs_diff(*expected) <= 2, "{i}: {} {expected}", found.count);
    }
    let most = found.iter().map(|support| support.count).max().unwrap();
    let best = found.iter().position(|support| support.count == most).unwrap();
    assert_eq!([best as u32], golden.integers("best_index")[..]);
}

#[test]
#[ignore = "needs COREGISTER_TESTDATA"]
fn equals_the_reference() {
    check_reference(&one_and_two_threads()[1]);
    on_one_device!(check_reference);
}
