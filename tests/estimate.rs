//! Candidates from hypotheses.

mod common;

use common::found::{on_every_backend, on_every_device, on_one_device};
use common::{
    Golden, any_rotation, cube, largest_displacement, one_and_two_threads, parts_of, pose_of, random,
};
use coregister::cloud::Point;
use coregister::geometry::{Pose, apply};
use coregister::stages::consensus::{ScoreHypotheses, Support, Tolerance};
use coregister::stages::estimate::{EstimateOptions, EstimatePoses};
use coregister::stages::pose::Hypotheses;
use nalgebra::{Rotation3, Vector3};
use rand::RngExt;
use rand_chacha::ChaCha8Rng;

const TOLERANCE: Tolerance = Tolerance { base: 0.06, slope: 0.06 };
const OPTIONS: EstimateOptions =
    EstimateOptions { candidates: 16, tolerance: TOLERANCE, precision: 0.04, distinct: 0.2 };

/// Matches and the pose that each of them suggests.
#[derive(Default)]
struct Matches {
    poses: Vec<Pose>,
    source: Vec<Point>,
    target: Vec<Point>,
}

impl Matches {
    /// Adds matches that obey `truth` up to noise and suggest it up to a few degrees.
    fn add_true(&mut self, count: usize, truth: &Pose, random: &mut ChaCha8Rng) {
        for _ in 0..count {
            let source: Point = [0; 3].map(|_| random.random_range(-2.0..2.0));
            let target = apply(truth, &source).map(|x| x + random.random_range(-0.02..0.02));
            let [a, b, c] = [0; 3].map(|_| random.random_range(-0.05..0.05));
            let rotation = Rotation3::from_euler_angles(a, b, c) * Rotation3::from_matrix(&parts_of(truth).0);
            self.add(rotation, source, target);
        }
    }

    /// Adds matches of anything with anything.
    fn add_random(&mut self, count: usize, random: &mut ChaCha8Rng) {
        for _ in 0..count {
            let [source, target]: [Point; 2] = [0; 2].map(|_| [0; 3].map(|_| random.random_range(-2.0..2.0)));
            self.add(any_rotation(random), source, target);
        }
    }

    /// Adds a match and the pose with this rotation that lays its source onto its target.
    fn add(&mut self, rotation: Rotation3<f64>, source: Point, target: Point) {
        let [from, to] = [source, target].map(|p| Vector3::from(p.map(f64::from)));
        self.poses.push(pose_of(&rotation, (to - rotation * from).into()));
        self.source.push(source);
        self.target.push(target);
    }

    fn upload<B: EstimatePoses>(&self, backend: &B) -> Hypotheses<B> {
        Hypotheses {
            poses: backend.upload(&self.poses).unwrap(),
            source: backend.upload(&self.source).unwrap(),
            target: backend.upload(&self.target).unwrap(),
        }
    }
}

/// Candidates by the support that the matches give each other.
fn estimated<B: ScoreHypotheses + EstimatePoses>(
    backend: &B,
    matches: &Matches,
    options: EstimateOptions,
) -> Vec<Pose> {
    let matches = matches.upload(backend);
    let support =
        backend.score_hypotheses(&matches.poses, Some(&matches.source), &matches, TOLERANCE).unwrap();
    backend.download(&backend.estimate_poses(&matches, &support, options).unwrap()).unwrap()
}

/// Candidates when these are the scores.
fn ranked<B: EstimatePoses>(
    backend: &B,
    matches: &Matches,
    scores: &[f32],
    options: EstimateOptions,
) -> Vec<Pose> {
    let support: Vec<Support> = scores.iter().map(|&score| Support { count: 1, score }).collect();
    let support = backend.upload(&support).unwrap();
    let found = backend.estimate_poses(&matches.upload(backend), &support, options).unwrap();
    backend.download(&found).unwrap()
}

fn any_pose(random: &mut ChaCha8Rng) -> Pose {
    let shift = [0; 3].map(|_| random.random_range(-1.0..1.0));
    pose_of(&any_rotation(random), shift)
}

fn planted(truths: &[Pose], of_each: usize, others: usize, seed: u64) -> Matches {
    let mut random = random(seed);
    let mut matches = Matches::default();
    matches.add_random(others / 2, &mut random);
    truths.iter().for_each(|truth| matches.add_true(of_each, truth, &mut random));
    matches.add_random(others - others / 2, &mut random);
    matches
}

fn check_planted<B: ScoreHypotheses + EstimatePoses>(backend: &B) {
    for seed in 0..5 {
        let truth = any_pose(&mut random(seed));
        let matches = planted(&[truth], 100, 900, seed + 100);
        let found = estimated(backend, &matches, OPTIONS);
        let error = largest_displacement(&matches.source, &found[0], &truth);
        // No single hypothesis is that good.
        let raw = |pose: &Pose| largest_displacement(&matches.source, pose, &truth);
        let best = matches.poses.iter().map(raw).fold(f32::INFINITY, f32::min);
        assert!(error < 0.01 && error < 0.7 * best, "{seed}: {error} {best}");
        for pose in &found {
            let (rotation, _) = parts_of(pose);
            assert!((rotation * rotation.transpose() - nalgebra::Matrix3::identity()).amax() < 1e-5);
            assert!(rotation.determinant() > 0.0);
        }
    }
}

