//! Canonical frames.

mod common;

use common::{any_rotation, one_and_two_threads, random, room};
use coregister::cloud::Point;
use coregister::stages::clean::{CanonicalCloud, CanonicalPair, MINIMUM_POINTS, canonical_cloud};
use coregister::{Cloud, RigidTransform};
use nalgebra::{Rotation3, Vector3};

/// A part of a room whose spread differs along every axis, so that its principal axes are clear.
fn scan(count: usize, seed: u64) -> Vec<Point> {
    room(count, seed).into_iter().filter(|p| p[0] + p[1] < 6.0).collect()
}

fn scans() -> [Vec<Point>; 2] {
    [scan(4000, 1), scan(3000, 2)]
}

fn canonical(points: &[Point]) -> CanonicalCloud {
    canonical_cloud(&Cloud::from_f32(points.to_vec()), "source").unwrap()
}

fn vector(p: &Point) -> Vector3<f64> {
    Vector3::from(p.map(f64::from))
}

/// Where a point in this unit lies in the frame of its file.
fn in_the_file(cloud: &CanonicalCloud, unit: f64, point: &Vector3<f64>) -> Vector3<f64> {
    cloud.cloud_from_canonical.apply(&(point * unit))
}

fn assert_close(found: &[Point], expected: &[Point], factor: f64, tolerance: f64) {
    assert_eq!(found.len(), expected.len());
    for (found, expected) in found.iter().zip(expected) {
        let error = (vector(found) - factor * vector(expected)).amax();
        assert!(error <= tolerance, "{found:?} {expected:?} {error}");
    }
}

/// The cloud turned and shifted, in f64.
fn elsewhere(points: &[Point], rotation: &Rotation3<f64>, shift: [f64; 3]) -> Cloud {
    let moved = |p: &Point| (rotation * vector(p) + Vector3::from(shift)).into();
    Cloud::from_f64(&points.iter().map(moved).collect::<Vec<[f64; 3]>>())
}

#[test]
fn points_do_not_depend_on_where_the_clouds_lie() {
    let mut random = random(1);
    for points in scans() {
        let expected = canonical(&points);
        for shift in [[0.0; 3], [10.0, -20.0, 3.0], [448_262.0, 5.0e6, 117.0], [-5.0e6, 5.0e6, -5.0e6]] {
            let moved = elsewhere(&points, &any_rotation(&mut random), shift);
            let found = canonical_cloud(&moved, "source").unwrap();
            assert_eq!(found.unit, expected.unit);
            assert_close(&found.points, &expected.points, 1.0, 3e-6);
        }
    }
}

#[test]
fn canonical_clouds_are_centred_of_size_one_and_along_their_axes() {
    for cloud in scans().map(|points| canonical(&points)) {
        let count = cloud.points.len() as f64;
        let mean = cloud.points.iter().map(vector).sum::<Vector3<f64>>() / count;
        let products = cloud.points.iter().map(|p| vector(p) * vector(p).transpose());
        let covariance = products.sum::<nalgebra::Matrix3<f64>>() / count;
        assert!(mean.norm() < 1e-6, "{mean}");
        assert!(covariance[(0, 0)] > covariance[(1, 1)] && covariance[(1, 1)] > covariance[(2, 2)]);
        assert!(covariance.upper_triangle().sum() - covariance.trace() < 1e-5, "{covariance}");
        assert!((0.5..2.0).contains(&covariance.trace()), "{covariance}");
        for axis in 0..2 {
            assert!(cloud.points.iter().map(|p| vector(p)[axis].powi(3)).sum::<f64>() > 0.0);
        }
        assert!(cloud.cloud_from_canonical.rotation.determinant() > 0.0);
    }
}

#[test]
fn a_scale_of_a_power_of_two_changes_no_bit() {
    let scaled = |points: &[Point], factor: f32| -> Vec<Point> {
        points.iter().map(|p| p.map(|x| x * factor)).collect()
    };
    for points in scans() {
        let expected = canonical(&points);
        for power in [-30, -3, 1, 40] {
            let factor = 2f32.powi(power);
            let found = canonical(&scaled(&points, factor));
            assert_eq!(found.unit, expected.unit * f64::from(factor));
            assert_eq!(found.points, expected.points);
        }
        // Any other scale is left over as one factor near one.
        let found = canonical(&scaled(&points, 0.001));
        let factor = 0.001 * expected.unit / found.unit;
        assert!((0.7..1.5).contains(&factor), "{factor}");
        assert_close(&found.points, &expected.points, factor, 3e-6);
    }
}

#[test]
fn a_pair_has_the_unit_of_its_larger_cloud() {
    let [small, large] = scans().map(|points| canonical(&points));
    let large = CanonicalCloud { unit: 8.0 * small.unit, ..large };
    for (source, target) in [(&small, &large), (&large, &small)] {
        assert_eq!(CanonicalPair { source, target }.unit(), large.unit);
    }
    assert_close(&small.points_in(large.unit), &small.points, 0.125, 0.0);
    assert_eq!(*small.points_in(small.unit), small.points);
}

