//! Where a cloud was seen from, and how far it was seen.

mod common;

use common::emulated::emulated;
use common::found::{found, on_every_backend, on_one_device};
use common::rays::{Shape, cluttered_room, furnished_room, mean_range, pinhole, rings, scan, yard};
use common::{any_rotation, beyond_f32, dice, lattice, one_and_two_threads, pose_of, random, room};
use coregister::backend::Cpu;
use coregister::cloud::Point;
use coregister::geometry::{IDENTITY, apply, distance, subtract};
use coregister::stages::viewpoint::{EstimateViewpoint, RangeImage, Viewpoint};
use rand::RngExt;

/// Eyes of the camera in a room and of the LiDAR in the yard.
const CAMERA_EYES: [Point; 3] = [[0.4, 2.0, 1.3], [1.0, 0.7, 1.6], [0.6, 3.2, 0.9]];
const LIDAR_EYES: [Point; 3] = [[0.0, 0.0, 1.8], [-1.0, 3.0, 2.0], [3.0, 0.5, 1.5]];

fn viewpoint<B: EstimateViewpoint>(backend: &B, points: &[Point]) -> Viewpoint {
    backend.estimate_viewpoint(&backend.upload(points).unwrap()).unwrap()
}

/// The range image, brought to the host, where it can be looked at.
fn image<B: EstimateViewpoint>(backend: &B, points: &[Point], eye: Point) -> RangeImage<Cpu> {
    let image = backend.range_image(&backend.upload(points).unwrap(), eye).unwrap();
    RangeImage { eye: image.eye, edge: image.edge, nearest: backend.download(&image.nearest).unwrap() }
}

/// Summed up point by point: about one search in five ends at a place that is more even than its surroundings, and which
/// ones do depends on the last bits of the coordinates, so these must not depend on how the library sums.
fn mean(points: &[Point]) -> Point {
    let scale = 1.0 / points.len() as f32;
    [0, 1, 2].map(|k| points.iter().map(|p| p[k]).sum::<f32>() * scale)
}

/// How far the estimate is from the eye, in mean ranges: for every eye, and for the scan where it was taken as well as
/// moved in several ways. Ascending.
fn errors<B: EstimateViewpoint>(
    backend: &B,
    scene: &[Shape],
    eyes: &[Point],
    directions: &[Point],
) -> Vec<f32> {
    let mut random = random(1);
    let mut motions = vec![IDENTITY];
    motions.resize_with(8, || {
        let rotation = any_rotation(&mut random);
        pose_of(&rotation, [0; 3].map(|_| random.random_range(-0.5..0.5)))
    });
    let mut errors = Vec::new();
    for eye in eyes {
        let points = scan(scene, *eye, directions);
        let centre = mean(&points);
        for motion in &motions {
            let place = |p: &Point| apply(motion, &subtract(p, &centre));
            let points: Vec<Point> = points.iter().map(place).collect();
            let eye = place(eye);
            let found = viewpoint(backend, &points);
            errors.push(distance(&found.position, &eye) / mean_range(&points, &eye));
            println!("{eye:?}: {:.3} of the range, {:.3} uneven", errors[errors.len() - 1], found.unevenness);
        }
    }
    errors.sort_by(f32::total_cmp);
    errors
}

fn check_camera<B: EstimateViewpoint>(backend: &B) {
    let errors = errors(backend, &cluttered_room(), &CAMERA_EYES, &pinhole());
    assert!(errors[errors.len() / 2] < 0.08, "{errors:?}");
    // The rest may stop at a place that is more even than its surroundings.
    assert!(errors[errors.len() * 3 / 4] < 0.16, "{errors:?}");
}

#[test]
fn a_depth_image_is_seen_from_its_camera() {
    one_and_two_threads().iter().for_each(check_camera);
}

fn check_lidar<B: EstimateViewpoint>(backend: &B) {
    let errors = errors(backend, &yard(), &LIDAR_EYES, &rings());
    assert!(errors[errors.len() - 1] < 0.15, "{errors:?}");
    assert!(errors[errors.len() * 3 / 4] < 0.12, "{errors:?}");
}

