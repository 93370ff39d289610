//! Voxel downsampling.

mod common;

use std::collections::{HashMap, HashSet};

use common::found::{on_every_backend, on_every_device, on_one_device};
use common::{beyond_f32, cube, dice, lattice, one_and_two_threads, room};
use coregister::cloud::Point;
use coregister::stages::voxel::VoxelDownsample;

fn lowest(points: &[Point]) -> Point {
    points.iter().fold([f32::INFINITY; 3], |low, p| [0, 1, 2].map(|k| low[k].min(p[k])))
}

/// The cell of a point, by the contract's arithmetic.
fn cell(point: &Point, lowest: &Point, size: f32) -> [u32; 3] {
    [0, 1, 2].map(|k| ((point[k] - lowest[k]) / size) as u32)
}

/// Means of the occupied cells, in no particular order.
fn brute_force(points: &[Point], size: f32) -> HashMap<[u32; 3], Point> {
    let lowest = lowest(points);
    let mut sums = HashMap::<[u32; 3], (Point, u32)>::new();
    for point in points {
        let cell = cell(point, &lowest, size);
        let (sum, count) = sums.entry(cell).or_default();
        let centre = [0, 1, 2].map(|k| lowest[k] + (cell[k] as f32 + 0.5) * size);
        *sum = [0, 1, 2].map(|k| sum[k] + (point[k] - centre[k]));
        *count += 1;
    }
    let mean = |(cell, (sum, count)): ([u32; 3], (Point, u32))| {
        (cell, [0, 1, 2].map(|k| (lowest[k] + (cell[k] as f32 + 0.5) * size) + sum[k] / count as f32))
    };
    sums.into_iter().map(mean).collect()
}

fn downsampled<B: VoxelDownsample>(backend: &B, points: &[Point], size: f32) -> Vec<Point> {
    let points = backend.upload(points).unwrap();
    backend.download(&backend.voxel_downsample(&points, size).unwrap()).unwrap()
}

fn size_for<B: VoxelDownsample>(backend: &B, points: &[Point], wanted: usize) -> f32 {
    backend.voxel_size(&backend.upload(points).unwrap(), wanted).unwrap()
}

fn bits(points: &[Point]) -> HashSet<[u32; 3]> {
    points.iter().map(|point| point.map(f32::to_bits)).collect()
}

fn check_means<B: VoxelDownsample>(backend: &B) {
    for (name, points, size) in [
        ("room", room(30_000, 1), 0.1),
        ("fine", room(30_000, 1), 0.002),
        ("one cell", room(3000, 1), 10.0),
        ("cube", cube(5000, 7.0, 2), 0.5),
        ("lattice", lattice(10), 1.0),
        ("all equal", vec![[1.0, 2.0, 3.0]; 5000], 0.1),
        ("one", vec![[1.0, 2.0, 3.0]], 0.1),
        ("two", vec![[1.0, 2.0, 3.0], [2.0, 2.0, 3.0]], 0.1),
        ("small", cube(5000, 1e-30, 3), 1e-31),
    ] {
        let found = downsampled(backend, &points, size);
        let expected: Vec<Point> = brute_force(&points, size).into_values().collect();
        assert_eq!(found.len(), expected.len(), "{name}");
        assert_eq!(bits(&found), bits(&expected), "{name}");
    }
    for count in 1..50 {
        let points = dice(count, count as u64);
        let expected: Vec<Point> = brute_force(&points, 1.5).into_values().collect();
        assert_eq!(bits(&downsampled(backend, &points, 1.5)), bits(&expected), "{count} dice");
    }
    assert!(downsampled(backend, &[], 0.1).is_empty());
}

#[test]
fn means_equal_brute_force() {
    on_every_backend!(check_means);
}

#[test]
fn the_number_of_threads_does_not_show() {
    let [one, two] = one_and_two_threads();
    let points = room(100_000, 1);
    let size = size_for(&one, &points, 10_000);
    assert_eq!(size, size_for(&two, &points, 10_000));
    assert_eq!(downsampled(&one, &points, size), downsampled(&two, &points, size));
}