#[test]
fn a_pose_with_a_tenth_of_the_matches_is_found() {
    one_and_two_threads().iter().for_each(check_planted);
    on_one_device!(check_planted);
}

fn check_two<B: ScoreHypotheses + EstimatePoses>(backend: &B) {
    let truths = [any_pose(&mut random(1)), any_pose(&mut random(2))];
    let matches = planted(&truths, 80, 500, 3);
    let found = estimated(backend, &matches, OPTIONS);
    for truth in &truths {
        let hits = found.iter().filter(|pose| largest_displacement(&matches.source, pose, truth) < 0.02);
        assert_eq!(hits.count(), 1, "each once");
    }
    assert!(found.len() <= OPTIONS.candidates);
    for (i, one) in found.iter().enumerate() {
        for other in &found[..i] {
            let apart = largest_displacement(&matches.source, one, other);
            assert!(apart > 0.3 * OPTIONS.distinct / 2f32.sqrt(), "{apart}");
        }
    }
    for candidates in [0, 1, 3] {
        let fewer = estimated(backend, &matches, EstimateOptions { candidates, ..OPTIONS });
        assert!(fewer.len() <= candidates);
        assert_eq!(fewer.first(), found.first().filter(|_| candidates > 0), "the best comes first");
    }
}

#[test]
fn candidates_are_distinct() {
    on_every_backend!(check_two);
}

/// Of two poses one has so many matches, each with its own rough idea of it, that these alone would be all that are polished.
fn check_crowd<B: ScoreHypotheses + EstimatePoses>(backend: &B) {
    let (crowded, lonely) = (any_pose(&mut random(21)), any_pose(&mut random(22)));
    let mut matches = planted(&[crowded], 400, 0, 23);
    matches.add_true(8, &lonely, &mut random(24));
    let found = estimated(backend, &matches, EstimateOptions { candidates: 4, distinct: 0.02, ..OPTIONS });
    for truth in [crowded, lonely] {
        let hits = found.iter().filter(|pose| largest_displacement(&matches.source, pose, &truth) < 0.05);
        assert_eq!(hits.count(), 1, "{truth:?}");
    }
}

#[test]
fn a_crowd_of_rough_hypotheses_leaves_room_for_others() {
    on_every_backend!(check_crowd);
}

/// Matches so far apart that no fit connects them: poses come out as they went in.
fn apart(count: usize) -> Matches {
    let mut matches = Matches::default();
    for i in 0..count {
        let rotation = Rotation3::from_euler_angles(i as f64, 0.5, 0.0);
        matches.add(rotation, [10.0 * i as f32, 0.0, 0.0], [0.0, 100.0 * i as f32, 0.0]);
    }
    matches
}

fn check_few<B: ScoreHypotheses + EstimatePoses>(backend: &B) {
    assert!(estimated(backend, &Matches::default(), OPTIONS).is_empty());
    for count in [1, 2] {
        assert_eq!(estimated(backend, &apart(count), OPTIONS), apart(count).poses);
    }
    let matches = apart(6);
    let order = [4, 1, 3, 0, 2, 5].map(|i| matches.poses[i]);
    assert_eq!(ranked(backend, &matches, &[3.0, 7.0, 2.0, 5.0, 9.0, 2.0], OPTIONS), order, "best first");
    assert_eq!(ranked(backend, &matches, &[1.0; 6], OPTIONS), matches.poses, "lower index first");
}

#[test]
fn poses_without_company_stay_as_they_are() {
    on_every_backend!(check_few);
}

/// Three matches of the same two points (one of each scale), or of points on a line, leave a rotation open: it must
/// stay as it was.
fn check_degenerate<B: ScoreHypotheses + EstimatePoses>(backend: &B) {
    let rotation = any_rotation(&mut random(5));
    let along = |i: usize, step: f32| [0.3 + step * i as f32, 1.7 - 0.7 * step * i as f32, -0.4];
    for step in [0.0, 0.05] {
        let mut matches = Matches::default();
        for i in 0..4 {
            let source = along(i, step);
            let target = (rotation * Vector3::from(source.map(f64::from))).cast::<f32>().into();
            matches.add(rotation, source, target);
        }
        let found = estimated(backend, &matches, OPTIONS);
        assert_eq!(found.len(), 1);
        let error = largest_displacement(&cube(100, 4.0, 6), &found[0], &matches.poses[0]);
        assert!(error < 1e-3, "{step}: {error}");
    }
    // In a plane nothing is left open.
    let mut matches = Matches::default();
    for source in [[0.0; 3], [0.1, 0.0, 0.0], [0.0, 0.1, 0.0], [0.1, 0.1, 0.0]] {
        let target = (rotation * Vector3::from(source.map(f64::from))).cast::<f32>().into();
        matches.add(Rotation3::from_euler_angles(0.1, 0.0, 0.0) * rotation, source, target);
    }
    let found = estimated(backend, &matches, OPTIONS);
    let error = largest_displacement(&cube(100, 4.0, 7), &found[0], &pose_of(&rotation, [0.0; 3]));
    assert!(error < 1e-3, "{error}");
}

