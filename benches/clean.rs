//! Canonical frames of a pair of raw scans.

mod room;

use coregister::Cloud;
use coregister::backend::Cpu;
use coregister::stages::clean::canonical_pair;
use criterion::{Criterion, criterion_group, criterion_main};
use std::hint::black_box;

fn clean(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("clean");
    group.sample_size(20);
    let cpu = Cpu::new(0).expect("worker threads start");
    let cloud = Cloud::from_f32(room::scan(250_000));
    group.bench_function("two clouds of 250 000 points", |bencher| {
        bencher.iter(|| cpu.run(|| canonical_pair(black_box(&cloud), &cloud)));
    });
}

criterion_group!(benches, clean);
criterion_main!(benches);
