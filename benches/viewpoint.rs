//! Where a scan was seen from, and how far it was seen.

mod room;

use coregister::backend::Cpu;
use coregister::stages::viewpoint::EstimateViewpoint;
use criterion::{Criterion, criterion_group, criterion_main};
use std::hint::black_box;

const POINTS: usize = 60_000;

fn viewpoint(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("viewpoint");
    group.sample_size(10);
    let cpu = Cpu::new(0).expect("worker threads start");
    let scan = room::scan(POINTS);
    group.bench_function(format!("estimate, {POINTS} points"), |bencher| {
        bencher.iter(|| cpu.estimate_viewpoint(black_box(&scan)));
    });
    group.bench_function(format!("range image, {POINTS} points"), |bencher| {
        bencher.iter(|| cpu.range_image(black_box(&scan), [2.0, 2.0, 1.2]));
    });
}

criterion_group!(benches, viewpoint);
criterion_main!(benches);
