//! What two clouds say about a pose, and what follows from it.

mod common;

use std::collections::BTreeMap;
use std::f32::consts::PI;

use common::emulated::emulated;
use common::found::{on_every_backend, on_every_device, on_one_device};
use common::rays::{cluttered_room, pinhole, scan};
use common::{
    any_rotation, cube, dice, lattice, one_and_two_threads, pose_of, random, room, squared_distance,
    surface_on,
};
use coregister::backend::Device;
use coregister::cloud::Point;
use coregister::geometry::{IDENTITY, Pose, apply, dot, inverse, rotate, subtract, to_vector};
use coregister::stages::consensus::Support;
use coregister::stages::surface::Surface;
use coregister::stages::verify::judge::{
    Circumstances, FreeMotion, chance, confidence, free_motions, hold_of_one, log_odds, reliance, shortfall,
};
use coregister::stages::verify::{Agreement, AgreementOptions, MeasureAgreement, Observation, Scene};
use coregister::stages::viewpoint::{EstimateViewpoint, RangeImage, Viewpoint};
use nalgebra::{Matrix6, Rotation3, SymmetricEigen, Vector3, Vector6};
use rand::RngExt;
use rand::seq::SliceRandom;

const SPACING: f32 = 0.08;
const OPTIONS: AgreementOptions =
    AgreementOptions { samples: 4000, reach: 1.5 * SPACING, margin: 3.0 * SPACING };

/// A cloud with what it saw.
struct Scanned<D: Device> {
    surface: Surface<D>,
    view: RangeImage<D>,
}

impl<B: EstimateViewpoint> Scanned<B> {
    fn new(backend: &B, points: &[Point], eye: Point) -> Self {
        let view = backend.range_image(&backend.upload(points).unwrap(), eye).unwrap();
        Self { surface: surface_on(backend, points, SPACING), view }
    }

    fn scene(&self) -> Scene<'_, B> {
        Scene { surface: &self.surface, view: &self.view, spacing: SPACING }
    }
}

fn observed<B: Stages>(
    backend: &B,
    source: &Surface<B>,
    target: &Surface<B>,
    pose: &Pose,
    options: AgreementOptions,
) -> Observation {
    let observation = backend.observe(source, target, &backend.upload(&[*pose]).unwrap(), options).unwrap();
    assert_eq!(observation.pose, *pose);
    observation
}

/// The stages that lead to verification.
trait Stages: EstimateViewpoint + MeasureAgreement {}
impl<B: EstimateViewpoint + MeasureAgreement> Stages for B {}

fn agreement<B: Stages>(
    backend: &B,
    source: &Scanned<B>,
    target: &Scanned<B>,
    poses: &[Pose],
    options: AgreementOptions,
) -> Vec<Agreement> {
    let poses = backend.upload(poses).unwrap();
    let found = backend.measure_agreement(source.scene(), target.scene(), &poses, options).unwrap();
    backend.download(&found).unwrap()
}

fn shift(x: f32, y: f32, z: f32) -> Pose {
    let mut pose = IDENTITY;
    pose[9..].copy_from_slice(&[x, y, z]);
    pose
}

/// `count` points of a rectangle, jittered, in random order: `at(u, v)` for u, v in 0..1.
fn patch(count: usize, seed: u64, at: impl Fn(f32, f32) -> Point) -> Vec<Point> {
    let mut random = random(seed);
    (0..count).map(|_| at(random.random(), random.random())).collect()
}

/// A wall across the view, four ahead of the origin, 3 × 3 large.
fn wall(count: usize, seed: u64) -> Vec<Point> {
    patch(count, seed, |u, v| [4.0, 3.0 * u - 1.5, 3.0 * v - 1.5])
}

/// What a camera in the room sees in the directions to keep, in random order.
fn room_view(eye: Point, seed: u64, keep: impl Fn(&Point) -> bool) -> Vec<Point> {
    let mut random = random(seed);
    let mut jitter = || random.random_range(-0.003..0.003);
    let directions: Vec<Point> = pinhole().iter().map(|d| d.map(|x| x + jitter())).filter(keep).collect();
    let mut points = scan(&cluttered_room(), eye, &directions);
    points.shuffle(&mut random);
    points
}

const EYE: Point = [0.4, 2.0, 1.3];

/// Two views from one place, of which the source shows the left and the target the right, and the pose between.
fn room_pair<B: Stages>(backend: &B) -> (Scanned<B>, Scanned<B>, Pose) {
    let truth = pose_of(&any_rotation(&mut random(2)), [1.0, -2.0, 0.5]);
    let back = inverse(&truth);
    let left: Vec<Point> = room_view(EYE, 1, |d| d[1] > -0.15).iter().map(|p| apply(&back, p)).collect();
    let right = room_view(EYE, 2, |d| d[1] < 0.25);
    (Scanned::new(backend, &left, apply(&back, &EYE)), Scanned::new(backend, &right, EYE), truth)
}