/// To the bit and in the same order, so that what else is checked on the CPU alone, for its time, holds here as well.
fn agrees_with_the_cpu<B: VoxelDownsample>(backend: &B) {
    let [cpu, _] = one_and_two_threads();
    let far = room(3000, 2).iter().map(|p| p.map(|x| x - 1e4)).collect();
    let outlier = [room(3000, 3), vec![[1e6, -1e5, 2e4]]].concat();
    let mirrored = cube(3000, 1.0, 4).iter().map(|p| p.map(|x| -x.abs())).collect();
    for (name, points) in [
        ("room", room(10_000, 1)),
        ("duplicates", [room(2000, 4), room(2000, 4)].concat()),
        ("far", far),
        ("outlier", outlier),
        ("negative", mirrored),
        ("lattice", lattice(12)),
        ("dice", dice(1000, 5)),
        ("zeros of both signs", vec![[0.0, -0.0, 0.0], [-0.0, 0.0, 1.0], [1.0, -0.0, -0.0]]),
        ("huge", cube(1000, 3e38, 1)),
        ("denormal", cube(1000, 1e-40, 1)),
        ("beyond f32", beyond_f32()),
        ("all equal", vec![[1.0, 2.0, 3.0]; 1025]),
        ("one", vec![[1.0, 2.0, 3.0]]),
        ("none", vec![]),
    ] {
        for wanted in [100, 3000] {
            let expected = size_for(&cpu, &points, wanted);
            assert_eq!(size_for(backend, &points, wanted), expected, "{name}");
            for size in [expected.max(f32::MIN_POSITIVE), 0.3] {
                // All NaN are alike: devices have different ones.
                let bits_of = |x: f32| if x.is_nan() { f32::NAN } else { x }.to_bits();
                let bits = |points: Vec<Point>| points.concat().into_iter().map(bits_of).collect::<Vec<_>>();
                let found = bits(downsampled(backend, &points, size));
                assert_eq!(found, bits(downsampled(&cpu, &points, size)), "{name}, {size}");
            }
        }
    }
}

#[test]
fn devices_agree_with_the_cpu() {
    on_every_device!(agrees_with_the_cpu);
}

/// Too fine a grid grows to 2²¹ cells along the longest axis.
fn check_extremes<B: VoxelDownsample>(backend: &B) {
    let ends = [[0.0, 0.0, 0.0], [1.0, 0.0, 0.0], [1e-4, 0.0, 0.0]];
    assert_eq!(downsampled(backend, &ends, 1e-30).len(), 3);
    assert_eq!(downsampled(backend, &[[0.0; 3], [1.0; 3], [1e-8; 3]], 1e-30).len(), 2);
    // Extents beyond f32, which the contract leaves out, and cells near its least number: some answer.
    assert!(!downsampled(backend, &beyond_f32(), 1.0).is_empty());
    assert_eq!(size_for(backend, &beyond_f32(), 100), 0.0);
    for (edge, size) in [(3e38, 1.0), (3e38, 1e38), (1e-40, 1e-45), (1e-40, 1.0)] {
        let points = cube(1000, edge, 1);
        assert!(downsampled(backend, &points, size).len() <= points.len());
        assert!(size_for(backend, &points, 100) >= 0.0);
    }
    assert_eq!(downsampled(backend, &cube(1000, 1e-40, 1), 1.0).len(), 1);
}

#[test]
fn extremes_do_not_panic() {
    on_every_backend!(check_extremes);
}

/// Every prefix is a fair sample: the mean of a short prefix is near the mean of the whole.
fn check_order<B: VoxelDownsample>(backend: &B) {
    let found = downsampled(backend, &room(100_000, 1), 0.05);
    let mean = |points: &[Point]| {
        [0, 1, 2].map(|k| points.iter().map(|p| f64::from(p[k])).sum::<f64>() / points.len() as f64)
    };
    let (whole, prefix) = (mean(&found), mean(&found[..1000]));
    for k in 0..3 {
        // Five standard errors of a uniform coordinate.
        let extent = [6.0, 4.0, 2.5][k];
        assert!(
            (whole[k] - prefix[k]).abs() < 5.0 * extent / (12.0f64 * 1000.0).sqrt(),
            "{whole:?} {prefix:?}"
        );
    }
}

#[test]
fn prefixes_are_fair_samples() {
    one_and_two_threads().iter().for_each(check_order);
}