#[test]
fn a_turn_of_a_lidar_is_seen_from_its_axis() {
    one_and_two_threads().iter().for_each(check_lidar);
}

fn check_no_sensor<B: EstimateViewpoint>(backend: &B) {
    let found = viewpoint(backend, &room(20_000, 1));
    assert!(found.unevenness > 0.3, "{found:?}");
}

#[test]
fn surfaces_of_even_density_were_seen_by_no_sensor() {
    on_every_backend!(check_no_sensor);
}

/// Points spread evenly over hilly ground, as from the air, and all over a ball.
fn seen_from_either_side() -> [Vec<Point>; 2] {
    let mut random = random(3);
    let mut within = || random.random_range(-1.0f32..1.0);
    let ground = (0..20_000)
        .map(|_| [within(), within()])
        .map(|[x, y]| [x, y, 0.1 * (5.0 * x).sin() * (4.0 * y).cos()]);
    let ground = ground.collect();
    let ball = (0..20_000).map(|_| (within(), std::f32::consts::PI * within()));
    let ball =
        ball.map(|(z, turn)| [(1.0 - z * z).sqrt() * turn.cos(), (1.0 - z * z).sqrt() * turn.sin(), z]);
    [ground, ball.collect()]
}

fn check_sides<B: EstimateViewpoint>(backend: &B) {
    for points in seen_from_either_side() {
        let found = viewpoint(backend, &points);
        assert!(found.is_two_sided() && found.is_uncertain(), "{found:?}");
    }
    let scans = [(cluttered_room(), CAMERA_EYES[0], pinhole()), (yard(), LIDAR_EYES[0], rings())];
    for (scene, eye, directions) in scans {
        let points = scan(&scene, eye, &directions);
        let centre = mean(&points);
        let found = viewpoint(backend, &points.iter().map(|p| subtract(p, &centre)).collect::<Vec<_>>());
        assert!(!found.is_two_sided() && !found.is_uncertain(), "{found:?}");
    }
}

#[test]
fn ground_from_the_air_has_two_sides_and_a_raw_scan_has_one() {
    on_every_backend!(check_sides);
}

fn degenerate_clouds() -> Vec<(&'static str, Vec<Point>)> {
    let mut random = random(2);
    let mut within = || random.random_range(-1.0..1.0);
    let line = (0..500).map(|_| [within(); 3].map(|x| 2.0 * x)).collect();
    let axis = (0..500).map(|i| [0.01 * i as f32, 0.0, 0.0]).collect();
    let plane = (0..2000).map(|_| [within(), within(), 0.0]).collect();
    let outlier = |far: f32| [room(2000, 3), vec![[far, -far, 0.5 * far]]].concat();
    vec![
        ("equal points", vec![[1.0, 2.0, 3.0]; 50]),
        ("points at the origin", vec![[0.0; 3]; 50]),
        ("few points", room(17, 4)),
        ("a line", line),
        ("a line along an axis", axis),
        ("a plane", plane),
        ("a far outlier", outlier(1e4)),
        ("a very far outlier", outlier(1e9)),
    ]
}

fn check_degenerate<B: EstimateViewpoint>(backend: &B) {
    for (name, points) in degenerate_clouds() {
        let found = viewpoint(backend, &points);
        assert!(found.position.iter().all(|x| x.is_finite()), "{name}: {found:?}");
        assert!(found.unevenness.is_finite(), "{name}: {found:?}");
        let image = image(backend, &points, found.position);
        assert_eq!(image.nearest.len(), 6 * (image.edge * image.edge) as usize, "{name}");
        assert!(image.nearest.iter().all(|range| *range >= 0.0), "{name}: a range is a number");
    }
}

#[test]
fn degenerate_clouds_have_a_viewpoint() {
    on_every_backend!(check_degenerate);
}