fn check_truth<B: Stages>(backend: &B) {
    let (source, target, truth) = room_pair(backend);
    let found = agreement(backend, &source, &target, &[truth], OPTIONS)[0];
    let share = |keep: &dyn Fn(&Point) -> bool, among: &dyn Fn(&Point) -> bool| {
        let all: Vec<Point> = pinhole().into_iter().filter(|d| among(d)).collect();
        all.iter().filter(|d| keep(d)).count() as f32 / all.len() as f32
    };
    let (left, right) = (|d: &Point| d[1] > -0.15, |d: &Point| d[1] < 0.25);
    let (source_share, target_share) = (share(&right, &left), share(&left, &right));
    // At edges and where the view grazes a surface normals differ or nothing is in reach.
    for (overlap, share) in [(found.source_overlap, source_share), (found.target_overlap, target_share)] {
        assert!((0.8 * share..share + 0.05).contains(&overlap), "{overlap}, {share} expected: {found:?}");
    }
    for (in_view, share) in [(found.source_in_view, source_share), (found.target_in_view, target_share)] {
        assert!((in_view - share).abs() < 0.05, "{in_view}, {share} expected: {found:?}");
    }
    assert!(found.source_in_front < 0.01 && found.target_in_front < 0.01, "{found:?}");
    assert!(found.rmse < 0.3 * SPACING, "{found:?}");
}

#[test]
fn views_agree_under_the_true_pose() {
    on_every_backend!(check_truth);
}

fn check_in_front<B: Stages>(backend: &B) {
    let (source, target) =
        (Scanned::new(backend, &wall(8000, 1), [0.0; 3]), Scanned::new(backend, &wall(8000, 2), [0.0; 3]));
    // The margin of 0.24 and 3 % of the range of 4 are forgiven, together 0.36.
    let poses = [shift(0.0, 0.0, 0.0), shift(-0.2, 0.0, 0.0), shift(-1.0, 0.0, 0.0), shift(1.0, 0.0, 0.0)];
    let found = agreement(backend, &source, &target, &poses, OPTIONS);
    for near in &found[..2] {
        assert_eq!((near.source_in_front, near.target_in_front), (0.0, 0.0), "{near:?}");
    }
    let [towards, away] = [found[2], found[3]];
    assert!(towards.source_in_view > 0.4 && away.target_in_view > 0.4, "{towards:?} {away:?}");
    assert!(towards.source_in_front > 0.95 * towards.source_in_view, "{towards:?}");
    assert_eq!((towards.target_in_front, towards.source_overlap), (0.0, 0.0), "{towards:?}");
    assert!(away.target_in_front > 0.95 * away.target_in_view, "{away:?}");
    assert_eq!((away.source_in_front, away.target_overlap), (0.0, 0.0), "{away:?}");
    let strict = AgreementOptions { margin: 0.0, ..OPTIONS };
    let found = agreement(backend, &source, &target, &poses[1..2], strict)[0];
    assert!(found.source_in_front > 0.5, "the margin counts: {found:?}");
    let behind = agreement(backend, &source, &target, &[shift(-20.0, 0.0, 0.0)], OPTIONS)[0];
    assert_eq!((behind.source_in_view, behind.source_in_front), (0.0, 0.0), "nothing was seen there");
}

#[test]
fn what_comes_nearer_to_the_eye_stands_in_front() {
    on_every_backend!(check_in_front);
}

fn check_reach<B: Stages>(backend: &B) {
    let source = Scanned::new(backend, &wall(20_000, 1), [0.0; 3]);
    let target = Scanned::new(backend, &wall(20_000, 2), [0.0; 3]);
    let [apart, beyond] = [0.1, 0.13];
    let poses = [shift(apart, 0.0, 0.0), shift(beyond, 0.0, 0.0)];
    let found = agreement(backend, &source, &target, &poses, OPTIONS);
    assert!(found[0].source_overlap > 0.97 && found[0].target_overlap > 0.97, "{:?}", found[0]);
    assert!((found[0].rmse - apart).abs() < 1e-3, "{:?}", found[0]);
    assert_eq!((found[1].source_overlap, found[1].target_overlap, found[1].rmse), (0.0, 0.0, 0.0));
    let further = AgreementOptions { reach: 0.16, ..OPTIONS };
    let found = agreement(backend, &source, &target, &poses, further);
    assert!(found[1].source_overlap > 0.97, "{:?}", found[1]);
    // Half of the wall slides off.
    let found = agreement(backend, &source, &target, &[shift(0.0, 1.5, 0.0)], OPTIONS)[0];
    assert!((found.source_overlap - 0.5).abs() < 0.06, "{found:?}");
}

#[test]
fn only_what_is_in_reach_overlaps() {
    on_every_backend!(check_reach);
}

fn check_normals<B: Stages>(backend: &B) {
    let target = Scanned::new(backend, &wall(8000, 2), [0.0; 3]);
    for (degrees, agrees) in [(0, true), (40, true), (50, false), (90, false), (130, false), (140, true)] {
        let mut source = Scanned::new(backend, &wall(8000, 1), [0.0; 3]);
        let (sin, cos) = (degrees as f32).to_radians().sin_cos();
        source.surface.normals = backend.upload(&vec![[cos, 0.0, sin]; 8000]).unwrap();
        let found = agreement(backend, &source, &target, &[IDENTITY], OPTIONS)[0];
        let expected = if agrees { 0.97..=1.0 } else { 0.0..=0.0 };
        assert!(expected.contains(&found.source_overlap), "{degrees}°: {found:?}");
        assert!(expected.contains(&found.target_overlap), "{degrees}°: {found:?}");
    }
}

