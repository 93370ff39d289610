//! The classic descriptor.

mod common;

use std::f64::consts::TAU;

use common::found::{on_every_backend, on_every_device, on_one_device};
use common::patches::{
    Description, UPRIGHT, any_frames, circular_share, corners, distance, download_features, matrix,
    normalised, patches, share, turned, upload_patches, widened,
};
use common::{Golden, any_rotation, cube, one_and_two_threads, random};
use coregister::cloud::Point;
use coregister::stages::describe::classic::{CLASSIC_WIDTH, DescribeClassic, HARMONICS};
use coregister::stages::describe::{AZIMUTHS, ELEVATIONS, RADII, RINGS};
use coregister::stages::frame::Frame;
use coregister::stages::patch::PATCH_CAPACITY;
use nalgebra::{Rotation3, Vector3};
use rand::RngExt;

const MAP: usize = RINGS * AZIMUTHS;

fn described<B: DescribeClassic>(backend: &B, rows: &[Vec<Point>], frames: &[Frame]) -> Vec<Description> {
    let patches = upload_patches(backend, rows);
    let features = backend.describe_classic(&patches, backend.upload(frames).unwrap()).unwrap();
    assert_eq!((features.width, features.rings), (CLASSIC_WIDTH, RINGS));
    assert_eq!(backend.download(&features.frames).unwrap(), frames);
    download_features(backend, &features, rows.len(), MAP)
}

/// Points of every cell, spread over the neighbouring cells.
fn occupancy(points: &[Point], frame: &Frame) -> Vec<f64> {
    let mut cells = vec![0.0; MAP];
    for point in points {
        let p = matrix(frame).transpose() * Vector3::from(point.map(f64::from));
        let radius = p.norm();
        if radius <= 1e-4 {
            continue;
        }
        let shell = radius * RADII as f64 - 0.5;
        let band = (p.z / radius + 1.0) / 2.0 * ELEVATIONS as f64 - 0.5;
        let sector = p.y.atan2(p.x) / TAU * AZIMUTHS as f64;
        for (i, cell) in cells.iter_mut().enumerate() {
            *cell += share(shell, i / AZIMUTHS / ELEVATIONS, RADII)
                * share(band, i / AZIMUTHS % ELEVATIONS, ELEVATIONS)
                * circular_share(sector, i % AZIMUTHS, AZIMUTHS);
        }
    }
    cells
}

/// Both parts, by the formula, of an occupancy.
fn description_of(occupancy: &[f64]) -> (Vec<f64>, Vec<f64>) {
    let (mut invariant, mut equivariant) = (Vec::new(), Vec::new());
    for ring in occupancy.chunks(AZIMUTHS) {
        let ring: Vec<f64> = ring.iter().map(|x| x.sqrt()).collect();
        for harmonic in 0..HARMONICS {
            let part = |trigonometric: fn(f64) -> f64| -> f64 {
                let angle = |a: usize| TAU * (harmonic * a) as f64 / AZIMUTHS as f64;
                ring.iter().enumerate().map(|(a, x)| x * trigonometric(angle(a))).sum()
            };
            invariant.push(part(f64::cos).hypot(part(f64::sin)));
        }
        let mean = ring.iter().sum::<f64>() / AZIMUTHS as f64;
        equivariant.extend(ring.iter().map(|x| x - mean));
    }
    (normalised(invariant), normalised(equivariant))
}

fn check<B: DescribeClassic>(backend: &B) {
    let mut rows = patches(60, 1);
    rows.extend([cube(PATCH_CAPACITY, 1.1, 2), cube(3, 1.1, 3)]);
    let mut frames = any_frames(rows.len(), 4);
    rows.extend(corners());
    frames.resize(rows.len(), UPRIGHT);
    for (i, (invariant, equivariant)) in described(backend, &rows, &frames).iter().enumerate() {
        let expected = description_of(&occupancy(&rows[i], &frames[i]));
        // The square root makes much of a share that is nearly nothing.
        let tolerance = if rows[i].len() > 20 { 2e-4 } else { 2e-3 };
        let errors = [distance(invariant, expected.0), distance(equivariant, expected.1)];
        assert!(errors.iter().all(|error| *error < tolerance), "{i}: {errors:?}");
        for part in [invariant, equivariant] {
            assert!((widened(part).map(|x| x * x).sum::<f64>() - 1.0).abs() < 1e-5, "{i}");
        }
    }
}

#[test]
fn equals_the_formula() {
    on_every_backend!(check);
}

fn check_turns<B: DescribeClassic>(backend: &B) {
    let rows = patches(40, 5);
    let frames = any_frames(rows.len(), 6);
    let expected = described(backend, &rows, &frames);
    let mut random = random(7);
    for sector in 0..AZIMUTHS {
        for fraction in [0.0, random.random_range(0.05..0.95)] {
            let turn = Rotation3::from_axis_angle(
                &Vector3::z_axis(),
                TAU * (sector as f64 + fraction) / AZIMUTHS as f64,
            );
            let about_the_axis = |(row, frame): (&Vec<Point>, &Frame)| {
                turned(row, &(matrix(frame) * turn * matrix(frame).transpose()))
            };
            let turned: Vec<Vec<Point>> = rows.iter().zip(&frames).map(about_the_axis).collect();
            for (found, expected) in described(backend, &turned, &frames).iter().zip(&expected) {
                let error = distance(&found.0, widened(&expected.0));
                // Between the sectors a point is spread over two, on them it is not.
                let tolerance = if fraction == 0.0 { 5e-4 } else { 0.2 };
                assert!(error < tolerance, "{sector} {fraction}: {error}");
                if fraction == 0.0 {
                    let before = |i: usize| i - i % AZIMUTHS + (i + AZIMUTHS - sector) % AZIMUTHS;
                    let shifted = (0..MAP).map(|i| f64::from(expected.1[before(i)]));
                    let error = distance(&found.1, shifted);
                    assert!(error < 2e-3, "{sector}: {error}");
                }
            }
        }
    }
}

