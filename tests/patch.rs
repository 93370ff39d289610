//! Patches and radii.

mod common;

use common::found::{on_every_backend, on_one_device};
use common::{Golden, beyond_f32, cube, dice, lattice, one_and_two_threads, room, squared_distance};
use coregister::cloud::Point;
use coregister::stages::patch::{GatherPatches, PATCH_CAPACITY};

/// The contract, word for word.
fn brute_force(points: &[Point], keypoint: &Point, radius: f32) -> Vec<Point> {
    let within = |point: &&Point| squared_distance(point, keypoint) < radius * radius;
    let offset = |point: &Point| [0, 1, 2].map(|k| (point[k] - keypoint[k]) / radius);
    points.iter().filter(within).take(PATCH_CAPACITY).map(offset).collect()
}

fn patches<B: GatherPatches>(
    backend: &B,
    points: &[Point],
    keypoints: &[Point],
    radius: f32,
) -> Vec<Vec<Point>> {
    let (points, keypoints) = (backend.upload(points).unwrap(), backend.upload(keypoints).unwrap());
    let patches = backend.gather_patches(&points, &keypoints, radius).unwrap();
    assert_eq!(patches.radius.to_bits(), radius.to_bits());
    let offsets = backend.download(&patches.offsets).unwrap();
    let count = backend.download(&patches.count).unwrap();
    assert_eq!(offsets.len(), count.len() * PATCH_CAPACITY);
    let rows = offsets.chunks(PATCH_CAPACITY).zip(&count);
    rows.map(|(row, &count)| row[..count as usize].to_vec()).collect()
}

fn check<B: GatherPatches>(backend: &B) {
    let room = room(20_000, 1);
    let outside = vec![[-3.0, 1.0, 1.0], [0.0, 0.0, 1e6], [3.0, 2.0, 1.2], [1e30, 0.0, 0.0]];
    let clouds = [
        ("large balls", room.clone(), room[..50].to_vec(), 0.9),
        ("small balls", room.clone(), room[..50].to_vec(), 0.15),
        ("tiny balls", room.clone(), room[..50].to_vec(), 0.001),
        ("nothing", room.clone(), room[..50].to_vec(), 0.0),
        ("everything", room.clone(), room[..50].to_vec(), 100.0),
        ("infinite", room.clone(), room[..5].to_vec(), f32::INFINITY),
        ("keypoints that are no points", room.clone(), outside.clone(), 0.8),
        ("keypoints that are no points, large balls", room.clone(), outside, 5.0),
        ("lattice, points on the border of the ball", lattice(20), lattice(20)[3000..3300].to_vec(), 3.0),
        ("far from the origin", room.iter().map(|p| p.map(|x| x + 5e4)).collect(), vec![[50001.0; 3]], 0.8),
        ("huge", cube(3000, 3e38, 2), cube(20, 3e38, 2), 1e38),
        ("large", cube(3000, 3e18, 2), cube(20, 3e18, 2), 1e18),
        ("vanishing", cube(3000, 1e-30, 2), cube(20, 1e-30, 2), 1e-31),
        ("small", cube(3000, 1e-15, 2), cube(20, 1e-15, 2), 4e-16),
        ("beyond f32", beyond_f32(), beyond_f32(), 3e38),
        ("outlier", [room.clone(), vec![[1e7, -1e7, 1e7]]].concat(), room[..50].to_vec(), 0.4),
        ("squares that vanish", cube(3000, 1e-21, 2), cube(100, 1e-21, 2), 3e-23),
        ("dice", dice(40, 1), dice(40, 1), 1.5),
        ("many dice", dice(4000, 1), dice(40, 1), 1.5),
        ("all equal", vec![[1.0; 3]; 1000], vec![[1.0; 3]], 0.1),
        ("one", vec![[1.0; 3]], vec![[1.0; 3]], 0.1),
        ("two", vec![[1.0; 3], [2.0; 3]], vec![[1.0; 3], [1.5; 3]], 1.0),
        ("no points", vec![], vec![[1.0; 3]], 0.1),
        ("no keypoints", vec![[1.0; 3]], vec![], 0.1),
    ];
    for (name, points, keypoints, radius) in clouds {
        let found = patches(backend, &points, &keypoints, radius);
        for (i, keypoint) in keypoints.iter().enumerate() {
            assert_eq!(found[i], brute_force(&points, keypoint, radius), "{name}, keypoint {i}");
        }
    }
}

#[test]
fn patches_equal_brute_force() {
    on_every_backend!(check);
}

fn brute_force_radii(points: &[Point], keypoints: &[Point], shares: &[f32]) -> Vec<f32> {
    let (points, keypoints) = (&points[..points.len().min(4000)], &keypoints[..keypoints.len().min(500)]);
    let mut squared: Vec<f32> =
        keypoints.iter().flat_map(|k| points.iter().map(|p| squared_distance(p, k))).collect();
    squared.sort_by(f32::total_cmp);
    let rank = |share: f32| ((f64::from(share) * squared.len() as f64) as usize).min(squared.len() - 1);
    shares.iter().map(|&share| squared[rank(share)].sqrt()).collect()
}

