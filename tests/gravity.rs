//! The vertical: found where a ground shows it, and only there.

mod common;

use common::{any_rotation, cube, one_and_two_threads, random, room};
use coregister::cloud::Point;
use coregister::stages::gravity::FindVertical;
use coregister::stages::surface::BuildSurface;
use nalgebra::{Rotation3, Vector3};
use rand::RngExt;
use rand::seq::SliceRandom;

/// A wavy ground with boxes' walls standing on it, up along z.
fn street(seed: u64) -> Vec<Point> {
    let mut random = random(seed);
    let mut points: Vec<Point> = (0..12_000)
        .map(|_| {
            let (x, y) = (random.random_range(-20.0..20.0f32), random.random_range(-20.0..20.0f32));
            [x, y, 0.05 * (0.5 * x).sin()]
        })
        .collect();
    for wall in 0..6 {
        let (turn, distance) = (wall as f32 * 1.1, 6.0 + wall as f32);
        points.extend((0..1_000).map(|_| {
            let (along, up) = (random.random_range(-4.0..4.0f32), random.random_range(0.0..5.0f32));
            let (sin, cos) = turn.sin_cos();
            [distance * cos - along * sin, distance * sin + along * cos, up]
        }));
    }
    // Stages take prefixes for fair samples.
    points.shuffle(&mut random);
    points
}

fn turned(points: &[Point], rotation: &Rotation3<f64>) -> Vec<Point> {
    let turn = |p: &Point| (rotation * Vector3::from(p.map(f64::from))).map(|x| x as f32).into();
    points.iter().map(turn).collect()
}

fn vertical<B: BuildSurface + FindVertical>(
    backend: &B,
    points: &[Point],
    spacing: f32,
) -> Option<Vector3<f64>> {
    let surface = backend.build_surface(&backend.upload(points).unwrap(), spacing).unwrap();
    backend.find_vertical(&surface).unwrap().map(|up| Vector3::from(up.map(f64::from)))
}

fn check_street<B: BuildSurface + FindVertical>(backend: &B) {
    for seed in 0..4 {
        let rotation = any_rotation(&mut random(100 + seed));
        let up = vertical(backend, &turned(&street(seed), &rotation), 0.3).expect("a ground");
        let error = up.angle(&(rotation * Vector3::z())).to_degrees();
        assert!(error < 3.0, "{error} degrees off");
    }
}

#[test]
fn a_ground_shows_the_vertical_however_it_is_turned() {
    one_and_two_threads().iter().for_each(check_street);
}

/// What has no ground, or two, or faces all ways, has no vertical.
fn check_none<B: BuildSurface + FindVertical>(backend: &B) {
    let ground_and_sky: Vec<Point> =
        street(1).into_iter().flat_map(|p| [p, [p[0], p[1], 12.0 - p[2]]]).collect();
    for (name, points, spacing) in [
        ("cube of noise", cube(5_000, 2.0, 1), 0.1),
        ("ground and its mirror image", ground_and_sky, 0.3),
        ("two points", room(2, 1), 0.1),
        ("nothing", Vec::new(), 0.1),
        ("one place", vec![[1.0; 3]; 500], 0.1),
    ] {
        assert_eq!(vertical(backend, &points, spacing), None, "{name}");
    }
}

#[test]
fn where_nothing_lies_below_nothing_is_up() {
    one_and_two_threads().iter().for_each(check_none);
}
