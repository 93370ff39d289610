//! Normals and nearest points.

mod common;

use common::found::{on_every_backend, on_every_device};
use common::{any_rotation, beyond_f32, cube, lattice, one_and_two_threads, random, room, squared_distance};
use coregister::backend::Cpu;
use coregister::cloud::Point;
use coregister::stages::surface::{BuildSurface, Grid, REACH, Surface};
use nalgebra::Vector3;
use rand::RngExt;

/// A surface whose buffers have left their device.
struct Downloaded {
    points: Vec<Point>,
    columns: Vec<f32>,
    normals: Vec<Point>,
    cell_start: Vec<u32>,
    place: Vec<u32>,
    grid: Grid,
}

fn surface<B: BuildSurface>(backend: &B, points: &[Point], spacing: f32) -> Downloaded {
    let surface = backend.build_surface(&backend.upload(points).unwrap(), spacing).unwrap();
    Downloaded {
        points: backend.download(&surface.points).unwrap(),
        columns: backend.download(&surface.columns).unwrap(),
        normals: backend.download(&surface.normals).unwrap(),
        cell_start: backend.download(&surface.cell_start).unwrap(),
        place: backend.download(&surface.place).unwrap(),
        grid: surface.grid,
    }
}

/// The normal of every point, in the order of the input.
fn normals<B: BuildSurface>(backend: &B, points: &[Point], spacing: f32) -> Vec<Vector3<f32>> {
    let surface = surface(backend, points, spacing);
    surface.place.iter().map(|&place| surface.normals[place as usize].into()).collect()
}

fn check_order<B: BuildSurface>(backend: &B) {
    let stray = [room(500, 2), vec![[900.0, -300.0, 20.0]]].concat();
    for (points, spacing) in
        [(room(5000, 1), 0.1), (lattice(9), 0.7), (stray, 0.05), (vec![[1.0; 3]; 70], 1.0), (vec![], 1.0)]
    {
        let surface = surface(backend, &points, spacing);
        let [nx, ny, nz] = surface.grid.size.map(|n| n as usize);
        assert_eq!(surface.cell_start.len(), nx * ny * nz + 1);
        assert_eq!((surface.cell_start[0], surface.cell_start[nx * ny * nz]), (0, points.len() as u32));
        assert_eq!((surface.points.len(), surface.normals.len()), (points.len(), points.len()));
        assert!(surface.grid.cell >= REACH * spacing, "queries reach one cell far");
        let mut came_from = vec![usize::MAX; points.len()];
        for (i, &place) in surface.place.iter().enumerate() {
            assert_eq!(surface.points[place as usize], points[i]);
            came_from[place as usize] = i;
        }
        for (cell, run) in surface.cell_start.windows(2).enumerate() {
            let run = run[0] as usize..run[1] as usize;
            assert!(came_from[run.clone()].is_sorted(), "a cell keeps the order of the input");
            for point in &surface.points[run] {
                for (k, c) in [cell % nx, cell / nx % ny, cell / (nx * ny)].into_iter().enumerate() {
                    let position = (point[k] - surface.grid.low[k]) / surface.grid.cell - c as f32;
                    assert!((-1e-4..=1.0001).contains(&position), "{point:?} {cell}");
                }
            }
        }
    }
}

#[test]
fn points_are_grouped_by_cell() {
    on_every_backend!(check_order);
}

fn nearest_by_brute_force(points: &[Point], query: &Point, limit: f32) -> Option<(usize, f32)> {
    let mut best = None;
    let mut least = limit * limit;
    for (i, point) in points.iter().enumerate() {
        let distance = squared_distance(point, query);
        if distance < least {
            (best, least) = (Some((i, distance)), distance);
        }
    }
    best
}

fn assert_nearest(surface: &Surface<Cpu>, queries: &[Point], limit: f32) {
    for query in queries {
        let expected = nearest_by_brute_force(&surface.points, query, limit);
        assert_eq!(surface.nearest(query, limit), expected, "{query:?}");
    }
}

/// A surface of these points on the host: nearest-point queries are no stage of their own.
fn on_the_host(points: &[Point], spacing: f32) -> Surface<Cpu> {
    Cpu::new(1).unwrap().build_surface(&points.to_vec(), spacing).unwrap()
}

