//! What the tests of several stages share: made-up clouds, reference data.

// Every test file compiles its own copy and uses a part of it.
#![allow(dead_code, unused_macros)]

pub mod emulated;
pub mod found;
pub mod patches;
pub mod rays;

use std::path::PathBuf;

use coregister::backend::{Cpu, Device};
use coregister::cloud::Point;
use coregister::geometry::{Pose, apply};
use coregister::stages::surface::{BuildSurface, Surface};
use nalgebra::{Rotation3, UnitQuaternion, Vector3};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use safetensors::{Dtype, SafeTensors};

/// CPU backends that must agree to the bit.
pub fn one_and_two_threads() -> [Cpu; 2] {
    [1, 2].map(|threads| Cpu::new(threads).expect("worker threads start"))
}

/// A generator of reproducible numbers.
pub fn random(seed: u64) -> ChaCha8Rng {
    ChaCha8Rng::seed_from_u64(seed)
}

/// `count` points on the walls and the furniture of a room of 6 × 4 × 2.5, with a little noise, in random order.
pub fn room(count: usize, seed: u64) -> Vec<Point> {
    let mut random = random(seed);
    (0..count).map(|_| on_a_surface(&mut random).map(|x| x + random.random_range(-0.005..0.005))).collect()
}

fn on_a_surface(random: &mut ChaCha8Rng) -> Point {
    const BOXES: [(Point, Point); 4] = [
        ([0.0, 0.0, 0.0], [6.0, 4.0, 2.5]),
        ([1.0, 1.0, 0.0], [2.2, 1.8, 0.75]),
        ([4.0, 0.2, 0.0], [5.5, 0.9, 1.9]),
        ([3.0, 2.5, 0.0], [3.6, 3.4, 0.5]),
    ];
    let (low, high) = BOXES[[0, 0, 0, 1, 2, 3][random.random_range(0..6)]];
    let mut point = [0, 1, 2].map(|k| random.random_range(low[k]..high[k]));
    let axis = random.random_range(0..3);
    point[axis] = if random.random() { low[axis] } else { high[axis] };
    point
}

/// `count` points, uniform in a cube of edge `edge` around the origin.
pub fn cube(count: usize, edge: f32, seed: u64) -> Vec<Point> {
    let mut random = random(seed);
    (0..count).map(|_| [0; 3].map(|_| random.random_range(-0.5..0.5) * edge)).collect()
}

/// A regular lattice of `n³` points with spacing one: full of ties.
pub fn lattice(n: usize) -> Vec<Point> {
    let coordinate = |i: usize| [i % n, i / n % n, i / (n * n)].map(|x| x as f32);
    (0..n * n * n).map(coordinate).collect()
}

/// `count` points with coordinates 0, 1, 2: full of ties and of duplicates.
pub fn dice(count: usize, seed: u64) -> Vec<Point> {
    let mut random = random(seed);
    (0..count).map(|_| [0; 3].map(|_| random.random_range(0..3) as f32)).collect()
}

/// Points whose differences are beyond f32.
pub fn beyond_f32() -> Vec<Point> {
    cube(300, 2.0, 1).into_iter().map(|p| p.map(|x| x * 3e38)).collect()
}

/// The surface of a cloud on a device, built on the CPU: the same on all devices, so that what is made of it can be
/// compared to the bit.
pub fn surface_on<D: Device>(device: &D, points: &[Point], spacing: f32) -> Surface<D> {
    let [cpu, _] = one_and_two_threads();
    let built = cpu.build_surface(&points.to_vec(), spacing).expect("a surface");
    Surface {
        points: device.upload(&built.points).unwrap(),
        columns: device.upload(&built.columns).unwrap(),
        normals: device.upload(&built.normals).unwrap(),
        cell_start: device.upload(&built.cell_start).unwrap(),
        place: device.upload(&built.place).unwrap(),
        grid: built.grid,
        spacing: built.spacing,
    }
}

/// A rotation, every one equally likely.
pub fn any_rotation(random: &mut ChaCha8Rng) -> Rotation3<f64> {
    // Shoemake, "Uniform Random Rotations", Graphics Gems III, 1992.
    let [radius, one, other]: [f64; 3] =
        [1.0, std::f64::consts::TAU, std::f64::consts::TAU].map(|highest| random.random_range(0.0..highest));
    let (low, high) = ((1.0 - radius).sqrt(), radius.sqrt());
    let quaternion =
        nalgebra::Quaternion::new(high * other.cos(), low * one.sin(), low * one.cos(), high * other.sin());
    UnitQuaternion::from_quaternion(quaternion).to_rotation_matrix()
}

/// A pose of these parts.
pub fn pose_of(rotation: &Rotation3<f64>, translation: [f64; 3]) -> Pose {
    std::array::from_fn(|i| match i {
        0..9 => rotation[(i / 3, i % 3)] as f32,
        _ => translation[i - 9] as f32,
    })
}

/// The rotation of a pose and its translation.
pub fn parts_of(pose: &Pose) -> (nalgebra::Matrix3<f64>, Vector3<f64>) {
    let number = |i: usize| f64::from(pose[i]);
    (nalgebra::Matrix3::from_fn(|r, c| number(3 * r + c)), Vector3::from_fn(|r, _| number(9 + r)))
}

/// How far apart two poses move any of the points at most.
pub fn largest_displacement(points: &[Point], a: &Pose, b: &Pose) -> f32 {
    let apart = |p| squared_distance(&apply(a, p), &apply(b, p)).sqrt();
    points.iter().map(apart).fold(0.0, f32::max)
}

/// The squared distance as the contracts fix it.
pub fn squared_distance(a: &Point, b: &Point) -> f32 {
    let [dx, dy, dz] = [0, 1, 2].map(|k| a[k] - b[k]);
    (dx * dx + dy * dy) + dz * dz
}

/// A file of reference tensors.
pub struct Golden(Vec<u8>);

impl Golden {
    /// `$COREGISTER_TESTDATA/golden/<name>.safetensors`.
    pub fn open(name: &str) -> Self {
        Self::open_file(&format!("golden/{name}.safetensors"))
    }

    /// `$COREGISTER_TESTDATA/<file>`.
    pub fn open_file(file: &str) -> Self {
        let folder =
            std::env::var_os("COREGISTER_TESTDATA").expect("COREGISTER_TESTDATA names the test data");
        let path = PathBuf::from(folder).join(file);
        Self(std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display())))
    }

    /// The tensor `name`, flat.
    pub fn floats(&self, name: &str) -> Vec<f32> {
        self.words(name, Dtype::F32).into_iter().map(f32::from_le_bytes).collect()
    }

    /// The tensor `name`, flat.
    pub fn integers(&self, name: &str) -> Vec<u32> {
        self.words(name, Dtype::I32).into_iter().map(u32::from_le_bytes).collect()
    }

    /// The tensor `name` as rows of three.
    pub fn points(&self, name: &str) -> Vec<Point> {
        self.floats(name).as_chunks().0.to_vec()
    }

    fn words(&self, name: &str, dtype: Dtype) -> Vec<[u8; 4]> {
        let file = SafeTensors::deserialize(&self.0).expect("a safetensors file");
        let tensor = file.tensor(name).expect("the tensor is in the file");
        assert_eq!(tensor.dtype(), dtype, "{name}");
        tensor.data().as_chunks().0.to_vec()
    }
}
