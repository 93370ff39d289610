//! The angle about the axis.

mod common;

use std::f32::consts::TAU;

use common::found::{on_every_backend, on_every_device, on_one_device};
use common::{Golden, one_and_two_threads, random};
use coregister::stages::azimuth::AlignAzimuth;
use coregister::stages::describe::{AZIMUTHS, RINGS};
use coregister::stages::matching::Match;
use rand::RngExt;

/// Angles of the matches, in cells.
fn cells<B: AlignAzimuth>(
    backend: &B,
    source: &[f32],
    target: &[f32],
    rings: usize,
    matches: &[Match],
) -> Vec<f32> {
    let (source, target) = (backend.upload(source).unwrap(), backend.upload(target).unwrap());
    let matches = backend.upload(matches).unwrap();
    let angles = backend.align_azimuth(&source, &target, rings, &matches).unwrap();
    let angles = backend.download(&angles).unwrap();
    assert!(angles.iter().all(|angle| (0.0..TAU).contains(angle)), "{angles:?}");
    angles.iter().map(|angle| angle * AZIMUTHS as f32 / TAU).collect()
}

/// Distance on the circle of cells.
fn apart(a: f32, b: f32) -> f32 {
    let difference = (a - b).rem_euclid(AZIMUTHS as f32);
    difference.min(AZIMUTHS as f32 - difference)
}

/// `count` maps in which no two rings are alike: a few waves of random size and phase, turned by `turn` cells.
fn waves(count: usize, rings: usize, turn: f32, seed: u64) -> Vec<f32> {
    let mut random = random(seed);
    let mut map = Vec::new();
    for _ in 0..count * rings {
        let waves: Vec<(f32, f32)> =
            (0..4).map(|_| (random.random_range(0.0..1.0), random.random_range(0.0..TAU))).collect();
        let value = |cell: usize| -> f32 {
            let angle = (cell as f32 - turn) * TAU / AZIMUTHS as f32;
            (1..).zip(&waves).map(|(k, (size, phase))| size * (k as f32 * angle + phase).cos()).sum()
        };
        map.extend((0..AZIMUTHS).map(value));
    }
    map
}

fn check_shifts<B: AlignAzimuth>(backend: &B) {
    let matches = [[0, 0], [2, 2], [1, 1], [2, 2]];
    for rings in [1, 3, RINGS, 32 * 7] {
        let source = waves(3, rings, 0.0, 1);
        for turn in 0..AZIMUTHS {
            let target = waves(3, rings, turn as f32, 1);
            let found = cells(backend, &source, &target, rings, &matches);
            assert_eq!(found.len(), matches.len());
            assert!(found.iter().all(|found| apart(*found, turn as f32) < 1e-3), "{turn}: {found:?}");
        }
        // The parabola misses the peak of a wave by a little between the cells.
        for turn in [0.25, 0.4, 7.7, 12.5, 19.3, 19.75, 19.99] {
            let target = waves(3, rings, turn, 1);
            let found = cells(backend, &source, &target, rings, &matches);
            assert!(found.iter().all(|found| apart(*found, turn) < 0.06), "{turn}: {found:?}");
        }
    }
    assert!(cells(backend, &waves(1, 2, 0.0, 1), &waves(1, 2, 0.0, 1), 2, &[]).is_empty());
}

#[test]
fn turned_maps_give_the_turn() {
    on_every_backend!(check_shifts);
}

/// The contract, word for word, of one match.
fn brute_force(source: &[f32], target: &[f32]) -> f64 {
    let sum = |shift: usize| -> f64 {
        let ring = |(s, t): (&[f32], &[f32])| -> f64 {
            (0..AZIMUTHS).map(|k| f64::from(s[k]) * f64::from(t[(k + shift) % AZIMUTHS])).sum()
        };
        source.chunks(AZIMUTHS).zip(target.chunks(AZIMUTHS)).map(ring).sum()
    };
    let sums: Vec<f64> = (0..AZIMUTHS).map(sum).collect();
    let highest = sums.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let top = sums.iter().position(|sum| *sum == highest).unwrap();
    let (before, after) = (sums[(top + AZIMUTHS - 1) % AZIMUTHS], sums[(top + 1) % AZIMUTHS]);
    let curvature = before - 2.0 * highest + after;
    top as f64 + if curvature < 0.0 { 0.5 * (before - after) / curvature } else { 0.0 }
}

/// Small integers keep every sum exact, and bring ties.
fn check_ties<B: AlignAzimuth>(backend: &B) {
    let mut random = random(2);
    for rings in [1, 2, 5] {
        let size = rings * AZIMUTHS;
        let mut map = || -> Vec<f32> { (0..50 * size).map(|_| random.random_range(-1..=1) as f32).collect() };
        let (source, mut target) = (map(), map());
        for ring in target.chunks_mut(AZIMUTHS).take(20 * rings) {
            ring.copy_within(..10, 10); // every sum comes twice
        }
        let matches: Vec<Match> = (0..50).map(|i| [49 - i, i]).collect();
        let found = cells(backend, &source, &target, rings, &matches);
        for (&[s, t], found) in matches.iter().zip(found) {
            let row = |maps: &[f32], i: u32| maps[i as usize * size..][..size].to_vec();
            let expected = brute_force(&row(&source, s), &row(&target, t));
            assert!(apart(found, expected as f32) < 1e-4, "{s} {t}: {found} {expected}");
            assert!(t >= 20 || found <= 10.0 || found > 19.0, "{found}");
        }
    }
}