fn check_invariance<B: VoxelDownsample>(backend: &B) {
    let points = room(20_000, 1);
    let size = size_for(backend, &points, 5000);
    let found = downsampled(backend, &points, size);
    let scaled = |k: f32| points.iter().map(|p| p.map(|x| x * k)).collect::<Vec<_>>();
    for k in [0.5, 1024.0, 2.0f32.powi(-40), 2.0f32.powi(60)] {
        assert_eq!(size_for(backend, &scaled(k), 5000), k * size, "{k}");
        let expected: Vec<Point> = found.iter().map(|p| p.map(|x| x * k)).collect();
        assert_eq!(downsampled(backend, &scaled(k), k * size), expected, "{k}");
    }
    // Other factors round, so a few points may change their cell.
    for k in [0.001, 1000.0] {
        assert!((size_for(backend, &scaled(k), 5000) / (k * size) - 1.0).abs() < 0.02, "{k}");
        let count = downsampled(backend, &scaled(k), k * size).len() as f32;
        assert!((count / found.len() as f32 - 1.0).abs() < 0.01, "{k}");
    }
    // A shift that f32 holds exactly changes nothing but the shift.
    let coarse = |x: f32| (x * 1024.0).round() / 1024.0;
    let points: Vec<Point> = points.iter().map(|p| p.map(coarse)).collect();
    let shifted: Vec<Point> = points.iter().map(|p| p.map(|x| x + 512.0)).collect();
    let (here, there) = (downsampled(backend, &points, 0.125), downsampled(backend, &shifted, 0.125));
    assert_eq!(here.len(), there.len());
    for (a, b) in here.iter().zip(&there) {
        assert!((0..3).all(|k| (a[k] + 512.0 - b[k]).abs() < 1e-4), "{a:?} {b:?}");
    }
}

/// Scan lines far apart: the size grows until cells reach from line to line, however many points are wanted.
fn check_scan_lines<B: VoxelDownsample>(backend: &B) {
    let lines: Vec<Point> =
        (0..40).flat_map(|line| (0..2000).map(move |i| [i as f32 * 0.02, line as f32, 0.0])).collect();
    let size = size_for(backend, &lines, 15_000);
    assert!((0.3..=2.0).contains(&size), "{size}: lines are 1 apart, points on them 0.02");
}

#[test]
fn scan_lines_are_joined() {
    one_and_two_threads().iter().for_each(check_scan_lines);
    on_one_device!(check_scan_lines);
}

#[test]
fn scale_and_place_of_the_cloud_do_not_matter() {
    one_and_two_threads().iter().for_each(check_invariance);
    on_one_device!(check_invariance);
}

fn check_size<B: VoxelDownsample>(backend: &B) {
    let unequal = [room(50_000, 2), cube(50_000, 0.05, 3)].concat();
    let outlier = [room(50_000, 2), vec![[1e3, 1e3, -1e3]]].concat();
    for (name, points) in [
        ("room", room(100_000, 1)),
        ("cube", cube(100_000, 3.0, 1)),
        ("lattice", lattice(40)),
        ("dense spot", unequal),
        ("outlier", outlier),
        ("duplicates", [room(30_000, 4), room(30_000, 4)].concat()),
    ] {
        for wanted in [100, 2000, 15_000] {
            let size = size_for(backend, &points, wanted);
            let ratio = downsampled(backend, &points, size).len() as f32 / wanted as f32;
            // Twice as many points as wanted stand far apart at that size: it may grow by one step.
            let least = if name == "duplicates" { 0.6 } else { 0.8 };
            assert!((least..=1.25).contains(&ratio), "{name}, {wanted}: {ratio}");
        }
    }
}

#[test]
fn the_size_leaves_the_wanted_number() {
    one_and_two_threads().iter().for_each(check_size);
}

fn check_size_of_small_clouds<B: VoxelDownsample>(backend: &B) {
    for count in [2, 3, 10, 1000] {
        let points = room(count, 1);
        let size = size_for(backend, &points, 20_000);
        assert!(size > 0.0 && 2 * downsampled(backend, &points, size).len() > count, "{count}");
    }
    assert_eq!(size_for(backend, &[], 100), 0.0);
    assert_eq!(size_for(backend, &[[1.0; 3]], 100), 0.0);
    assert_eq!(size_for(backend, &[[1.0; 3]; 50], 100), 0.0);
    assert!(size_for(backend, &room(100, 1), 0) > 0.0);
    assert!(size_for(backend, &room(100, 1), 1) > 0.0);
}

#[test]
fn small_clouds_keep_most_of_their_points() {
    on_every_backend!(check_size_of_small_clouds);
}
