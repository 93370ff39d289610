//! Refinement of many candidates.

mod room;

use coregister::backend::Cpu;
use coregister::geometry::Pose;
use coregister::stages::refine::{RefineOptions, RefinePoses};
use coregister::stages::surface::BuildSurface;
use coregister::stages::voxel::VoxelDownsample;
use criterion::{Criterion, criterion_group, criterion_main};
use nalgebra::Rotation3;
use std::hint::black_box;

/// Poses about the right one (which moves nothing), further away the higher `i`.
fn candidate(i: usize, spacing: f32) -> Pose {
    let size = i as f32 / 64.0;
    let rotation = Rotation3::from_euler_angles(0.03 * size, -0.03 * size, 0.05 * size);
    std::array::from_fn(|k| if k < 9 { rotation[(k / 3, k % 3)] } else { spacing * size })
}

fn refine(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("refine");
    group.sample_size(10);
    let cpu = Cpu::new(0).expect("worker threads start");
    let scan = room::scan(500_000);
    let spacing = cpu.voxel_size(&scan, 25_000).expect("a voxel size");
    let surface = |part: &[[f32; 3]]| {
        let points = cpu.voxel_downsample(&part.to_vec(), spacing).expect("thinned points");
        cpu.build_surface(&points, spacing).expect("a surface")
    };
    let (source, target) = (surface(&scan[..250_000]), surface(&scan[250_000..]));
    let options = RefineOptions { samples: 1000, rounds: 8, first_reach: 3.0, last_reach: 1.5 };
    for count in [1, 64] {
        let poses: Vec<Pose> = (0..count).map(|i| candidate(i, spacing)).collect();
        group.bench_function(format!("{count} candidates, 1000 samples, 8 rounds"), |bencher| {
            bencher.iter(|| cpu.refine_poses(black_box(&source), &target, &poses, options));
        });
    }
}

criterion_group!(benches, refine);
criterion_main!(benches);