#[test]
fn turns_about_the_axis_shift_the_map() {
    one_and_two_threads().iter().for_each(check_turns);
    // Thousands of patches.
    on_one_device!(check_turns);
}

fn check_rotation<B: DescribeClassic>(backend: &B) {
    let rows = patches(40, 8);
    let frames = any_frames(rows.len(), 9);
    let expected = described(backend, &rows, &frames);
    let rotation = *any_rotation(&mut random(10)).matrix();
    let moved: Vec<Vec<Point>> = rows.iter().map(|row| turned(row, &rotation)).collect();
    let along = |frame: &Frame| -> Frame {
        let product = rotation * matrix(frame);
        std::array::from_fn(|i| product[(i / 3, i % 3)] as f32)
    };
    let along: Vec<Frame> = frames.iter().map(along).collect();
    for (found, expected) in described(backend, &moved, &along).iter().zip(&expected) {
        assert!(distance(&found.0, widened(&expected.0)) < 5e-4);
        assert!(distance(&found.1, widened(&expected.1)) < 2e-3);
    }
    // Other patches look different, or none of this would mean anything.
    let all = expected.iter().enumerate();
    let others = all.flat_map(|(i, a)| expected[..i].iter().map(|b| distance(&a.0, widened(&b.0))));
    let mut others: Vec<f64> = others.collect();
    others.sort_by(f64::total_cmp);
    assert!(others[others.len() / 2] > 0.2, "{}", others[others.len() / 2]);
}

#[test]
fn rotations_of_all_change_nothing() {
    on_every_backend!(check_rotation);
}

fn check_empty<B: DescribeClassic>(backend: &B) {
    let rows = [vec![], vec![[0.0; 3]; 100], vec![[1e-30, 0.0, -1e-30]]];
    for (invariant, equivariant) in described(backend, &rows, &[UPRIGHT; 3]) {
        assert_eq!(invariant, vec![0.0; CLASSIC_WIDTH]);
        assert_eq!(equivariant, vec![0.0; MAP]);
    }
    assert!(described(backend, &[], &[]).is_empty());
    // Alone on the axis: the same in every sector but for the two that share it.
    let [(invariant, equivariant)] = &described(backend, &[vec![[0.0, 0.0, 0.5]]], &[UPRIGHT])[..] else {
        panic!("one patch")
    };
    assert!(invariant.iter().chain(equivariant).all(|x| x.is_finite()));
}

#[test]
fn patches_without_points_give_zeros() {
    on_every_backend!(check_empty);
}

#[test]
fn agrees_with_the_cpu() {
    let mut rows = patches(20, 13);
    rows.extend([cube(PATCH_CAPACITY, 1.1, 14), cube(33, 0.3, 15), vec![[0.5, 0.3, 0.2]; PATCH_CAPACITY]]);
    let mut frames = any_frames(rows.len(), 16);
    rows.extend(corners());
    rows.extend([vec![], vec![[0.0; 3]], vec![[1e-30, 0.0, -1e-30]]]);
    frames.resize(rows.len(), UPRIGHT);
    let [cpu, _] = one_and_two_threads();
    let expected = described(&cpu, &rows, &frames);
    on_every_device!(|device| {
        assert_eq!(described(device, &rows, &frames), expected);
    });
}

#[test]
fn the_number_of_threads_does_not_show() {
    let rows = patches(100, 11);
    let frames = any_frames(100, 12);
    let [one, two] = one_and_two_threads().map(|cpu| described(&cpu, &rows, &frames));
    assert_eq!(one, two);
}

#[test]
#[ignore = "needs COREGISTER_TESTDATA"]
fn equals_the_reference() {
    const FEATURES: usize = 11;
    const ROW: usize = 511;
    let [_, cpu] = one_and_two_threads();
    let golden = Golden::open_file("prototypes/compact/golden_compact.safetensors");
    let (points, count) = (golden.points("patches"), golden.integers("count"));
    let row = |i: usize| points[i * ROW..][..count[i] as usize].to_vec();
    // The first feature of a cell of occupancy W is W / (W + 1); azimuths come first, then rings.
    let features = golden.floats("features8");
    for (i, patch) in features.chunks(MAP * FEATURES).enumerate() {
        let occupancy = |cell: usize| {
            let feature = f64::from(patch[(cell % AZIMUTHS * RINGS + cell / AZIMUTHS) * FEATURES]);
            feature / (1.0 - feature)
        };
        let expected = description_of(&(0..MAP).map(occupancy).collect::<Vec<_>>());
        let mut found = described(&cpu, &[row(i)], &[UPRIGHT]);
        on_one_device!(|device| found.extend(described(device, &[row(i)], &[UPRIGHT])));
        for (invariant, equivariant) in &found {
            let errors = [distance(invariant, expected.0.clone()), distance(equivariant, expected.1.clone())];
            assert!(errors.iter().all(|error| *error < 5e-4), "{i}: {errors:?}");
        }
    }
}
