//! The scan simulator: rays, poses, overlaps, seeds.

use coregister::RigidTransform;
use coregister::simulate::bvh::{Bvh, Hit};
use coregister::simulate::mesh::Mesh;
use coregister::simulate::{
    Kind, Motion, PairOptions, Scene, SimulatedPair, derive_seed, simulate_pair, simulate_pair_in_scenes,
    write_pairs,
};
use nalgebra::Vector3;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// Small and quick: a third of the usual resolution.
fn coarse(kind: Kind) -> PairOptions {
    PairOptions { kinds: vec![kind], detail: 0.25, ..PairOptions::default() }
}

fn random_vector(rng: &mut ChaCha8Rng, reach: f32) -> Vector3<f32> {
    Vector3::from_fn(|_, _| rng.random_range(-reach..reach))
}

fn random_soup(rng: &mut ChaCha8Rng, triangles: u32) -> Mesh {
    let mut mesh = Mesh::new();
    for i in 0..triangles {
        let centre = random_vector(rng, 5.0);
        let size = if i % 50 == 0 { 4.0 } else { 0.8 };
        for _ in 0..3 {
            mesh.vertices.push((centre + random_vector(rng, size)).into());
        }
        mesh.faces.push([3 * i, 3 * i + 1, 3 * i + 2]);
    }
    mesh
}

/// Distance along the ray to a triangle's plane, if the ray meets the triangle; in f64.
fn meet(mesh: &Mesh, face: usize, origin: &Vector3<f64>, direction: &Vector3<f64>) -> Option<f64> {
    let [a, b, c] = mesh.triangle(face).map(|v| v.cast::<f64>());
    let normal = (b - a).cross(&(c - a));
    let distance = normal.dot(&(a - origin)) / normal.dot(direction);
    let p = origin + direction * distance;
    let inside = |u: &Vector3<f64>, v: &Vector3<f64>| normal.dot(&(v - u).cross(&(p - u))) >= 0.0;
    (distance > 0.0 && inside(&a, &b) && inside(&b, &c) && inside(&c, &a)).then_some(distance)
}

/// The nearest hit by looking at every triangle.
fn nearest(mesh: &Mesh, origin: &Vector3<f32>, direction: &Vector3<f32>) -> Option<f64> {
    let (origin, direction) = (origin.cast(), direction.cast());
    (0..mesh.faces.len()).filter_map(|face| meet(mesh, face, &origin, &direction)).min_by(f64::total_cmp)
}

#[test]
fn the_hierarchy_finds_what_brute_force_finds() {
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    for triangles in [1, 3, 4, 5, 17, 600] {
        let mesh = random_soup(&mut rng, triangles);
        let bvh = Bvh::new(&mesh);
        let mut hits = 0;
        let mut differing = 0;
        for i in 0..500 {
            let origin = random_vector(&mut rng, 6.0);
            // Some rays run along an axis.
            let direction =
                if i % 5 == 0 { Vector3::ith(i % 3, 1.0) } else { random_vector(&mut rng, 1.0).normalize() };
            let found = bvh.cast(&origin, &direction, 0.0, f32::INFINITY);
            match (found, nearest(&mesh, &origin, &direction)) {
                (None, None) => {}
                (Some(Hit { distance, .. }), Some(exact)) => {
                    hits += 1;
                    differing += usize::from((f64::from(distance) - exact).abs() > 1e-3 * (1.0 + exact));
                }
                // Only a ray that grazes an edge may differ.
                _ => differing += 1,
            }
        }
        assert!(differing <= 1, "{triangles} triangles: {differing} rays differ");
        assert!(triangles < 600 || hits > 100);
    }
}

#[test]
fn a_ray_stops_at_its_ends() {
    let mut mesh = Mesh::new();
    for z in [1.0, 2.0, 3.0] {
        let n = mesh.vertices.len() as u32;
        mesh.vertices.extend([[-1.0, -1.0, z], [3.0, -1.0, z], [-1.0, 3.0, z]]);
        mesh.faces.push([n, n + 1, n + 2]);
    }
    let bvh = Bvh::new(&mesh);
    let cast = |near, far| bvh.cast(&Vector3::zeros(), &Vector3::z(), near, far).map(|hit| hit.face);
    assert_eq!(cast(0.0, 10.0), Some(0));
    assert_eq!(cast(1.5, 10.0), Some(1));
    assert_eq!(cast(2.5, 2.9), None);
    assert!(Bvh::new(&Mesh::new()).cast(&Vector3::zeros(), &Vector3::z(), 0.0, 1.0).is_none());
}