#[test]
fn what_the_matches_leave_open_stays_as_it_was() {
    on_every_backend!(check_degenerate);
}

#[test]
fn the_number_of_threads_does_not_show() {
    let matches = planted(&[any_pose(&mut random(8))], 60, 600, 9);
    let [one, two] = one_and_two_threads().map(|cpu| estimated(&cpu, &matches, OPTIONS));
    assert_eq!(one, two);
}

/// Candidates of both backends are equal to the bit, their number included.
fn agrees_with_the_cpu<B: ScoreHypotheses + EstimatePoses>(backend: &B) {
    let [_, cpu] = one_and_two_threads();
    let truths = [any_pose(&mut random(11)), any_pose(&mut random(12))];
    // More than one block of hypotheses.
    let matches = planted(&truths, 60, 480, 13);
    for (candidates, distinct) in [(1, 0.2), (7, 0.2), (64, 0.2), (usize::MAX, 1.0), (300, 0.0), (64, 1e9)] {
        let options = EstimateOptions { candidates, distinct, ..OPTIONS };
        let found = estimated(backend, &matches, options);
        assert_eq!(found, estimated(&cpu, &matches, options), "{candidates} {distinct}");
    }
    // Equal matches, few matches, scores that are no numbers or equal.
    let mut equal = Matches::default();
    (0..300).for_each(|_| equal.add(any_rotation(&mut random(14)), [1.0, 2.0, 3.0], [-1.0, 0.5, 2.0]));
    let few = planted(&truths[..1], 5, 0, 15);
    let some = planted(&truths[..1], 20, 20, 16);
    for matches in [&equal, &few, &some] {
        let scores = [f32::NAN, 2.0, -0.0, 0.0, f32::INFINITY, 2.0, -1.0, -f32::NAN];
        let scores: Vec<f32> = scores.into_iter().cycle().take(matches.poses.len()).collect();
        let found = ranked(backend, matches, &scores, OPTIONS);
        assert_eq!(found, ranked(&cpu, matches, &scores, OPTIONS));
    }
    // More than a block weighs at once, of which more carry weight than it adds up at once.
    let many = planted(&truths, 900, 600, 18);
    let scores: Vec<f32> = (0..many.poses.len()).map(|i| (i * 7919 % 2400) as f32).collect();
    let three = EstimateOptions { candidates: 3, ..OPTIONS };
    assert_eq!(ranked(backend, &many, &scores, three), ranked(&cpu, &many, &scores, three));
    // Beyond f32, and to within rounding on a line.
    let mut extreme = planted(&truths[..1], 30, 30, 17);
    extreme.source.iter_mut().step_by(2).for_each(|p| *p = p.map(|x| x * 1e38));
    let mut line = Matches::default();
    for i in 0..40 {
        let source = [0.1 * i as f32, 1e-7 * (i % 3) as f32, 1e-6 * (i % 5) as f32];
        line.add(Rotation3::from_euler_angles(1e-4 * i as f64, 0.0, 0.0), source, source);
    }
    for matches in [&extreme, &line] {
        let bits = |poses: Vec<Pose>| poses.iter().flatten().map(|x| x.to_bits()).collect::<Vec<_>>();
        let found = bits(estimated(backend, matches, OPTIONS));
        assert_eq!(found, bits(estimated(&cpu, matches, OPTIONS)));
    }
}

#[test]
fn cuda_agrees_with_the_cpu() {
    on_every_device!(agrees_with_the_cpu);
}

fn check_reference<B: EstimatePoses>(backend: &B) {
    let golden = Golden::open("consensus");
    let (source, target) = (golden.points("src"), golden.points("tgt"));
    let mut inliers = Matches::default();
    for i in golden.integers("inlier_idx") {
        inliers.add(Rotation3::identity(), source[i as usize], target[i as usize]);
    }
    // So wide that all matches have weight one.
    let wide = 1e4;
    let tolerance = Tolerance { base: wide, slope: 0.0 };
    let options = EstimateOptions { candidates: 1, tolerance, precision: wide, distinct: 1.0 };
    let found = ranked(backend, &inliers, &vec![1.0; inliers.poses.len()], options);
    let expected = golden.floats("pose_kabsch");
    let (rotation, translation) = parts_of(&found[0]);
    for row in 0..3 {
        for column in 0..3 {
            let error = rotation[(row, column)] - f64::from(expected[4 * row + column]);
            assert!(error.abs() < 1e-5, "{row} {column}: {error}");
        }
        let error = translation[row] - f64::from(expected[4 * row + 3]);
        assert!(error.abs() < 1e-5, "{row}: {error}");
    }
}

#[test]
#[ignore = "needs COREGISTER_TESTDATA"]
fn equals_the_reference() {
    check_reference(&one_and_two_threads()[1]);
    on_one_device!(check_reference);
}
