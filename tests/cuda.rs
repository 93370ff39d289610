//! The whole method on CUDA devices, emulated and, where one is found, real: the answers are the CPU's, and next to
//! nothing but the clouds crosses the border between host and device.

mod common;

use std::path::Path;

use common::emulated::Emulated;
use common::found::on_one_device;
use coregister::backend::{Cpu, cuda::Cuda};
use coregister::batch::Batch;
use coregister::config::{Config, Descriptor};
use coregister::engine::load_network;
use coregister::io::read_cloud;
use coregister::pipeline::{Answer, Pipeline, to_rigid};
use coregister::registration::Timings;
use coregister::stages::Backend;
use coregister::stages::clean::{CanonicalPair, canonical_pair};
use coregister_emulator::Schedule;

/// Rotations and translations, in extents of the cloud, that differ less than this are the same answer.
const SAME: f64 = 1e-4;
/// What one look at a pair may cost: copies in either direction, and bytes beside the clouds.
const MOST_COPIES: usize = 100;
const MOST_BYTES: usize = 96 << 10;

fn demo() -> CanonicalPair {
    let read = |name: &str| {
        read_cloud(&Path::new(env!("CARGO_MANIFEST_DIR")).join("data").join(name)).expect("the demo cloud")
    };
    canonical_pair(&read("demo_source.ply"), &read("demo_target.ply")).expect("the demo pair")
}

fn pipeline<B: Backend>(backend: B, descriptor: Descriptor) -> Pipeline<B> {
    let config = Config { descriptor, ..Config::default() };
    let network = load_network(&backend, &config).expect("the built-in network");
    Pipeline { backend, config, network }
}

fn emulated(schedule: Schedule, descriptor: Descriptor) -> Pipeline<Cuda<Emulated>> {
    pipeline(Cuda::new(Emulated::new(schedule)), descriptor)
}

fn answer<B: Backend>(pipeline: &Pipeline<B>, pair: &CanonicalPair) -> Answer {
    pipeline.register(pair, &mut Timings::default()).expect("an answer")
}

/// All that an answer says, to the bit.
fn bits(answer: &Answer) -> Vec<u32> {
    let poses = answer.candidates.iter().flat_map(|candidate| candidate.pose);
    answer.pose.into_iter().chain(poses).chain([answer.confidence as f32]).map(f32::to_bits).collect()
}

#[test]
fn the_answer_is_the_one_of_the_cpu() {
    let pair = demo();
    for descriptor in [Descriptor::Classic, Descriptor::Learned] {
        let expected = answer(&pipeline(Cpu::new(0).unwrap(), descriptor), &pair);
        on_one_device!(|device| {
            let found = answer(&pipeline(device.clone(), descriptor), &pair);
            assert_same(&found, &expected, descriptor);
        });
    }
}

fn assert_same(found: &Answer, expected: &Answer, descriptor: Descriptor) {
    let (pose, truth) = (to_rigid(&found.pose), to_rigid(&expected.pose));
    assert!(truth.angle_to(&pose) < SAME, "{descriptor:?}: {pose:?}, not {truth:?}");
    assert!(truth.distance_to(&pose) < SAME, "{descriptor:?}: {pose:?}, not {truth:?}");
    assert!((found.confidence - expected.confidence).abs() < 1e-3, "{descriptor:?}: {}", found.confidence);
    assert_eq!(found.candidates.len(), expected.candidates.len(), "{descriptor:?}");
}

#[test]
fn a_pair_stays_on_the_device() {
    let pair = demo();
    let pipeline = emulated(Schedule::Ascending, Descriptor::Classic);
    answer(&pipeline, &pair);
    let clouds = size_of_val(&*pair.source.points) + size_of_val(&*pair.target.points);
    let (up, down) = (&pipeline.backend.driver().uploads, &pipeline.backend.driver().downloads);
    println!("up {up:?}, of these the clouds {clouds}; down {down:?}");
    assert!(
        up.bytes() - clouds < MOST_BYTES && down.bytes() < MOST_BYTES,
        "{up:?}, {down:?}, clouds {clouds}"
    );
    assert!(up.copies() < MOST_COPIES && down.copies() < MOST_COPIES, "{up:?}, {down:?}");
}

#[test]
fn the_number_of_devices_and_the_order_of_threads_change_no_bit() {
    let pair = demo();
    let schedules = [Schedule::Ascending, Schedule::Descending, Schedule::Random(1), Schedule::Random(2)];
    let run = |devices: usize| {
        let lanes = schedules[..devices].iter().map(|&order| emulated(order, Descriptor::Classic)).collect();
        let (batch, mut answers) = (Batch::new(lanes).unwrap(), Vec::new());
        batch.run(0..2, |lane, _| bits(&answer(lane, &pair)), |found| answers.push(found));
        answers
    };
    let expected = run(1);
    assert_eq!(expected[0], expected[1]);
    for devices in [2, 4] {
        assert_eq!(run(devices), expected, "{devices} devices");
    }
}
