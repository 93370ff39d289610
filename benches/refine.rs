//! Refinement of many candidates.

mod backends;
mod room;

use backends::{Group, Timed, on_every_backend};
use coregister::geometry::Pose;
use coregister::stages::refine::{Errors, RefineOptions, RefinePoses};
use coregister::stages::surface::BuildSurface;
use coregister::stages::voxel::VoxelDownsample;
use criterion::{Criterion, criterion_group, criterion_main};
use nalgebra::Rotation3;

/// Poses about the right one (which moves nothing), further away the higher `i`.
fn candidate(i: usize, spacing: f32) -> Pose {
    let size = i as f32 / 64.0;
    let rotation = Rotation3::from_euler_angles(0.03 * size, -0.03 * size, 0.05 * size);
    std::array::from_fn(|k| if k < 9 { rotation[(k / 3, k % 3)] } else { spacing * size })
}

fn candidates<B: VoxelDownsample + BuildSurface + RefinePoses>(device: &Timed<B>, group: &mut Group<'_>) {
    let b = device.backend();
    let scan = room::scan(500_000);
    let spacing = b.voxel_size(&b.upload(&scan).expect("a scan"), 25_000).expect("a voxel size");
    let surface = |part: &[[f32; 3]]| {
        let points =
            b.upload(part).and_then(|part| b.voxel_downsample(&part, spacing)).expect("thinned points");
        b.build_surface(&points, spacing).expect("a surface")
    };
    let (source, target) = (surface(&scan[..250_000]), surface(&scan[250_000..]));
    let options = RefineOptions {
        samples: 1000,
        rounds: 8,
        first_reach: 3.0,
        last_reach: 1.5,
        point_share: 0.02,
        errors: [Errors::EVEN; 2],
    };
    for count in [1, 64] {
        let poses: Vec<Pose> = (0..count).map(|i| candidate(i, spacing)).collect();
        let poses = b.upload(&poses).expect("poses");
        let what = format!("{count} candidates, 1000 samples, 8 rounds");
        device.time(group, what, |b| b.refine_poses(&source, &target, &poses, options));
    }
    // How a registration ends.
    let options = RefineOptions { samples: 6000, rounds: 6, first_reach: 2.0, last_reach: 1.0, ..options };
    let pose = b.upload(&[candidate(4, spacing)]).expect("a pose");
    let what = "1 candidate, 6000 samples, 6 rounds";
    device.time(group, what, |b| b.refine_poses(&source, &target, &pose, options));
}

fn refine(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("refine");
    group.sample_size(10);
    on_every_backend!(candidates, &mut group);
}

criterion_group!(benches, refine);
criterion_main!(benches);
