//! Devices that run out of memory or are lost in the middle of a registration.

mod common;

use std::path::Path;

use common::emulated::{CountDown, Emulated};
use coregister::backend::cuda::Cuda;
use coregister::batch::{Batch, BatchCloud, BatchPair};
use coregister::config::{Config, Descriptor, DeviceChoice};
use coregister::error::Error;
use coregister::io::read_cloud;
use coregister::{Cloud, Engine, Registration, Result};
use coregister_emulator::Schedule;

/// In how many places a registration is made to fail.
const PLACES: usize = 10;

/// One in so many points of the demo clouds.
fn thinned(every: usize) -> [Cloud; 2] {
    ["demo_source.ply", "demo_target.ply"].map(|file| {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("data").join(file);
        let mut cloud = read_cloud(&path).expect("a demo cloud");
        cloud.points = cloud.points.into_iter().step_by(every).collect();
        cloud
    })
}

/// A device on which the search for the viewpoint, half of the work on small clouds, is cut short.
fn device(most_bytes: usize) -> Cuda<Emulated> {
    let emulated = Emulated::with_memory(Schedule::Random(1), most_bytes);
    Cuda::new(emulated.with_most_blocks("rate_starts", 8).with_most_blocks("search_from_best", 1))
}

fn config() -> Config {
    Config { descriptor: Descriptor::Classic, device: DeviceChoice::Cpu, ..Config::default() }
}

fn engine(device: &Cuda<Emulated>, falls_back: bool) -> Engine {
    Engine::on(device.clone(), "emulated", falls_back, config()).expect("an engine")
}

/// All but the times, which are never the same.
fn said(registration: &Registration) -> Registration {
    Registration { timings: Default::default(), ..registration.clone() }
}

/// What is told of a device that has no room.
fn no_room(result: Result<Registration>) -> String {
    match result {
        Err(Error::OutOfMemory(reason)) => reason,
        other => panic!("{other:?} is no want of memory"),
    }
}

/// What is told of a device that has failed.
fn failure(result: Result<Registration>) -> String {
    match result {
        Err(Error::Device(reason)) => reason,
        other => panic!("{other:?} is no error of the device"),
    }
}

/// Registers on a device that fails after more and more calls.
fn check_failures(
    count_down: fn(&Emulated) -> &CountDown,
    reason: fn(Result<Registration>) -> String,
    expected_reason: &str,
) {
    let (device, [source, target]) = (device(usize::MAX), thinned(60));
    let (engine, count_down) = (engine(&device, false), count_down(device.driver()));
    let taken_before = device.driver().taken();
    count_down.restart();
    let expected = said(&engine.register(&source, &target).expect("an answer"));
    let calls = count_down.restart();
    assert!(calls > 3 * PLACES, "{calls} calls");
    for place in 0..PLACES {
        count_down.fail_after(place * calls / PLACES);
        let reason = reason(engine.register(&source, &target));
        assert!(reason.contains(expected_reason), "{reason}");
        assert_eq!(device.driver().taken(), taken_before, "memory is kept after a failure at {place}");
    }
    count_down.restart();
    assert_eq!(said(&engine.register(&source, &target).expect("an answer")), expected);
}

#[test]
fn an_allocation_that_fails_is_an_error_wherever_it_is() {
    check_failures(|device| &device.allocations, no_room, "emulated, Random(1) has no room for ");
}

#[test]
fn a_device_that_is_lost_is_an_error_wherever_it_happens() {
    check_failures(|device| &device.calls, failure, "emulated, Random(1) is lost");
}

#[test]
fn a_pair_too_large_for_the_device_is_told_with_the_sizes() {
    let (device, [source, target]) = (device(1 << 20), thinned(4));
    let engine = engine(&device, false);
    let reason = no_room(engine.register(&source, &target));
    let sizes: Vec<f64> = reason.split_whitespace().filter_map(|word| word.parse().ok()).collect();
    let [wanted, taken, most] = sizes[..] else { panic!("{reason}") };
    assert!(most == 1.0 && taken <= most && taken + wanted > most - 0.1, "{reason}");
    assert!(reason.contains("MiB") && reason.contains("use the device cpu"), "{reason}");
}

#[test]
fn the_cpu_finishes_what_a_device_cannot() {
    let (device, [source, target]) = (device(usize::MAX), thinned(60));
    let expected = Engine::new(config()).unwrap().register(&source, &target).unwrap();
    let engine = engine(&device, true);
    for calls in [0, 30] {
        device.driver().calls.fail_after(calls);
        let found = engine.register(&source, &target).expect("the CPU's answer");
        assert_eq!(found.warnings, ["emulated, Random(1) is lost; going on with the CPU"]);
        let found = Registration { warnings: Vec::new(), ..found };
        assert_eq!(said(&found), said(&expected), "lost after {calls} calls");
        let stages =
            |found: &Registration| found.timings.stages.iter().map(|(name, _)| *name).collect::<Vec<_>>();
        assert_eq!(stages(&found), stages(&expected), "times of what was done in vain");
    }
    device.driver().calls.restart();
    let again = engine.register(&source, &target).unwrap();
    assert_eq!(
        (again.device.as_str(), &again.warnings[..]),
        ("emulated", &[][..]),
        "later pairs are tried again"
    );
}

/// Registers pairs of clouds thinned so much, each with its other half, in a batch that keeps so much of them.
fn register_thinned(device: &Cuda<Emulated>, thinning: &[usize], most_bytes: usize) -> Vec<Registration> {
    let batch = Batch::on(vec![engine(device, true)], Some(most_bytes)).expect("a lane");
    let pairs = thinning.iter().map(|&every| BatchPair { label: (), source: (every, 0), target: (every, 1) });
    let mut answers = Vec::new();
    batch.run(
        pairs,
        |&(every, half)| Ok(BatchCloud::Points(thinned(every)[half].clone())),
        |(), answer| answers.push(said(&answer.expect("an answer"))),
    );
    answers
}

#[test]
fn clouds_that_are_kept_make_room_for_those_at_work() {
    let thinning = [100, 110, 120];
    let roomy = device(usize::MAX);
    let expected = register_thinned(&roomy, &thinning, 0);
    let needed = roomy.driver().most_taken();
    register_thinned(&roomy, &thinning, usize::MAX);
    assert!(roomy.driver().most_taken() > needed, "what is kept takes no room");
    // On the device, where all answers are the same: the CPU has to help out with none.
    assert_eq!(register_thinned(&device(needed), &thinning, usize::MAX), expected);
    let too_small = register_thinned(&device(needed - 1), &thinning, usize::MAX);
    let helped: Vec<bool> = too_small.iter().map(|answer| answer.device == "cpu").collect();
    assert!(helped.contains(&true) && helped.contains(&false), "{helped:?}");
}
