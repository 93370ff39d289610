//! Candidates from hypotheses.

mod hypotheses;

use coregister::backend::Cpu;
use coregister::stages::consensus::{ScoreHypotheses, Tolerance};
use coregister::stages::estimate::{EstimateOptions, EstimatePoses};
use criterion::{Criterion, criterion_group, criterion_main};
use std::hint::black_box;

fn estimate(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("estimate");
    group.sample_size(20);
    let cpu = Cpu::new(0).expect("worker threads start");
    let matches = hypotheses::planted(1300, 130);
    let tolerance = Tolerance { base: 0.06, slope: 0.06 };
    let support =
        cpu.score_hypotheses(&matches.poses, &matches.source, &matches, tolerance).expect("support");
    let options = EstimateOptions { candidates: 64, tolerance, precision: 0.04, distinct: 0.2 };
    group.bench_function("64 candidates from 1300 matches", |bencher| {
        bencher.iter(|| cpu.estimate_poses(black_box(&matches), &support, options));
    });
}

criterion_group!(benches, estimate);
criterion_main!(benches);
