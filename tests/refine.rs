//! Refinement of poses on the surfaces.

mod common;

use common::emulated::emulated;
use common::found::{found, on_every_backend, on_every_device, on_one_device};
use common::{
    any_rotation, largest_displacement, lattice, one_and_two_threads, parts_of, pose_of, random, room,
};
use coregister::backend::cuda::{Cuda, Driver};
use coregister::backend::{Cpu, Device};
use coregister::cloud::Point;
use coregister::geometry::{IDENTITY, Pose, apply, inverse};
use coregister::stages::refine::{Errors, RefineOptions, RefinePoses};
use coregister::stages::surface::{BuildSurface, Surface};
use coregister::stages::voxel::VoxelDownsample;
use nalgebra::{Rotation3, Vector3};
use rand::RngExt;

const SPACING: f32 = 0.08;
const OPTIONS: RefineOptions = RefineOptions {
    samples: 1500,
    rounds: 25,
    first_reach: 3.0,
    last_reach: 1.0,
    point_share: 0.02,
    errors: [Errors::EVEN; 2],
};

fn cpu() -> Cpu {
    let [_, cpu] = one_and_two_threads();
    cpu
}

fn thinned(points: &[Point]) -> Vec<Point> {
    cpu().voxel_downsample(&points.to_vec(), SPACING).unwrap()
}

/// The surface as the CPU finds it: refinement alone is tested here.
fn surface(points: &[Point]) -> Surface<Cpu> {
    cpu().build_surface(&points.to_vec(), SPACING).unwrap()
}

fn to_device<D: Device>(device: &D, surface: &Surface<Cpu>) -> Surface<D> {
    Surface {
        points: device.upload(&surface.points).unwrap(),
        columns: device.upload(&surface.columns).unwrap(),
        normals: device.upload(&surface.normals).unwrap(),
        cell_start: device.upload(&surface.cell_start).unwrap(),
        place: device.upload(&surface.place).unwrap(),
        grid: surface.grid,
        spacing: surface.spacing,
    }
}

fn refined<B: RefinePoses>(
    backend: &B,
    source: &[Point],
    target: &[Point],
    poses: &[Pose],
    options: RefineOptions,
) -> Vec<Pose> {
    refined_on(backend, &surface(source), &surface(target), poses, options)
}

fn refined_on<B: RefinePoses>(
    backend: &B,
    source: &Surface<Cpu>,
    target: &Surface<Cpu>,
    poses: &[Pose],
    options: RefineOptions,
) -> Vec<Pose> {
    let (source, target) = (to_device(backend, source), to_device(backend, target));
    let poses = backend.upload(poses).unwrap();
    let found = backend.refine_poses(&source, &target, &poses, options).unwrap();
    backend.download(&found).unwrap()
}

/// `truth`, then a turn by 3° about the middle of the target and a shift by two spacings, both in any direction.
fn perturbed(truth: &Pose, middle: [f64; 3], seed: u64) -> Pose {
    let mut random = random(seed);
    let mut direction = || any_rotation(&mut random) * Vector3::z_axis();
    let turn = Rotation3::from_axis_angle(&direction(), 3f64.to_radians());
    let shift = 2.0 * f64::from(SPACING) * direction().into_inner();
    let (rotation, translation) = parts_of(truth);
    let middle = Vector3::from(middle);
    let moved = turn * (translation - middle) + middle + shift;
    pose_of(&(turn * Rotation3::from_matrix(&rotation)), moved.into())
}

/// Two samplings of one room, of which the source lies elsewhere; and the way back.
fn room_pair() -> (Vec<Point>, Vec<Point>, Pose) {
    let truth = pose_of(&any_rotation(&mut random(1)), [1.0, -2.0, 0.5]);
    let there = inverse(&truth);
    let source: Vec<Point> = room(60_000, 2).iter().map(|p| apply(&there, p)).collect();
    (thinned(&source), thinned(&room(60_000, 3)), truth)
}