/// Distance from a point to a triangle.
fn distance(p: &Vector3<f64>, [a, b, c]: [Vector3<f64>; 3]) -> f64 {
    let normal = (b - a).cross(&(c - a));
    let on_plane = p - normal * (normal.dot(&(p - a)) / normal.norm_squared().max(1e-30));
    let inside = |u: &Vector3<f64>, v: &Vector3<f64>| normal.dot(&(v - u).cross(&(on_plane - u))) >= 0.0;
    if inside(&a, &b) && inside(&b, &c) && inside(&c, &a) {
        return (p - on_plane).norm();
    }
    let to_edge = |u: &Vector3<f64>, v: &Vector3<f64>| {
        let way = v - u;
        let share = (way.dot(&(p - u)) / way.norm_squared().max(1e-30)).clamp(0.0, 1.0);
        (p - u - way * share).norm()
    };
    to_edge(&a, &b).min(to_edge(&b, &c)).min(to_edge(&c, &a))
}

fn distance_to_scene(scene: &Scene, p: &Vector3<f64>) -> f64 {
    let mesh = scene.mesh();
    // Triangles that lie beyond some side of the point's surroundings cannot be the near ones.
    let is_near = |face: &usize| {
        let corners = mesh.faces[*face].map(|v| mesh.vertices[v as usize]);
        (0..3).all(|k| {
            let beyond = |side: f64| corners.iter().all(|c| (f64::from(c[k]) - p[k]) * side > 0.01);
            !beyond(1.0) && !beyond(-1.0)
        })
    };
    (0..mesh.faces.len())
        .filter(is_near)
        .map(|face| distance(p, mesh.triangle(face).map(|v| v.cast::<f64>())))
        .fold(f64::INFINITY, f64::min)
}

/// The largest distance of some of the pair's points from the scene; the source goes through the pose.
fn worst_misfit(pair: &SimulatedPair, scene: &Scene, world_from_target: &RigidTransform) -> f64 {
    let sample = |n: usize| (0..n).step_by(n / 5);
    let source = sample(pair.source.len())
        .map(|i| pair.target_from_source.apply(&Vector3::from(pair.source.point(i))));
    let target = sample(pair.target.len()).map(|i| Vector3::from(pair.target.point(i)));
    source.chain(target).map(|p| distance_to_scene(scene, &world_from_target.apply(&p))).fold(0.0, f64::max)
}

#[test]
fn the_pose_is_exact() {
    for (kind, motion) in [
        (Kind::Frame, Motion::Full),
        (Kind::Object, Motion::Yaw),
        (Kind::Lidar, Motion::Full),
        (Kind::LidarIndoor, Motion::None),
        (Kind::LidarRepeated, Motion::Full),
    ] {
        let options = PairOptions { noise: 0.0, relief: false, motion, ..coarse(kind) };
        let (pair, [(scene, _), (_, world_from_target)]) = simulate_pair_in_scenes(3, &options).unwrap();
        let misfit = worst_misfit(&pair, &scene, &world_from_target);
        assert!(misfit < 2e-4, "{kind}: {misfit}");
    }
}

/// Share of the target's points that lie on the scene's triangles.
fn share_on(scene: &Scene, pair: &SimulatedPair, world_from_target: &RigidTransform) -> f64 {
    let bvh = Bvh::new(scene.mesh());
    let eye = world_from_target.translation.cast::<f32>();
    let lies_on = |point: &&[f32; 3]| {
        let world = world_from_target.apply(&point.map(f64::from).into()).cast::<f32>();
        let distance = (world - eye).norm();
        bvh.cast(&eye, &((world - eye) / distance), distance - 1e-3, distance + 1e-3).is_some()
    };
    pair.target.points.iter().filter(lies_on).count() as f64 / pair.target.len() as f64
}

#[test]
fn the_target_is_of_the_scene_after_things_have_moved() {
    for kind in [Kind::Frame, Kind::Lidar, Kind::LidarIndoor] {
        let options = PairOptions { noise: 0.0, relief: false, moved_share: 1.0, ..coarse(kind) };
        // One image may show nothing that moves.
        let unmoved = [1, 2, 3].map(|seed| {
            let (pair, [(before, _), (after, pose)]) = simulate_pair_in_scenes(seed, &options).unwrap();
            let fits = share_on(&after, &pair, &pose);
            assert!(fits > 0.999, "{kind}: {fits} of what the target sees is there then");
            share_on(&before, &pair, &pose)
        });
        let unmoved = unmoved.iter().sum::<f64>() / 3.0;
        assert!(
            unmoved > 0.3 && unmoved < 0.99,
            "{kind}: {unmoved} of what the target sees was there before"
        );
    }
}

