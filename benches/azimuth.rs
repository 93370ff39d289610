//! Azimuths of matched maps.

use coregister::backend::Cpu;
use coregister::stages::azimuth::AlignAzimuth;
use coregister::stages::describe::{AZIMUTHS, RINGS};
use coregister::stages::matching::Match;
use criterion::{Criterion, criterion_group, criterion_main};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::hint::black_box;

fn azimuth(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("azimuth");
    group.sample_size(20);
    let cpu = Cpu::new(0).expect("worker threads start");
    let mut random = ChaCha8Rng::seed_from_u64(1);
    let maps: Vec<f32> = (0..1500 * RINGS * AZIMUTHS).map(|_| random.random_range(-0.1..0.1)).collect();
    let matches: Vec<Match> = (0..1500).map(|i| [i, 1499 - i]).collect();
    group.bench_function("1500 matches of maps of 28 rings", |bencher| {
        bencher.iter(|| cpu.align_azimuth(black_box(&maps), &maps, RINGS, &matches));
    });
}

criterion_group!(benches, azimuth);
criterion_main!(benches);
