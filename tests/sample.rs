//! Furthest point sampling.

mod common;

use common::found::{on_every_backend, on_every_device};
use common::{Golden, beyond_f32, cube, dice, lattice, one_and_two_threads, room, squared_distance};
use coregister::cloud::Point;
use coregister::geometry::Extent;
use coregister::stages::sample::{Sample, SampleFarthest};

/// The contract, word for word.
fn brute_force(points: &[Point], count: usize) -> Vec<u32> {
    let mut nearest = vec![f32::INFINITY; points.len()];
    let mut chosen = Vec::new();
    let mut next = 0;
    while chosen.len() < count.min(points.len()) {
        chosen.push(next as u32);
        for (distance, point) in nearest.iter_mut().zip(points) {
            *distance = distance.min(squared_distance(point, &points[next]));
        }
        next = 0;
        for i in 1..points.len() {
            if nearest[i] > nearest[next] {
                next = i;
            }
        }
        if nearest[next] == 0.0 {
            break;
        }
    }
    chosen
}

fn sampled<B: SampleFarthest>(backend: &B, points: &[Point], count: usize) -> Vec<u32> {
    let points = backend.upload(points).unwrap();
    backend.download(&backend.sample_farthest(&points, count).unwrap().indices).unwrap()
}

fn check<B: SampleFarthest>(backend: &B) {
    let mut doubled = room(700, 1);
    doubled.extend_from_within(..);
    let outlier = [room(500, 2), vec![[1e6, -1e6, 3e5]]].concat();
    let clouds = [
        ("room", room(5000, 3), 600),
        ("large", room(40_000, 3), 50),
        ("cube", cube(3000, 1.0, 4), 300),
        ("lattice", lattice(12), 1728),
        ("more than there are", room(65, 5), 1000),
        ("duplicates", doubled, 1400),
        ("outlier", outlier, 100),
        ("all equal", vec![[1.0, 2.0, 3.0]; 200], 10),
        ("one", vec![[1.0, 2.0, 3.0]], 5),
        ("two", vec![[0.0; 3], [1.0; 3]], 5),
        ("none", vec![], 5),
        ("none wanted", room(100, 6), 0),
        ("overflowing distances", cube(300, 3e38, 7), 50),
        ("overflowing differences", beyond_f32(), 50),
        ("vanishing distances", cube(300, 1e-30, 8), 50),
        ("denormal", cube(300, 1e-40, 9), 50),
    ];
    for (name, points, count) in clouds {
        assert_eq!(sampled(backend, &points, count), brute_force(&points, count), "{name}");
    }
    for count in 1..150 {
        let points = dice(count, count as u64);
        assert_eq!(sampled(backend, &points, count), brute_force(&points, count), "{count} dice");
    }
}

#[test]
fn equals_brute_force() {
    on_every_backend!(check);
}

#[test]
fn shorter_runs_are_prefixes() {
    let [cpu, _] = one_and_two_threads();
    let points = room(2000, 1);
    assert_eq!(sampled(&cpu, &points, 300)[..100], sampled(&cpu, &points, 100));
}

/// Clouds of all sizes at once, of which some are empty, some are used up early, and one is the longest of its kernel.
fn check_each<B: SampleFarthest>(backend: &B) {
    let small = [room(3000, 1), vec![], cube(1, 1.0, 2), vec![[1.0, 2.0, 3.0]; 200], lattice(9)];
    let medium = [small.to_vec(), vec![room(8193, 3), cube(32_768, 1.0, 4)]].concat();
    let large = [small.to_vec(), vec![room(32_769, 5)]].concat();
    for clouds in [vec![], vec![vec![]], small.to_vec(), medium, large] {
        let uploaded: Vec<_> = clouds.iter().map(|points| backend.upload(points).unwrap()).collect();
        let uploaded: Vec<_> = uploaded.iter().collect();
        for count in [0, 1, 30] {
            let found = backend.sample_farthest_of_each(&uploaded, count).unwrap();
            assert_eq!(found.len(), clouds.len());
            for (found, points) in found.iter().zip(&clouds) {
                let indices = backend.download(&found.indices).unwrap();
                assert_eq!(indices, sampled(backend, points, count), "{count} of {} clouds", clouds.len());
                check_points(backend, found, points);
            }
        }
    }
}

/// The points are those of the indices, and the extent is theirs.
fn check_points<B: SampleFarthest>(backend: &B, found: &Sample<B>, cloud: &[Point]) {
    let indices = backend.download(&found.indices).unwrap();
    let expected: Vec<Point> = indices.iter().map(|&i| cloud[i as usize]).collect();
    assert_eq!(backend.download(&found.points).unwrap(), expected);
    let Extent { centre, radius } = Extent::of(&expected);
    assert_eq!((found.extent.centre, found.extent.radius), (centre, radius));
}

#[test]
fn many_clouds_at_once_are_sampled_as_each_alone() {
    on_every_backend!(check_each);
}

