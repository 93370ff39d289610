//! The order of candidates.

mod backends;

use backends::{Group, Timed, on_every_backend};
use coregister::geometry::{IDENTITY, Pose};
use coregister::stages::consensus::Support;
use coregister::stages::rank::{Judged, RankCandidates};
use coregister::stages::verify::Agreement;
use coregister::stages::verify::judge::Circumstances;
use criterion::{Criterion, criterion_group, criterion_main};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

const COUNT: usize = 64;
const KEPT: usize = 12;

fn rank<B: RankCandidates>(device: &Timed<B>, group: &mut Group<'_>) {
    let mut random = ChaCha8Rng::seed_from_u64(1);
    let mut share = || random.random_range(0.0..1.0);
    let agreement: Vec<_> = (0..COUNT)
        .map(|_| Agreement {
            source_overlap: share(),
            target_overlap: share(),
            source_hold: 0.1 * share(),
            target_hold: 0.1 * share(),
            rmse: share(),
            source_in_front: 0.1 * share(),
            target_in_front: 0.1 * share(),
            source_in_view: share(),
            target_in_view: share(),
        })
        .collect();
    let support: Vec<_> = (0..COUNT).map(|i| Support { count: i as u32, score: share() }).collect();
    let poses: [Pose; COUNT] = [IDENTITY; COUNT];
    let b = device.backend();
    let (estimated, refined) = (b.upload(&poses).expect("poses"), b.upload(&poses).expect("poses"));
    let (agreement, support) = (b.upload(&agreement).expect("words"), b.upload(&support).expect("words"));
    device.time(group, "the best 12 of 64", |b| {
        let judged = Judged {
            estimated: &estimated,
            poses: &refined,
            agreement: &agreement,
            support: &support,
            circumstances: Circumstances {
                source_reliance: 1.0,
                target_reliance: 1.0,
                chance: 0.1,
                hold_of_one: 0.0005,
            },
        };
        b.rank_candidates(judged, KEPT)
    });
}

fn ranking(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("rank");
    group.sample_size(20);
    on_every_backend!(rank, &mut group);
}

criterion_group!(benches, ranking);
criterion_main!(benches);
