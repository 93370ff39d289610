//! Pairs a second: many pairs over the streams of a device, or over the processor.

mod backends;

use std::path::Path;

use backends::{Group, cuda_streams};
use coregister::backend::Cpu;
use coregister::batch::{Batch, BatchCloud, BatchPair};
use coregister::config::Descriptor;
use coregister::io::read_cloud;
use coregister::stages::Backend;
use coregister::{Cloud, Config, Engine};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};

const PAIRS: usize = 8;
/// Memory for clouds that are kept, in bytes.
const MOST_BYTES: usize = 1 << 30;

/// The demo pair, again and again, on these backends side by side; none of them, no figure. Whoever `keeps` knows that it
/// is always the same two clouds.
fn throughput<B: Backend + 'static>(
    group: &mut Group<'_>,
    name: &str,
    backends: Vec<B>,
    descriptor: Descriptor,
    keeps: bool,
) {
    if backends.is_empty() {
        return;
    }
    let engine = |backend| {
        // On the CPU beside the backend nothing is computed but canonical frames.
        let config = Config { descriptor, threads: 1, ..Config::default() };
        Engine::on(backend, name, false, config).expect("an engine")
    };
    let batch = Batch::on(backends.into_iter().map(engine).collect(), Some(MOST_BYTES)).expect("lanes");
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("data");
    let clouds: [Cloud; 2] = ["demo_source.ply", "demo_target.ply"]
        .map(|file| read_cloud(&folder.join(file)).expect("a demo cloud"));
    let key = |pair: usize, cloud: usize| (if keeps { 0 } else { pair }, cloud);
    let what = format!("{descriptor:?}, {}", if keeps { "of two clouds" } else { "each of new clouds" });
    group.bench_function(BenchmarkId::new(what, name), |bencher| {
        bencher.iter(|| {
            let pairs = (0..PAIRS).map(|i| BatchPair { label: i, source: key(i, 0), target: key(i, 1) });
            let mut confidence = 0.0;
            batch.run(
                pairs,
                |(_, cloud)| Ok(BatchCloud::Points(clouds[*cloud].clone())),
                |_, answer| confidence += answer.expect("an answer").confidence,
            );
            confidence
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
    for (descriptor, keeps) in
        [(Descriptor::Auto, false), (Descriptor::Classic, false), (Descriptor::Classic, true)]
    {
        let mut time = |name: &str, lanes| throughput(&mut group, name, lanes, descriptor, keeps);
        time("cpu, all threads to each pair", cpus(1, 0));
        time("cpu, a thread to each pair", cpus(threads, 1));
        for streams in [1, 4, 8, 16] {
            let name = format!("cuda, {streams} streams");
            throughput(&mut group, &name, cuda_streams(streams), descriptor, keeps);
        }
    }
}

criterion_group!(benches, batch);
criterion_main!(benches);
