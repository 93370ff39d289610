//! Voxel downsampling of a raw scan.

mod room;

use coregister::backend::Cpu;
use coregister::stages::voxel::VoxelDownsample;
use criterion::{Criterion, criterion_group, criterion_main};
use std::hint::black_box;

fn voxel(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("voxel");
    let scan = room::scan(300_000);
    for threads in [1, 2] {
        let cpu = Cpu::new(threads).expect("worker threads start");
        let size = cpu.voxel_size(&scan, 25_000).expect("a size");
        group.bench_function(format!("size of 300k, {threads} threads"), |bencher| {
            bencher.iter(|| cpu.voxel_size(black_box(&scan), 25_000));
        });
        group.bench_function(format!("downsample 300k, {threads} threads"), |bencher| {
            bencher.iter(|| cpu.voxel_downsample(black_box(&scan), size));
        });
    }
}

criterion_group!(benches, voxel);
criterion_main!(benches);
