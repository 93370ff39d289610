//! Mutual nearest neighbours, in tiles and plainly, by vectors and by maps.

mod backends;

use backends::{Group, Timed, on_every_backend};
use coregister::stages::describe::AZIMUTHS;
use coregister::stages::matching::{By, Described, MatchMutual};
use criterion::{Criterion, criterion_group, criterion_main};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::hint::black_box;

const WIDTH: usize = 168;
/// Rows and their width: those of a pair with its scales joined, and more of the published descriptor's width.
const SIZES: [(usize, usize); 2] = [(1500, WIDTH), (5000, 32)];
/// Rings of a map of the learned descriptor.
const RINGS: usize = 32;

fn unit_rows(count: usize, width: usize, seed: u64) -> Vec<f32> {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let mut rows: Vec<f32> = (0..count * width).map(|_| random.random_range(-1.0..1.0)).collect();
    for row in rows.chunks_mut(width) {
        let length = row.iter().map(|x| x * x).sum::<f32>().sqrt();
        row.iter_mut().for_each(|x| *x /= length);
    }
    rows
}

/// What the tiles are measured against: one side only, one product after another.
fn brute_force(source: &[f32], target: &[f32]) -> Vec<usize> {
    let product = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f32>();
    let nearest = |row: &[f32]| {
        let products = target.chunks(WIDTH).map(|other| product(row, other)).enumerate();
        products.fold((0, f32::NEG_INFINITY), |best, new| if new.1 > best.1 { new } else { best }).0
    };
    source.chunks(WIDTH).map(nearest).collect()
}

fn mutual<B: MatchMutual>(device: &Timed<B>, group: &mut Group<'_>) {
    for (count, width) in SIZES {
        let uploaded = |width, seed| device.backend().upload(&unit_rows(count, width, seed)).expect("rows");
        let vectors = [1, 2].map(|seed| uploaded(width, seed));
        let maps = [3, 4].map(|seed| uploaded(RINGS * AZIMUTHS, seed));
        for (by, what) in [(By::Vectors, "by vectors"), (By::Either, "by vectors and by maps")] {
            let described = |i: usize| {
                let (invariant, equivariant): (_, _) = (&vectors[i], &maps[i]);
                [Described { invariant, width, equivariant, rings: RINGS }]
            };
            let what = format!("{count} × {count} rows of {width}, {what}");
            device.time(group, what, |b| b.match_mutual(&described(0), &described(1), by));
        }
    }
}

fn matching(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("matching");
    group.sample_size(20);
    on_every_backend!(mutual, &mut group);
    let (source, target) = (unit_rows(1500, WIDTH, 1), unit_rows(1500, WIDTH, 2));
    group.bench_function("1500 × 1500 rows of 168, brute force one way, one thread", |bencher| {
        bencher.iter(|| brute_force(black_box(&source), &target));
    });
}

criterion_group!(benches, matching);
criterion_main!(benches);
