//! Descriptions of full patches, classic, learned and by the published network, and the parts of the learned one.

mod backends;
mod room;

use backends::{Group, Timed, on_every_backend};
use coregister::backend::Cpu;
use coregister::stages::describe::classic::DescribeClassic;
use coregister::stages::describe::learned::{CellFeatures, DescribeLearned, Layer, SECTOR, Weights};
use coregister::stages::describe::minispinnet::{
    self, ATTENTION_CHANNELS, CHANNELS, DescribeMiniSpinNet, POINT_CHANNELS, WIDTH,
};
use coregister::stages::describe::{AZIMUTHS, ELEVATIONS};
use coregister::stages::frame::{Covariance, EstimateFrames, Frame, Orientation};
use coregister::stages::patch::{GatherPatches, PATCH_CAPACITY, Patches};
use coregister::stages::sample::SampleFarthest;
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use std::hint::black_box;

const COUNT: usize = 1500;
/// Patches for the published network, which takes long.
const FEW: usize = 100;

/// The first `count` patches of a room, and their frames.
fn patches<B>(b: &B, count: usize) -> (Patches<B>, B::Buffer<Frame>)
where
    B: SampleFarthest + GatherPatches + EstimateFrames,
{
    let points = b.upload(&room::scan(30_000)).expect("a scan");
    let keypoints = b.sample_farthest(&points, count).expect("samples").points;
    let patches = b.gather_patches(&points, &keypoints, 0.8).expect("patches");
    let towards = Orientation::Towards([0.0, 0.0, 5.0]);
    let frames = b.estimate_frames(&patches, &keypoints, Covariance::Weighted, towards).expect("frames");
    (patches, frames)
}

fn describe_patches<B>(device: &Timed<B>, group: &mut Group<'_>)
where
    B: SampleFarthest + GatherPatches + EstimateFrames + DescribeClassic + DescribeLearned,
{
    let (patches, frames) = patches(device.backend(), COUNT);
    let copy = |b: &B| b.concatenate(&[&frames]);
    let what = format!("{COUNT} patches of up to {PATCH_CAPACITY} points");
    device
        .time_with(group, format!("classic, {what}"), copy, |b, frames| b.describe_classic(&patches, frames));
    for (name, weights) in networks() {
        let network = device.backend().load_network(&weights).expect("a network");
        device.time_with(group, format!("learned, {name}, {what}"), copy, |b, frames| {
            b.describe_learned(&patches, frames, &network)
        });
    }
}

fn describe(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("describe");
    group.sample_size(20).throughput(Throughput::Elements(COUNT as u64));
    on_every_backend!(describe_patches, &mut group);
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
    let (patches, frames) = patches(&cpu, COUNT);
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

/// The published network with made-up weights.
fn describe_as_published<B>(device: &Timed<B>, group: &mut Group<'_>)
where
    B: SampleFarthest + GatherPatches + EstimateFrames + DescribeMiniSpinNet,
{
    let (patches, frames) = patches(device.backend(), FEW);
    let layer = |inputs: usize, outputs: usize| {
        let weight = (0..inputs * outputs).map(|i| (i * 7919 % 101) as f32 / 1e3 - 0.05).collect();
        Layer { inputs, weight, bias: vec![0.01; outputs] }
    };
    let weights = minispinnet::Weights {
        points: layer(3, POINT_CHANNELS),
        convolutions: CHANNELS.windows(2).map(|pair| layer(9 * pair[0], pair[1])).collect(),
        attention: [layer(WIDTH, ATTENTION_CHANNELS), layer(ATTENTION_CHANNELS, 1)],
        cost_volume: None,
    };
    let network = device.backend().load_minispinnet(&weights).expect("a network");
    let what = format!("{FEW} patches of up to {PATCH_CAPACITY} points, FLOP");
    device.time_with(
        group,
        what,
        |b| b.concatenate(&[&frames]),
        |b, frames| b.describe_minispinnet(&patches, frames, &network),
    );
}

/// Elements are operations of the convolutions.
fn published(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("published network");
    let per_cell: usize = CHANNELS.windows(2).map(|pair| 2 * 9 * pair[0] * pair[1]).sum();
    let operations = FEW * ELEVATIONS * AZIMUTHS * per_cell;
    group.sample_size(10).throughput(Throughput::Elements(operations as u64));
    let one_thread = Timed::new("cpu, one thread", Cpu::new(1).expect("worker threads start"));
    describe_as_published(&one_thread, &mut group);
    on_every_backend!(describe_as_published, &mut group);
}

criterion_group!(benches, describe, parts, published);
criterion_main!(benches);
