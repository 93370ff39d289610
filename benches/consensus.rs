//! Support of hypotheses among matches.

mod backends;
mod hypotheses;

use backends::{Group, Timed, on_every_backend};
use coregister::stages::consensus::{ScoreHypotheses, Tolerance};
use criterion::{Criterion, criterion_group, criterion_main};

const TOLERANCE: Tolerance = Tolerance { base: 0.06, slope: 0.06 };

fn score<B: ScoreHypotheses>(device: &Timed<B>, group: &mut Group<'_>) {
    for count in [1300, 3000] {
        let matches = hypotheses::planted(device.backend(), count, count / 10);
        device.time(group, format!("{count} hypotheses × {count} matches"), |b| {
            b.score_hypotheses(&matches.poses, Some(&matches.source), &matches, TOLERANCE)
        });
    }
}

fn consensus(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("consensus");
    group.sample_size(20);
    on_every_backend!(score, &mut group);
}

criterion_group!(benches, consensus);
criterion_main!(benches);