#[test]
fn surfaces_that_cross_do_not_overlap() {
    on_every_backend!(check_normals);
}

fn check_nothing<B: Stages>(backend: &B) {
    let (some, none) = (Scanned::new(backend, &wall(500, 1), [0.0; 3]), Scanned::new(backend, &[], [0.0; 3]));
    let zeros: Agreement = bytemuck::Zeroable::zeroed();
    assert_eq!(agreement(backend, &none, &some, &[IDENTITY], OPTIONS), [zeros]);
    assert_eq!(agreement(backend, &some, &none, &[IDENTITY], OPTIONS), [zeros]);
    assert_eq!(agreement(backend, &some, &some, &[], OPTIONS), []);
    let far = agreement(backend, &some, &some, &[shift(1e30, 0.0, 0.0)], OPTIONS)[0];
    assert_eq!((far.source_overlap, far.target_overlap), (0.0, 0.0));
    let observation = observed(backend, &some.surface, &none.surface, &IDENTITY, OPTIONS);
    assert_eq!(observation, Observation { pose: IDENTITY, ..bytemuck::Zeroable::zeroed() });
    assert_eq!(free_motions(&observation, false), [], "no contact says nothing");
    assert_eq!(free_motions(&observation, true), [], "no contact says nothing");
}

#[test]
fn empty_clouds_agree_on_nothing() {
    on_every_backend!(check_nothing);
}

/// The sums of the contract, point by point.
fn observation_by_brute_force<D: Device>(
    backend: &D,
    source: &Surface<D>,
    target: &Surface<D>,
    pose: &Pose,
    options: AgreementOptions,
) -> Observation {
    let [points, normals, fixed, fixed_normals] =
        [&source.points, &source.normals, &target.points, &target.normals]
            .map(|buffer| backend.download(buffer).unwrap());
    let places = backend.download(&source.place).unwrap();
    let mut contacts = Vec::new();
    for &place in places.iter().take(options.samples) {
        let point = apply(pose, &points[place as usize]);
        let squared: Vec<f32> = fixed.iter().map(|p| squared_distance(p, &point)).collect();
        let nearest = (0..fixed.len()).min_by(|&a, &b| squared[a].total_cmp(&squared[b])).unwrap();
        let normal = fixed_normals[nearest];
        let own = rotate(pose, &normals[place as usize]);
        let cosine = dot(&own, &normal);
        if squared[nearest] < options.reach.powi(2) && cosine.abs() >= 0.7 {
            let distance = f64::from(dot(&subtract(&point, &fixed[nearest]), &normal));
            let own = to_vector(&own) * f64::from(cosine.signum());
            contacts.push((to_vector(&point), to_vector(&normal), own, distance));
        }
    }
    let count = contacts.len() as f64;
    let centre = contacts.iter().map(|c| c.0).sum::<Vector3<f64>>() / count;
    let jacobian = |point: &Vector3<f64>, normal: &Vector3<f64>| {
        let turn = (point - centre).cross(normal);
        Vector6::from_iterator(turn.iter().chain(normal.iter()).copied())
    };
    let (mut matrix, mut differences) = (Matrix6::zeros(), Matrix6::zeros());
    for (point, normal, own, _) in &contacts {
        let row = jacobian(point, normal);
        matrix += row * row.transpose();
        let difference = row - jacobian(point, own);
        differences += difference * difference.transpose();
    }
    let radius = (contacts.iter().map(|c| (c.0 - centre).norm_squared()).sum::<f64>() / count).sqrt();
    let edge = (radius / 2.0).log2().floor().exp2();
    let mut groups = BTreeMap::<_, Vec<_>>::new();
    for (point, normal, _, distance) in &contacts {
        let block = point.map(|x| (x / edge).floor() as i64).map(|k| k.rem_euclid(4));
        let (axis, sign) = (normal.iamax(), normal[normal.iamax()].signum());
        let group = groups.entry([block.x, block.y, block.z, axis as i64]).or_default();
        group.push((jacobian(point, normal) * sign, distance * sign));
    }
    let mut common = Matrix6::zeros();
    let (mut products, mut pairs) = (0.0, 0.0);
    for group in groups.values() {
        for (i, (row, distance)) in group.iter().enumerate() {
            common += group.iter().map(|(other, _)| row * other.transpose()).sum::<Matrix6<f64>>();
            products += group.iter().skip(i + 1).map(|(_, other)| distance * other).sum::<f64>();
            pairs += (group.len() - i - 1) as f64;
        }
    }
    Observation {
        normal_matrix: std::array::from_fn(|i| matrix[(i / 6, i % 6)]),
        difference_matrix: std::array::from_fn(|i| differences[(i / 6, i % 6)]),
        common_matrix: std::array::from_fn(|i| common[(i / 6, i % 6)]),
        centre: centre.into(),
        radius,
        squares: contacts.iter().map(|c| c.3 * c.3).sum(),
        common_variance: (products / pairs).max(0.0),
        count,
        pose: *pose,
    }
}

