//! What the whole promises: both directions agree, the answer does not depend on where the clouds lie, how they
//! are turned or in which unit they are, it is the same on every run, and what does not overlap is rejected.

mod common;

use std::f64::consts::TAU;
use std::path::Path;
use std::sync::Arc;

use common::{random, room, squared_distance};
use coregister::backend::Cpu;
use coregister::cloud::Point;
use coregister::config;
use coregister::evaluate::{Truth, read_pairs};
use coregister::io::read_cloud;
use coregister::pipeline::scan::{Keypoints, Prepared, Scan};
use coregister::pipeline::{Pipeline, TOLERANCE, View, circumstances, distinct};
use coregister::registration::{KeypointMatch, Timings};
use coregister::simulate::{Kind, Motion, PairOptions, simulate_pair};
use coregister::stages::clean::canonical_cloud;
use coregister::stages::describe::Descriptor;
use coregister::{Cloud, Config, Engine, Registration, RigidTransform, Status};
use nalgebra::{Rotation3, Unit, Vector3};
use rand::seq::SliceRandom;
use rand::{Rng, RngExt};

/// A pair with its answer.
struct Pair {
    name: &'static str,
    source: Vec<[f64; 3]>,
    target: Vec<[f64; 3]>,
    truth: RigidTransform,
}

/// The demo pair and a small one of each of the other kinds.
fn pairs() -> Vec<Pair> {
    let simulated = [
        simulated("frame", Kind::Frame, 0.5, 1),
        simulated("object", Kind::Object, 0.6, 2),
        simulated("lidar", Kind::Lidar, 0.5, 4),
    ];
    std::iter::once(demo()).chain(simulated).collect()
}

fn demo() -> Pair {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("data");
    let pairs = read_pairs(&folder.join("demo_pair.csv")).unwrap();
    let Truth::Transform(truth) = pairs[0].truth else { panic!("the demo pair has an answer") };
    let points = |name: &str| points_of(&read_cloud(&folder.join(name)).unwrap());
    Pair { name: "demo", source: points("demo_source.ply"), target: points("demo_target.ply"), truth }
}

fn simulated(name: &'static str, kind: Kind, detail: f64, seed: u64) -> Pair {
    let kinds = vec![kind];
    let options =
        PairOptions { kinds, overlap: 0.6..0.8, motion: Motion::Full, detail, ..PairOptions::default() };
    let pair = simulate_pair(seed, &options).unwrap();
    let (source, target) = (points_of(&pair.source), points_of(&pair.target));
    Pair { name, source, target, truth: pair.target_from_source }
}

fn points_of(cloud: &Cloud) -> Vec<[f64; 3]> {
    (0..cloud.len()).map(|i| cloud.point(i)).collect()
}

fn engine() -> Engine {
    Engine::new(Config::default()).unwrap()
}

fn register(source: &[[f64; 3]], target: &[[f64; 3]]) -> Registration {
    engine().register(&Cloud::from_f64(source), &Cloud::from_f64(target)).unwrap()
}

/// Mean and root mean square distance from it.
fn centre_and_size(points: &[[f64; 3]]) -> (Vector3<f64>, f64) {
    let count = points.len() as f64;
    let centre = points.iter().map(|p| Vector3::from(*p)).sum::<Vector3<f64>>() / count;
    let squares: f64 = points.iter().map(|p| (Vector3::from(*p) - centre).norm_squared()).sum();
    (centre, (squares / count).sqrt())
}

/// How far two transforms are from each other on a cloud: the angle in degrees, and the distance between the two
/// places of the cloud's centre in units of its size.
#[derive(Debug, Clone, Copy)]
struct Deviation {
    angle: f64,
    shift: f64,
}

impl Deviation {
    fn between(a: &RigidTransform, b: &RigidTransform, points: &[[f64; 3]]) -> Self {
        let (centre, size) = centre_and_size(points);
        let shift = (a.apply(&centre) - b.apply(&centre)).norm() / size;
        Self { angle: a.angle_to(b).to_degrees(), shift }
    }

