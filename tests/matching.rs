//! Mutual nearest neighbours, by vectors and by maps.

mod common;

use std::iter::zip;

use common::found::{on_every_backend, on_every_device, on_one_device};
use common::{Golden, one_and_two_threads, random};
use coregister::backend::Device;
use coregister::stages::describe::AZIMUTHS;
use coregister::stages::matching::{By, CLASSES, Described, FREQUENCIES, Match, MatchMutual, PARTNERS};
use rand::RngExt;

fn matched<B: MatchMutual>(backend: &B, source: &[f32], target: &[f32], width: usize) -> Vec<Match> {
    let cloud = |rows: &[f32]| [Part { vectors: rows.to_vec(), width, maps: Vec::new(), rings: 0 }];
    matched_by_parts(backend, &cloud(source), &cloud(target), By::Vectors)
}

/// One description of a cloud; without rings where only vectors are matched.
#[derive(Clone, Default)]
struct Part {
    vectors: Vec<f32>,
    width: usize,
    maps: Vec<f32>,
    rings: usize,
}

fn matched_by_parts<B: MatchMutual>(backend: &B, source: &[Part], target: &[Part], by: By) -> Vec<Match> {
    let upload = |part: &Part| (backend.upload(&part.vectors).unwrap(), backend.upload(&part.maps).unwrap());
    let [uploaded_source, uploaded_target] =
        [source, target].map(|parts| parts.iter().map(upload).collect::<Vec<_>>());
    let found =
        backend.match_mutual(&described(source, &uploaded_source), &described(target, &uploaded_target), by);
    backend.download(&found.unwrap()).unwrap()
}

/// Vectors and maps.
type Uploaded<B> = (<B as Device>::Buffer<f32>, <B as Device>::Buffer<f32>);

fn described<'a, B: MatchMutual>(parts: &[Part], uploaded: &'a [Uploaded<B>]) -> Vec<Described<'a, B>> {
    let one = |(part, (invariant, equivariant)): (&Part, &'a (_, _))| {
        let (width, rings) = (part.width, part.rings);
        Described { invariant, width, equivariant, rings }
    };
    zip(parts, uploaded).map(one).collect()
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

/// Rows of few different values of so many keypoints, one description for each width.
fn coarse_parts(count: usize, widths: &[usize], seed: u64) -> Vec<Part> {
    let part = |(i, &width): (u64, &usize)| Part {
        vectors: coarse_rows(count, width, seed + i),
        width,
        ..Part::default()
    };
    (0..).zip(widths).map(part).collect()
}

/// All rows side by side.
fn joined(parts: &[Part], count: usize) -> Vec<f32> {
    let row = |i: usize| parts.iter().flat_map(move |part| &part.vectors[i * part.width..][..part.width]);
    (0..count).flat_map(row).copied().collect()
}

/// Matches of descriptions side by side are those of the rows that they make up.
fn check_parts<B: MatchMutual>(backend: &B) {
    for (rows, columns) in [(0, 5), (1, 1), (333, 200)] {
        for widths in [&[64][..], &[3, 64], &[30, 1, 3], &[3, 64, 1, 30]] {
            let (source, target) = (coarse_parts(rows, widths, 10), coarse_parts(columns, widths, 20));
            let found = matched_by_parts(backend, &source, &target, By::Vectors);
            let width = widths.iter().sum();
            let expected = matched(backend, &joined(&source, rows), &joined(&target, columns), width);
            assert_eq!(found, expected, "{rows} × {columns}, {widths:?}");
            assert!(rows < 100 || found.len() > 10, "{} matches", found.len());
        }
    }
    for by in [By::Vectors, By::Maps, By::Either] {
        assert!(matched_by_parts(backend, &[], &[], by).is_empty());
    }
}

#[test]
fn descriptions_are_matched_side_by_side() {
    on_every_backend!(check_parts);
}