/// Around the sizes at which rows, the lanes that hold them, and whole kernels are full, and past them.
const SIZES: [usize; 14] =
    [1, 31, 32, 33, 1_023, 1_024, 1_025, 8_193, 16_385, 32_768, 32_769, 70_000, 131_072, 131_073];

/// Clouds that are hard to put in order, or whose order must not show.
fn hard_clouds() -> Vec<(&'static str, Vec<Point>, usize)> {
    let twice = |mut points: Vec<Point>| {
        points.extend_from_within(..);
        points
    };
    let with = |points: Vec<Point>, others: &[Point]| [others, &points, others].concat();
    let infinite =
        [[f32::INFINITY, 0.0, 1.0], [1.0, f32::NEG_INFINITY, f32::INFINITY], [f32::NEG_INFINITY; 3]];
    let flat = room(2_000, 1).into_iter().map(|[x, y, _]| [x, y, -2.0]).collect();
    let line = room(2_000, 1).into_iter().map(|[x, _, _]| [x, 1.0, -2.0]).collect();
    let one_apart = with(vec![[1.0, 2.0, 3.0]; 3_000], &[[1.0, 2.0, 3.5]]);
    vec![
        ("duplicates", twice(room(100, 1)), 200),
        ("many duplicates", twice(twice(twice(cube(30, 1.0, 2)))), 100),
        ("all equal", vec![[1.0, 2.0, 3.0]; 2_000], 10),
        ("one apart", one_apart, 10),
        ("lattice", lattice(8), 100),
        ("dice", dice(5_000, 3), 50),
        ("flat", flat, 40),
        ("line", line, 40),
        ("outliers", with(room(2_000, 2), &[[1e6, -1e6, 3e5], [-1e9, 1e30, 0.0]]), 40),
        ("infinite extents", with(room(2_000, 2), &infinite), 50),
        ("infinite points", infinite.to_vec(), 3),
        ("overflowing distances", cube(3_000, 3e38, 7), 50),
        ("overflowing differences", beyond_f32(), 50),
        ("vanishing distances", cube(3_000, 1e-30, 8), 50),
        ("denormal", cube(3_000, 1e-40, 9), 50),
        ("both zeros", twice(vec![[0.0, -0.0, 0.0], [-0.0, 0.0, -0.0]]), 4),
        ("none wanted", room(100, 6), 0),
        ("none", vec![], 5),
    ]
}

/// Whatever the order of the threads, and so of the points in a cell of the grid.
#[test]
fn all_sizes_and_hard_clouds_are_sampled_as_by_brute_force() {
    let of_size = |&size: &usize| ("cloud of a size", room(size, size as u64), 25);
    let clouds = [hard_clouds(), SIZES.iter().map(of_size).collect()].concat();
    for (name, points, count) in &clouds {
        let expected = brute_force(points, *count);
        on_every_device!(|device| {
            assert_eq!(sampled(device, points, *count), expected, "{name} of {} points", points.len());
        });
    }
}
fn check_gather<B: SampleFarthest>(backend: &B) {
    let points = room(100, 1);
    let uploaded = backend.upload(&points).unwrap();
    let indices = backend.upload(&[7u32, 0, 99, 7]).unwrap();
    let gathered = backend.download(&backend.gather_points(&uploaded, &indices).unwrap()).unwrap();
    assert_eq!(gathered, [points[7], points[0], points[99], points[7]]);
}

#[test]
fn gathers_in_the_order_of_the_indices() {
    on_every_backend!(check_gather);
}

/// The reference never picks a point with x² + y² + z² ≤ 10⁻³, except as the start, nor does such a point change
/// what else is picked; ours has no such rule, so these points are taken out before and the indices translated.
fn check_golden<B: SampleFarthest>(backend: &B, points: &[Point], expected: &[u32]) {
    let kept = |&i: &u32| i == 0 || squared_distance(&points[i as usize], &[0.0; 3]) > 1e-3;
    let places: Vec<u32> = (0..points.len() as u32).filter(kept).collect();
    let cloud: Vec<Point> = places.iter().map(|&i| points[i as usize]).collect();
    let chosen: Vec<u32> =
        sampled(backend, &cloud, expected.len()).iter().map(|&i| places[i as usize]).collect();
    assert_eq!(chosen, expected);
}

#[test]
#[ignore = "needs COREGISTER_TESTDATA"]
fn equals_the_reference() {
    let [_, cpu] = one_and_two_threads();
    let input = Golden::open("input");
    check_golden(&cpu, &input.points("src_pts"), &input.integers("src_fps_idx"));
    check_golden(&cpu, &input.points("tgt_pts"), &input.integers("tgt_fps_idx"));
    let lidar = Golden::open("lidar_aligned");
    check_golden(&cpu, &lidar.points("pts"), &lidar.integers("fps_idx"));
}