fn check_radii<B: GatherPatches>(backend: &B) {
    let shares = [0.05, 0.005, 0.02, 0.0, 1.0, 0.05];
    for (points, keypoints) in [
        (room(9000, 1), room(700, 2)),
        (room(100, 1), room(10, 2)),
        (vec![[1.0; 3]; 50], vec![[1.0; 3]; 50]),
        (vec![[1.0; 3]], vec![[2.0; 3]]),
        (lattice(12), lattice(12)),
        (cube(500, 3e38, 1), cube(30, 3e38, 2)),
        (cube(500, 1e-30, 1), cube(30, 1e-30, 2)),
    ] {
        let expected = brute_force_radii(&points, &keypoints, &shares);
        let (points, keypoints) = (backend.upload(&points).unwrap(), backend.upload(&keypoints).unwrap());
        assert_eq!(backend.neighbour_radii(&points, &keypoints, &shares).unwrap(), expected);
    }
    let none = backend.upload::<Point>(&[]).unwrap();
    assert_eq!(backend.neighbour_radii(&none, &none, &[0.1]).unwrap(), [0.0]);
}

#[test]
fn radii_equal_brute_force() {
    on_every_backend!(check_radii);
}

/// The reference blanks slot 511 of every patch, so it uses 511 neighbours at most, and fills short patches with
/// their first index; ours are compared up to there.
fn check_golden<B: GatherPatches>(
    backend: &B,
    points: &[Point],
    keypoints: &[Point],
    radius: f32,
    rows: &[u32],
) {
    let found = patches(backend, points, keypoints, radius);
    for ((row, offsets), keypoint) in rows.chunks(PATCH_CAPACITY).zip(&found).zip(keypoints) {
        let repeats = row.iter().skip(1).take_while(|&&index| index != row[0]).count();
        let neighbours = &row[..(1 + repeats).min(PATCH_CAPACITY - 1)];
        let offset = |&i: &u32| [0, 1, 2].map(|k| (points[i as usize][k] - keypoint[k]) / radius);
        let expected: Vec<Point> = neighbours.iter().map(offset).collect();
        assert_eq!(offsets[..offsets.len().min(PATCH_CAPACITY - 1)], expected);
    }
}

fn check_reference<B: GatherPatches>(backend: &B) {
    let input = Golden::open("input");
    let radii = input.floats("radii");
    for (scale, &radius) in radii.iter().enumerate() {
        let golden = Golden::open(&format!("scale{scale}"));
        for cloud in ["src", "tgt"] {
            let points = input.points(&format!("{cloud}_pts"));
            let keypoints = input.points(&format!("{cloud}_kpts"));
            let count = golden.integers(&format!("{cloud}_ball_count"));
            let found = patches(backend, &points, &keypoints, radius);
            let clipped: Vec<u32> = count.iter().map(|&n| n.min(PATCH_CAPACITY as u32)).collect();
            assert_eq!(found.iter().map(|patch| patch.len() as u32).collect::<Vec<_>>(), clipped);
            if cloud == "src" || scale == 1 {
                let rows = golden.integers(&format!("{cloud}_ball_idx"));
                check_golden(backend, &points, &keypoints[..64], radius, &rows);
            }
        }
    }
    let lidar = Golden::open("lidar_aligned");
    let keypoints = &lidar.points("kpts")[..32];
    check_golden(
        backend,
        &lidar.points("pts"),
        keypoints,
        lidar.floats("radii")[1],
        &lidar.integers("ball_idx"),
    );
}

#[test]
#[ignore = "needs COREGISTER_TESTDATA"]
fn patches_equal_the_reference() {
    let [_, cpu] = one_and_two_threads();
    check_reference(&cpu);
    on_one_device!(check_reference);
}

/// The reference samples its distances at random and rounds radii to two decimals, so only the size is compared.
fn check_radii_of_reference<B: GatherPatches>(backend: &B) {
    let input = Golden::open("input");
    let points = input.points("src_pts");
    let keypoints: Vec<Point> = input.integers("src_fps_idx").iter().map(|&i| points[i as usize]).collect();
    let (points, keypoints) = (backend.upload(&points).unwrap(), backend.upload(&keypoints).unwrap());
    let found = backend.neighbour_radii(&points, &keypoints, &[0.05, 0.02, 0.005]).unwrap();
    for (ours, theirs) in found.iter().zip(input.floats("radii")) {
        assert!((ours / theirs).ln().abs() < 0.2, "{ours} {theirs}");
    }
}

#[test]
#[ignore = "needs COREGISTER_TESTDATA"]
fn radii_are_near_the_reference() {
    let [_, cpu] = one_and_two_threads();
    check_radii_of_reference(&cpu);
    on_one_device!(check_radii_of_reference);
}
