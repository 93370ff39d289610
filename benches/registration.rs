//! The whole, from two clouds to their transform: the demo pair and one simulated pair of every kind.

mod backends;

use std::hint::black_box;
use std::path::Path;

use coregister::config::DeviceChoice;
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

/// One on the CPU, and one on a CUDA device where there is any.
fn engines() -> Vec<(&'static str, Engine)> {
    let engine = |device| Engine::new(Config { device, ..Config::default() }).expect("an engine");
    let mut engines = vec![("cpu", engine(DeviceChoice::Cpu))];
    if !backends::cuda_streams(1).is_empty() {
        engines.push(("cuda", engine(DeviceChoice::Cuda(0))));
    }
    engines
}

fn registration(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("registration");
    group.sample_size(10);
    let engines = engines();
    let kinds = [Kind::Fragment, Kind::Frame, Kind::Object, Kind::Lidar];
    for (name, source, target) in std::iter::once(demo()).chain(kinds.map(simulated)) {
        let name = format!("{name}, {} and {} points", source.len(), target.len());
        for (device, engine) in &engines {
            group.bench_function(BenchmarkId::new(&name, device), |bencher| {
                bencher.iter(|| engine.register(black_box(&source), &target));
            });
        }
    }
}

criterion_group!(benches, registration);
criterion_main!(benches);