/// A wave of unit height in steps, at an angle in sectors.
fn wave_steps(height: f64, sectors: usize) -> i64 {
    (16384.0 * height * (std::f64::consts::TAU * sectors as f64 / AZIMUTHS as f64).cos()).round() as i64
}

/// A sum of products as a value again.
fn rounded(sum: i64) -> i64 {
    ((sum + (1 << 13)) >> 14).clamp(-16383, 16383)
}

/// A sine is a cosine three quarters of a turn later.
const TO_SINE: usize = 3 * AZIMUTHS / 4;

/// Of every ring of a map and each frequency, the coefficients along cosine and sine, in steps.
fn coefficients(map: &[f32]) -> Vec<[[i64; 2]; FREQUENCIES]> {
    let of_ring = |ring: &[f32]| {
        let steps = in_steps(ring);
        let along = |f: usize, phase: usize| {
            let wave = |k: usize| wave_steps(0.1f64.sqrt(), (f + 1) * k + phase);
            rounded(steps.iter().enumerate().map(|(k, &x)| x as i64 * wave(k)).sum())
        };
        std::array::from_fn(|f| [along(f, 0), along(f, TO_SINE)])
    };
    map.chunks(AZIMUTHS).map(of_ring).collect()
}

/// The highest correlation at any turn, not less than zero.
fn peak(source: &[[[i64; 2]; FREQUENCIES]], target: &[[[i64; 2]; FREQUENCIES]]) -> i64 {
    let at = |turn: usize| -> i64 {
        let of_frequency = |f: usize| {
            let pairs = || zip(source, target).map(|(s, t)| (s[f], t[f]));
            let alike = pairs().map(|([a, b], [c, d])| a * c + b * d).sum();
            let across = pairs().map(|([a, b], [c, d])| a * d - b * c).sum();
            let angle = (f + 1) * turn;
            rounded(alike) * wave_steps(1.0, angle) + rounded(across) * wave_steps(1.0, angle + TO_SINE)
        };
        (0..FREQUENCIES).map(of_frequency).sum()
    };
    (0..AZIMUTHS).map(at).max().unwrap().max(0)
}

/// A pair and how similar it is.
type Compared = (usize, usize, i64);

/// The pairs of which less than `each` others with either of their rows come first, ascending.
fn mutual(pairs: &[Compared], each: usize) -> Vec<Match> {
    let is_partner = |pair: &Compared, shares_a_row: &dyn Fn(&Compared) -> bool| {
        let order = |&(s, t, value): &Compared| (-value, s, t);
        pairs.iter().filter(|other| shares_a_row(other) && order(other) < order(pair)).count() < each
    };
    let is_match = |pair: &&Compared| {
        let &&(s, t, value) = pair;
        value > 0 && is_partner(pair, &|other| other.0 == s) && is_partner(pair, &|other| other.1 == t)
    };
    let mut matches: Vec<Match> =
        pairs.iter().filter(is_match).map(|&(s, t, _)| [s as u32, t as u32]).collect();
    matches.sort_unstable();
    matches
}

/// The pairs on the shortlists.
fn shortlist(products: &[Compared]) -> Vec<Compared> {
    let is_first = |pair: &Compared, is_rival: &dyn Fn(&Compared) -> bool| {
        let rank = |pair: &Compared| (pair.2, std::cmp::Reverse((pair.0, pair.1)));
        products.iter().filter(|other| is_rival(other)).all(|other| rank(other) <= rank(pair))
    };
    let is_on_it = |pair: &&Compared| {
        let &&(s, t, product) = pair;
        let of_row = |other: &Compared| other.0 == s && other.1 % CLASSES == t % CLASSES;
        let of_column = |other: &Compared| other.1 == t && other.0 % CLASSES == s % CLASSES;
        product > 0 && (is_first(pair, &of_row) || is_first(pair, &of_column))
    };
    products.iter().filter(is_on_it).copied().collect()
}