#[test]
fn objects_and_what_is_not_to_move_stay_as_they_are() {
    for (kind, moved_share) in [(Kind::Object, 1.0), (Kind::Lidar, 0.0)] {
        let moved = simulate_pair(4, &PairOptions { moved_share, ..coarse(kind) }).unwrap();
        assert_eq!(moved, simulate_pair(4, &coarse(kind)).unwrap(), "{kind}");
    }
}

#[test]
fn both_scans_show_what_carries_the_sensor() {
    // Of the scene nothing is seen that is as near as that.
    for (kind, nearest) in [(Kind::Lidar, 1.8), (Kind::LidarIndoor, 0.4)] {
        let options = PairOptions { noise: 0.0, relief: false, carrier: true, ..coarse(kind) };
        let (pair, [(scene, _), (_, pose)]) = simulate_pair_in_scenes(3, &options).unwrap();
        let carried = 1.0 - share_on(&scene, &pair, &pose);
        assert!(carried > 0.002 && carried < 0.6, "{kind}: {carried} of the target is not of the scene");
        // In the frames of the sensors, which nothing moved, the carrier is at the same place.
        let is_near = |p: &&[f32; 3]| Vector3::from(**p).norm() < nearest;
        let near =
            |cloud: &coregister::Cloud| cloud.points.iter().filter(is_near).copied().collect::<Vec<_>>();
        let (source, target) = (near(&pair.source), near(&pair.target));
        let has_twin =
            |p: &&[f32; 3]| source.iter().any(|q| (Vector3::from(**p) - Vector3::from(*q)).norm() < 0.1);
        let twins = target.iter().filter(has_twin).count();
        assert!(
            twins > 20 && twins * 10 > target.len() * 9,
            "{kind}: {twins} of {} near points",
            target.len()
        );
    }
}

/// How many of the target's beams hit something: elevations in the frame of its sensor that are 0.02° apart at least.
fn beams(pair: &SimulatedPair) -> usize {
    let elevation = |p: &[f32; 3]| (p[2].atan2(p[0].hypot(p[1])).to_degrees() * 100.0).round() as i32;
    let all: std::collections::BTreeSet<i32> = pair.target.points.iter().map(elevation).collect();
    all.iter().zip(all.iter().skip(1)).filter(|(low, high)| *high - *low > 2).count() + 1
}

#[test]
fn another_sensor_takes_the_target_in_the_same_scene() {
    let exact = |kind| PairOptions { noise: 0.0, relief: false, ..coarse(kind) };
    let seeds = [1, 2, 3, 4];
    for kind in [Kind::Lidar, Kind::Frame, Kind::Object] {
        for seed in seeds {
            let options = PairOptions { other_sensor: true, ..exact(kind) };
            let (pair, [(scene, _), (_, pose)]) = simulate_pair_in_scenes(seed, &options).unwrap();
            let misfit = worst_misfit(&pair, &scene, &pose);
            // A fragment's points are means over a voxel.
            let exactly = if kind == Kind::Frame { 0.03 } else { 2e-4 };
            assert!(misfit < exactly, "{kind}, seed {seed}: {misfit}");
        }
    }
    let beams_of = |other_sensor| {
        seeds.map(|seed| {
            beams(&simulate_pair(seed, &PairOptions { other_sensor, ..exact(Kind::Lidar) }).unwrap())
        })
    };
    assert_ne!(beams_of(true), beams_of(false), "the targets have the beams of the sources' sensors");
}

#[test]
fn overlaps_lie_in_the_requested_range() {
    for (kind, low, high) in [
        (Kind::Frame, 0.1, 0.3),
        (Kind::Object, 0.6, 0.9),
        (Kind::Lidar, 0.3, 0.6),
        (Kind::LidarIndoor, 0.5, 0.9),
        (Kind::LidarRepeated, 0.2, 0.5),
    ] {
        for index in 0..2 {
            let options = PairOptions { overlap: low..high, ..coarse(kind) };
            let pair = simulate_pair(derive_seed(5, index), &options).unwrap();
            assert!(pair.overlap >= low && pair.overlap < high, "{kind}: {}", pair.overlap);
            assert!(pair.overlapping && pair.set().starts_with(kind.name()));
        }
    }
}