#[test]
fn points_that_are_not_finite_are_dropped() {
    let [source, _] = scans();
    let expected = canonical(&source);
    let mut dirty = source.clone();
    dirty.insert(0, [f32::NAN, 0.0, 0.0]);
    dirty.insert(77, [1.0, f32::INFINITY, 0.0]);
    dirty.push([0.0, 0.0, f32::NEG_INFINITY]);
    let found = canonical(&dirty);
    assert_eq!((found.dropped, expected.dropped), (3, 0));
    assert_eq!(found.points, expected.points);
}

#[test]
fn canonical_frames_lead_back_to_the_files() {
    let [source, target] = scans();
    let mut random = random(2);
    let source = elsewhere(&source, &any_rotation(&mut random), [448_262.0, 5.0e6, 117.0]);
    let target = elsewhere(&target, &any_rotation(&mut random), [448_900.0, 5.0e6, 95.0]);
    let of_source = canonical_cloud(&source, "source").unwrap();
    let of_target = canonical_cloud(&target, "target").unwrap();
    let pair = CanonicalPair { source: &of_source, target: &of_target };
    for (i, point) in pair.source.points.iter().enumerate() {
        let back = in_the_file(pair.source, pair.source.unit, &vector(point));
        assert!((back - Vector3::from(source.point(i))).amax() < 2e-6, "{i}");
    }
    let canonical = RigidTransform::new(*any_rotation(&mut random).matrix(), Vector3::new(0.3, -0.2, 0.7));
    let found = pair.to_file_frames(&canonical);
    for point in &*pair.source.points_in(pair.unit()) {
        let there = found.apply(&in_the_file(pair.source, pair.unit(), &vector(point)));
        let expected = in_the_file(pair.target, pair.unit(), &canonical.apply(&vector(point)));
        assert!((there - expected).amax() < 1e-8, "{there} {expected}");
    }
}

/// What is said of a cloud that cannot be registered, as the source and as the target.
fn refusal(cloud: &Cloud) -> String {
    let said = |role| canonical_cloud(cloud, role).expect_err("refused").to_string();
    let (as_source, as_target) = (said("source"), said("target"));
    let reason = as_source.strip_prefix("the source cloud ").expect("names the source").to_owned();
    assert_eq!(as_target, format!("the target cloud {reason}"));
    reason
}

#[test]
fn clouds_that_cannot_be_registered_are_refused() {
    let points = scan(500, 4);
    let few = refusal(&Cloud::from_f32(points[..MINIMUM_POINTS - 1].to_vec()));
    assert!(few.starts_with("has 49 usable points (0 of 49 are NaN, infinite or strays)"), "{few}");
    let holes = [vec![[f32::NAN; 3]; 100], points[..20].to_vec()].concat();
    let few = refusal(&Cloud::from_f32(holes));
    assert!(few.starts_with("has 20 usable points (100 of 120 are NaN, infinite or strays)"), "{few}");
    assert!(refusal(&Cloud::default()).starts_with("has 0 usable points"));
    let huge: Vec<[f64; 3]> = points.iter().map(|p| p.map(|x| f64::from(x) * 1e200)).collect();
    let beyond_f32 = refusal(&Cloud::from_f64(&huge));
    assert!(beyond_f32.starts_with("has 0 usable points"), "{beyond_f32}");

    let denormal = points.iter().map(|p| p.map(|x| x * 1e-40)).collect();
    let flickering: Vec<Point> = (0..100).map(|i| [1e6, f32::from(i % 2 == 0) * 1e-3, 0.0]).collect();
    for extentless in [vec![[1.0, 2.0, 3.0]; 500], vec![[0.0; 3]; 500], denormal, flickering] {
        assert!(refusal(&Cloud::from_f32(extentless)).starts_with("has no extent"));
    }
}

#[test]
fn extreme_coordinates_are_brought_into_range() {
    assert_eq!(canonical(&scan(500, 6)[..MINIMUM_POINTS]).points.len(), MINIMUM_POINTS);
    for scale in [5e37, 1e-28] {
        let cloud: Vec<Point> = scan(500, 7).iter().map(|p| p.map(|x| x * scale)).collect();
        assert!(canonical(&cloud).points.iter().flatten().all(|x| x.abs() < 10.0), "{scale}");
    }
    // Flat and straight clouds have a frame too.
    for kept in [[1.0, 1.0, 0.0], [0.0, 0.0, 1.0]] {
        let cloud: Vec<Point> =
            scan(500, 8).iter().map(|p| std::array::from_fn(|k| p[k] * kept[k])).collect();
        assert!(canonical(&cloud).points.iter().flatten().all(|x| x.is_finite()));
    }
}

#[test]
fn the_number_of_threads_does_not_show() {
    for points in [scan(60_000, 9), scan(40_000, 10)] {
        let [one, two] = one_and_two_threads().map(|cpu| cpu.run(|| canonical(&points)));
        assert_eq!(one.points, two.points);
        assert_eq!(one.cloud_from_canonical, two.cloud_from_canonical);
    }
}
