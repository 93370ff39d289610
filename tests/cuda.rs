//! The whole method on CUDA devices, emulated and, where one is found, real: the answers are the CPU's, and next to
//! nothing but the clouds crosses the border between host and device.

mod common;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use common::emulated::Emulated;
use common::found::on_one_device;
use coregister::backend::{Cpu, cuda::Cuda};
use coregister::batch::{Batch, BatchCloud, BatchPair};
use coregister::config::{Config, Descriptor};
use coregister::engine::load_network;
use coregister::io::read_cloud;
use coregister::pipeline::scan::Scan;
use coregister::pipeline::{Answer, Pipeline, to_rigid};
use coregister::registration::Timings;
use coregister::stages::Backend;
use coregister::stages::clean::{CanonicalCloud, canonical_cloud};
use coregister::{Cloud, Engine, Registration};
use coregister_emulator::Schedule;

/// Rotations and translations, in extents of the cloud, that differ less than this are the same answer.
const SAME: f64 = 1e-4;
/// What one look at a pair may cost: copies to the device, copies back, for each of which the host waits, and bytes beside
/// the clouds in either direction. It waits for nothing else.
const MOST_UPLOADS: usize = 18;
const MOST_DOWNLOADS: usize = 18;
const MOST_BYTES: usize = 8 << 10;

fn read(name: &str) -> coregister::Result<Cloud> {
    read_cloud(&Path::new(env!("CARGO_MANIFEST_DIR")).join("data").join(name))
}

fn demo() -> [Arc<CanonicalCloud>; 2] {
    ["demo_source.ply", "demo_target.ply"]
        .map(|name| Arc::new(canonical_cloud(&read(name).expect("the demo cloud"), "demo").expect("a cloud")))
}

fn pipeline<B: Backend>(backend: B, descriptor: Descriptor) -> Pipeline<B> {
    let config = Config { descriptor, ..Config::default() };
    let network = load_network(&backend, &config).expect("the built-in network");
    Pipeline { backend, config, network }
}

fn emulated(schedule: Schedule, descriptor: Descriptor) -> Pipeline<Cuda<Emulated>> {
    pipeline(Cuda::new(Emulated::new(schedule)), descriptor)
}

fn answer<B: Backend>(pipeline: &Pipeline<B>, pair: &[Arc<CanonicalCloud>; 2]) -> Answer {
    let [source, target] = pair.each_ref().map(|cloud| Scan::new(cloud.clone()));
    pipeline.register(&source, &target, &mut Timings::default()).expect("an answer")
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
    let clouds = pair.iter().map(|cloud| size_of_val(&*cloud.points)).sum::<usize>();
    let Emulated { uploads, downloads, waits, .. } = pipeline.backend.driver();
    let waits = waits.load(Ordering::Relaxed);
    println!("bytes of copies, by the kernel that was launched before; the clouds have {clouds}");
    println!("to the device: {}\n{uploads}", uploads.copies());
    println!("back: {}\n{downloads}", downloads.copies());
    println!("other waits: {waits}");
    let launches = pipeline.backend.driver().launches();
    println!("launches: {}\n{launches:#?}", launches.values().sum::<usize>());
    assert!(uploads.copies() <= MOST_UPLOADS && downloads.copies() <= MOST_DOWNLOADS);
    assert_eq!(waits, 0);
    assert!(uploads.bytes() - clouds <= MOST_BYTES && downloads.bytes() <= MOST_BYTES);
}

/// All that the answer of a pair says but for the times, to the bit.
fn bits(answer: coregister::Result<Registration>) -> Vec<u64> {
    let found = answer.expect("an answer");
    let numbers = [found.confidence, found.overlap, found.inlier_rmse];
    let transform = found.target_from_source.to_row_major();
    numbers.into_iter().chain(transform).chain(found.information.concat()).map(f64::to_bits).collect()
}

#[test]
fn the_number_of_devices_and_the_order_of_threads_change_no_bit() {
    let schedules = [Schedule::Ascending, Schedule::Descending, Schedule::Random(1), Schedule::Random(2)];
    let config = || Config { descriptor: Descriptor::Classic, ..Config::default() };
    let run = |devices: usize| {
        let engine = |(i, &order): (usize, &Schedule)| {
            Engine::on(Cuda::new(Emulated::new(order)), &format!("emulated:{i}"), false, config()).unwrap()
        };
        let batch = Batch::on(schedules[..devices].iter().enumerate().map(engine).collect(), Some(1 << 30));
        let (source, target) = ("demo_source.ply", "demo_target.ply");
        let pairs = [(source, target), (target, source), (source, target)];
        let mut answers = Vec::new();
        batch.unwrap().run(
            pairs.into_iter().map(|(source, target)| BatchPair { label: (), source, target }),
            |name| read(name).map(BatchCloud::Points),
            |(), answer| answers.push(bits(answer)),
        );
        answers
    };
    let expected = run(1);
    assert_eq!(expected[0], expected[2], "what is kept of a cloud shows");
    for devices in [2, 4] {
        assert_eq!(run(devices), expected, "{devices} devices");
    }
}

#[test]
fn half_of_what_may_be_taken_of_a_device_is_for_clouds_that_are_kept() {
    let most_bytes = |max_gpu_memory, most_bytes| {
        let config = || Config { descriptor: Descriptor::Classic, max_gpu_memory, ..Config::default() };
        let lane = |name| {
            let device = Emulated::with_memory(Schedule::Ascending, 64 << 20);
            Engine::on(Cuda::new(device), name, false, config()).unwrap()
        };
        let lanes = ["emulated:0", "emulated:1", "emulated:0", "emulated:0"].map(lane);
        Batch::on(lanes.into(), most_bytes).unwrap().most_bytes().to_vec()
    };
    assert_eq!(most_bytes(None, None), [32 << 20, 32 << 20]);
    assert_eq!(most_bytes(Some(10 << 20), None), [15 << 20, 5 << 20], "a lane may take 10 MiB");
    assert_eq!(most_bytes(Some(10 << 20), Some(7)), [7, 7]);
}

#[test]
fn a_device_that_is_lost_keeps_no_clouds_and_leaves_the_word_to_the_first_pair() {
    let device = Cuda::new(Emulated::new(Schedule::Ascending));
    let config = Config { descriptor: Descriptor::Classic, ..Config::default() };
    let lane = Engine::on(device.clone(), "emulated", false, config).unwrap();
    device.driver().calls.fail_after(0);
    assert_eq!(Batch::on(vec![lane], None).unwrap().most_bytes(), [0]);
}