#[test]
fn pairs_without_overlap_have_none() {
    for index in 0..4 {
        let options = PairOptions { none_share: 1.0, motion: Motion::Full, ..coarse(Kind::Object) };
        let pair = simulate_pair(derive_seed(6, index), &options).unwrap();
        assert!(!pair.overlapping && pair.overlap < 0.02);
        assert!(pair.one_scene || pair.target_from_source == RigidTransform::identity());
        assert_eq!(pair.set(), "object-none");
    }
}

#[test]
fn the_bits_do_not_depend_on_the_threads() {
    let pool = |threads| rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
    for kind in Kind::ALL {
        let options = PairOptions { motion: Motion::Full, detail: 0.15, ..coarse(kind) };
        let make = || simulate_pair(11, &options).unwrap();
        assert_eq!(pool(1).install(make), pool(2).install(make), "{kind}");
    }
}

#[test]
fn kinds_differ_and_are_named() {
    for kind in Kind::ALL {
        assert_eq!(kind.name().parse::<Kind>().unwrap(), kind);
    }
    assert!("sonar".parse::<Kind>().unwrap_err().to_string().contains("lidar-indoor"));
    let size = |kind| {
        let pair = simulate_pair(2, &coarse(kind)).unwrap();
        pair.target.points.iter().flatten().fold(0f32, |size, x| size.max(x.abs()))
    };
    let sizes = [Kind::Object, Kind::Frame, Kind::Lidar].map(size);
    assert!(sizes[0] < sizes[1] && sizes[1] < sizes[2], "{sizes:?}");
}

#[test]
fn nonsense_is_refused() {
    let refused = |options: PairOptions| simulate_pair(0, &options).unwrap_err().to_string();
    assert!(refused(PairOptions { kinds: vec![], ..PairOptions::default() }).contains("kind"));
    assert!(refused(PairOptions { overlap: 0.5..0.2, ..PairOptions::default() }).contains("overlap"));
    assert!(refused(PairOptions { detail: 0.0, ..PairOptions::default() }).contains("detail"));
    assert!(refused(PairOptions { moved_share: 1.1, ..PairOptions::default() }).contains("move"));
    assert!(refused(PairOptions { noise: f64::NAN, ..PairOptions::default() }).contains("noise"));
}

#[test]
fn scans_of_two_scenes_are_written_without_a_pose() {
    let folder = tempfile::tempdir().unwrap();
    let options = PairOptions { none_share: 1.0, detail: 0.15, ..coarse(Kind::Object) };
    write_pairs(folder.path(), 6, 6, &options, |_| {}).unwrap();
    let table = std::fs::read_to_string(folder.path().join("pairs.csv")).unwrap();
    let has_pose: Vec<bool> = table.lines().skip(1).map(|row| !row.ends_with(',')).collect();
    let pair = |index| simulate_pair(derive_seed(6, index), &options).unwrap();
    assert_eq!(has_pose, (0..6).map(|index| pair(index).one_scene).collect::<Vec<_>>());
    assert!(has_pose.contains(&true) && has_pose.contains(&false), "{has_pose:?}");
}

#[test]
fn pairs_are_written_with_their_table() {
    let folder = tempfile::tempdir().unwrap();
    write_pairs(folder.path(), 4, 3, &coarse(Kind::Object), |_| {}).unwrap();
    let table = std::fs::read_to_string(folder.path().join("pairs.csv")).unwrap();
    let rows: Vec<Vec<&str>> = table.lines().map(|line| line.split(',').collect()).collect();
    assert_eq!(rows[0], ["set", "name", "src", "tgt", "overlap", "T"]);
    assert_eq!(rows.len(), 4);
    for (index, row) in rows[1..].iter().enumerate() {
        let numbers: Vec<f64> = row[5].split(' ').map(|x| x.parse().unwrap()).collect();
        let pose = RigidTransform::from_row_major(numbers.as_slice().try_into().unwrap()).unwrap();
        let pair = simulate_pair(derive_seed(4, index as u64), &coarse(Kind::Object)).unwrap();
        assert!(pose.distance_to(&pair.target_from_source) < 1e-9);
        let bytes = std::fs::read(folder.path().join(row[2])).unwrap();
        let header = b"end_header\n";
        let start = bytes.windows(header.len()).position(|w| w == header).unwrap() + header.len();
        assert_eq!((bytes.len() - start) / 12, pair.source.len());
        let x = f32::from_le_bytes(bytes[start..start + 4].try_into().unwrap());
        assert_eq!(x, pair.source.points[0][0]);
    }
}