#[test]
fn nearest_points_equal_brute_force() {
    let surface = on_the_host(&room(3000, 1), 0.1);
    let around: Vec<Point> =
        cube(1500, 9.0, 2).iter().map(|p| [p[0] + 3.0, p[1] + 2.0, p[2] + 1.2]).collect();
    let near: Vec<Point> = room(500, 3).iter().map(|p| p.map(|x| x + 0.05)).collect();
    for limit in [0.299, 0.15, 0.0] {
        assert_nearest(&surface, &around, limit);
        assert_nearest(&surface, &near, limit);
        assert_nearest(&surface, &surface.points[..200], limit);
    }
    let far = [[1e9, 0.0, 0.0], [0.0, -1e30, 0.0], [f32::MAX; 3], [f32::MIN; 3], [f32::NAN; 3]];
    assert_nearest(&surface, &far, 0.299);
    // Just outside of every face of the box, where only a part of the neighbouring cells exists.
    let corners = lattice(2).into_iter().map(|c| [-0.1 + 6.2 * c[0], -0.1 + 4.2 * c[1], -0.1 + 2.7 * c[2]]);
    assert_nearest(&surface, &corners.collect::<Vec<_>>(), 0.299);
}

#[test]
fn the_lowest_index_wins_a_tie() {
    let mut shuffled = lattice(7);
    shuffled.sort_by_key(|p| (p[0] * 31.0 + p[1] * 17.0 + p[2] * 11.0) as i32 % 13);
    shuffled.extend_from_within(..100);
    let surface = on_the_host(&shuffled, 0.5);
    let middles: Vec<Point> = lattice(8).iter().map(|p| p.map(|x| x - 0.5)).collect();
    assert_nearest(&surface, &middles, 1.0);
    let edges: Vec<Point> = lattice(7).iter().map(|p| [p[0] + 0.5, p[1], p[2]]).collect();
    assert_nearest(&surface, &edges, 1.0);
    assert_nearest(&surface, &lattice(7), 1.0);
}

#[test]
fn the_limit_is_not_reached() {
    let surface = on_the_host(&[[0.0; 3], [8.0, 0.0, 0.0]], 1.0);
    assert_eq!(surface.nearest(&[2.0, 0.0, 0.0], 2.0), None);
    assert_eq!(surface.nearest(&[2.0, 0.0, 0.0], 2.000_001), Some((0, 4.0)));
    assert_eq!(surface.nearest(&[-2.0, 0.0, 0.0], 2.5), Some((0, 4.0)));
    assert_eq!(surface.nearest(&[8.0, 0.0, 0.0], 0.0), None, "not even by a point that lies there");
    assert_eq!(on_the_host(&[], 1.0).nearest(&[0.0; 3], 3.0), None);
}

/// A jittered square lattice of `n²` points with the given spacing in the plane `z = 0`.
fn sheet(n: usize, spacing: f32, seed: u64) -> Vec<Point> {
    let mut random = random(seed);
    let point = |i: usize| [(i % n) as f32, (i / n) as f32].map(|x| x * spacing);
    (0..n * n)
        .map(point)
        .map(|[x, y]| {
            let [dx, dy] = [0; 2].map(|_| random.random_range(-0.2..0.2) * spacing);
            [x + dx, y + dy, 0.0]
        })
        .collect()
}

fn check_planes<B: BuildSurface>(backend: &B) {
    let mut random = random(4);
    // At 4 spacings the nearest neighbours of most points lie beyond the first reach.
    for density in [1.0, 2.0, 4.0] {
        let rotation = any_rotation(&mut random).cast::<f32>();
        let plane: Vec<Point> =
            sheet(30, 0.1 * density, 5).iter().map(|p| (rotation * Vector3::from(*p)).into()).collect();
        let expected = rotation * Vector3::z();
        let found = normals(backend, &plane, 0.1);
        let inner = (0..900).filter(|i| (3..27).contains(&(i % 30)) && (3..27).contains(&(i / 30)));
        for i in inner {
            assert!((found[i].norm() - 1.0).abs() < 1e-5, "{density} {i}");
            assert!(1.0 - found[i].dot(&expected).abs() < 1e-5, "{density} {i}: {}", found[i]);
        }
    }
}

#[test]
fn normals_of_a_plane_are_its_own() {
    on_every_backend!(check_planes);
}

fn check_sphere<B: BuildSurface>(backend: &B) {
    let mut random = random(6);
    let mut on_the_sphere = || any_rotation(&mut random).cast::<f32>() * Vector3::z();
    let centre = Vector3::new(5.0, -7.0, 1.0);
    let directions: Vec<Vector3<f32>> = (0..8000).map(|_| on_the_sphere()).collect();
    let points: Vec<Point> = directions.iter().map(|d| (centre + d).into()).collect();
    for (normal, direction) in normals(backend, &points, 0.05).iter().zip(&directions) {
        assert!(normal.dot(direction).abs() > 0.99, "{normal} {direction}");
    }
}

