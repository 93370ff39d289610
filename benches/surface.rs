//! Normals, and queries for nearest points.

mod backends;
mod room;

use backends::{Group, Timed, on_every_backend};
use coregister::backend::Cpu;
use coregister::stages::surface::{BuildSurface, REACH};
use coregister::stages::voxel::VoxelDownsample;
use criterion::{Criterion, criterion_group, criterion_main};
use std::hint::black_box;

fn build<B: VoxelDownsample + BuildSurface>(device: &Timed<B>, group: &mut Group<'_>) {
    let b = device.backend();
    let scan = b.upload(&room::scan(250_000)).expect("a scan");
    let spacing = b.voxel_size(&scan, 25_000).expect("a voxel size");
    let points = b.voxel_downsample(&scan, spacing).expect("thinned points");
    device
        .time(group, format!("surface of {} points", b.len(&points)), |b| b.build_surface(&points, spacing));
}

fn surface(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("surface");
    group.sample_size(20);
    on_every_backend!(build, &mut group);
    let cpu = Cpu::new(0).expect("worker threads start");
    let scan = room::scan(250_000);
    let spacing = cpu.voxel_size(&scan, 25_000).expect("a voxel size");
    let points = cpu.voxel_downsample(&scan, spacing).expect("thinned points");
    let surface = cpu.build_surface(&points, spacing).expect("a surface");
    group.bench_function("nearest points of 10 000 positions, one thread", |bencher| {
        let nearest = |p| surface.nearest(p, REACH * spacing).map_or(0, |(i, _)| i);
        bencher.iter(|| black_box(&scan)[..10_000].iter().map(nearest).sum::<usize>());
    });
}

criterion_group!(benches, surface);
criterion_main!(benches);
