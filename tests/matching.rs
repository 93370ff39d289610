//! Mutual nearest neighbours.

mod common;

use std::iter::zip;

use common::found::{on_every_backend, on_every_device, on_one_device};
use common::{Golden, one_and_two_threads, random};
use coregister::stages::matching::{Match, MatchMutual};
use rand::RngExt;

fn matched<B: MatchMutual>(backend: &B, source: &[f32], target: &[f32], width: usize) -> Vec<Match> {
    let (source, target) = (backend.upload(source).unwrap(), backend.upload(target).unwrap());
    backend.download(&backend.match_mutual(&[(&source, width)], &[(&target, width)]).unwrap()).unwrap()
}

fn product(a: &[f32], b: &[f32]) -> f64 {
    a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum()
}

/// Whole steps of 2⁻¹⁴, as the contract has them, so that products are exact.
fn in_steps(rows: &[f32]) -> Vec<f32> {
    let steps = |x: f32| (f64::from(x) * 16384.0).round_ties_even().clamp(-16383.0, 16383.0) as f32;
    rows.iter().map(|&x| if x.is_nan() { 0.0 } else { steps(x) }).collect()
}

/// The row of `rows` with the largest positive product, the first of equals.
fn nearest(row: &[f32], rows: &[f32], width: usize) -> Option<u32> {
    let mut best = (None, 0.0);
    for (i, other) in rows.chunks(width).enumerate() {
        let product = product(row, other);
        if product > best.1 {
            best = (Some(i as u32), product);
        }
    }
    best.0
}

fn brute_force(source: &[f32], target: &[f32], width: usize) -> Vec<Match> {
    let (source, target) = (in_steps(source), in_steps(target));
    let of_target: Vec<_> = target.chunks(width).map(|row| nearest(row, &source, width)).collect();
    let mutual = |(s, row)| {
        let t = nearest(row, &target, width)?;
        (of_target[t as usize] == Some(s)).then_some([s, t])
    };
    (0..).zip(source.chunks(width)).filter_map(mutual).collect()
}

/// `count` random rows of unit length.
fn unit_rows(count: usize, width: usize, seed: u64) -> Vec<f32> {
    let mut random = random(seed);
    let mut rows: Vec<f32> = (0..count * width).map(|_| random.random_range(-1.0..1.0)).collect();
    for row in rows.chunks_mut(width) {
        let length = product(row, row).sqrt() as f32;
        row.iter_mut().for_each(|x| *x /= length);
    }
    rows
}

/// Rows of few different values, whose products are often equal.
fn coarse_rows(count: usize, width: usize, seed: u64) -> Vec<f32> {
    let mut random = random(seed);
    (0..count * width).map(|_| 0.25 * random.random_range(-1..=1) as f32).collect()
}

const SIZES: [(usize, usize); 12] = [
    (1, 1),
    (1, 700),
    (700, 1),
    (2, 3),
    (95, 511),
    (96, 512),
    (97, 513),
    (193, 1025),
    (300, 40),
    (17, 1300),
    (0, 5),
    (5, 0),
];

fn check<B: MatchMutual>(backend: &B) {
    for (rows, columns) in SIZES {
        for width in [168, 32, 7] {
            let source = unit_rows(rows, width, 1);
            // Half of the target are noisy copies, so that there are true neighbours among the random ones.
            let mut target = unit_rows(columns, width, 2);
            for (target, source) in target.chunks_mut(2 * width).zip(source.chunks(width)) {
                target[..width].iter_mut().zip(source).for_each(|(t, s)| *t = 0.1 * *t + s);
            }
            let expected = brute_force(&source, &target, width);
            assert_eq!(matched(backend, &source, &target, width), expected, "{rows} × {columns} × {width}");
        }
    }
    assert!(matched(backend, &[], &[], 168).is_empty());
}

#[test]
fn equals_brute_force() {
    on_every_backend!(check);
}

fn check_ties<B: MatchMutual>(backend: &B) {
    for (rows, columns) in SIZES {
        for width in [1, 3, 6, 16] {
            let (source, target) = (coarse_rows(rows, width, 3), coarse_rows(columns, width, 4));
            let expected = brute_force(&source, &target, width);
            assert_eq!(matched(backend, &source, &target, width), expected, "{rows} × {columns} × {width}");
        }
    }
    let alike = [0.0, 0.3, -0.2, 0.5, 0.0].repeat(700);
    assert_eq!(matched(backend, &alike, &alike, 5), [[0, 0]], "all are equal");
}

