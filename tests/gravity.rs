//! The vertical: found where a ground shows it, and only there.

mod common;

use common::found::{on_every_backend, on_every_device};
use common::{any_rotation, cube, lattice, one_and_two_threads, random, room, surface_on};
use coregister::backend::Device;
use coregister::cloud::Point;
use coregister::stages::gravity::FindVertical;
use coregister::stages::surface::Surface;
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

fn vertical<B: FindVertical>(backend: &B, points: &[Point], spacing: f32) -> Option<Vector3<f64>> {
    let surface = surface_on(backend, points, spacing);
    backend.find_vertical(&surface).unwrap().map(|up| Vector3::from(up.map(f64::from)))
}

fn check_street<B: FindVertical>(backend: &B) {
    for seed in 0..4 {
        let rotation = any_rotation(&mut random(100 + seed));
        let up = vertical(backend, &turned(&street(seed), &rotation), 0.3).expect("a ground");
        let error = up.angle(&(rotation * Vector3::z())).to_degrees();
        assert!(error < 3.0, "{error} degrees off");
    }
}

#[test]
fn a_ground_shows_the_vertical_however_it_is_turned() {
    on_every_backend!(check_street);
}

/// What has no ground, or two, or faces all ways, has no vertical.
fn check_none<B: FindVertical>(backend: &B) {
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
    on_every_backend!(check_none);
}

/// Streets, rooms and less, all of which devices must see alike.
fn clouds() -> Vec<(Vec<Point>, f32)> {
    let mut clouds: Vec<(Vec<Point>, f32)> = (4..8).map(|seed| (street(seed), 0.3)).collect();
    let tilt = any_rotation(&mut random(9));
    clouds.push((turned(&street(8), &tilt), 0.5));
    clouds.push((street(9).iter().map(|p| p.map(|x| -x)).collect(), 0.3));
    clouds.push((room(6_000, 3), 0.15));
    clouds.push((lattice(9), 1.0));
    // Fewer voters than are wanted, and than are tried.
    clouds.extend([1_900, 250, 40, 7].map(|count| (street(10)[..count].to_vec(), 1.5)));
    clouds.push((street(11).iter().map(|p| p.map(|x| 1e-4 * x)).collect(), 3e-5));
    clouds.push((street(12).iter().map(|p| p.map(|x| x + 1e5)).collect(), 0.3));
    clouds
}

#[test]
fn devices_agree_with_the_cpu() {
    let [cpu, _] = one_and_two_threads();
    let mut found = 0;
    for (i, (points, spacing)) in clouds().into_iter().enumerate() {
        let expected = cpu.find_vertical(&surface_on(&cpu, &points, spacing)).unwrap();
        found += usize::from(expected.is_some());
        on_every_device!(|device| {
            let up = device.find_vertical(&surface_on(device, &points, spacing)).unwrap();
            assert_eq!(up, expected, "cloud {i}");
        });
    }
    assert!(found > 5, "{found} have a vertical");
}

/// Points without normals do not vote, however many stand first.
#[test]
fn voters_are_the_first_that_have_a_normal() {
    let [cpu, _] = one_and_two_threads();
    let points = street(13);
    let mut surface = surface_on(&cpu, &points, 0.3);
    for (i, &place) in surface.place.iter().enumerate() {
        if i < 7_000 || i % 3 == 0 {
            surface.normals[place as usize] = [0.0; 3];
        }
    }
    let expected = cpu.find_vertical(&surface).unwrap();
    assert!(expected.is_some());
    on_every_device!(|device| {
        let normals = device.upload(&surface.normals).unwrap();
        let surface = Surface { normals, ..surface_on(device, &points, 0.3) };
        assert_eq!(device.find_vertical(&surface).unwrap(), expected);
    });
}
