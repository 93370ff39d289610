//! Rays a second in a furnished room and a street, and whole pairs of every kind.

use std::hint::black_box;

use coregister::simulate::bvh::Bvh;
use coregister::simulate::{Kind, PairOptions, Scene, derive_seed, simulate_pair};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use nalgebra::Vector3;
use rayon::prelude::*;

const ROWS: usize = 360;
const COLUMNS: usize = 480;

/// An image's worth of rays from a place in the middle of the scene.
fn image(bvh: &Bvh, eye: &Vector3<f32>) -> usize {
    (0..ROWS)
        .into_par_iter()
        .map(|row| {
            let ray = |column: usize| {
                let (x, y) = (column as f32 / COLUMNS as f32 - 0.5, row as f32 / ROWS as f32 - 0.5);
                bvh.cast(eye, &Vector3::new(1.0, x, -y).normalize(), 0.0, 100.0).is_some()
            };
            (0..COLUMNS).filter(|&column| ray(column)).count()
        })
        .sum()
}

fn rays(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("simulate/rays");
    group.throughput(Throughput::Elements((ROWS * COLUMNS) as u64));
    for (kind, height) in [(Kind::Frame, 1.3), (Kind::Lidar, 3.0)] {
        let bvh = Bvh::new(Scene::new(1, kind, false).mesh());
        let eye = Vector3::new(0.1, 0.1, height);
        group.bench_function(kind.name(), |bencher| bencher.iter(|| black_box(image(&bvh, &eye))));
    }
    group.finish();
}

fn pairs(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("simulate/pairs");
    group.sample_size(10);
    const BATCH: u64 = 6;
    group.throughput(Throughput::Elements(BATCH));
    for kind in Kind::ALL {
        let options = PairOptions { kinds: vec![kind], ..PairOptions::default() };
        let batch = || {
            let make = |index| simulate_pair(derive_seed(1, index), &options).map_or(0, |p| p.source.len());
            (0..BATCH).into_par_iter().map(make).sum::<usize>()
        };
        group.bench_function(kind.name(), |bencher| bencher.iter(|| black_box(batch())));
    }
    group.finish();
}

criterion_group!(benches, rays, pairs);
criterion_main!(benches);
