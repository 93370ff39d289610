//! Frames of full patches.

mod backends;
mod room;

use backends::{Group, Timed, on_every_backend};
use coregister::backend::Cpu;
use coregister::cloud::Point;
use coregister::stages::frame::{Covariance, EstimateFrames, Orientation};
use coregister::stages::patch::{GatherPatches, Patches};
use coregister::stages::sample::SampleFarthest;
use criterion::{Criterion, criterion_group, criterion_main};
use nalgebra::{Matrix3, Vector3};
use std::hint::black_box;

const ORIENTATION: Orientation = Orientation::Towards([0.0, 0.0, 5.0]);

/// Full patches of a room, and their keypoints.
fn patches<B: SampleFarthest + GatherPatches>(b: &B) -> (Patches<B>, B::Buffer<Point>) {
    let points = b.upload(&room::scan(30_000)).expect("a scan");
    let keypoints = b.sample_farthest(&points, 1500).expect("samples").points;
    (b.gather_patches(&points, &keypoints, 0.8).expect("patches"), keypoints)
}

fn estimate<B: SampleFarthest + GatherPatches + EstimateFrames>(device: &Timed<B>, group: &mut Group<'_>) {
    let (patches, keypoints) = patches(device.backend());
    let mut time = |name, covariance| {
        device.time(group, name, |b| b.estimate_frames(&patches, &keypoints, covariance, ORIENTATION));
    };
    time("1500 frames", Covariance::AboutKeypoint);
    time("1500 frames, weighted", Covariance::Weighted);
}

fn frame(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("frame");
    group.sample_size(20);
    on_every_backend!(estimate, &mut group);
    let (patches, _) = patches(&Cpu::new(0).expect("worker threads start"));
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
