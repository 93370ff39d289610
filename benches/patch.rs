//! Patches of a thinned cloud at the three usual scales, and their radii.

mod backends;
mod room;

use backends::{Group, Timed, on_every_backend};
use coregister::backend::Cpu;
use coregister::cloud::Point;
use coregister::stages::patch::{GatherPatches, PATCH_CAPACITY};
use coregister::stages::sample::SampleFarthest;
use criterion::{Criterion, criterion_group, criterion_main};
use std::hint::black_box;

const SHARES: [f32; 3] = [0.05, 0.02, 0.005];

/// What the grid is measured against: every point is looked at until the patch is full.
fn brute_force(points: &[Point], keypoints: &[Point], radius: f32) -> Vec<Vec<Point>> {
    let patch = |keypoint: &Point| {
        let offset = |point: &Point| [0, 1, 2].map(|k| point[k] - keypoint[k]);
        let within = |[dx, dy, dz]: &Point| (dx * dx + dy * dy) + dz * dz < radius * radius;
        points.iter().map(offset).filter(within).take(PATCH_CAPACITY).map(|d| d.map(|x| x / radius)).collect()
    };
    keypoints.iter().map(patch).collect()
}

fn gather<B: SampleFarthest + GatherPatches>(device: &Timed<B>, group: &mut Group<'_>) {
    let b = device.backend();
    let points = b.upload(&room::scan(30_000)).expect("a scan");
    let keypoints = b.sample_farthest(&points, 1500).expect("samples").points;
    let radii = b.neighbour_radii(&points, &keypoints, &SHARES).expect("radii");
    for (share, &radius) in SHARES.iter().zip(&radii) {
        device
            .time(group, format!("1500 balls of {share}"), |b| b.gather_patches(&points, &keypoints, radius));
    }
    device.time(group, "radii", |b| b.neighbour_radii(&points, &keypoints, &SHARES));
}

fn patch(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("patch");
    group.sample_size(20);
    on_every_backend!(gather, &mut group);
    let cpu = Cpu::new(0).expect("worker threads start");
    let points = room::scan(30_000);
    let keypoints = cpu.sample_farthest(&points, 1500).expect("samples").points;
    let radii = cpu.neighbour_radii(&points, &keypoints, &SHARES).expect("radii");
    for (share, &radius) in SHARES.iter().zip(&radii) {
        group.bench_function(format!("1500 balls of {share}, brute force, one thread"), |bencher| {
            bencher.iter(|| brute_force(black_box(&points), &keypoints, radius));
        });
    }
}

criterion_group!(benches, patch);
criterion_main!(benches);
