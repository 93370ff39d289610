//! The classic descriptor.

mod common;

use std::f64::consts::TAU;

use common::{Golden, any_rotation, cube, one_and_two_threads, random, room};
use coregister::cloud::Point;
use coregister::stages::describe::{AZIMUTHS, CLASSIC_WIDTH, Describe, ELEVATIONS, HARMONICS, RADII, RINGS};
use coregister::stages::frame::Frame;
use coregister::stages::patch::{PATCH_CAPACITY, Patches};
use nalgebra::{Matrix3, Rotation3, Vector3};
use rand::RngExt;

const MAP: usize = RINGS * AZIMUTHS;
const UPRIGHT: Frame = [1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0];

/// Invariant and equivariant part of one patch.
type Description = (Vec<f32>, Vec<f32>);

fn described<B: Describe>(backend: &B, rows: &[Vec<Point>], frames: &[Frame]) -> Vec<Description> {
    let mut offsets = vec![[f32::NAN; 3]; rows.len() * PATCH_CAPACITY];
    for (slots, row) in offsets.chunks_mut(PATCH_CAPACITY).zip(rows) {
        slots[..row.len()].copy_from_slice(row);
    }
    let count: Vec<u32> = rows.iter().map(|row| row.len() as u32).collect();
    let (offsets, count) = (backend.upload(&offsets).unwrap(), backend.upload(&count).unwrap());
    let patches = Patches { offsets, count, radius: 1.0 };
    let features = backend.describe(&patches, backend.upload(frames).unwrap()).unwrap();
    assert_eq!((features.width, features.rings), (CLASSIC_WIDTH, RINGS));
    assert_eq!(backend.download(&features.frames).unwrap(), frames);
    let invariant = backend.download(&features.invariant).unwrap();
    let equivariant = backend.download(&features.equivariant).unwrap();
    assert_eq!((invariant.len(), equivariant.len()), (rows.len() * CLASSIC_WIDTH, rows.len() * MAP));
    let rows = invariant.chunks(CLASSIC_WIDTH).zip(equivariant.chunks(MAP));
    rows.map(|(invariant, equivariant)| (invariant.to_vec(), equivariant.to_vec())).collect()
}

fn matrix(frame: &Frame) -> Matrix3<f64> {
    Matrix3::from_fn(|r, c| f64::from(frame[3 * r + c]))
}

/// Share of a point at `position` (in cells, from the centre of cell 0) that belongs to cell `i` of `count`; what lies
/// beyond the centres of the first and the last cell belongs to them.
fn share(position: f64, i: usize, count: usize) -> f64 {
    (1.0 - (position.clamp(0.0, (count - 1) as f64) - i as f64).abs()).max(0.0)
}

/// The same where the last cell is followed by the first.
fn circular_share(position: f64, i: usize, count: usize) -> f64 {
    let apart = (position - i as f64).rem_euclid(count as f64);
    (1.0 - apart.min(count as f64 - apart)).max(0.0)
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

fn normalised(values: Vec<f64>) -> Vec<f64> {
    let norm = values.iter().map(|x| x * x).sum::<f64>().sqrt();
    if norm > 0.0 { values.iter().map(|x| x / norm).collect() } else { values }
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

/// Euclidean distance.
fn distance(a: &[f32], b: impl IntoIterator<Item = f64>) -> f64 {
    a.iter().zip(b).map(|(a, b)| (f64::from(*a) - b).powi(2)).sum::<f64>().sqrt()
}

fn widened(values: &[f32]) -> impl Iterator<Item = f64> {
    values.iter().map(|x| f64::from(*x))
}

/// Patches of a room: its points within 1 of some of its points.
fn patches(count: usize, seed: u64) -> Vec<Vec<Point>> {
    let points = room(4000, seed);
    let patch = |centre: &Point| -> Vec<Point> {
        let offsets = points.iter().map(|p| [0, 1, 2].map(|k| p[k] - centre[k]));
        let near = offsets.filter(|d| d.iter().map(|x| x * x).sum::<f32>() < 1.0);
        near.take(PATCH_CAPACITY).collect()
    };
    points[..count].iter().map(patch).collect()
}

fn any_frames(count: usize, seed: u64) -> Vec<Frame> {
    let mut random = random(seed);
    let mut frame = || any_rotation(&mut random);
    (0..count).map(|_| frame()).map(|r| std::array::from_fn(|i| r[(i / 3, i % 3)] as f32)).collect()
}

fn turned(points: &[Point], rotation: &Matrix3<f64>) -> Vec<Point> {
    let turn = |p: &Point| (rotation * Vector3::from(p.map(f64::from))).cast::<f32>().into();
    points.iter().map(turn).collect()
}

/// Points where the coordinates of a cell come to an end.
fn corners() -> Vec<Vec<Point>> {
    let axes = vec![
        [1.0, 0.0, 0.0],
        [-1.0, 0.0, 0.0],
        [-0.9, -0.0, 0.0],
        [0.0, 0.7, 0.0],
        [0.0, -0.7, 0.0],
        [0.0, 0.0, 0.5],
        [0.0, 0.0, -0.999],
        [0.5, -1e-9, 0.1],
        [0.5, -1e-30, 0.1],
    ];
    let middle = vec![[0.0; 3], [5e-5, 0.0, 5e-5], [2e-4, 0.0, 0.0], [0.1, 0.1, 0.0]];
    vec![axes, middle, vec![[0.3, -0.4, 0.2]]]
}

fn check<B: Describe>(backend: &B) {
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
    one_and_two_threads().iter().for_each(check);
}

fn check_turns<B: Describe>(backend: &B) {
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
}

fn check_rotation<B: Describe>(backend: &B) {
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
    one_and_two_threads().iter().for_each(check_rotation);
}

fn check_empty<B: Describe>(backend: &B) {
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
    one_and_two_threads().iter().for_each(check_empty);
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
        let (invariant, equivariant) = &described(&cpu, &[row(i)], &[UPRIGHT])[0];
        let errors = [distance(invariant, expected.0), distance(equivariant, expected.1)];
        assert!(errors.iter().all(|error| *error < 5e-4), "{i}: {errors:?}");
    }
}