fn check_observation<B: Stages>(backend: &B) {
    let (source, target, truth) = room_pair(backend);
    let options = AgreementOptions { samples: 700, ..OPTIONS };
    let found = observed(backend, &source.surface, &target.surface, &truth, options);
    let expected = observation_by_brute_force(backend, &source.surface, &target.surface, &truth, options);
    assert!(found.count > 200.0 && found.count == expected.count, "{found:?} {expected:?}");
    let close = |a: f64, b: f64, scale: f64| (a - b).abs() <= 1e-6 * scale;
    assert!((0..3).all(|k| close(found.centre[k], expected.centre[k], 1.0)), "{found:?} {expected:?}");
    assert!(close(found.radius, expected.radius, expected.radius), "{found:?} {expected:?}");
    assert!(close(found.squares, expected.squares, expected.squares), "{found:?} {expected:?}");
    let of = |matrix: &[f64; 36]| matrix.iter().fold(0.0f64, |a, b| a.max(b.abs()));
    let common = [found, expected].map(|observation| observation.common_variance);
    assert!(common[1] > 0.0 && close(common[0], common[1], expected.squares / expected.count), "{common:?}");
    for (found, expected) in [
        (&found.normal_matrix, &expected.normal_matrix),
        (&found.common_matrix, &expected.common_matrix),
        (&found.difference_matrix, &expected.difference_matrix),
    ] {
        let largest = of(expected);
        assert!(largest > 0.0, "{expected:?}");
        for (i, (a, b)) in found.iter().zip(expected).enumerate() {
            assert!(close(*a, *b, largest), "({}, {}): {a}, {b} expected", i / 6, i % 6);
            assert_eq!(*a, found[i % 6 * 6 + i / 6], "symmetric");
        }
    }
}

#[test]
fn an_observation_is_the_sum_over_the_contacts() {
    on_every_backend!(check_observation);
}

fn check_common_variance<B: Stages>(backend: &B) {
    let mut random = random(8);
    // Where no boundary of blocks passes through the wall, which would part errors by their sign.
    let in_a_block = |p: &Point, off_by: f32| [p[0] + 0.25 + off_by, p[1], p[2]];
    let share = |error: &mut dyn FnMut(&Point) -> f32| {
        let moved: Vec<Point> = wall(4000, 2).iter().map(|p| in_a_block(p, error(p))).collect();
        let flat: Vec<Point> = wall(4000, 1).iter().map(|p| in_a_block(p, 0.0)).collect();
        let [source, target] = [&moved, &flat].map(|points| surface_on(backend, points, SPACING));
        let found = observed(backend, &source, &target, &IDENTITY, OPTIONS);
        assert!(found.count > 1000.0, "{found:?}");
        found.common_variance / (found.squares / found.count)
    };
    // The same at points that lie in one block since blocks repeat, every two metres.
    let bent = share(&mut |p| 0.02 * (PI * p[1]).sin());
    assert!((0.6..1.0).contains(&bent), "neighbours are off by the same: {bent}");
    let noisy = share(&mut |_| random.random_range(-0.02..0.02));
    assert!((0.0..0.05).contains(&noisy), "each is off by itself: {noisy}");
}

#[test]
fn neighbours_on_bent_surfaces_have_errors_in_common() {
    on_every_backend!(check_common_variance);
}

/// The holds of a cloud on itself after a turn.
fn check_hold<B: Stages>(backend: &B) {
    for turn in &turns()[..3] {
        let hold = |points: &[Point]| {
            let pose = pose_of(turn, [0.7, -0.4, 2.0]);
            let points: Vec<Point> = points.iter().map(|p| apply(&pose, p)).collect();
            let scanned = Scanned::new(backend, &points, [0.0; 3]);
            let found = agreement(backend, &scanned, &scanned, &[IDENTITY], OPTIONS)[0];
            assert_eq!(found.source_hold, found.target_hold, "{found:?}");
            found.source_hold
        };
        assert!((0.0..0.003).contains(&hold(&plane())), "nothing holds a plane: {}", hold(&plane()));
        assert!(
            (0.0..0.003).contains(&hold(&cylinder())),
            "nor a pipe along its axis: {}",
            hold(&cylinder())
        );
        assert!((0.3..0.334).contains(&hold(&sphere())), "all directions are alike: {}", hold(&sphere()));
        assert!((0.03..0.3).contains(&hold(&room_view(EYE, 6, |_| true))), "walls and floor");
    }
}

#[test]
fn what_slides_is_not_held() {
    one_and_two_threads().iter().for_each(check_hold);
    on_one_device!(check_hold);
}

/// The least eigenvalue of the contacts' normals, as far as the samples that have a contact are of all.
fn check_hold_of_a_part<B: Stages>(backend: &B) {
    let (source, target, truth) = room_pair(backend);
    let options = AgreementOptions { samples: 700, ..OPTIONS };
    let found = agreement(backend, &source, &target, &[truth], options)[0];
    let observation = observation_by_brute_force(backend, &source.surface, &target.surface, &truth, options);
    let of_normals =
        Matrix6::from_row_slice(&observation.normal_matrix).fixed_view::<3, 3>(3, 3).into_owned();
    let expected = SymmetricEigen::new(of_normals).eigenvalues.min() / 700.0;
    assert!(expected > 0.01, "{expected}");
    assert!((f64::from(found.source_hold) - expected).abs() < 1e-6, "{found:?}, {expected} expected");
    assert!(found.target_hold > 0.01 && found.target_hold != found.source_hold, "{found:?}");
}

#[test]
fn hold_is_the_least_eigenvalue() {
    on_every_backend!(check_hold_of_a_part);
}