    fn assert_below(self, angle: f64, shift: f64, what: &str) {
        println!("{what}: {:.4} deg, {:.5} of the size", self.angle, self.shift);
        assert!(self.angle < angle && self.shift < shift, "{what}: {self:?}");
    }
}

/// Voxels are 2 to 4 % of these clouds' sizes, so this shift is half a voxel at most. A change that is exact in real
/// numbers moves points by rounding only, but may push some of them across a border of the voxel grid or turn a
/// tie; the last refinement then starts from other samples of the same surface, and its answer differs by less
/// than the noise of the scans moves it.
const ANGLE: f64 = 0.2;
const SHIFT: f64 = 0.01;

// Accuracy

/// Height of hilly ground, metres.
fn height(x: f64, y: f64, hills: &[[f64; 4]]) -> f64 {
    hills.iter().map(|[along, across, phase, height]| height * (along * x + across * y + phase).sin()).sum()
}

/// Two surveys of hilly ground from the air that share two thirds, each in a frame of its own, and the answer.
fn surveys(seed: u64) -> (Vec<[f64; 3]>, Vec<[f64; 3]>, RigidTransform) {
    let mut random = random(seed);
    let hills = [(); 30].map(|()| {
        let (length, direction) = (random.random_range(3.0..30.0), random.random_range(0.0..TAU));
        [
            TAU * f64::cos(direction) / length,
            TAU * f64::sin(direction) / length,
            random.random_range(0.0..TAU),
            0.012 * length,
        ]
    });
    let mut survey = |from: f64| {
        let place = turned(&mut random);
        let points = (0..20_000).map(|_| {
            let (x, y) = (from + random.random_range(0.0..60.0), random.random_range(0.0..60.0));
            place.apply(&Vector3::new(x, y, height(x, y, &hills))).into()
        });
        (points.collect::<Vec<_>>(), place)
    };
    let ((source, at_source), (target, at_target)) = (survey(0.0), survey(20.0));
    (source, target, at_target.compose(&at_source.inverse()))
}

/// From which side it was seen cannot be told from a survey, so half of these pairs are taken for seen from opposite ones.
#[test]
fn ground_is_found_from_either_side() {
    for seed in 0..6 {
        let (source, target, truth) = surveys(seed);
        let registration = register(&source, &target);
        assert_eq!(registration.status, Status::Accepted, "{seed}: {}", registration.reason);
        let deviation = Deviation::between(&registration.target_from_source, &truth, &source);
        deviation.assert_below(1.0, 0.02, "hilly ground");
    }
}

#[test]
fn answers_are_right_and_both_directions_agree() {
    for pair in pairs() {
        let forward = register(&pair.source, &pair.target);
        let backward = register(&pair.target, &pair.source);
        for (registration, truth, points) in
            [(&forward, pair.truth, &pair.source), (&backward, pair.truth.inverse(), &pair.target)]
        {
            assert_eq!(registration.status, Status::Accepted, "{}: {}", pair.name, registration.reason);
            let deviation = Deviation::between(&registration.target_from_source, &truth, points);
            deviation.assert_below(2.0, 0.03, &format!("{} against the truth", pair.name));
        }
        let there_and_back = backward.target_from_source.compose(&forward.target_from_source);
        let deviation = Deviation::between(&there_and_back, &RigidTransform::identity(), &pair.source);
        // Both directions refine on samples of their own source, so they differ by the noise of the scans.
        deviation.assert_below(1.0, 0.01, &format!("{} there and back", pair.name));
    }
}

#[test]
fn identical_clouds_give_the_identity() {
    for pair in pairs() {
        let registration = register(&pair.source, &pair.source);
        assert_eq!(registration.status, Status::Accepted, "{}: {}", pair.name, registration.reason);
        let deviation =
            Deviation::between(&registration.target_from_source, &RigidTransform::identity(), &pair.source);
        deviation.assert_below(0.01, 1e-4, &format!("{} on itself", pair.name));
        assert!(registration.overlap > 0.95, "{}: overlap {}", pair.name, registration.overlap);
    }
}