fn check_room<B: RefinePoses>(backend: &B, starts: u64) {
    let (source, target, truth) = room_pair();
    let mut rough: Vec<Pose> = (0..starts).map(|seed| perturbed(&truth, [3.0, 2.0, 1.2], seed)).collect();
    rough.push(truth);
    let found = refined(backend, &source, &target, &rough, OPTIONS);
    assert_eq!(found.len(), rough.len());
    for (i, (found, rough)) in found.iter().zip(&rough).enumerate() {
        let before = largest_displacement(&source, rough, &truth);
        let after = largest_displacement(&source, found, &truth);
        assert!(after < 0.3 * SPACING, "{i}: {before} before, {after} after");
        let (rotation, _) = parts_of(found);
        assert!((rotation * rotation.transpose() - nalgebra::Matrix3::identity()).amax() < 1e-5, "{i}");
    }
    let none: [Pose; 0] = [];
    assert_eq!(refined(backend, &source, &target, &none, OPTIONS), none);
    let untouched = RefineOptions { rounds: 0, ..OPTIONS };
    assert_eq!(refined(backend, &source, &target, &rough, untouched), rough);
}

#[test]
fn a_room_comes_back_to_its_place() {
    one_and_two_threads().iter().for_each(|cpu| check_room(cpu, 12));
    on_one_device!(|device| check_room(device, 2));
}

/// A flat square of edge 4: two directions and a turn are open.
fn square(seed: u64) -> Vec<Point> {
    let mut random = random(seed);
    let mut within = || random.random_range(-2.0..2.0);
    (0..8000).map(|_| [within(), within(), 0.0]).collect()
}

fn check_sliding<B: RefinePoses>(backend: &B) {
    let (source, target) = (thinned(&square(1)), thinned(&square(2)));
    let tilt = Rotation3::from_euler_angles(0.02, -0.02, 0.0);
    let rough = pose_of(&tilt, [0.0, 0.0, f64::from(SPACING)]);
    let found = refined(backend, &source, &target, &[rough], RefineOptions { rounds: 60, ..OPTIONS })[0];
    for corner in [[-2.0, -2.0, 0.0], [2.0, -2.0, 0.0], [-2.0, 2.0, 0.0], [2.0, 2.0, 0.0]] {
        let [x, y, z] = apply(&found, &corner);
        assert!(z.abs() < 0.02 * SPACING, "onto the plane: {z}");
        let slid = (x - corner[0]).hypot(y - corner[1]);
        assert!(slid < 0.5 * SPACING, "not along it: {slid}");
    }
}

#[test]
fn a_plane_does_not_slide_away() {
    one_and_two_threads().iter().for_each(check_sliding);
    on_one_device!(check_sliding);
}

/// Errors of a camera at a place of the room, in whose frame source and target lie.
fn seen_from(seen_from: Point) -> [Errors; 2] {
    [Errors { seen_from, constant: 0.01, growth: 0.5 }; 2]
}

/// What is far away from the camera, and lies elsewhere in the two scans, moves the pose less where errors grow with range.
fn check_errors<B: RefinePoses>(backend: &B) {
    let bent = |p: &Point| {
        let stretched = 0.5 * SPACING * (p[0] / 6.0).powi(2);
        [p[0] + stretched, p[1], p[2]]
    };
    let source = thinned(&room(60_000, 2));
    let target: Vec<Point> = thinned(&room(60_000, 3)).iter().map(bent).collect();
    let error = |errors: [Errors; 2]| {
        let found = refined(backend, &source, &target, &[IDENTITY], RefineOptions { errors, ..OPTIONS })[0];
        let near = [0.5, 2.0, 1.2];
        (apply(&found, &near)[0] - near[0]).abs()
    };
    let (even, grown) = (error([Errors::EVEN; 2]), error(seen_from([-0.5, 2.0, 1.2])));
    assert!(grown < 0.5 * even, "near the camera {grown} off instead of {even}");
}

#[test]
fn what_is_near_counts_more_where_errors_grow() {
    one_and_two_threads().iter().for_each(check_errors);
    on_one_device!(check_errors);
}