/// The free motions of a cloud on itself after a turn: rotations' axes and translations' axes, turned back.
fn free<B: Stages>(backend: &B, points: &[Point], turn: &Rotation3<f64>) -> [Vec<Vector3<f64>>; 2] {
    let pose = pose_of(turn, [0.7, -0.4, 2.0]);
    let points: Vec<Point> = points.iter().map(|p| apply(&pose, p)).collect();
    let surface = surface_on(backend, &points, SPACING);
    let observation = observed(backend, &surface, &surface, &IDENTITY, OPTIONS);
    assert!(observation.count > 0.9 * OPTIONS.samples as f64, "{observation:?}");
    let (mut rotations, mut translations) = (Vec::new(), Vec::new());
    for motion in free_motions(&observation, false) {
        match motion {
            FreeMotion::Rotation(axis) => rotations.push(turn.inverse() * axis),
            FreeMotion::Translation(axis) => translations.push(turn.inverse() * axis),
        }
    }
    for axis in rotations.iter().chain(&translations) {
        assert!((axis.norm() - 1.0).abs() < 1e-9, "{axis}");
    }
    [rotations, translations]
}

fn plane() -> Vec<Point> {
    patch(8000, 1, |u, v| [3.0 * u, 2.0 * v, 0.0])
}

fn sphere() -> Vec<Point> {
    let mut random = random(3);
    (0..8000).map(|_| (any_rotation(&mut random) * Vector3::z()).cast::<f32>().into()).collect()
}

fn cylinder() -> Vec<Point> {
    patch(8000, 4, |u, v| {
        let (sin, cos) = (u * std::f32::consts::TAU).sin_cos();
        [0.8 * cos, 0.8 * sin, 3.0 * v]
    })
}

fn turns() -> Vec<Rotation3<f64>> {
    let mut random = random(5);
    let any = (0..6).map(|_| any_rotation(&mut random));
    std::iter::once(Rotation3::identity()).chain(any).collect()
}

fn check_free_motions<B: Stages>(backend: &B) {
    let along_z = |axis: &Vector3<f64>| axis.z.abs() > 0.99;
    for turn in turns() {
        let [rotations, translations] = free(backend, &plane(), &turn);
        assert_eq!((rotations.len(), translations.len()), (1, 2), "plane: {rotations:?} {translations:?}");
        assert!(rotations.iter().all(along_z), "{rotations:?}");
        assert!(translations.iter().all(|axis| axis.z.abs() < 0.1), "{translations:?}");
        assert!(translations[0].cross(&translations[1]).norm() > 0.9, "two directions: {translations:?}");
        let [rotations, translations] = free(backend, &sphere(), &turn);
        assert_eq!((rotations.len(), translations.len()), (3, 0), "sphere: {rotations:?} {translations:?}");
        let volume = rotations[0].cross(&rotations[1]).dot(&rotations[2]).abs();
        assert!(volume > 0.9, "three axes: {rotations:?}");
        let [rotations, translations] = free(backend, &cylinder(), &turn);
        assert_eq!((rotations.len(), translations.len()), (1, 1), "cylinder: {rotations:?} {translations:?}");
        assert!(along_z(&rotations[0]) && along_z(&translations[0]), "{rotations:?} {translations:?}");
        let [rotations, translations] = free(backend, &room_view(EYE, 6, |_| true), &turn);
        assert!(rotations.is_empty() && translations.is_empty(), "room: {rotations:?} {translations:?}");
    }
}

#[test]
fn what_slides_or_turns_on_itself_is_free() {
    one_and_two_threads().iter().for_each(check_free_motions);
    on_one_device!(check_free_motions);
}

/// Sand that the sea has rippled: as uneven as the noise of a rough plane is, and both clouds show it.
fn rippled(seed: u64) -> Vec<Point> {
    patch(8000, seed, |u, v| {
        let (x, y) = (3.0 * u, 2.0 * v);
        [x, y, 0.0075 * ((7.5 * x).sin() + (7.5 * y).sin())]
    })
}

/// A plane whose points are off it at random, each cloud's differently, and so few that its normals do not average that out.
fn rough(seed: u64) -> Vec<Point> {
    let mut random = random(seed + 100);
    let mut points = patch(1500, seed, |u, v| [3.0 * u, 2.0 * v, 0.0]);
    points.iter_mut().for_each(|point| point[2] += random.random_range(-0.035..0.035));
    points
}

fn check_relief<B: Stages>(backend: &B) {
    let truth = pose_of(&any_rotation(&mut random(9)), [0.7, -0.4, 2.0]);
    let back = inverse(&truth);
    for (name, cloud, is_relief) in
        [("rippled", rippled as fn(u64) -> Vec<Point>, true), ("rough", rough, false)]
    {
        let source: Vec<Point> = cloud(1).iter().map(|p| apply(&back, p)).collect();
        let (mut source, target) =
            (surface_on(backend, &source, SPACING), surface_on(backend, &cloud(2), SPACING));
        let observation = observed(backend, &source, &target, &truth, OPTIONS);
        let samples = backend.len(&source.place).min(OPTIONS.samples);
        assert!(observation.count > 0.9 * samples as f64, "{name}: {observation:?}");
        for axis in [3, 4] {
            let slope = observation.normal_matrix[7 * axis] / observation.count;
            assert!((0.0005..0.002).contains(&slope), "{name}: {slope} along axis {axis}");
        }
        let motions = [false, true].map(|relief_counts| free_motions(&observation, relief_counts));
        assert_eq!(motions[0].len(), 3, "{name}: {motions:?}");
        assert_eq!(motions[1].len(), if is_relief { 0 } else { 3 }, "{name}: {motions:?}");
        // Which side a normal points to says nothing.
        let normals = backend.download(&source.normals).unwrap();
        let turned_over: Vec<Point> = normals.iter().map(|normal| normal.map(|x| -x)).collect();
        source.normals = backend.upload(&turned_over).unwrap();
        assert_eq!(observed(backend, &source, &target, &truth, OPTIONS), observation, "{name}");
    }
}

