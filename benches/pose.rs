//! Hypotheses of matches.

mod backends;
mod hypotheses;

use backends::{Group, Timed, on_every_backend};
use coregister::geometry::Pose;
use coregister::stages::frame::Frame;
use coregister::stages::matching::Match;
use coregister::stages::pose::{Placed, RecoverPoses};
use criterion::{Criterion, criterion_group, criterion_main};

const COUNT: usize = 1500;

fn recover<B: RecoverPoses>(device: &Timed<B>, group: &mut Group<'_>) {
    let b = device.backend();
    let made_up = hypotheses::planted(b, COUNT, 0);
    let poses: Vec<Pose> = b.download(&made_up.poses).expect("poses");
    let frames: Vec<Frame> = poses.iter().map(|pose| pose.as_chunks::<9>().0[0]).collect();
    let matches: Vec<Match> = (0..COUNT as u32).map(|i| [i, COUNT as u32 - 1 - i]).collect();
    let frames = b.upload(&frames).expect("frames");
    let (matches, angles) = (b.upload(&matches).expect("matches"), b.upload(&[0.7; COUNT]).expect("angles"));
    device.time(group, "1500 matches", |b| {
        let source = Placed { keypoints: &made_up.source, frames: &frames };
        let target = Placed { keypoints: &made_up.target, frames: &frames };
        b.recover_poses(source, target, &matches, &angles)
    });
}

fn pose(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("pose");
    group.sample_size(20);
    on_every_backend!(recover, &mut group);
}

criterion_group!(benches, pose);
criterion_main!(benches);
