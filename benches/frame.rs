//! Frames of full patches.

mod room;

use coregister::backend::Cpu;
use coregister::stages::frame::{EstimateFrames, Orientation};
use coregister::stages::patch::GatherPatches;
use coregister::stages::sample::SampleFarthest;
use criterion::{Criterion, criterion_group, criterion_main};
use nalgebra::{Matrix3, Vector3};
use std::hint::black_box;

fn frame(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("frame");
    group.sample_size(20);
    let cpu = Cpu::new(0).expect("worker threads start");
    let points = room::scan(30_000);
    let chosen = cpu.sample_farthest(&points, 1500).expect("samples");
    let keypoints = cpu.gather_points(&points, &chosen).expect("keypoints");
    let patches = cpu.gather_patches(&points, &keypoints, 0.8).expect("patches");
    group.bench_function("1500 frames", |bencher| {
        bencher.iter(|| {
            cpu.estimate_frames(black_box(&patches), &keypoints, Orientation::Towards([0.0, 0.0, 5.0]))
        });
    });
    group.bench_function("1500 covariances and eigensolutions by nalgebra, one thread", |bencher| {
        bencher.iter(|| {
            let covariance = |row: &[[f32; 3]]| -> Matrix3<f64> {
                row.iter().map(|p| Vector3::from(p.map(f64::from))).map(|d| d * d.transpose()).sum()
            };
            let rows = black_box(&patches.offsets).chunks(512).zip(&patches.count);
            rows.map(|(row, &count)| covariance(&row[..count as usize]).symmetric_eigen()).collect::<Vec<_>>()
        });
    });
}

criterion_group!(benches, frame);
criterion_main!(benches);