fn check_scale<B: EstimateViewpoint>(backend: &B) {
    let eye = CAMERA_EYES[0];
    let points = scan(&furnished_room(), eye, &pinhole());
    let range = mean_range(&points, &eye);
    let single = viewpoint(backend, &points);
    for scale in [2.0, 0.125] {
        let scaled: Vec<Point> = points.iter().map(|p| p.map(|x| scale * x)).collect();
        let found = viewpoint(backend, &scaled);
        let off = distance(&found.position, &single.position.map(|x| scale * x)) / (scale * range);
        assert!(off < 1e-3, "{scale}: {off}");
        assert!((found.unevenness - single.unevenness).abs() < 1e-3, "{scale}");
    }
}

#[test]
fn the_viewpoint_scales_with_the_cloud() {
    one_and_two_threads().iter().for_each(check_scale);
    on_one_device!(check_scale);
}

/// The point at this share of the way from `eye` to `p`.
fn on_the_way(eye: &Point, p: &Point, share: f32) -> Point {
    [0, 1, 2].map(|k| eye[k] + share * (p[k] - eye[k]))
}

fn check_seen<B: EstimateViewpoint>(backend: &B) {
    let eye = CAMERA_EYES[0];
    // Without furniture neighbouring directions are seen about equally far.
    for (scene, steps) in [(furnished_room(), 0.06), (vec![Shape::Box([0.0; 3], [6.0, 4.0, 2.5])], 0.0)] {
        let points = scan(&scene, eye, &pinhole());
        let image = image(backend, &points, eye);
        assert_eq!(image.eye, eye);
        let mut hidden = 0;
        for p in &points {
            let (seen, range) = image.seen(p);
            assert!((range - distance(p, &eye)).abs() < 1e-5, "{p:?}: {range}");
            assert!(range >= seen, "{p:?} at {range} stands in front of {seen}");
            let (seen, range) = image.seen(&on_the_way(&eye, p, 0.5));
            hidden += usize::from(seen < 1.5 * range);
        }
        let share = hidden as f32 / points.len() as f32;
        assert!(share <= steps, "{share} of the points half-way to a surface do not stand in front of it");
    }
}

#[test]
fn the_cloud_does_not_stand_in_front_of_itself_but_what_is_half_way_does() {
    on_every_backend!(check_seen);
}

fn check_unseen<B: EstimateViewpoint>(backend: &B) {
    let eye = CAMERA_EYES[1];
    let image = image(backend, &scan(&furnished_room(), eye, &pinhole()), eye);
    for (direction, is_seen) in [
        ([1.0, 0.0, 0.0], true),
        ([1.0, 0.5, 0.4], true),
        ([1.0, -0.5, -0.4], true),
        ([1.0, 0.7, 0.0], false),
        ([1.0, 0.0, 0.6], false),
        ([-1.0, 0.0, 0.0], false),
        ([0.0, 1.0, 0.0], false),
        ([0.0, 0.0, -1.0], false),
    ] {
        let (seen, _) = image.seen(&[0, 1, 2].map(|k| eye[k] + direction[k]));
        assert_eq!(seen.is_finite(), is_seen, "{direction:?}: {seen}");
    }
}

#[test]
fn directions_without_points_are_unseen() {
    on_every_backend!(check_unseen);
}

#[test]
fn the_number_of_threads_does_not_show() {
    let cpus = one_and_two_threads();
    for (scene, eye, directions) in
        [(cluttered_room(), CAMERA_EYES[2], pinhole()), (yard(), LIDAR_EYES[1], rings())]
    {
        let points = scan(&scene, eye, &directions);
        let [one, two] = cpus.each_ref().map(|cpu| viewpoint(cpu, &points));
        assert_eq!(one, two);
        let [one, two] = cpus.each_ref().map(|cpu| image(cpu, &points, eye));
        assert_eq!((one.edge, one.nearest), (two.edge, two.nearest));
    }
}

