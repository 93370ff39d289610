//! Voxel downsampling of a raw scan.

mod backends;
mod room;

use std::collections::HashMap;

use backends::{Group, Timed, on_every_backend};
use coregister::backend::Cpu;
use coregister::cloud::Point;
use coregister::stages::voxel::VoxelDownsample;
use criterion::{Criterion, criterion_group, criterion_main};
use std::hint::black_box;

/// What the parts and tables are measured against: sums in one hash map of the standard library.
fn brute_force(points: &[Point], size: f32) -> Vec<Point> {
    let mut cells = HashMap::<[i32; 3], (Point, f32)>::new();
    for point in points {
        let (sum, count) = cells.entry(point.map(|x| (x / size).floor() as i32)).or_default();
        *sum = [0, 1, 2].map(|k| sum[k] + point[k]);
        *count += 1.0;
    }
    cells.into_values().map(|(sum, count)| sum.map(|x| x / count)).collect()
}

fn downsample<B: VoxelDownsample>(device: &Timed<B>, group: &mut Group<'_>) {
    let b = device.backend();
    let scan = b.upload(&room::scan(300_000)).expect("a scan");
    let size = b.voxel_size(&scan, 25_000).expect("a size");
    device.time(group, "size of 300k", |b| b.voxel_size(&scan, 25_000));
    device.time(group, "downsample 300k", |b| b.voxel_downsample(&scan, size));
}

fn voxel(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("voxel");
    on_every_backend!(downsample, &mut group);
    downsample(&Timed::new("cpu, one thread", Cpu::new(1).expect("worker threads start")), &mut group);
    let scan = room::scan(300_000);
    group.sample_size(20);
    group.bench_function("downsample 300k, one hash map", |bencher| {
        bencher.iter(|| brute_force(black_box(&scan), 0.07));
    });
}

criterion_group!(benches, voxel);
criterion_main!(benches);
