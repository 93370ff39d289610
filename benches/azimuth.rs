//! Azimuths of matched maps.

mod backends;

use backends::{Group, Timed, on_every_backend};
use coregister::backend::Cpu;
use coregister::stages::azimuth::{AlignAzimuth, AlignByCostVolume};
use coregister::stages::describe::learned::Layer;
use coregister::stages::describe::minispinnet::{COST_VOLUME_LAYERS, MAP_RINGS};
use coregister::stages::describe::{AZIMUTHS, RINGS};
use coregister::stages::matching::Match;
use criterion::{Criterion, criterion_group, criterion_main};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

fn correlate<B: AlignAzimuth>(device: &Timed<B>, group: &mut Group<'_>) {
    let b = device.backend();
    let mut random = ChaCha8Rng::seed_from_u64(1);
    let maps: Vec<f32> = (0..1500 * RINGS * AZIMUTHS).map(|_| random.random_range(-0.1..0.1)).collect();
    let matches: Vec<Match> = (0..1500).map(|i| [i, 1499 - i]).collect();
    let (maps, matches) = (b.upload(&maps).expect("maps"), b.upload(&matches).expect("matches"));
    device
        .time(group, "1500 matches of maps of 28 rings", |b| b.align_azimuth(&maps, &maps, RINGS, &matches));
}

/// The cost volume with made-up weights.
fn evaluate_volume<B: AlignByCostVolume>(device: &Timed<B>, group: &mut Group<'_>) {
    let b = device.backend();
    let layer = |(inputs, outputs, kernel): (usize, usize, [usize; 3])| {
        let inputs = inputs * kernel.iter().product::<usize>();
        let weight = (0..inputs * outputs).map(|i| (i * 7919 % 101) as f32 / 1e3 - 0.05).collect();
        Layer { inputs, weight, bias: vec![0.01; outputs] }
    };
    let volume = b.load_cost_volume(&COST_VOLUME_LAYERS.map(layer)).expect("a cost volume");
    let mut random = ChaCha8Rng::seed_from_u64(2);
    let maps: Vec<f32> = (0..20 * MAP_RINGS * AZIMUTHS).map(|_| random.random_range(-0.3..0.3)).collect();
    let matches: Vec<Match> = (0..20).map(|i| [i, 19 - i]).collect();
    let (maps, matches) = (b.upload(&maps).expect("maps"), b.upload(&matches).expect("matches"));
    device
        .time(group, "cost volume, 20 matches", |b| b.align_by_cost_volume(&maps, &maps, &volume, &matches));
}

fn azimuth(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("azimuth");
    group.sample_size(20);
    on_every_backend!(correlate, &mut group);
    group.sample_size(10);
    evaluate_volume(&Timed::new("cpu, one thread", Cpu::new(1).expect("worker threads start")), &mut group);
    on_every_backend!(evaluate_volume, &mut group);
}

criterion_group!(benches, azimuth);
criterion_main!(benches);
