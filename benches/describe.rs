//! Classic descriptions of full patches.

mod room;

use coregister::backend::Cpu;
use coregister::stages::describe::Describe;
use coregister::stages::frame::{EstimateFrames, Orientation};
use coregister::stages::patch::GatherPatches;
use coregister::stages::sample::SampleFarthest;
use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use std::hint::black_box;

fn describe(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("describe");
    group.sample_size(20);
    let cpu = Cpu::new(0).expect("worker threads start");
    let points = room::scan(30_000);
    let chosen = cpu.sample_farthest(&points, 1500).expect("samples");
    let keypoints = cpu.gather_points(&points, &chosen).expect("keypoints");
    let patches = cpu.gather_patches(&points, &keypoints, 0.8).expect("patches");
    let frames =
        cpu.estimate_frames(&patches, &keypoints, Orientation::Towards([0.0, 0.0, 5.0])).expect("frames");
    group.bench_function("1500 patches of up to 512 points", |bencher| {
        let describe = |frames| cpu.describe(black_box(&patches), frames);
        bencher.iter_batched(|| frames.clone(), describe, BatchSize::LargeInput);
    });
}

criterion_group!(benches, describe);
criterion_main!(benches);