#[test]
fn relief_of_both_clouds_is_told_from_noise() {
    on_every_backend!(check_relief);
}

#[test]
fn confidence_rises_with_the_best_and_falls_with_its_rivals() {
    assert_eq!(confidence(&[]), 0.0);
    let rising: Vec<f64> = (-8..=8).map(|x| confidence(&[0.5 * x as f32, -1.0])).collect();
    assert!(rising.is_sorted_by(|a, b| a < b), "{rising:?}");
    assert!(rising.iter().all(|c| (0.0..=1.0).contains(c)), "{rising:?}");
    assert!(rising[0] < 0.01 && rising[16] > 0.99, "{rising:?}");
    let falling: Vec<f64> = (-8..=8).map(|x| confidence(&[2.0, x as f32])).collect();
    assert!(falling.is_sorted_by(|a, b| a > b), "{falling:?}");
    let crowd: Vec<f64> = (1..6).map(|rivals| confidence(&vec![1.0; rivals])).collect();
    assert!(crowd.is_sorted_by(|a, b| a > b), "{crowd:?}");
    assert!(confidence(&[9.0, 9.0]) < confidence(&[9.0]), "one of two equals is wrong");
    assert!(
        confidence(&[12.0, 9.0]) < 0.7 && confidence(&[12.0, 2.0]) > 0.95,
        "both look right, or one does"
    );
    for extreme in [&[1e4, -1e4][..], &[-1e4, -1e4], &[1e3, 1e3], &[f32::MIN], &[f32::MAX]] {
        assert!((0.0..=1.0).contains(&confidence(extreme)), "{extreme:?}");
    }
}

const CIRCUMSTANCES: Circumstances =
    Circumstances { source_reliance: 0.25, target_reliance: 1.0, chance: 2.0, hold_of_one: 0.0005 };

#[test]
fn every_witness_is_heard() {
    let neutral = Agreement {
        source_overlap: 0.3,
        target_overlap: 0.3,
        source_hold: 0.03,
        target_hold: 0.03,
        rmse: 0.01,
        source_in_front: 0.03,
        target_in_front: 0.03,
        source_in_view: 0.8,
        target_in_view: 0.8,
    };
    let odds = |change: &dyn Fn(&mut Agreement, &mut Support, f32)| -> Vec<f32> {
        let of = |step: i32| {
            let (mut agreement, mut support) = (neutral, Support { count: 30, score: 10.0 });
            change(&mut agreement, &mut support, 0.01 * step as f32);
            log_odds(&agreement, &support, &CIRCUMSTANCES)
        };
        (0..5).map(of).collect()
    };
    let rises = |odds: &[f32]| odds.is_sorted_by(|a, b| a < b);
    let falls = |odds: &[f32]| odds.is_sorted_by(|a, b| a > b);
    assert!(rises(&odds(&|a, _, by| a.source_hold += by)));
    assert!(rises(&odds(&|a, _, by| a.target_hold += by)));
    let firm =
        |a: &mut Agreement, by: f32| (a.source_hold, a.target_hold) = (0.03 - by / 2.0, 0.03 + by / 2.0);
    assert!(falls(&odds(&|a, _, by| firm(a, by))), "both clouds must hold it");
    assert!(rises(&odds(&|_, s, by| s.score += 1000.0 * by)));
    assert!(falls(&odds(&|a, _, by| a.source_in_front += by)));
    assert!(falls(&odds(&|a, _, by| a.target_in_front += by)));
    let fallen = |odds: &[f32]| odds[0] - odds[4];
    let by_target = fallen(&odds(&|a, _, by| a.source_in_front += by));
    let by_source = fallen(&odds(&|a, _, by| a.target_in_front += by));
    assert!(by_source < 0.5 * by_target, "{by_source} by the less reliable view, {by_target} by the other");
}

#[test]
fn what_lays_clouds_on_each_other_as_a_whole_has_no_rivals_in_parts() {
    let covering = |source_overlap, target_overlap| Agreement {
        source_overlap,
        target_overlap,
        ..bytemuck::Zeroable::zeroed()
    };
    let against = |best, rival| shortfall(&covering(best, best), &covering(rival, rival));
    assert!(against(1.0, 0.45) > 3.0 && against(1.0, 0.45) > against(0.97, 0.45));
    assert!(against(1.0, 0.3) > against(1.0, 0.6));
    assert_eq!(against(1.0, 0.96), 0.0, "symmetric as a whole");
    assert_eq!((against(0.75, 0.0), against(0.3, 0.6)), (0.0, 0.0), "clouds that overlap in part");
    assert_eq!(shortfall(&covering(1.0, 0.5), &covering(0.3, 0.3)), 0.0, "both must be covered");
}