#[test]
fn the_lowest_of_equal_peaks_is_taken() {
    on_every_backend!(check_ties);
}

fn check_flat<B: AlignAzimuth>(backend: &B) {
    let size = RINGS * AZIMUTHS;
    let flat = [vec![0.0; size], vec![0.5; size], waves(1, RINGS, 0.0, 3)].concat();
    let found = cells(backend, &flat, &flat, RINGS, &[[0, 0], [1, 1], [0, 2], [2, 0], [0, 1]]);
    assert_eq!(found, [0.0; 5]);
}

#[test]
fn flat_maps_give_no_turn() {
    on_every_backend!(check_flat);
}

/// An asymmetry far below a cell, on either side of zero.
fn check_end_of_range<B: AlignAzimuth>(backend: &B) {
    let peak = |turn: f32| -> Vec<f32> {
        (0..AZIMUTHS).map(|k| ((k as f32 - turn) * TAU / AZIMUTHS as f32).cos()).collect()
    };
    let mut targets = Vec::new();
    for turn in [0.0, 1e-8, -1e-8, 1e-7, -1e-7, 1e-6, -1e-6, 1e-5, -1e-5] {
        targets.extend(peak(turn));
    }
    let mut delta = vec![0.0; AZIMUTHS];
    delta[0] = 1.0;
    let matches: Vec<Match> = (0..9).map(|i| [0, i]).collect();
    for found in cells(backend, &delta, &targets, 1, &matches) {
        assert!(apart(found, 0.0) < 1e-3, "{found}");
    }
    // The parabola's vertex lies a billionth of a cell before zero.
    let mut barely = delta.clone();
    barely[AZIMUTHS - 1] = 4e-9;
    assert!(apart(cells(backend, &delta, &barely, 1, &[[0, 0]])[0], 0.0) < 1e-3);
}

#[test]
fn a_full_turn_is_none() {
    on_every_backend!(check_end_of_range);
}

/// To the bit: all devices sum up in one order.
#[test]
fn agrees_with_the_cpu() {
    let [cpu, _] = one_and_two_threads();
    let mut random = random(4);
    for (count, rings) in [(1, 1), (7, RINGS), (8, 9), (40, 32 * 7)] {
        let mut maps = waves(count, rings, 0.3, 5);
        if count > 7 {
            // Sums beyond f32, and some that are not numbers.
            maps[..3 * rings * AZIMUTHS].iter_mut().for_each(|x| *x *= 1e25);
            maps[4 * rings * AZIMUTHS] = f32::NAN;
        }
        let mut index = || random.random_range(0..count as u32);
        let matches: Vec<Match> = (0..count + 13).map(|_| [index(), index()]).collect();
        let expected = cells(&cpu, &maps, &maps, rings, &matches);
        on_every_device!(|device| {
            assert_eq!(cells(device, &maps, &maps, rings, &matches), expected, "{count} {rings}");
        });
    }
}

fn check_reference<B: AlignAzimuth>(backend: &B) {
    // Thirty-two channels of one ring each, with the same correlation and the same parabola.
    let golden = Golden::open_file("prototypes/compact/golden_compact.safetensors");
    let equivariant = golden.floats("equi");
    let matches: Vec<Match> = golden.integers("azi_a").into_iter().map(|i| [i, i + 32]).collect();
    let found = cells(backend, &equivariant, &equivariant, 32, &matches);
    for (i, (found, expected)) in found.iter().zip(golden.floats("azi_shift")).enumerate() {
        // The last patches are empty.
        assert!(i > 29 || apart(*found, expected) < 1e-3, "{i}: {found} {expected}");
    }
    // Here the score sees seven rows of elevation and we are given five of them.
    let golden = Golden::open("scale1");
    let (source, target) = (golden.floats("match_src_equi"), golden.floats("match_tgt_equi"));
    let scores = golden.floats("equimatch_score");
    let matches: Vec<Match> = (0..scores.len() as u32 / AZIMUTHS as u32).map(|i| [i, i]).collect();
    let found = cells(backend, &source, &target, 32 * 5, &matches);
    let agrees = |(found, scores): (&f32, &[f32])| {
        let highest = scores.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        apart(*found, scores.iter().position(|score| *score == highest).unwrap() as f32) < 0.51
    };
    let agreeing = found.iter().zip(scores.chunks(AZIMUTHS)).filter(|pair| agrees(*pair)).count();
    assert!(agreeing * 10 >= matches.len() * 9, "{agreeing} of {}", matches.len());
}

#[test]
#[ignore = "needs COREGISTER_TESTDATA"]
fn equals_the_reference() {
    let [_, cpu] = one_and_two_threads();
    check_reference(&cpu);
    on_one_device!(check_reference);
}