/// Points in rows on the faces of a few blocks: each face looks like the others, and like itself a little further on.
fn blocks() -> Vec<[f64; 3]> {
    const STEP: f64 = 0.05;
    // Left, front, edge and height.
    const BLOCKS: [[f64; 4]; 4] =
        [[0.0, 0.0, 3.0, 0.2], [1.0, 0.5, 0.8, 1.3], [2.2, 1.7, 0.6, 0.7], [0.2, 2.1, 0.5, 2.0]];
    let steps = |length: f64| (0..(length / STEP).round() as usize).map(|i| i as f64 * STEP);
    let mut points = Vec::new();
    for [left, front, edge, height] in BLOCKS {
        for a in steps(edge) {
            points.extend(steps(edge).map(|b| [left + a, front + b, height]));
            points.extend(steps(height).flat_map(|c| {
                let along = [[left + a, front, c], [left + a, front + edge, c]];
                [along, [[left, front + a, c], [left + edge, front + a, c]]].into_iter().flatten()
            }));
        }
    }
    points
}

#[test]
fn parts_that_look_alike_are_no_rivals_of_a_cloud_laid_on_itself() {
    let blocks = blocks();
    let turned: Vec<[f64; 3]> = blocks.iter().map(|[x, y, z]| [*y, 2.0 - x, z - 1.0]).collect();
    let registration = register(&turned, &blocks);
    assert!(registration.confidence > 0.9, "{}, {}", registration.confidence, registration.reason);
    let origin = registration.target_from_source.apply(&Vector3::zeros());
    assert!((origin - Vector3::new(2.0, 0.0, 1.0)).norm() < 0.02, "{origin}");
}

#[test]
fn the_order_of_the_points_does_not_matter() {
    for pair in pairs() {
        let mut shuffled = pair.source.clone();
        shuffled.shuffle(&mut random(4));
        let registration = register(&shuffled, &pair.source);
        assert_eq!(registration.status, Status::Accepted, "{}: {}", pair.name, registration.reason);
        let deviation =
            Deviation::between(&registration.target_from_source, &RigidTransform::identity(), &pair.source);
        deviation.assert_below(ANGLE, SHIFT, &format!("{} shuffled", pair.name));
    }
}

// Invariance

/// `p ↦ scale · rigid(p)`.
#[derive(Debug, Clone, Copy)]
struct Similarity {
    scale: f64,
    rigid: RigidTransform,
}

impl Similarity {
    fn apply(&self, points: &[[f64; 3]]) -> Vec<[f64; 3]> {
        points.iter().map(|p| (self.rigid.apply(&Vector3::from(*p)) * self.scale).into()).collect()
    }
}

/// The answer for the clouds moved by `source` and `target` (of one scale), brought back to the clouds as they were.
fn registered_elsewhere(
    pair: &Pair,
    source: Similarity,
    target: Similarity,
) -> (Registration, RigidTransform) {
    let registration = register(&source.apply(&pair.source), &target.apply(&pair.target));
    let moved = registration.target_from_source;
    let moved = RigidTransform::new(moved.rotation, moved.translation / source.scale);
    let back = target.rigid.inverse().compose(&moved).compose(&source.rigid);
    (registration, back)
}

fn assert_same_elsewhere(what: &str, source: Similarity, target: Similarity) {
    for pair in pairs() {
        let here = register(&pair.source, &pair.target);
        let (elsewhere, back) = registered_elsewhere(&pair, source, target);
        let what = format!("{} {what}", pair.name);
        println!("{what}: confidence {:.4} and {:.4}", here.confidence, elsewhere.confidence);
        assert_eq!(elsewhere.status, here.status, "{what}: {}", elsewhere.reason);
        let deviation = Deviation::between(&here.target_from_source, &back, &pair.source);
        deviation.assert_below(ANGLE, SHIFT, &what);
        // The voxels of another unit may be one rung of the ladder of lengths larger or smaller, and with them what
        // counts as overlap and the residuals there.
        let (overlap, rmse) = if source.scale == 1.0 { (0.02, 1.05) } else { (0.06, 1.25) };
        let (change, ratio) =
            (here.overlap - elsewhere.overlap, here.inlier_rmse * source.scale / elsewhere.inlier_rmse);
        assert!(change.abs() < overlap, "{what}: overlap {} or {}", here.overlap, elsewhere.overlap);
        assert!((1.0 / rmse..rmse).contains(&ratio), "{what}: residuals differ by a factor of {ratio}");
    }
}