/// The contract, pair by pair: matches by vectors, by maps, and by either.
fn brute_force_by_parts(source: &[Part], target: &[Part]) -> [Vec<Match>; 3] {
    let count = |parts: &[Part]| parts[0].vectors.len() / parts[0].width;
    let (rows, columns) = (count(source), count(target));
    let (all_source, all_target) = (in_steps(&joined(source, rows)), in_steps(&joined(target, columns)));
    let width = source.iter().map(|part| part.width).sum();
    let row = |rows: &[f32], i: usize| rows[i * width..][..width].to_vec();
    let product = |s: usize, t: usize| product(&row(&all_source, s), &row(&all_target, t)) as i64;
    let products: Vec<Compared> = (0..rows)
        .flat_map(|s| (0..columns).map(move |t| (s, t)))
        .map(|(s, t)| (s, t, product(s, t)))
        .collect();
    let spectra = |parts: &[Part]| -> Vec<Vec<_>> {
        let of_part =
            |part: &Part| part.maps.chunks(part.rings * AZIMUTHS).map(coefficients).collect::<Vec<_>>();
        parts.iter().map(of_part).collect()
    };
    let (of_source, of_target) = (spectra(source), spectra(target));
    let with_peaks = |(s, t, product): Compared| {
        let peaks: i64 =
            zip(&of_source, &of_target).map(|(source, target)| peak(&source[s], &target[t])).sum();
        (s, t, product + peaks)
    };
    let shortlist = shortlist(&products);
    let similarities: Vec<Compared> = shortlist.iter().copied().map(with_peaks).collect();
    let by_maps = mutual(&similarities, PARTNERS);
    let mut by_either = [&mutual(&shortlist, PARTNERS)[..], &by_maps].concat();
    by_either.sort_unstable();
    by_either.dedup();
    [mutual(&products, 1), by_maps, by_either]
}

/// The same by a backend.
fn matched_by_all<B: MatchMutual>(backend: &B, source: &[Part], target: &[Part]) -> [Vec<Match>; 3] {
    [By::Vectors, By::Maps, By::Either].map(|by| matched_by_parts(backend, source, target, by))
}

/// The maps turned by so many sectors.
fn turned(maps: &[f32], sectors: usize) -> Vec<f32> {
    let mut maps = maps.to_vec();
    maps.chunks_mut(AZIMUTHS).for_each(|ring| ring.rotate_right(sectors));
    maps
}

/// Random vectors and maps, and the same again with noise and turned, among other random ones.
fn noisy_copies(rows: usize, columns: usize, width: usize, rings: usize) -> [Part; 2] {
    let part = |count, seed| Part {
        vectors: unit_rows(count, width, seed),
        width,
        maps: unit_rows(count, rings * AZIMUTHS, seed + 1),
        rings,
    };
    let (source, mut target) = (part(rows, 30), part(columns, 40));
    for (target, source) in target.vectors.chunks_mut(2 * width).zip(source.vectors.chunks(width)) {
        zip(&mut target[..width], source).for_each(|(t, s)| *t = 0.7 * *t + 0.7 * s);
    }
    let length = rings * AZIMUTHS;
    for (i, (target, source)) in
        zip(target.maps.chunks_mut(2 * length), source.maps.chunks(length)).enumerate()
    {
        let turned = turned(source, i % AZIMUTHS);
        zip(&mut target[..length], turned).for_each(|(t, s)| *t = 0.7 * *t + 0.7 * s);
    }
    [source, target]
}

const MAP_SIZES: [(usize, usize); 9] =
    [(1, 1), (1, 70), (70, 1), (2, 3), (16, 17), (95, 130), (97, 33), (0, 5), (5, 0)];

