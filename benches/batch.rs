//! Pairs a second: many pairs over the streams of a device, or over the processor.

mod backends;

use std::path::Path;

use backends::{Group, cuda_streams};
use coregister::Config;
use coregister::backend::Cpu;
use coregister::batch::Batch;
use coregister::config::Descriptor;
use coregister::engine::load_network;
use coregister::io::read_cloud;
use coregister::pipeline::Pipeline;
use coregister::registration::Timings;
use coregister::stages::Backend;
use coregister::stages::clean::{CanonicalPair, canonical_pair};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};

const PAIRS: usize = 8;

fn demo() -> CanonicalPair {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("data");
    let cloud = |name: &str| read_cloud(&folder.join(name)).expect("a demo cloud");
    canonical_pair(&cloud("demo_source.ply"), &cloud("demo_target.ply")).expect("the demo pair")
}

fn lane<B: Backend>(backend: B, descriptor: Descriptor) -> Pipeline<B> {
    let config = Config { descriptor, ..Config::default() };
    let network = load_network(&backend, &config).expect("the built-in network");
    Pipeline { backend, config, network }
}

/// The demo pair, again and again, on these backends side by side; none of them, no figure.
fn throughput<B: Backend>(group: &mut Group<'_>, name: &str, backends: Vec<B>, descriptor: Descriptor) {
    if backends.is_empty() {
        return;
    }
    let pair = demo();
    let lanes = backends.into_iter().map(|backend| lane(backend, descriptor)).collect();
    let batch = Batch::new(lanes).expect("lanes");
    group.bench_function(BenchmarkId::new(format!("{descriptor:?}"), name), |bencher| {
        bencher.iter(|| {
            let register = |lane: &Pipeline<B>, _| lane.register(&pair, &mut Timings::default());
            let mut confidences = 0.0;
            batch.run(0..PAIRS, register, |answer| confidences += answer.expect("an answer").confidence);
            confidences
        });
    });
}

fn batch(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("batch");
    group.sample_size(10).throughput(Throughput::Elements(PAIRS as u64));
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let cpus = |lanes: usize, threads| -> Vec<Cpu> {
        (0..lanes).map(|_| Cpu::new(threads).expect("worker threads start")).collect()
    };
    for descriptor in [Descriptor::Auto, Descriptor::Classic] {
        throughput(&mut group, "cpu, all threads to each pair", cpus(1, 0), descriptor);
        throughput(&mut group, "cpu, a thread to each pair", cpus(threads, 1), descriptor);
        for streams in [1, 4, 16] {
            throughput(&mut group, &format!("cuda, {streams} streams"), cuda_streams(streams), descriptor);
        }
    }
}

criterion_group!(benches, batch);
criterion_main!(benches);