fn scaled(scale: f64) -> Similarity {
    Similarity { scale, rigid: RigidTransform::identity() }
}

fn rigid(rigid: RigidTransform) -> Similarity {
    Similarity { scale: 1.0, rigid }
}

#[test]
fn the_unit_does_not_matter() {
    assert_same_elsewhere("in kilometres", scaled(1e-3), scaled(1e-3));
    assert_same_elsewhere("in millimetres", scaled(1e3), scaled(1e3));
}

#[test]
fn a_power_of_two_of_the_unit_changes_no_bit() {
    let pair = simulated("frame", Kind::Frame, 0.4, 1);
    let here = register(&pair.source, &pair.target);
    let (elsewhere, back) = registered_elsewhere(&pair, scaled(1024.0), scaled(1024.0));
    assert_eq!(back.to_row_major(), here.target_from_source.to_row_major());
    assert_eq!(elsewhere.confidence, here.confidence);
    assert_eq!(elsewhere.inlier_rmse, 1024.0 * here.inlier_rmse);
}

#[test]
fn the_place_does_not_matter() {
    let far =
        |x, y, z| rigid(RigidTransform { translation: Vector3::new(x, y, z), ..RigidTransform::identity() });
    assert_same_elsewhere("far away", far(5e6, -5e6, 5e6), far(5e6, -5e6, 5e6));
    assert_same_elsewhere("far apart", far(0.0, 0.0, 0.0), far(-5e6, 0.0, 5e6));
}

#[test]
fn the_attitude_does_not_matter() {
    let mut random = random(5);
    for turn in 0..2 {
        let [source, target] = [(); 2].map(|()| rigid(turned(&mut random)));
        assert_same_elsewhere(&format!("turned {turn}"), source, target);
    }
}

/// A random rotation.
fn turned(random: &mut impl Rng) -> RigidTransform {
    let axis = Vector3::from_fn(|_, _| random.random_range(-1.0..1.0));
    let angle = random.random_range(0.5..std::f64::consts::PI);
    let rotation = Rotation3::from_axis_angle(&Unit::new_normalize(axis), angle);
    RigidTransform::new(*rotation.matrix(), Vector3::zeros())
}

// Determinism

/// Everything in an answer but the times.
fn bits(registration: &Registration) -> Vec<u64> {
    let Registration { confidence, overlap, inliers, inlier_rmse, information, .. } = registration;
    let transform = registration.target_from_source.to_row_major();
    let numbers = transform.iter().chain(information.iter().flatten());
    let numbers = numbers.chain([confidence, overlap, inlier_rmse]);
    numbers.map(|x| x.to_bits()).chain([*inliers as u64, registration.status as u64]).collect()
}

#[test]
fn threads_and_runs_do_not_change_a_bit() {
    let with = |threads| Engine::new(Config { threads, ..Config::default() }).unwrap();
    let (one, two) = (with(1), with(2));
    for pair in pairs() {
        let (source, target) = (Cloud::from_f64(&pair.source), Cloud::from_f64(&pair.target));
        let expected = bits(&one.register(&source, &target).unwrap());
        for engine in [&one, &two, &two] {
            assert_eq!(bits(&engine.register(&source, &target).unwrap()), expected, "{}", pair.name);
        }
    }
}

#[test]
fn the_seed_is_reported_and_any_seed_does() {
    let pair = demo();
    let (source, target) = (Cloud::from_f64(&pair.source), Cloud::from_f64(&pair.target));
    for seed in [1, u64::MAX] {
        let register = || {
            let engine = Engine::new(Config { seed, ..Config::default() }).unwrap();
            engine.register(&source, &target).unwrap()
        };
        let (once, again) = (register(), register());
        assert_eq!((once.status, once.seed), (Status::Accepted, seed));
        assert_eq!(bits(&once), bits(&again));
    }
}

