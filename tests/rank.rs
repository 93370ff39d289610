//! The order of candidates.

mod common;

use common::found::{on_every_backend, on_every_device};
use common::{one_and_two_threads, pose_of, random};
use coregister::geometry::Pose;
use coregister::stages::consensus::Support;
use coregister::stages::rank::{Candidate, Judged, RankCandidates};
use coregister::stages::verify::Agreement;
use coregister::stages::verify::judge::{Circumstances, log_odds};
use nalgebra::Rotation3;
use rand::RngExt;

/// What is known of as many candidates. Witnesses repeat, so that some are equally likely.
struct Known {
    estimated: Vec<Pose>,
    poses: Vec<Pose>,
    agreement: Vec<Agreement>,
    support: Vec<Support>,
}

const CIRCUMSTANCES: Circumstances =
    Circumstances { source_reliance: 1.0, target_reliance: 0.25, chance: 0.3, hold_of_one: 0.0005 };

fn known(count: usize) -> Known {
    let mut random = random(count as u64);
    let pose = |shift: f64| pose_of(&Rotation3::from_euler_angles(0.1, shift, 0.3), [shift, 0.0, 1.0]);
    let mut share = || random.random_range(0..4) as f32 / 4.0;
    let agreement = (0..count).map(|_| Agreement {
        source_overlap: share(),
        target_overlap: 0.5,
        source_hold: 0.1 * share(),
        target_hold: 0.1 * share(),
        rmse: share(),
        source_in_front: 0.1 * share(),
        target_in_front: 0.1 * share(),
        source_in_view: share(),
        target_in_view: share(),
    });
    Known {
        estimated: (0..count).map(|i| pose(i as f64)).collect(),
        poses: (0..count).map(|i| pose(0.1 - i as f64)).collect(),
        agreement: agreement.collect(),
        support: (0..count).map(|i| Support { count: i as u32, score: (i % 3) as f32 }).collect(),
    }
}

fn ranked<B: RankCandidates>(backend: &B, known: &Known, most: usize) -> Vec<Candidate> {
    let (estimated, poses) =
        (backend.upload(&known.estimated).unwrap(), backend.upload(&known.poses).unwrap());
    let (agreement, support) =
        (backend.upload(&known.agreement).unwrap(), backend.upload(&known.support).unwrap());
    let judged = Judged {
        estimated: &estimated,
        poses: &poses,
        agreement: &agreement,
        support: &support,
        circumstances: CIRCUMSTANCES,
    };
    let ranked = backend.rank_candidates(judged, most).unwrap();
    let found = backend.download(&ranked.candidates).unwrap();
    let (before, after) = (&ranked.estimated, &ranked.poses);
    assert_eq!(backend.download(before).unwrap(), found.iter().map(|c| c.estimated).collect::<Vec<_>>());
    assert_eq!(backend.download(after).unwrap(), found.iter().map(|c| c.pose).collect::<Vec<_>>());
    found
}

fn check<B: RankCandidates>(backend: &B) {
    for count in [0, 1, 2, 12, 64, 65, 200] {
        let known = known(count);
        for most in [0, 1, 12, 64, 1000] {
            let found = ranked(backend, &known, most);
            assert_eq!(found.len(), most.min(count), "{most} of {count}");
            // Whatever a device makes of the logarithm, the order is that of what it found.
            let place =
                |c: &Candidate| known.support.iter().position(|s| s.count == c.support.count).unwrap();
            for pair in found.windows(2) {
                assert!(pair[0].log_odds >= pair[1].log_odds, "{most} of {count}");
                let in_order = pair[0].log_odds > pair[1].log_odds || place(&pair[0]) < place(&pair[1]);
                assert!(in_order, "{most} of {count}");
            }
            for candidate in &found {
                let i = place(candidate);
                assert_eq!((candidate.estimated, candidate.pose), (known.estimated[i], known.poses[i]));
                assert_eq!((candidate.agreement, candidate.support), (known.agreement[i], known.support[i]));
                let expected = log_odds(&known.agreement[i], &known.support[i], &CIRCUMSTANCES);
                assert!((candidate.log_odds - expected).abs() <= 1e-6 * expected.abs().max(1.0));
            }
            let left_out = known.support.iter().filter(|s| found.iter().all(|c| c.support.count != s.count));
            if let Some(last) = found.last() {
                for support in left_out {
                    let odds = log_odds(&known.agreement[support.count as usize], support, &CIRCUMSTANCES);
                    assert!(odds <= last.log_odds + 1e-6, "{most} of {count}");
                }
            }
        }
    }
}

#[test]
fn the_best_come_first_and_of_equals_the_earlier() {
    on_every_backend!(check);
}

/// Negative zero, infinities and what is no number have a place as well.
fn check_extremes<B: RankCandidates>(backend: &B) {
    let mut known = known(6);
    known.agreement.iter_mut().for_each(|agreement| *agreement = known_zero());
    let scores = [1.0, f32::INFINITY, -0.5, f32::NAN, 0.0, 1.0];
    known.support.iter_mut().zip(scores).for_each(|(support, score)| support.score = score);
    let order: Vec<u32> = ranked(backend, &known, 6)[1..].iter().map(|c| c.support.count).collect();
    assert_eq!(order, [1, 0, 5, 2, 4], "less than chance is as good as nothing");
}

fn known_zero() -> Agreement {
    bytemuck::Zeroable::zeroed()
}

#[test]
fn whatever_is_said_has_a_place() {
    one_and_two_threads().iter().for_each(check_extremes);
    on_every_device!(check_extremes);
}