fn check_nothing_to_pair<B: RefinePoses>(backend: &B) {
    let (source, target) = (thinned(&room(3000, 4)), thinned(&room(3000, 5)));
    let away = pose_of(&Rotation3::identity(), [100.0, 0.0, 0.0]);
    let further = pose_of(&Rotation3::from_euler_angles(1.0, 2.0, 3.0), [1e30, -1e30, 0.0]);
    let poses = [away, further];
    assert_eq!(refined(backend, &source, &target, &poses, OPTIONS), poses, "no overlap");
    assert_eq!(refined(backend, &[], &target, &[IDENTITY], OPTIONS), [IDENTITY], "no source");
    assert_eq!(refined(backend, &source, &[], &[IDENTITY], OPTIONS), [IDENTITY], "no target");
    let few = [[0.0; 3], [0.1, 0.0, 0.0], [0.0, 0.1, 0.0], [0.1, 0.1, 0.0]];
    assert_eq!(refined(backend, &few, &few, &[IDENTITY], OPTIONS), [IDENTITY], "too few pairs");
    // Points on a line have no normals.
    let line: Vec<Point> = (0..100).map(|i| [0.05 * i as f32, 0.0, 0.0]).collect();
    assert_eq!(refined(backend, &line, &line, &[IDENTITY], OPTIONS), [IDENTITY], "no normals");
}

#[test]
fn a_pose_without_pairs_stays_as_it_is() {
    on_every_backend!(check_nothing_to_pair);
}

#[test]
fn the_number_of_threads_does_not_show() {
    let cpus = one_and_two_threads();
    let (source, target, truth) = room_pair();
    let rough: Vec<Pose> = (0..3).map(|seed| perturbed(&truth, [3.0, 2.0, 1.2], seed)).collect();
    let [one, two] = cpus.map(|cpu| refined(&cpu, &source, &target, &rough, OPTIONS));
    assert_eq!(one, two);
}

/// Surfaces, starts, and how to refine them.
struct Case<'a> {
    source: &'a Surface<Cpu>,
    target: &'a Surface<Cpu>,
    poses: &'a [Pose],
    options: RefineOptions,
}

fn bits(poses: &[Pose]) -> Vec<u32> {
    poses.iter().flatten().map(|x| x.to_bits()).collect()
}

/// Poses of all devices are equal to the CPU's to the bit, however many blocks refine a pose.
fn assert_agreement(case: &Case) {
    let Case { source, target, poses, options } = *case;
    let expected = bits(&refined_on(&cpu(), source, target, poses, options));
    on_one_device!(|device| {
        assert_eq!(bits(&refined_on(device, source, target, poses, options)), expected, "{options:?}");
    });
    // In every order of threads some sizes of clusters, which take long.
    for (device, sizes) in emulated().iter().zip([[1, 8], [2, 4], [4, 8]]) {
        assert_clusters_agree(device, case, &sizes, &expected);
    }
    for device in found() {
        let most = device.driver().largest_cluster();
        let sizes: Vec<u32> = [1, 2, 4, 8].into_iter().filter(|&blocks| blocks <= most).collect();
        assert_clusters_agree(device, case, &sizes, &expected);
    }
}

fn assert_clusters_agree<D: Driver>(device: &Cuda<D>, case: &Case, sizes: &[u32], expected: &[u32]) {
    let Case { source, target, poses, options } = *case;
    let (source, target) = (to_device(device, source), to_device(device, target));
    let poses = device.upload(poses).unwrap();
    for &blocks in sizes {
        let found = device.refine_by_clusters(&source, &target, &poses, options, blocks).unwrap();
        assert_eq!(bits(&device.download(&found).unwrap()), expected, "{blocks} blocks, {options:?}");
    }
}