// Rejection

#[test]
fn scans_that_do_not_overlap_are_rejected() {
    for (seed, kind) in (0..10).zip(Kind::USUAL.into_iter().cycle()) {
        let kinds = vec![kind];
        let options = PairOptions {
            kinds,
            none_share: 1.0,
            motion: Motion::Full,
            detail: 0.5,
            ..PairOptions::default()
        };
        let pair = simulate_pair(seed, &options).unwrap();
        let registration = engine().register(&pair.source, &pair.target).unwrap();
        println!("{kind} {seed}: confidence {:.3}", registration.confidence);
        assert_eq!(registration.status, Status::Rejected, "{kind} {seed}");
        assert!(!registration.reason.is_empty() && (0.0..=1.0).contains(&registration.confidence));
    }
}

// Details

#[test]
fn details_change_no_answer_and_count_the_same_inliers() {
    let engine = engine();
    for pair in pairs() {
        let (source, target) = (Cloud::from_f64(&pair.source), Cloud::from_f64(&pair.target));
        let plain = engine.register(&source, &target).unwrap();
        let (answer, details) = engine.register_with_details(&source, &target).unwrap();
        assert_eq!(bits(&answer), bits(&plain), "{}", pair.name);
        let inliers = details.matches.iter().filter(|m| m.inlier);
        assert_eq!(inliers.clone().count(), answer.inliers, "{}", pair.name);
        assert!(details.matches.len() > answer.inliers, "{}: no match is wrong", pair.name);
        assert!((details.evidence[0].source_overlap - answer.overlap).abs() < 1e-9, "{}", pair.name);
        // The answer was refined once more after they were counted, so a few may be a little further apart.
        let apart = |m: &KeypointMatch| {
            (answer.target_from_source.apply(&m.source.into()) - Vector3::from(m.target)).norm()
        };
        assert!(inliers.clone().all(|m| apart(m) < 1.1 * details.tolerance), "{}", pair.name);
    }
}

fn prepared(points: &[Point]) -> Arc<Prepared<Cpu>> {
    let cloud = canonical_cloud(&Cloud::from_f32(points.to_vec()), "source").unwrap();
    let pipeline = Pipeline { backend: Cpu::new(1).unwrap(), config: Config::default(), network: None };
    let scan = Scan::new(Arc::new(cloud));
    pipeline.prepare_both(&scan, &scan, &mut Timings::default()).unwrap().0
}

/// Mean share of the cloud's points within `reach` of one of them.
fn counted_share(points: &[Point], reach: f32) -> f32 {
    let near = |p: &Point| points.iter().filter(|q| squared_distance(p, q) < reach * reach).count();
    let some: Vec<usize> = points.iter().step_by(7).map(near).collect();
    some.iter().sum::<usize>() as f32 / (some.len() * points.len()) as f32
}

#[test]
fn what_a_cloud_has_within_reach_is_known_roughly() {
    let (dense, sparse) = (prepared(&room(30_000, 1)), prepared(&room(100, 1)));
    for cloud in [&dense, &sparse] {
        let radius = cloud.radii[0];
        for reach in [0.5 * radius, radius] {
            let (share, counted) = (cloud.share_within(reach), counted_share(&cloud.points, reach));
            assert!((0.4..2.5).contains(&(share / counted)), "{share}, {counted} counted within {reach}");
        }
        assert_eq!(cloud.share_within(1e3 * radius), 1.0);
    }
    // Any pose has matches within tolerance where that is a good part of the cloud.
    let chance = |cloud: &Prepared<Cpu>| circumstances(&Cpu::new(1).unwrap(), cloud, cloud, 100).chance;
    assert!(chance(&sparse) > 2.0 && chance(&dense) < 0.5, "{} {}", chance(&sparse), chance(&dense));
    assert_eq!(chance(&dense), 0.5 * 100.0 * dense.share_within(TOLERANCE * dense.surface.spacing));
}