/// What devices must see as the CPU does: scans, clouds of all sizes up to more than take part, and nonsense.
fn clouds() -> Vec<(&'static str, Vec<Point>)> {
    let mut clouds = degenerate_clouds();
    clouds.extend([
        ("a depth image", scan(&cluttered_room(), CAMERA_EYES[1], &pinhole())),
        ("a narrow view", scan(&furnished_room(), CAMERA_EYES[0], &pinhole()[9_000..9_900])),
        ("a turn of a LiDAR", scan(&yard(), LIDAR_EYES[0], &rings())),
        ("a large room", room(70_000, 5)),
        ("no more than an image takes", room(60_000, 6)),
        ("no more than a search takes", room(6_144, 7)),
        ("not whole blocks of lanes", room(2_571, 8)),
        ("less than a block of lanes", room(15, 9)),
        ("one block of lanes", room(16, 9)),
        ("one point", vec![[1.0, -2.0, 3.0]]),
        ("nothing", Vec::new()),
        ("a lattice", lattice(12)),
        ("dice", dice(900, 1)),
        ("overflowing differences", beyond_f32()),
        ("vanishing distances", room(500, 1).iter().map(|p| p.map(|x| 1e-30 * x)).collect()),
    ]);
    clouds
}

/// The bits of a viewpoint; every NaN has the same.
fn bits(found: &Viewpoint) -> [u32; 6] {
    let [x, y, z] = found.position;
    [x, y, z, found.unevenness, found.opposite, found.narrowness]
        .map(|x| if x.is_nan() { u32::MAX } else { (x + 0.0).to_bits() })
}

#[test]
fn devices_see_what_the_cpu_sees() {
    let [cpu, _] = one_and_two_threads();
    let devices = emulated();
    for (i, (name, points)) in clouds().into_iter().enumerate() {
        check_sight(&cpu, &devices[i % devices.len()], name, &points);
        found().iter().for_each(|device| check_sight(&cpu, device, name, &points));
    }
}

fn check_sight<B: EstimateViewpoint>(cpu: &Cpu, device: &B, name: &str, points: &[Point]) {
    let (found, expected) = (viewpoint(device, points), viewpoint(cpu, points));
    assert_eq!(bits(&found), bits(&expected), "{name}: {found:?}, {expected:?} expected");
    for eye in [expected.position, [0.0; 3], [0.3, 1.7, -0.9]] {
        let [found, expected] = [image(device, points, eye), image(cpu, points, eye)];
        assert_eq!((found.edge, found.nearest), (expected.edge, expected.nearest), "{name} from {eye:?}");
    }
}

/// Clouds of which all points are looked at, or some in the search, or in the image as well, and one without any.
fn check_together<B: EstimateViewpoint>(backend: &B) {
    let clouds = [room(61_000, 5), Vec::new(), room(2_571, 8), room(7_000, 6)];
    let buffers = clouds.each_ref().map(|points| backend.upload(points).unwrap());
    let views = backend.estimate_views(&buffers.each_ref()).unwrap();
    assert_eq!(views.len(), clouds.len());
    for ((found, seen), points) in views.into_iter().zip(&clouds) {
        let alone = viewpoint(backend, points);
        assert_eq!(bits(&found), bits(&alone), "{} points: {found:?}, alone {alone:?}", points.len());
        let expected = image(backend, points, alone.position);
        assert_eq!(seen.edge, expected.edge);
        assert_eq!(backend.download(&seen.nearest).unwrap(), expected.nearest);
    }
}

#[test]
fn clouds_are_seen_together_as_each_alone() {
    on_every_backend!(check_together);
    let [device, ..] = emulated();
    device.driver().set_largest_cluster(8);
    check_together(&device);
}

/// A cloud for each order of threads.
#[test]
fn clusters_search_as_blocks_do() {
    let [cpu, _] = one_and_two_threads();
    for (device, (name, points)) in emulated().iter().zip(clouds()) {
        device.driver().set_largest_cluster(8);
        let (found, expected) = (viewpoint(device, &points), viewpoint(&cpu, &points));
        assert_eq!(bits(&found), bits(&expected), "{name}: {found:?}, {expected:?} expected");
        assert!(device.driver().launched().contains("search_on_in_cluster"));
    }
}

#[test]
fn the_order_of_threads_does_not_show() {
    let points = scan(&cluttered_room(), CAMERA_EYES[0], &pinhole());
    let [ascending, descending, random] = emulated().map(|device| viewpoint(&device, &points));
    assert_eq!(ascending, descending);
    assert_eq!(ascending, random);
}
