//! Support of hypotheses among matches.

mod hypotheses;

use coregister::backend::Cpu;
use coregister::stages::consensus::{ScoreHypotheses, Tolerance};
use criterion::{Criterion, criterion_group, criterion_main};
use std::hint::black_box;

fn consensus(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("consensus");
    group.sample_size(20);
    let cpu = Cpu::new(0).expect("worker threads start");
    let matches = hypotheses::planted(1300, 130);
    let tolerance = Tolerance { base: 0.06, slope: 0.06 };
    group.bench_function("1300 hypotheses × 1300 matches", |bencher| {
        bencher
            .iter(|| cpu.score_hypotheses(black_box(&matches.poses), &matches.source, &matches, tolerance));
    });
}

criterion_group!(benches, consensus);
criterion_main!(benches);