#[test]
fn support_counts_beyond_chance() {
    let agreement: Agreement = bytemuck::Zeroable::zeroed();
    let odds = |score, chance| {
        log_odds(&agreement, &Support { count: 9, score }, &Circumstances { chance, ..CIRCUMSTANCES })
    };
    assert!(odds(10.0, 4.0) < odds(6.0, 0.0), "chance that gives more may give more by chance");
    assert_eq!(odds(58.0, 4.0), odds(6.0, 0.0), "twelve times what chance gives and a half");
    assert_eq!(odds(1.0, 4.0), odds(0.0, 0.0), "no fewer than none");
    assert_eq!(chance(0, 1.0), 0.0);
    assert_eq!(chance(200, 0.1), 2.0 * chance(100, 0.1));
    assert!((0.0..=30.0).contains(&chance(300, 0.1)), "a match counts one at most");
}

#[test]
fn hold_counts_as_far_as_nothing_is_in_front() {
    let odds = |hold, in_front| {
        let nothing: Agreement = bytemuck::Zeroable::zeroed();
        let agreement =
            Agreement { source_hold: hold, target_hold: hold, source_in_front: in_front, ..nothing };
        log_odds(&agreement, &Support { count: 0, score: 0.0 }, &CIRCUMSTANCES)
    };
    let gained = |in_front| odds(0.06, in_front) - odds(0.0, in_front);
    assert!(gained(0.0) > 4.0 * gained(0.05) && gained(0.05) > 0.0, "{} {}", gained(0.0), gained(0.05));
}

#[test]
fn hold_counts_beyond_what_one_sample_gives() {
    assert_eq!(hold_of_one(2_000, 2_000), 0.0005);
    assert_eq!(hold_of_one(100, 2_000), hold_of_one(2_000, 100));
    assert!(hold_of_one(0, 0).is_finite(), "clouds without a surface");
    let gained = |samples| {
        let odds = |hold| {
            let nothing: Agreement = bytemuck::Zeroable::zeroed();
            let agreement = Agreement { source_hold: hold, target_hold: hold, ..nothing };
            let hold_of_one = hold_of_one(samples, samples);
            let circumstances = Circumstances { hold_of_one, ..CIRCUMSTANCES };
            log_odds(&agreement, &Support { count: 0, score: 0.0 }, &circumstances)
        };
        odds(0.06) - odds(0.0)
    };
    assert!(gained(2_000) > 2.0 * gained(100) && gained(100) > 0.0, "{} {}", gained(2_000), gained(100));
}

#[test]
fn support_is_bounded() {
    let agreement: Agreement = bytemuck::Zeroable::zeroed();
    let odds = |score| log_odds(&agreement, &Support { count: 9, score }, &CIRCUMSTANCES);
    assert!(odds(200.0) < odds(400.0), "more is more");
    assert!(odds(1e6) - odds(400.0) < odds(400.0) - odds(10.0), "but not without end");
    assert!(odds(1e30) - odds(1e6) < 0.1);
}

#[test]
fn a_view_of_many_places_or_of_either_side_is_relied_on_less() {
    let seen =
        |unevenness, opposite, narrowness| Viewpoint { position: [0.0; 3], unevenness, opposite, narrowness };
    let (raw, around) = (seen(0.1, 0.9, 0.9), seen(0.3, 0.3, 0.1));
    assert_eq!([reliance(&raw), reliance(&around)], [1.0, 1.0]);
    for many in [seen(0.3, 1.0, 0.9), seen(0.1, 0.12, 0.9), seen(0.1, 0.05, 0.9)] {
        assert!((0.0..0.5).contains(&reliance(&many)), "{many:?}: {}", reliance(&many));
    }
}

#[test]
fn the_number_of_threads_does_not_show() {
    let cpus = one_and_two_threads();
    let mut random = random(7);
    let offsets = [0; 15].map(|_| [0; 3].map(|_| random.random_range(-0.3..0.3)));
    let [one, two] = cpus.each_ref().map(|cpu| {
        let (source, target, truth) = room_pair(cpu);
        let moved = |by: &[f32; 3]| std::array::from_fn(|i| truth[i] + if i < 9 { 0.0 } else { by[i - 9] });
        let poses: Vec<Pose> = std::iter::once(truth).chain(offsets.iter().map(moved)).collect();
        let found = agreement(cpu, &source, &target, &poses, OPTIONS);
        (found, observed(cpu, &source.surface, &target.surface, &truth, OPTIONS))
    });
    assert_eq!(one, two);
}

