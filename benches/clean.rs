//! The canonical frame of a raw scan.

mod room;

use coregister::Cloud;
use coregister::backend::Cpu;
use coregister::stages::clean::canonical_cloud;
use criterion::{Criterion, criterion_group, criterion_main};
use std::hint::black_box;

fn clean(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("clean");
    group.sample_size(20);
    let cpu = Cpu::new(0).expect("worker threads start");
    let cloud = Cloud::from_f32(room::scan(250_000));
    group.bench_function("250 000 points", |bencher| {
        bencher.iter(|| cpu.run(|| canonical_cloud(black_box(&cloud), "source")));
    });
}

criterion_group!(benches, clean);
criterion_main!(benches);
