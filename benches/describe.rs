//! Descriptions of full patches, classic and learned, and the parts of the learned one.

mod room;

use coregister::backend::Cpu;
use coregister::stages::describe::AZIMUTHS;
use coregister::stages::describe::classic::DescribeClassic;
use coregister::stages::describe::learned::{CellFeatures, DescribeLearned, SECTOR, Weights};
use coregister::stages::frame::{EstimateFrames, Frame, Orientation};
use coregister::stages::patch::{GatherPatches, PATCH_CAPACITY, Patches};
use coregister::stages::sample::SampleFarthest;
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use std::hint::black_box;

const COUNT: usize = 1500;

fn patches(cpu: &Cpu) -> (Patches<Cpu>, Vec<Frame>) {
    let points = room::scan(30_000);
    let chosen = cpu.sample_farthest(&points, COUNT).expect("samples");
    let keypoints = cpu.gather_points(&points, &chosen).expect("keypoints");
    let patches = cpu.gather_patches(&points, &keypoints, 0.8).expect("patches");
    let frames =
        cpu.estimate_frames(&patches, &keypoints, Orientation::Towards([0.0, 0.0, 5.0])).expect("frames");
    (patches, frames)
}

fn describe(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("describe");
    group.sample_size(20).throughput(Throughput::Elements(COUNT as u64));
    let cpu = Cpu::new(0).expect("worker threads start");
    let (patches, frames) = patches(&cpu);
    group.bench_function("classic, 1500 patches of up to 512 points", |bencher| {
        let describe = |frames| cpu.describe_classic(black_box(&patches), frames);
        bencher.iter_batched(|| frames.clone(), describe, BatchSize::LargeInput);
    });
    for (name, weights) in networks() {
        let network = cpu.load_network(&weights).expect("a network");
        group.bench_function(format!("learned, {name}, 1500 patches of up to 512 points"), |bencher| {
            let describe = |frames| cpu.describe_learned(black_box(&patches), frames, &network);
            bencher.iter_batched(|| frames.clone(), describe, BatchSize::LargeInput);
        });
    }
}

/// The built-in network, and the one in the file `$COREGISTER_WEIGHTS` where that is set.
fn networks() -> Vec<(String, Weights)> {
    let built_in = ("built in".to_owned(), Weights::built_in().expect("a network"));
    let other = std::env::var("COREGISTER_WEIGHTS").ok();
    let other = other.map(|path| (path.clone(), Weights::read(path.as_ref()).expect("a network")));
    std::iter::once(built_in).chain(other).collect()
}

/// On one thread.
fn parts(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("describe, one thread");
    group.sample_size(20);
    let cpu = Cpu::new(1).expect("worker threads start");
    let (patches, frames) = patches(&cpu);
    let mut cells = CellFeatures::default();
    let mut features = vec![0.0; AZIMUTHS * SECTOR];
    group.throughput(Throughput::Elements(COUNT as u64));
    group.bench_function("cell features of 1500 patches", |bencher| {
        bencher.iter(|| {
            for (i, frame) in frames.iter().enumerate() {
                let points = &patches.offsets[i * PATCH_CAPACITY..][..patches.count[i] as usize];
                cells.compute(black_box(points), frame, &mut features, SECTOR);
                black_box(&features);
            }
        });
    });
    // Without points nearly nothing but the network is left. Elements are its floating-point operations.
    let empty = Patches { offsets: patches.offsets.clone(), count: vec![0; COUNT], radius: patches.radius };
    for (name, weights) in networks() {
        let network = cpu.load_network(&weights).expect("a network");
        group.throughput(Throughput::Elements((COUNT * weights.architecture.operations()) as u64));
        group.bench_function(format!("network on 1500 empty patches, {name}, FLOP"), |bencher| {
            let describe = |frames| cpu.describe_learned(black_box(&empty), frames, &network);
            bencher.iter_batched(|| frames.clone(), describe, BatchSize::LargeInput);
        });
    }
}

criterion_group!(benches, describe, parts);
criterion_main!(benches);
