//! The whole, from two clouds to their transform: the demo pair and one simulated pair of every kind.

mod backends;

use std::hint::black_box;
use std::path::Path;

use coregister::config::{Descriptor, DeviceChoice};
use coregister::io::read_cloud;
use coregister::simulate::{Kind, Motion, PairOptions, simulate_pair};
use coregister::{Cloud, Config, Engine};
use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};

fn demo() -> (String, Cloud, Cloud) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("data");
    let cloud = |name: &str| read_cloud(&folder.join(name)).expect("a demo cloud");
    ("demo".into(), cloud("demo_source.ply"), cloud("demo_target.ply"))
}

fn simulated(kind: Kind) -> (String, Cloud, Cloud) {
    let (kinds, motion) = (vec![kind], Motion::Full);
    let options = PairOptions { kinds, overlap: 0.5..0.7, motion, ..PairOptions::default() };
    let pair = simulate_pair(1, &options).expect("a pair");
    (kind.name().into(), pair.source, pair.target)
}

/// Clouds that have nothing to do with each other, so that everything is tried.
fn unrelated() -> (String, Cloud, Cloud) {
    let ((_, source, _), (_, _, target)) = (demo(), simulated(Kind::Fragment));
    ("unrelated".into(), source, target)
}

/// As configured by default, with the learned descriptor alone, and with the weights in the file `$COREGISTER_WEIGHTS`
/// where that is set.
fn configs() -> Vec<(&'static str, Config)> {
    let learned = Config { descriptor: Descriptor::Learned, ..Config::default() };
    let file = std::env::var_os("COREGISTER_WEIGHTS").map(Into::into);
    let other =
        file.map(|file| ("learned, other weights", Config { weights: Some(file), ..learned.clone() }));
    [("auto", Config::default()), ("learned", learned)].into_iter().chain(other).collect()
}

/// On the CPU, and on a CUDA device where there is any.
fn engines() -> Vec<(String, Engine)> {
    let mut devices = vec![("cpu", DeviceChoice::Cpu)];
    if !backends::cuda_streams(1).is_empty() {
        devices.push(("cuda", DeviceChoice::Cuda(0)));
    }
    let mut engines = Vec::new();
    for (name, config) in configs() {
        for &(device_name, device) in &devices {
            let engine = Engine::new(Config { device, ..config.clone() }).expect("an engine");
            engines.push((format!("{name}, {device_name}"), engine));
        }
    }
    engines
}

fn registration(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("registration");
    group.sample_size(10);
    let engines = engines();
    let kinds = [Kind::Fragment, Kind::Frame, Kind::Object, Kind::Lidar];
    for (name, source, target) in [demo(), unrelated()].into_iter().chain(kinds.map(simulated)) {
        let name = format!("{name}, {} and {} points", source.len(), target.len());
        for (how, engine) in &engines {
            group.bench_function(BenchmarkId::new(&name, how), |bencher| {
                bencher.iter(|| engine.register(black_box(&source), &target));
            });
        }
    }
}

criterion_group!(benches, registration);
criterion_main!(benches);
