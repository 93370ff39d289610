//! The vertical of a cloud.

mod room;

use coregister::backend::Cpu;
use coregister::stages::gravity::FindVertical;
use coregister::stages::surface::BuildSurface;
use coregister::stages::voxel::VoxelDownsample;
use criterion::{Criterion, criterion_group, criterion_main};
use std::hint::black_box;

fn gravity(criterion: &mut Criterion) {
    let cpu = Cpu::new(0).expect("worker threads start");
    let scan = room::scan(250_000);
    let spacing = cpu.voxel_size(&scan, 15_000).expect("a voxel size");
    let points = cpu.voxel_downsample(&scan, spacing).expect("thinned points");
    let surface = cpu.build_surface(&points, spacing).expect("a surface");
    criterion.bench_function("gravity", |bencher| bencher.iter(|| cpu.find_vertical(black_box(&surface))));
}

criterion_group!(benches, gravity);
criterion_main!(benches);