#[test]
fn cuda_agrees_with_the_cpu_in_a_room() {
    let (source, target, truth) = room_pair();
    let (source, target) = (&surface(&source), &surface(&target));
    let mut poses: Vec<Pose> = (0..3).map(|seed| perturbed(&truth, [3.0, 2.0, 1.2], seed)).collect();
    // One that meets little.
    poses.push(pose_of(&Rotation3::from_euler_angles(0.5, 0.0, 0.3), [1.0, 0.0, 0.0]));
    // Less than a tile, also in a part of the blocks only, and more than the block has threads.
    for samples in [100, 257] {
        let few = RefineOptions { samples, ..OPTIONS };
        assert_agreement(&Case { source, target, poses: &poses, options: few });
    }
    let many = RefineOptions { samples: 1100, rounds: 4, ..OPTIONS };
    assert_agreement(&Case { source, target, poses: &poses[2..], options: many });
    // Errors that grow, in the source's own frame and in the target's.
    let [_, target_errors] = seen_from([3.0, 2.0, 1.2]);
    let [source_errors, _] = seen_from([1.0, -2.0, 0.5]);
    let errors = [source_errors, target_errors];
    let uneven = RefineOptions { samples: 300, rounds: 4, point_share: 0.002, errors, ..OPTIONS };
    assert_agreement(&Case { source, target, poses: &poses[1..], options: uneven });
    // Further than a cell.
    let far = RefineOptions { samples: 200, rounds: 3, first_reach: 9.0, ..OPTIONS };
    assert_agreement(&Case { source, target, poses: &poses[..1], options: far });
}

#[test]
fn cuda_agrees_with_the_cpu_on_odd_surfaces() {
    // Ties, equal points, and poses that are no numbers.
    let lattice: Vec<Point> = lattice(6).iter().map(|p| p.map(|x| x * SPACING)).collect();
    let twice: Vec<Point> = lattice.iter().chain(&lattice).copied().collect();
    let nudged =
        pose_of(&Rotation3::from_euler_angles(0.01, 0.0, 0.02), [0.5 * f64::from(SPACING), 0.0, 0.0]);
    let poses = [IDENTITY, nudged, [f32::NAN; 12], [f32::INFINITY; 12], [3e38; 12]];
    // A stray point makes all cells large.
    let stray: Vec<Point> = room(1000, 6).into_iter().chain([[1e6, -1e6, 1e5]]).collect();
    let options = RefineOptions { samples: 600, rounds: 4, ..OPTIONS };
    for points in [&lattice, &twice, &stray] {
        let surface = &surface(points);
        assert_agreement(&Case { source: surface, target: surface, poses: &poses, options });
        // Through all rounds.
        let expected = bits(&refined_on(&cpu(), surface, surface, &poses, OPTIONS));
        on_every_device!(|device| {
            assert_eq!(bits(&refined_on(device, surface, surface, &poses, OPTIONS)), expected);
        });
    }
}

#[test]
fn cuda_agrees_with_the_cpu_on_few_pairs() {
    // A square of the source's own points, of which each meets none but itself.
    let points: Vec<Point> = (0..400).map(|i| [(i % 20) as f32, (i / 20) as f32, 0.0]).collect();
    let points: Vec<Point> = points.iter().map(|p| p.map(|x| x * SPACING)).collect();
    let source = &surface(&points);
    let close = RefineOptions { samples: 400, rounds: 3, first_reach: 0.1, last_reach: 0.1, ..OPTIONS };
    let nudged = pose_of(&Rotation3::from_euler_angles(1e-4, 0.0, 2e-4), [1e-3, 0.0, -1e-3]);
    let away = pose_of(&Rotation3::identity(), [0.0, 0.0, 50.0]);
    // Too few pairs for a step, fewer than blocks, and as many.
    for count in [0, 5, 6, 7, 8, 9] {
        let met: Vec<Point> = (0..count).map(|i| points[20 * (i / 3) + i % 3]).collect();
        let (target, poses) = (&surface(&met), &[nudged, away]);
        let refined = refined_on(&cpu(), source, target, poses, close);
        assert_eq!([refined[0] != nudged, refined[1] != away], [count >= 6, false], "{count} pairs");
        assert_agreement(&Case { source, target, poses, options: close });
    }
}
