//! Hypotheses of single matches.

mod common;

use std::f32::consts::TAU;

use common::found::{on_every_backend, on_every_device, on_one_device};
use common::{Golden, any_rotation, cube, one_and_two_threads, parts_of, random};
use coregister::cloud::Point;
use coregister::geometry::apply;
use coregister::stages::frame::Frame;
use coregister::stages::matching::Match;
use coregister::stages::pose::{Hypotheses, Placed, Pose, RecoverPoses};
use nalgebra::{Matrix3, Rotation3, Vector3};
use rand::RngExt;

/// Keypoints and frames of one cloud.
struct Side {
    keypoints: Vec<Point>,
    frames: Vec<Frame>,
}

/// Poses, source points and target points of the matches.
type Recovered = (Vec<Pose>, Vec<Point>, Vec<Point>);

fn recovered<B: RecoverPoses>(
    backend: &B,
    source: &Side,
    target: &Side,
    matches: &[Match],
    angles: &[f32],
) -> Recovered {
    let upload =
        |side: &Side| (backend.upload(&side.keypoints).unwrap(), backend.upload(&side.frames).unwrap());
    let (source, target) = (upload(source), upload(target));
    let (matches, angles) = (backend.upload(matches).unwrap(), backend.upload(angles).unwrap());
    let placed = |side| {
        let (keypoints, frames): &(_, _) = side;
        Placed { keypoints, frames }
    };
    let found = backend.recover_poses(placed(&source), placed(&target), &matches, &angles).unwrap();
    (
        backend.download(&found.poses).unwrap(),
        backend.download(&found.source).unwrap(),
        backend.download(&found.target).unwrap(),
    )
}

fn side(count: usize, seed: u64) -> Side {
    let mut random = random(seed);
    let frame = |_| -> Frame {
        let rotation = any_rotation(&mut random);
        std::array::from_fn(|i| rotation[(i / 3, i % 3)] as f32)
    };
    Side { keypoints: cube(count, 4.0, seed + 100), frames: (0..count).map(frame).collect() }
}

fn matrix(frame: &Frame) -> Matrix3<f64> {
    Matrix3::from_fn(|r, c| f64::from(frame[3 * r + c]))
}

/// `R_t · R_z(angle) · R_sᵀ`.
fn expected_rotation(source: &Frame, target: &Frame, angle: f32) -> Matrix3<f64> {
    let turn = Rotation3::from_axis_angle(&Vector3::z_axis(), f64::from(angle));
    matrix(target) * turn * matrix(source).transpose()
}

fn check<B: RecoverPoses>(backend: &B) {
    let (source, target) = (side(40, 1), side(70, 2));
    let mut random = random(3);
    let matches: Vec<Match> =
        (0..300).map(|_| [random.random_range(0..40), random.random_range(0..70)]).collect();
    let mut angles: Vec<f32> = (0..300).map(|_| random.random_range(0.0..TAU)).collect();
    angles[..4].copy_from_slice(&[0.0, TAU / 4.0, TAU / 2.0, TAU]);
    let (poses, from, to) = recovered(backend, &source, &target, &matches, &angles);
    assert_eq!((poses.len(), from.len(), to.len()), (300, 300, 300));
    for (i, [s, t]) in matches.iter().map(|m| m.map(|i| i as usize)).enumerate() {
        assert_eq!((from[i], to[i]), (source.keypoints[s], target.keypoints[t]));
        let (rotation, translation) = parts_of(&poses[i]);
        let expected = expected_rotation(&source.frames[s], &target.frames[t], angles[i]);
        assert!((rotation - expected).amax() < 1e-6, "{i}: {rotation} {expected}");
        let keypoint = |p: &Point| Vector3::from(p.map(f64::from));
        let shift = keypoint(&to[i]) - expected * keypoint(&from[i]);
        assert!((translation - shift).amax() < 3e-6, "{i}: {translation} {shift}");
        let moved = apply(&poses[i], &from[i]);
        assert!((keypoint(&moved) - keypoint(&to[i])).amax() < 3e-6, "{i}: keypoint meets keypoint");
    }
    assert_eq!(recovered(backend, &source, &target, &[], &[]), (vec![], vec![], vec![]));
}

#[test]
fn equals_the_formula() {
    on_every_backend!(check);
}

