//! The vertical of a cloud.

mod backends;
mod room;

use backends::{Group, Timed, on_every_backend};
use coregister::stages::gravity::FindVertical;
use coregister::stages::surface::BuildSurface;
use coregister::stages::voxel::VoxelDownsample;
use criterion::{Criterion, criterion_group, criterion_main};

fn vertical<B: VoxelDownsample + BuildSurface + FindVertical>(device: &Timed<B>, group: &mut Group<'_>) {
    let b = device.backend();
    let scan = b.upload(&room::scan(250_000)).expect("a scan");
    let spacing = b.voxel_size(&scan, 15_000).expect("a voxel size");
    let points = b.voxel_downsample(&scan, spacing).expect("thinned points");
    let surface = b.build_surface(&points, spacing).expect("a surface");
    device.time(group, "15 000 points", |b| b.find_vertical(&surface));
}

fn gravity(criterion: &mut Criterion) {
    on_every_backend!(vertical, &mut criterion.benchmark_group("gravity"));
}

criterion_group!(benches, gravity);
criterion_main!(benches);
