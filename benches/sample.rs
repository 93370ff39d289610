//! Furthest point sampling, with buckets and without.

mod backends;
mod room;

use backends::{Group, Timed, on_every_backend};
use coregister::cloud::Point;
use coregister::stages::sample::SampleFarthest;
use criterion::{Criterion, criterion_group, criterion_main};
use std::hint::black_box;

/// What the buckets are measured against: every point is looked at for every sample.
fn brute_force(points: &[Point], count: usize) -> Vec<usize> {
    let mut nearest = vec![f32::INFINITY; points.len()];
    let mut chosen = vec![0];
    while chosen.len() < count {
        let newest = points[chosen[chosen.len() - 1]];
        let mut furthest = 0;
        for (i, point) in points.iter().enumerate() {
            let [dx, dy, dz] = [0, 1, 2].map(|k| point[k] - newest[k]);
            nearest[i] = nearest[i].min((dx * dx + dy * dy) + dz * dz);
            if nearest[i] > nearest[furthest] {
                furthest = i;
            }
        }
        chosen.push(furthest);
    }
    chosen
}

fn farthest<B: SampleFarthest>(device: &Timed<B>, group: &mut Group<'_>) {
    for points in [5_000, 15_000, 30_000, 300_000] {
        let scan = device.backend().upload(&room::scan(points)).expect("a scan");
        device.time(group, format!("1500 from {points}"), |b| b.sample_farthest(&scan, 1500));
    }
}

/// As many thinned clouds as a device may have multiprocessors.
fn farthest_of_each<B: SampleFarthest>(device: &Timed<B>, group: &mut Group<'_>) {
    for (clouds, points) in [(64, 15_000), (128, 30_000)] {
        let scan = device.backend().upload(&room::scan(points)).expect("a scan");
        let what = format!("1500 from each of {clouds} × {points}");
        device.time(group, what, |b| b.sample_farthest_of_each(&vec![&scan; clouds], 1500));
    }
}

fn sample(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("sample");
    group.sample_size(20);
    on_every_backend!(farthest, &mut group);
    on_every_backend!(farthest_of_each, &mut group);
    let scan = room::scan(30_000);
    group.bench_function("1500 from 30000, brute force", |bencher| {
        bencher.iter(|| brute_force(black_box(&scan), 1500));
    });
}

criterion_group!(benches, sample);
criterion_main!(benches);