/// Keypoints that are far away, and angles of any size: devices differ by no more than the rounding of sine and cosine.
#[test]
fn agrees_with_the_cpu() {
    let [cpu, _] = one_and_two_threads();
    let mut random = random(5);
    let (mut source, target) = (side(300, 6), side(1, 7));
    source.keypoints.iter_mut().take(100).for_each(|p| *p = p.map(|x| x * 1e6));
    let matches: Vec<Match> = (0..300).map(|i| [i, 0]).collect();
    let angles: Vec<f32> = (0..300).map(|_| random.random_range(-100.0..100.0)).collect();
    let (poses, from, to) = recovered(&cpu, &source, &target, &matches, &angles);
    on_every_device!(|device| {
        let found = recovered(device, &source, &target, &matches, &angles);
        assert_eq!((&found.1, &found.2), (&from, &to));
        for (found, expected) in found.0.iter().zip(&poses) {
            for (i, (a, b)) in found.iter().zip(expected).enumerate() {
                let size =
                    if i < 9 { 1.0 } else { expected[9..].iter().fold(10.0, |s: f32, x| s.max(x.abs())) };
                assert!((a - b).abs() < 3e-7 * size, "{found:?} {expected:?}");
            }
        }
    });
}

fn check_reference<B: RecoverPoses>(backend: &B) {
    let input = Golden::open("input");
    for scale in 0..3 {
        let golden = Golden::open(&format!("scale{scale}"));
        let side = |cloud: &str| Side {
            keypoints: input.points(&format!("{cloud}_kpts")),
            frames: golden.floats(&format!("{cloud}_R")).as_chunks().0.to_vec(),
        };
        let pairs = golden.integers("match_src").into_iter().zip(golden.integers("match_tgt"));
        let matches: Vec<Match> = pairs.map(|(s, t)| [s, t]).collect();
        let angle = |index: &f32| index * TAU / 20.0 + 1e-6;
        let angles: Vec<f32> = golden.floats("azi_index").iter().map(angle).collect();
        let (poses, _, _) = recovered(backend, &side("src"), &side("tgt"), &matches, &angles);
        let rotations = golden.floats("match_R");
        for (i, translation) in golden.points("match_t").iter().enumerate() {
            let expected = [&rotations[9 * i..9 * i + 9], translation].concat();
            let error = poses[i].iter().zip(&expected).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
            assert!(error < 1e-5, "scale {scale}, match {i}: {error}");
        }
        assert_eq!(poses.len(), rotations.len() / 9);
    }
}

#[test]
#[ignore = "needs COREGISTER_TESTDATA"]
fn equals_the_reference() {
    let [_, cpu] = one_and_two_threads();
    check_reference(&cpu);
    on_one_device!(check_reference);
}

fn check_joined<B: RecoverPoses>(backend: &B) {
    let hypotheses = |count: usize, first: f32| Hypotheses::<B> {
        poses: backend.upload(&vec![[first; 12]; count]).unwrap(),
        source: backend.upload(&vec![[first + 0.25; 3]; count]).unwrap(),
        target: backend.upload(&vec![[first + 0.5; 3]; count]).unwrap(),
    };
    for sizes in [&[][..], &[0], &[3], &[200, 0, 1], &[1, 130, 2, 0, 300, 5]] {
        let parts: Vec<_> = sizes.iter().enumerate().map(|(i, &count)| hypotheses(count, i as f32)).collect();
        let joined = backend.join_hypotheses(&parts.iter().collect::<Vec<_>>()).unwrap();
        let part_of_each: Vec<f32> =
            sizes.iter().enumerate().flat_map(|(i, &count)| vec![i as f32; count]).collect();
        let expected = |offset: f32| part_of_each.iter().map(move |part| part + offset);
        let (poses, source) =
            (backend.download(&joined.poses).unwrap(), backend.download(&joined.source).unwrap());
        assert_eq!(poses, expected(0.0).map(|x| [x; 12]).collect::<Vec<_>>(), "{sizes:?}");
        assert_eq!(source, expected(0.25).map(|x| [x; 3]).collect::<Vec<_>>(), "{sizes:?}");
        let target = backend.download(&joined.target).unwrap();
        assert_eq!(target, expected(0.5).map(|x| [x; 3]).collect::<Vec<_>>(), "{sizes:?}");
    }
}

#[test]
fn hypotheses_are_joined_part_by_part() {
    on_every_backend!(check_joined);
}