#[test]
fn normals_of_a_sphere_are_its_radii() {
    on_every_backend!(check_sphere);
}

fn check_no_plane<B: BuildSurface>(backend: &B) {
    let direction = Vector3::new(0.6, 0.64, 0.48);
    let line: Vec<Point> = (0..200).map(|i| (direction * 0.02 * i as f32).into()).collect();
    let apart: Vec<Point> = lattice(5).iter().map(|p| p.map(|x| 10.0 * x)).collect();
    let three = vec![[0.0; 3], [0.1, 0.0, 0.0], [0.0, 0.1, 0.0]];
    for points in [line, apart, three, vec![[3.0; 3]; 50], vec![[1.0; 3]], vec![]] {
        assert!(normals(backend, &points, 0.1).iter().all(|normal| *normal == Vector3::zeros()));
    }
    let four = vec![[0.0; 3], [0.1, 0.0, 0.0], [0.0, 0.1, 0.0], [0.1, 0.1, 0.0]];
    assert!(normals(backend, &four, 0.1).iter().all(|normal| normal.z.abs() > 0.999));
}

#[test]
fn what_spans_no_plane_has_no_normal() {
    on_every_backend!(check_no_plane);
}

fn check_stray_point<B: BuildSurface>(backend: &B) {
    let points = room(3000, 7);
    let expected = normals(backend, &points, 0.1);
    for stray in [[1e4; 3], [-1e6, 1e6, 1e6], [1e9, 0.0, 0.0], [3e37; 3]] {
        let with_stray = [points.clone(), vec![stray]].concat();
        let built = surface(backend, &with_stray, 0.1);
        assert!(built.cell_start.len() <= (1 << 24) + 1, "{} cells", built.cell_start.len());
        for (i, expected) in expected.iter().enumerate() {
            // Cells are larger, so sums run in another order.
            let found = Vector3::from(built.normals[built.place[i] as usize]);
            assert!(
                (found - expected).norm().min((found + expected).norm()) < 1e-2,
                "{i}: {found} {expected}"
            );
        }
    }
}

#[test]
fn a_stray_point_costs_no_memory_and_changes_no_normal() {
    on_every_backend!(check_stray_point);
}

#[test]
fn the_number_of_threads_does_not_show() {
    let points = room(5000, 8);
    let [one, two] = one_and_two_threads().map(|cpu| surface(&cpu, &points, 0.1));
    assert_eq!((one.points, one.normals), (two.points, two.normals));
    assert_eq!((one.cell_start, one.place), (two.cell_start, two.place));
}

/// To the bit: the emulator has the arc cosines of the host. Those of a device move normals by their last bits.
fn agrees_with_the_cpu<B: BuildSurface>(backend: &B) {
    let [cpu, _] = one_and_two_threads();
    let far = room(3000, 2).iter().map(|p| p.map(|x| x - 1e4)).collect();
    let stray = [room(500, 3), vec![[900.0, -300.0, 20.0]]].concat();
    // More cells along one axis than f32 tells apart.
    let line = (0..500).map(|i| [i as f32 * 1e5, 0.0, 0.0]).collect();
    for (name, points, spacing) in [
        ("room", room(10_000, 1), 0.1),
        ("far", far, 0.1),
        ("stray", stray, 0.05),
        ("lattice", lattice(9), 0.7),
        ("line", line, 1.0),
        ("solid", cube(1000, 3.0, 4), 0.15),
        ("huge", cube(500, 3e38, 5), 1e37),
        ("denormal", cube(500, 1e-40, 6), 1e-41),
        ("beyond f32", beyond_f32(), 1e38),
        ("all equal", vec![[1.0; 3]; 300], 1.0),
        ("one", vec![[1.0; 3]], 1.0),
        ("no spacing", room(100, 7), 0.0),
        ("none", vec![], 1.0),
    ] {
        let (found, expected) = (surface(backend, &points, spacing), surface(&cpu, &points, spacing));
        assert_eq!((found.grid, found.points), (expected.grid, expected.points), "{name}");
        assert_eq!((found.cell_start, found.place), (expected.cell_start, expected.place), "{name}");
        assert_eq!(found.columns, expected.columns, "{name}");
        for (i, (found, expected)) in found.normals.iter().zip(&expected.normals).enumerate() {
            assert_eq!(found, expected, "{name} {i}");
        }
    }
}

#[test]
fn devices_agree_with_the_cpu() {
    on_every_device!(agrees_with_the_cpu);
}