#[test]
fn ties_go_to_the_lower_index() {
    on_every_backend!(check_ties);
}

/// Equal rows far apart, for numbers of rows just above those that fill whole tiles.
fn check_duplicates<B: MatchMutual>(backend: &B) {
    let width = 168;
    let (distinct, others) = (96, 512);
    for rest in [0, 1, 2, 3, 4, 5, 7, 9, 17, 31] {
        for (rows, columns) in [(96 + rest, 512 + rest), (192 + rest, 1024 + rest), (rest, 512), (97, rest)] {
            let (mut source, mut target) = (unit_rows(rows, width, 5), unit_rows(columns, width, 6));
            for later in distinct..rows {
                source.copy_within((later - distinct) * width..(later - distinct + 1) * width, later * width);
            }
            for later in others..columns {
                target.copy_within((later - others) * width..(later - others + 1) * width, later * width);
            }
            for [s, t] in matched(backend, &source, &target, width) {
                assert!(s < distinct as u32 && t < others as u32, "{rows} × {columns}: {s} {t}");
            }
            let itself: Vec<Match> = (0..rows.min(distinct) as u32).map(|i| [i, i]).collect();
            assert_eq!(matched(backend, &source, &source, width), itself, "{rows}");
        }
    }
}

#[test]
fn duplicates_match_at_the_lower_index() {
    one_and_two_threads().iter().for_each(check_duplicates);
    on_one_device!(check_duplicates);
}

/// Values that the steps cut off or round: half of a step to either side, and less than half, which leaves nothing.
fn check_steps<B: MatchMutual>(backend: &B) {
    let step = 1.0 / 16384.0;
    let (source, target) = (vec![1.0, 0.0, 0.0, 1.0], vec![0.5 * step, 1.5 * step, 1.5 * step, 0.5 * step]);
    assert_eq!(matched(backend, &source, &target, 2), [[0, 1], [1, 0]]);
    assert!(matched(backend, &source, &[0.49 * step; 4], 2).is_empty());
    assert_eq!(matched(backend, &[1.0, 0.0], &[2.0, 0.0, 7.0, 0.0], 2), [[0, 0]], "both are cut off at one");
    assert_eq!(matched(backend, &[1.0, 0.0], &[1.0, 0.0, 1.0 + 0.4 * step, 0.0], 2), [[0, 0]]);
}

#[test]
fn values_count_in_steps() {
    on_every_backend!(check_steps);
}

fn check_away<B: MatchMutual>(backend: &B) {
    let source = unit_rows(100, 20, 7);
    let opposite: Vec<f32> = source.iter().map(|x| -x).collect();
    assert!(matched(backend, &source[..20], &opposite[..20], 20).is_empty());
    assert!(matched(backend, &source, &vec![0.0; 40 * 20], 20).is_empty());
}

#[test]
fn rows_that_point_away_match_nothing() {
    on_every_backend!(check_away);
}

fn check_not_a_number<B: MatchMutual>(backend: &B) {
    let (mut source, target) = (unit_rows(300, 20, 7), unit_rows(1100, 20, 8));
    let expected = matched(backend, &source[20..], &target, 20);
    source[..20].fill(f32::NAN);
    let found = matched(backend, &source, &target, 20);
    assert_eq!(found, expected.iter().map(|[s, t]| [s + 1, *t]).collect::<Vec<_>>());
    assert!(matched(backend, &source[..20], &target, 20).is_empty());
}

#[test]
fn rows_that_are_not_numbers_match_nothing() {
    on_every_backend!(check_not_a_number);
}

/// Rows that differ from a few random ones in the last bits, so that rounding alone says which product is larger.
fn near_ties(count: usize, width: usize, seed: u64) -> Vec<f32> {
    let mut random = random(seed);
    let few = unit_rows(3, width, 9);
    let near = |i: usize| few[i % (3 * width)] * (1.0 + f32::EPSILON * random.random_range(-2..=2) as f32);
    (0..count * width).map(near).collect()
}

/// Rows with values as large and as small as they come.
fn extreme_rows(count: usize, width: usize, seed: u64) -> Vec<f32> {
    const VALUES: [f32; 8] = [0.0, -0.0, 1e-45, -1e-30, 1.0, -3e19, f32::MAX, f32::INFINITY];
    let mut random = random(seed);
    (0..count * width).map(|_| VALUES[random.random_range(0..VALUES.len())]).collect()
}

