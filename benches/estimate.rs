//! Candidates from hypotheses.

mod backends;
mod hypotheses;

use backends::{Group, Timed, on_every_backend};
use coregister::stages::consensus::{ScoreHypotheses, Tolerance};
use coregister::stages::estimate::{EstimateOptions, EstimatePoses};
use criterion::{Criterion, criterion_group, criterion_main};

const TOLERANCE: Tolerance = Tolerance { base: 0.06, slope: 0.06 };
const OPTIONS: EstimateOptions =
    EstimateOptions { candidates: 64, tolerance: TOLERANCE, precision: 0.04, distinct: 0.2 };

fn candidates<B: ScoreHypotheses + EstimatePoses>(device: &Timed<B>, group: &mut Group<'_>) {
    let b = device.backend();
    let matches = hypotheses::planted(b, 1300, 130);
    let support =
        b.score_hypotheses(&matches.poses, Some(&matches.source), &matches, TOLERANCE).expect("support");
    device.time(group, "64 candidates from 1300 matches", |b| b.estimate_poses(&matches, &support, OPTIONS));
}

fn estimate(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("estimate");
    group.sample_size(20);
    on_every_backend!(candidates, &mut group);
}

criterion_group!(benches, estimate);
criterion_main!(benches);
