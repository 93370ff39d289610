//! Where a sensor stands and how it is turned.

use nalgebra::{Matrix3, Rotation3, Vector3};

use crate::transform::RigidTransform;

use super::cloud_tools::Points;

/// The pose of a sensor. Cameras look along their z, with x to the right and y down; LiDARs have z up.
#[derive(Debug, Clone, Copy)]
pub(super) struct View {
    pub world_from_sensor: RigidTransform,
    /// The same in f32, for the rays.
    pub eye: Vector3<f32>,
    pub axes: Matrix3<f32>,
}

impl View {
    pub fn new(eye: Vector3<f32>, axes: &Rotation3<f32>) -> Self {
        let pose = RigidTransform::new(axes.matrix().cast::<f64>(), eye.cast::<f64>()).orthonormalised();
        Self { world_from_sensor: pose, eye, axes: pose.rotation.cast::<f32>() }
    }

    /// A camera at `eye` that looks at `at`, turned about its axis by `roll` radians.
    pub fn looking(eye: Vector3<f32>, at: Vector3<f32>, roll: f32) -> Self {
        let forward = (at - eye).try_normalize(1e-9).unwrap_or_else(Vector3::x);
        let right = forward.cross(&Vector3::z()).try_normalize(1e-6).unwrap_or_else(Vector3::y);
        let down = forward.cross(&right);
        let axes = Rotation3::from_matrix_unchecked(Matrix3::from_columns(&[right, down, forward]));
        Self::new(eye, &(axes * Rotation3::from_axis_angle(&Vector3::z_axis(), roll)))
    }
}

/// Every point moved, computed in f64.
pub(super) fn transform(points: &Points, motion: &RigidTransform) -> Points {
    let moved = |p: &[f32; 3]| motion.apply(&Vector3::from(*p).cast::<f64>()).cast::<f32>().into();
    points.iter().map(moved).collect()
}