#[test]
fn glances_come_before_the_views_that_show_more() {
    let cloud = Arc::new(canonical_cloud(&Cloud::from_f32(room(3_000, 1)), "source").unwrap());
    let views = |descriptor| {
        let config = Config { descriptor, ..Config::default() };
        let pipeline = Pipeline { backend: Cpu::new(1).unwrap(), config, network: None };
        let scan = Scan::new(cloud.clone());
        let (source, target) = pipeline.prepare_both(&scan, &scan, &mut Timings::default()).unwrap();
        let axes = pipeline.axes(&source, &target).len();
        (pipeline.views(&source, &target), axes)
    };
    for thorough in [config::Descriptor::Auto, config::Descriptor::Learned, config::Descriptor::Classic] {
        let (views, axes) = views(thorough);
        let glances: Vec<_> = views.iter().take_while(|view| view.is_glance).collect();
        let whole = &views[glances.len()..];
        let is_auto = thorough == config::Descriptor::Auto;
        assert_eq!((glances.len(), whole.len()), (if is_auto { 2 } else { 1 }, axes), "{thorough:?}");
        for glance in &glances {
            assert_eq!(glance.radii, whole[0].radii[..1]);
            assert_eq!(glance.axes, whole[0].axes);
        }
        let quick = (glances[0].keypoints, glances[0].descriptor);
        assert_eq!(quick == (Keypoints::First, Descriptor::Classic), is_auto, "{thorough:?}");
        let of_scale = |view: &View| (view.keypoints, view.descriptor);
        assert!(whole.iter().all(|view| of_scale(view) == of_scale(glances[glances.len() - 1])));
        for view in whole {
            assert!(!view.is_glance && view.keypoints == Keypoints::All);
            assert!(view.radii.len() == 2 && view.radii[0] > view.radii[1]);
            let looks = view.looks();
            let expected = |i: usize| (view.radii[i], view.axes.0, view.axes.1);
            assert!((0..2).all(|i| (looks[i].0.radius, looks[i].0.axes, looks[i].1.axes) == expected(i)));
        }
    }
}

#[test]
fn a_pair_that_may_have_been_seen_from_either_side_is_glanced_at_from_both() {
    let (source, target, _) = surveys(0);
    let pipeline = Pipeline { backend: Cpu::new(1).unwrap(), config: Config::default(), network: None };
    let scan =
        |points: &[_]| Scan::new(Arc::new(canonical_cloud(&Cloud::from_f64(points), "cloud").unwrap()));
    let (source, target) = (scan(&source), scan(&target));
    let (source, target) = pipeline.prepare_both(&source, &target, &mut Timings::default()).unwrap();
    let (views, axes) = (pipeline.views(&source, &target), pipeline.axes(&source, &target));
    assert_eq!(axes.len(), 2);
    let of_quick = |view: &&View| view.is_glance && view.descriptor == Descriptor::Classic;
    let quick: Vec<_> = views.iter().take_while(of_quick).map(|view| view.axes).collect();
    assert_eq!(quick, axes);
    let rest: Vec<_> = views[2..].iter().map(|view| (view.is_glance, view.axes)).collect();
    assert_eq!(rest, [(true, axes[0]), (false, axes[0]), (false, axes[1])]);
}

#[test]
fn candidates_of_a_cloud_of_few_voxels_have_rivals() {
    let (dense, sparse) = (prepared(&room(30_000, 1)), prepared(&room(100, 1)));
    for cloud in [&dense, &sparse] {
        let (of_voxels, of_radius) = (10.0 * cloud.surface.spacing, 0.25 * cloud.extent.radius);
        assert_eq!(distinct(cloud), of_voxels.min(of_radius));
    }
    assert!(distinct(&sparse) < 5.0 * sparse.surface.spacing, "ten voxels are the whole of it");
    assert!(distinct(&dense) > 5.0 * dense.surface.spacing);
}
