//! What two clouds say about a short list of candidates.

mod backends;
mod room;

use backends::{Group, Timed, on_every_backend};
use coregister::geometry::{IDENTITY, Pose};
use coregister::stages::surface::BuildSurface;
use coregister::stages::verify::{AgreementOptions, MeasureAgreement, Scene};
use coregister::stages::viewpoint::EstimateViewpoint;
use coregister::stages::voxel::VoxelDownsample;
use criterion::{Criterion, criterion_group, criterion_main};
use nalgebra::Rotation3;

const POINTS: usize = 60_000;
const CANDIDATES: usize = 16;
const SAMPLES: usize = 2_000;

/// Poses about the right one (which moves nothing), further away the higher `i`.
fn candidate(i: usize, spacing: f32) -> Pose {
    let size = i as f32 / CANDIDATES as f32;
    let rotation = Rotation3::from_euler_angles(0.03 * size, -0.03 * size, 0.5 * size);
    std::array::from_fn(|k| if k < 9 { rotation[(k / 3, k % 3)] } else { 5.0 * spacing * size })
}

fn agreement<B>(device: &Timed<B>, group: &mut Group<'_>)
where
    B: VoxelDownsample + BuildSurface + EstimateViewpoint + MeasureAgreement,
{
    let b = device.backend();
    let scan = room::scan(2 * POINTS);
    let spacing = b.voxel_size(&b.upload(&scan).expect("a scan"), 15_000).expect("a voxel size");
    let part = |part: &[[f32; 3]]| {
        let points = b.upload(part).expect("half a scan");
        let thinned = b.voxel_downsample(&points, spacing).expect("thinned points");
        let view = b.range_image(&points, [2.0, 2.0, 1.2]).expect("a range image");
        (b.build_surface(&thinned, spacing).expect("a surface"), view)
    };
    let (source, target) = (part(&scan[..POINTS]), part(&scan[POINTS..]));
    let [source, target] = [&source, &target].map(|(surface, view)| Scene { surface, view, spacing });
    let poses: Vec<Pose> = (0..CANDIDATES).map(|i| candidate(i, spacing)).collect();
    let poses = b.upload(&poses).expect("poses");
    let options = AgreementOptions { samples: SAMPLES, reach: 1.5 * spacing, margin: 3.0 * spacing };
    device.time(group, format!("{CANDIDATES} candidates, {SAMPLES} samples"), |b| {
        b.measure_agreement(source, target, &poses, options)
    });
    let options = AgreementOptions { samples: 6_000, ..options };
    let pose = b.upload(&[IDENTITY]).expect("a pose");
    device.time(group, "observation, 6000 samples", |b| {
        b.observe(source.surface, target.surface, &pose, options)
    });
}

fn verify(criterion: &mut Criterion) {
    on_every_backend!(agreement, &mut criterion.benchmark_group("verify"));
}

criterion_group!(benches, verify);
criterion_main!(benches);
