//! Where a scan was seen from, and how far it was seen.

mod backends;
mod room;

use backends::{Group, Timed, on_every_backend};
use coregister::stages::viewpoint::EstimateViewpoint;
use criterion::{Criterion, criterion_group, criterion_main};

const POINTS: usize = 60_000;

fn see<B: EstimateViewpoint>(device: &Timed<B>, group: &mut Group<'_>) {
    let scan = device.backend().upload(&room::scan(POINTS)).expect("a scan");
    device.time(group, format!("estimate, {POINTS} points"), |b| b.estimate_viewpoint(&scan));
    device.time(group, format!("range image, {POINTS} points"), |b| b.range_image(&scan, [2.0, 2.0, 1.2]));
}

fn viewpoint(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("viewpoint");
    group.sample_size(10);
    on_every_backend!(see, &mut group);
}

criterion_group!(benches, viewpoint);
criterion_main!(benches);