fn check_maps<B: MatchMutual>(backend: &B) {
    let mut more = 0;
    for (rows, columns) in MAP_SIZES {
        for (width, rings) in [(7, 1), (32, 3), (7, 17), (56, 32)] {
            let [source, target] = noisy_copies(rows, columns, width, rings).map(|part| [part]);
            let expected = brute_force_by_parts(&source, &target);
            let found = matched_by_all(backend, &source, &target);
            assert_eq!(found, expected, "{rows} × {columns} × {width}, {rings} rings");
            let [by_vectors, by_maps, by_either] = found.map(|matches| matches.len());
            assert!(
                rows.min(columns) < 95 || by_vectors.min(by_maps) > 20,
                "{by_vectors}, {by_maps} matches"
            );
            more += by_either - by_vectors.max(by_maps);
        }
    }
    assert!(more > 0, "vectors and maps must not agree all the time");
}

#[test]
fn maps_equal_brute_force() {
    on_every_backend!(check_maps);
}

/// Vectors and maps of few different values, in up to four descriptions.
fn check_map_ties<B: MatchMutual>(backend: &B) {
    for (rows, columns) in [(1, 1), (16, 16), (33, 70), (130, 65)] {
        for rings in [&[2][..], &[1, 3], &[2, 3, 1], &[3, 1, 1, 2]] {
            let parts = |count: usize, seed: u64| -> Vec<Part> {
                let maps = |i: usize| coarse_rows(count, rings[i] * AZIMUTHS, seed + 10 + i as u64);
                let parts = coarse_parts(count, &vec![3; rings.len()], seed).into_iter().enumerate();
                parts.map(|(i, part)| Part { maps: maps(i), rings: rings[i], ..part }).collect()
            };
            let (source, target) = (parts(rows, 50), parts(columns, 70));
            let expected = brute_force_by_parts(&source, &target);
            assert_eq!(matched_by_all(backend, &source, &target), expected, "{rows} × {columns}, {rings:?}");
        }
    }
}

#[test]
fn ties_of_maps_go_to_the_lower_index() {
    on_every_backend!(check_map_ties);
}

/// Patches whose vectors are all alike are told apart by their maps, at any turn.
fn check_maps_alone<B: MatchMutual>(backend: &B) {
    let (count, rings) = (CLASSES, 4);
    let maps = unit_rows(count, rings * AZIMUTHS, 90);
    let part = |maps| [Part { vectors: [0.6, 0.8].repeat(count), width: 2, maps, rings }];
    for sectors in 0..AZIMUTHS {
        let mut others = turned(&maps, sectors);
        others.rotate_right(3 * rings * AZIMUTHS);
        let expected: Vec<Match> = (0..count as u32).map(|i| [i, (i + 3) % count as u32]).collect();
        let (source, target) = (part(maps.clone()), part(others));
        let found = matched_by_parts(backend, &source, &target, By::Maps);
        assert_eq!(found, brute_force_by_parts(&source, &target)[1], "{sectors}");
        let is_found = |pair: &Match| found.contains(pair);
        assert!(expected.iter().all(is_found) && found.len() <= PARTNERS * count, "{sectors}: {found:?}");
    }
}

#[test]
fn maps_tell_apart_what_vectors_do_not() {
    on_every_backend!(check_maps_alone);
}

#[test]
fn extreme_maps_agree_with_the_cpu() {
    let [cpu, _] = one_and_two_threads();
    for (rows, columns) in [(1, 5), (65, 80)] {
        for rings in [1, 20] {
            let part = |count, seed| {
                let mut maps = extreme_rows(count, rings * AZIMUTHS, seed);
                maps.iter_mut().step_by(7).for_each(|x| *x = f32::NAN);
                [Part { vectors: unit_rows(count, 20, seed), width: 20, maps, rings }]
            };
            let (source, target) = (part(rows, 91), part(columns, 92));
            let expected = matched_by_all(&cpu, &source, &target);
            assert!(!expected[1].is_empty());
            on_every_device!(|device| {
                assert_eq!(matched_by_all(device, &source, &target), expected, "{rows} × {columns}");
            });
        }
    }
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