#[test]
fn agrees_with_the_cpu() {
    let [cpu, _] = one_and_two_threads();
    for (rows, columns) in SIZES {
        for (width, of) in
            [(168, near_ties as fn(usize, usize, u64) -> _), (40, near_ties), (3, extreme_rows)]
        {
            let (source, target) = (of(rows, width, 10), of(columns, width, 11));
            let expected = matched(&cpu, &source, &target, width);
            on_every_device!(|device| {
                assert_eq!(
                    matched(device, &source, &target, width),
                    expected,
                    "{rows} × {columns} × {width}"
                );
            });
        }
    }
}

/// Descriptions of so many keypoints, and how long their rows are.
struct Described {
    parts: Vec<Vec<f32>>,
    widths: Vec<usize>,
}

impl Described {
    fn new(count: usize, widths: &[usize], seed: u64) -> Self {
        let part = |(i, &width): (usize, &usize)| coarse_rows(count, width, seed + i as u64);
        Self { parts: widths.iter().enumerate().map(part).collect(), widths: widths.to_vec() }
    }

    fn upload<B: MatchMutual>(&self, backend: &B) -> Vec<(B::Buffer<f32>, usize)> {
        zip(&self.parts, &self.widths).map(|(part, &width)| (backend.upload(part).unwrap(), width)).collect()
    }

    /// All rows side by side.
    fn joined(&self, count: usize) -> Vec<f32> {
        let row = |i: usize| zip(&self.parts, &self.widths).flat_map(move |(part, &w)| &part[i * w..][..w]);
        (0..count).flat_map(row).copied().collect()
    }
}

/// Matches of descriptions side by side are those of the rows that they make up.
fn check_parts<B: MatchMutual>(backend: &B) {
    for (rows, columns) in [(0, 5), (1, 1), (333, 200)] {
        for widths in [&[64][..], &[3, 64], &[30, 1, 3], &[3, 64, 1, 30]] {
            let [source, target] =
                [(rows, 10), (columns, 20)].map(|(n, seed)| Described::new(n, widths, seed));
            let [of_source, of_target] = [source.upload(backend), target.upload(backend)];
            let [of_source, of_target] = [&of_source, &of_target]
                .map(|parts| parts.iter().map(|(part, width)| (part, *width)).collect::<Vec<_>>());
            let found = backend.download(&backend.match_mutual(&of_source, &of_target).unwrap()).unwrap();
            let width = widths.iter().sum();
            let expected = matched(backend, &source.joined(rows), &target.joined(columns), width);
            assert_eq!(found, expected, "{rows} × {columns}, {widths:?}");
            assert!(rows < 100 || found.len() > 10, "{} matches", found.len());
        }
    }
    assert!(backend.download(&backend.match_mutual(&[], &[]).unwrap()).unwrap().is_empty());
}

#[test]
fn descriptions_are_matched_side_by_side() {
    on_every_backend!(check_parts);
}

/// By how much the nearest row is nearer than the second nearest.
fn margin(row: &[f32], rows: &[f32], width: usize) -> f64 {
    let mut distances: Vec<f64> =
        rows.chunks(width).map(|other| (2.0 - 2.0 * product(row, other)).max(0.0).sqrt()).collect();
    distances.sort_by(f64::total_cmp);
    distances[1] - distances[0]
}

fn check_reference<B: MatchMutual>(backend: &B) {
    const WIDTH: usize = 32;
    for scale in 0..3 {
        let golden = Golden::open(&format!("scale{scale}"));
        let (source, target) = (golden.floats("src_desc"), golden.floats("tgt_desc"));
        let found = matched(backend, &source, &target, WIDTH);
        let pairs = golden.integers("match_src").into_iter().zip(golden.integers("match_tgt"));
        let expected: Vec<Match> = pairs.map(|(s, t)| [s, t]).collect();
        assert!(expected.len() > 50);
        let of_one_only = |a: &[Match], b: &[Match]| -> Vec<Match> {
            a.iter().filter(|pair| !b.contains(pair)).copied().collect()
        };
        for [s, t] in [of_one_only(&found, &expected), of_one_only(&expected, &found)].concat() {
            let row = |rows: &[f32], i: u32| rows[i as usize * WIDTH..][..WIDTH].to_vec();
            let margin =
                margin(&row(&source, s), &target, WIDTH).min(margin(&row(&target, t), &source, WIDTH));
            assert!(margin < 1e-3, "scale {scale}: {s} {t}, margin {margin}");
        }
    }
}

#[test]
#[ignore = "needs COREGISTER_TESTDATA"]
fn equals_the_reference() {
    let [_, cpu] = one_and_two_threads();
    check_reference(&cpu);
    on_one_device!(check_reference);
}
