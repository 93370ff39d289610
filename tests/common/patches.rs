//! What the tests of both descriptors share: patches, frames, and the grid by its formulas.

use coregister::backend::Device;
use coregister::cloud::Point;
use coregister::stages::describe::Features;
use coregister::stages::frame::Frame;
use coregister::stages::patch::{PATCH_CAPACITY, Patches};
use nalgebra::{Matrix3, Vector3};

use super::{any_rotation, random, room};

/// The patch's frame is the cloud's.
pub const UPRIGHT: Frame = [1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0];

/// Invariant and equivariant part of one patch.
pub type Description = (Vec<f32>, Vec<f32>);

/// `R` as a matrix.
pub fn matrix(frame: &Frame) -> Matrix3<f64> {
    Matrix3::from_fn(|r, c| f64::from(frame[3 * r + c]))
}

/// Share of a point at `position` (in cells, from the centre of cell 0) that belongs to cell `i` of `count`; what lies
/// beyond the centres of the first and the last cell belongs to them.
pub fn share(position: f64, i: usize, count: usize) -> f64 {
    (1.0 - (position.clamp(0.0, (count - 1) as f64) - i as f64).abs()).max(0.0)
}

/// The same where the last cell is followed by the first.
pub fn circular_share(position: f64, i: usize, count: usize) -> f64 {
    let apart = (position - i as f64).rem_euclid(count as f64);
    (1.0 - apart.min(count as f64 - apart)).max(0.0)
}

/// To unit length; zero stays zero.
pub fn normalised(values: Vec<f64>) -> Vec<f64> {
    let norm = values.iter().map(|x| x * x).sum::<f64>().sqrt();
    if norm > 0.0 { values.iter().map(|x| x / norm).collect() } else { values }
}

/// Euclidean distance.
pub fn distance(a: &[f32], b: impl IntoIterator<Item = f64>) -> f64 {
    a.iter().zip(b).map(|(a, b)| (f64::from(*a) - b).powi(2)).sum::<f64>().sqrt()
}

/// The values in f64.
pub fn widened(values: &[f32]) -> impl Iterator<Item = f64> {
    values.iter().map(|x| f64::from(*x))
}

/// Patches of a room: its points within 1 of some of its points.
pub fn patches(count: usize, seed: u64) -> Vec<Vec<Point>> {
    let points = room(4000, seed);
    let patch = |centre: &Point| -> Vec<Point> {
        let offsets = points.iter().map(|p| [0, 1, 2].map(|k| p[k] - centre[k]));
        let near = offsets.filter(|d| d.iter().map(|x| x * x).sum::<f32>() < 1.0);
        near.take(PATCH_CAPACITY).collect()
    };
    points[..count].iter().map(patch).collect()
}

/// `count` frames, turned at random.
pub fn any_frames(count: usize, seed: u64) -> Vec<Frame> {
    let mut random = random(seed);
    let mut frame = || any_rotation(&mut random);
    (0..count).map(|_| frame()).map(|r| std::array::from_fn(|i| r[(i / 3, i % 3)] as f32)).collect()
}

/// The points after a rotation.
pub fn turned(points: &[Point], rotation: &Matrix3<f64>) -> Vec<Point> {
    let turn = |p: &Point| (rotation * Vector3::from(p.map(f64::from))).cast::<f32>().into();
    points.iter().map(turn).collect()
}

/// Points where the coordinates of a cell come to an end.
pub fn corners() -> Vec<Vec<Point>> {
    let axes = vec![
        [1.0, 0.0, 0.0],
        [-1.0, 0.0, 0.0],
        [-0.9, -0.0, 0.0],
        [0.0, 0.7, 0.0],
        [0.0, -0.7, 0.0],
        [0.0, 0.0, 0.5],
        [0.0, 0.0, -0.999],
        [0.5, -1e-9, 0.1],
        [0.5, -1e-30, 0.1],
    ];
    let middle = vec![[0.0; 3], [5e-5, 0.0, 5e-5], [2e-4, 0.0, 0.0], [0.1, 0.1, 0.0]];
    vec![axes, middle, vec![[0.3, -0.4, 0.2]]]
}

/// These rows as patches on a device; unused entries hold no numbers.
pub fn upload_patches<D: Device>(device: &D, rows: &[Vec<Point>]) -> Patches<D> {
    let mut offsets = vec![[f32::NAN; 3]; rows.len() * PATCH_CAPACITY];
    for (slots, row) in offsets.chunks_mut(PATCH_CAPACITY).zip(rows) {
        slots[..row.len()].copy_from_slice(row);
    }
    let count: Vec<u32> = rows.iter().map(|row| row.len() as u32).collect();
    let (offsets, count) = (device.upload(&offsets).unwrap(), device.upload(&count).unwrap());
    Patches { offsets, count, radius: 1.0 }
}

/// Patch by patch, what `count` patches look like; `map` values of an equivariant map.
pub fn download_features<D: Device>(
    device: &D,
    features: &Features<D>,
    count: usize,
    map: usize,
) -> Vec<Description> {
    let invariant = device.download(&features.invariant).unwrap();
    let equivariant = device.download(&features.equivariant).unwrap();
    assert_eq!((invariant.len(), equivariant.len()), (count * features.width, count * map));
    let rows = invariant.chunks(features.width).zip(equivariant.chunks(map));
    rows.map(|(invariant, equivariant)| (invariant.to_vec(), equivariant.to_vec())).collect()
}
