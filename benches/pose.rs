//! Hypotheses of matches.

mod hypotheses;

use coregister::backend::Cpu;
use coregister::stages::frame::Frame;
use coregister::stages::matching::Match;
use coregister::stages::pose::{Placed, RecoverPoses};
use criterion::{Criterion, criterion_group, criterion_main};
use std::hint::black_box;

fn pose(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("pose");
    group.sample_size(20);
    let cpu = Cpu::new(0).expect("worker threads start");
    let made_up = hypotheses::planted(1500, 0);
    let frames: Vec<Frame> = made_up.poses.iter().map(|pose| pose.as_chunks::<9>().0[0]).collect();
    let matches: Vec<Match> = (0..1500).map(|i| [i, 1499 - i]).collect();
    let angles = vec![0.7; 1500];
    group.bench_function("1500 matches", |bencher| {
        bencher.iter(|| {
            let source = Placed { keypoints: &made_up.source, frames: &frames };
            let target = Placed { keypoints: &made_up.target, frames: &frames };
            cpu.recover_poses(source, target, black_box(&matches), &angles)
        });
    });
}

criterion_group!(benches, pose);
criterion_main!(benches);