/// A name, and the points and the viewpoints of both clouds.
type NamedPair = (&'static str, [(Vec<Point>, Point); 2]);

/// Pairs of clouds that lie on each other, that do not, and that make no sense, each with places they are seen from.
fn pairs() -> Vec<NamedPair> {
    let far = |scale: f32| move |p: &Point| p.map(|x| scale * x);
    let seen = |points: Vec<Point>| (points, EYE);
    vec![
        ("views", [seen(room_view(EYE, 1, |d| d[1] > -0.15)), seen(room_view(EYE, 2, |d| d[1] < 0.25))]),
        ("rooms", [seen(room(5_000, 1)), seen(room(3_000, 2))]),
        ("lattices, full of ties", [seen(lattice(9)), (lattice(8), [3.5; 3])]),
        ("dice, full of duplicates", [seen(dice(600, 1)), (dice(300, 2), [1.0; 3])]),
        ("few points", [seen(room(3, 1)), seen(room(300, 2))]),
        ("one point", [seen(vec![[0.0; 3]]), seen(vec![[0.01, 0.0, 0.0]])]),
        ("nothing", [seen(Vec::new()), seen(room(300, 1))]),
        ("noise", [seen(cube(2_000, 2.0, 1)), seen(cube(2_000, 2.0, 2))]),
        ("far and wide", [seen(room(500, 3).iter().map(far(1e8)).collect()), seen(room(500, 4))]),
    ]
}

/// Poses near none at all, one inside out, and some that no cloud can follow.
fn poses() -> Vec<Pose> {
    let mut random = random(11);
    let mut near = || {
        let turn = Rotation3::new(Vector3::from([0; 3].map(|_| random.random_range(-0.05..0.05))));
        pose_of(&turn, [0; 3].map(|_| random.random_range(-0.1..0.1)))
    };
    let mut poses: Vec<Pose> = (0..7).map(|_| near()).collect();
    poses.extend([IDENTITY, IDENTITY.map(|x| -x), shift(1e30, 0.0, 0.0), shift(3e38, 3e38, -3e38)]);
    poses
}

/// Everything but the mean of the distances and the holds is a count, and equal.
fn assert_agreements_equal(found: &Agreement, expected: &Agreement, name: &str) {
    let close = |found: f32, expected: f32, scale: f32| (found - expected).abs() <= 1e-6 * scale;
    let context = || format!("{name}: {found:?}, {expected:?} expected");
    assert!(close(found.rmse, expected.rmse, expected.rmse), "{}", context());
    assert!(close(found.source_hold, expected.source_hold, expected.source_overlap), "{}", context());
    assert!(close(found.target_hold, expected.target_hold, expected.target_overlap), "{}", context());
    let Agreement { rmse, source_hold, target_hold, .. } = *expected;
    assert_eq!(Agreement { rmse, source_hold, target_hold, ..*found }, *expected, "{name}");
}

fn assert_observations_equal(found: &Observation, expected: &Observation, name: &str) {
    assert_eq!(found.count, expected.count, "{name}");
    let close = |a: &[f64], b: &[f64]| {
        let largest = b.iter().fold(0.0f64, |a, b| a.max(b.abs()));
        a.iter().zip(b).all(|(a, b)| (a - b).abs() <= 1e-12 * largest)
    };
    let context = || format!("{name}: {found:?}, {expected:?} expected");
    assert!(close(&found.normal_matrix, &expected.normal_matrix), "{}", context());
    assert!(close(&found.difference_matrix, &expected.difference_matrix), "{}", context());
    assert!(close(&found.common_matrix, &expected.common_matrix), "{}", context());
    assert!(close(&found.centre, &expected.centre), "{}", context());
    assert!(close(&[found.radius], &[expected.radius]), "{}", context());
    assert!(close(&[found.squares], &[expected.squares]), "{}", context());
    let common = [found, expected].map(|observation| observation.common_variance);
    assert!((common[0] - common[1]).abs() <= 1e-12 * expected.squares, "{}", context());
}

/// Under every pose, for samples that fill no block, several, and more than there are.
fn check_agreement_with_cpu<B: Stages>(backend: &B) {
    let [cpu, _] = one_and_two_threads();
    for (name, [source, target]) in pairs() {
        let of_cpu = [&source, &target].map(|(points, eye)| Scanned::new(&cpu, points, *eye));
        let of_backend = [&source, &target].map(|(points, eye)| Scanned::new(backend, points, *eye));
        for (samples, reach, margin) in
            [(200, 0.24, 0.1), (700, 0.1, 0.0), (0, 0.1, 0.0), (4_000, 0.12, 0.24)]
        {
            let options = AgreementOptions { samples, reach, margin };
            let expected = agreement(&cpu, &of_cpu[0], &of_cpu[1], &poses(), options);
            let found = agreement(backend, &of_backend[0], &of_backend[1], &poses(), options);
            for (found, expected) in found.iter().zip(&expected) {
                assert_agreements_equal(found, expected, name);
            }
            for pose in &poses()[..2] {
                let expected = observed(&cpu, &of_cpu[0].surface, &of_cpu[1].surface, pose, options);
                let found = observed(backend, &of_backend[0].surface, &of_backend[1].surface, pose, options);
                assert_observations_equal(&found, &expected, name);
            }
        }
    }
}

#[test]
fn devices_agree_with_the_cpu() {
    on_every_device!(check_agreement_with_cpu);
}

#[test]
fn the_order_of_threads_does_not_show() {
    let [ascending, descending, random] = emulated().map(|device| {
        let (source, target, truth) = room_pair(&device);
        let found = agreement(&device, &source, &target, &[truth, IDENTITY], OPTIONS);
        (found, observed(&device, &source.surface, &target.surface, &truth, OPTIONS))
    });
    assert_eq!(ascending, descending);
    assert_eq!(ascending, random);
}
