//! Rigid transforms, in f64. `T_target_source` maps source coordinates to target coordinates.

use nalgebra::{Isometry3, Matrix3, Matrix4, Rotation3, Translation3, UnitQuaternion, Vector3};

/// A rotation followed by a translation: `p_target = rotation · p_source + translation`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RigidTransform {
    /// Orthonormal, determinant +1.
    pub rotation: Matrix3<f64>,
    /// In the unit of the clouds.
    pub translation: Vector3<f64>,
}

impl Default for RigidTransform {
    fn default() -> Self {
        Self::identity()
    }
}

impl RigidTransform {
    /// The transform that moves nothing.
    pub fn identity() -> Self {
        Self { rotation: Matrix3::identity(), translation: Vector3::zeros() }
    }

    /// From its two parts; `rotation` must be a rotation.
    pub fn new(rotation: Matrix3<f64>, translation: Vector3<f64>) -> Self {
        Self { rotation, translation }
    }

    /// `self ∘ other`: first `other`, then `self`. `T_a_c = T_a_b.compose(&T_b_c)`.
    pub fn compose(&self, other: &Self) -> Self {
        Self::new(self.rotation * other.rotation, self.apply(&other.translation))
    }

    /// The transform back: `T_b_a` of `T_a_b`.
    pub fn inverse(&self) -> Self {
        let back = self.rotation.transpose();
        Self::new(back, -(back * self.translation))
    }

    /// Where `point` goes.
    pub fn apply(&self, point: &Vector3<f64>) -> Vector3<f64> {
        self.rotation * point + self.translation
    }

    /// The nearest proper rotation (in the Frobenius norm) takes the place of `rotation`.
    /// Removes the drift of many compositions and the rounding of transforms read from text.
    pub fn orthonormalised(&self) -> Self {
        let quaternion = UnitQuaternion::from_rotation_matrix(&Rotation3::from_matrix(&self.rotation));
        Self::new(*quaternion.to_rotation_matrix().matrix(), self.translation)
    }

    /// Rotation angle in radians between the two, in 0..π.
    pub fn angle_to(&self, other: &Self) -> f64 {
        rotation_angle(&(self.rotation.transpose() * other.rotation))
    }

    /// Distance between the two translations.
    pub fn distance_to(&self, other: &Self) -> f64 {
        (self.translation - other.translation).norm()
    }

    /// As a 4×4 matrix.
    pub fn to_matrix(&self) -> Matrix4<f64> {
        let mut matrix = self.rotation.to_homogeneous();
        matrix.fixed_view_mut::<3, 1>(0, 3).copy_from(&self.translation);
        matrix
    }

    /// As a nalgebra isometry.
    pub fn to_isometry(&self) -> Isometry3<f64> {
        let rotation = UnitQuaternion::from_rotation_matrix(&Rotation3::from_matrix_unchecked(self.rotation));
        Isometry3::from_parts(Translation3::from(self.translation), rotation)
    }

    /// Sixteen numbers, row-major, as every file of this project writes them.
    pub fn to_row_major(&self) -> [f64; 16] {
        let matrix = self.to_matrix();
        std::array::from_fn(|i| matrix[(i / 4, i % 4)])
    }

    /// From sixteen row-major numbers. `None` unless they are finite, the last row is `0 0 0 1` and the
    /// rotation part is orthonormal with determinant +1 within 10⁻³ (rounding of text files).
    pub fn from_row_major(numbers: &[f64; 16]) -> Option<Self> {
        let rotation = Matrix3::from_fn(|r, c| numbers[4 * r + c]);
        let translation = Vector3::new(numbers[3], numbers[7], numbers[11]);
        let orthonormal = (rotation * rotation.transpose() - Matrix3::identity()).norm() < 1e-3;
        let last_row = numbers[12..] == [0.0, 0.0, 0.0, 1.0];
        let finite = numbers.iter().all(|x| x.is_finite());
        (finite && last_row && orthonormal && rotation.determinant() > 0.0)
            .then(|| Self::new(rotation, translation).orthonormalised())
    }
}

/// Angle of a rotation matrix in radians, 0..π. Uses both the trace and the skew part, so that it is accurate
/// near 0 and near π.
pub fn rotation_angle(rotation: &Matrix3<f64>) -> f64 {
    let skew = Vector3::new(
        rotation[(2, 1)] - rotation[(1, 2)],
        rotation[(0, 2)] - rotation[(2, 0)],
        rotation[(1, 0)] - rotation[(0, 1)],
    );
    skew.norm().atan2(rotation.trace() - 1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn example() -> RigidTransform {
        let rotation = Rotation3::from_euler_angles(0.3, -1.1, 2.5);
        RigidTransform::new(*rotation.matrix(), Vector3::new(1.0, -2.0, 0.5))
    }

    #[test]
    fn inverse_undoes_the_transform() {
        let there_and_back = example().inverse().compose(&example());
        assert!(there_and_back.angle_to(&RigidTransform::identity()) < 1e-12);
        assert!(there_and_back.translation.norm() < 1e-12);
    }

    #[test]
    fn row_major_survives_a_round_trip_and_rejects_what_is_no_rotation() {
        let numbers = example().to_row_major();
        let back = RigidTransform::from_row_major(&numbers).unwrap();
        assert!(back.angle_to(&example()) < 1e-9 && back.distance_to(&example()) < 1e-12);
        let mut mirrored = numbers;
        for number in &mut mirrored[..3] {
            *number = -*number;
        }
        assert!(RigidTransform::from_row_major(&mirrored).is_none());
        assert!(RigidTransform::from_row_major(&[f64::NAN; 16]).is_none());
    }

    #[test]
    fn rotation_angle_is_accurate_at_both_ends() {
        for angle in [0.0, 1e-9, 0.5, 3.0, std::f64::consts::PI] {
            let rotation = Rotation3::from_axis_angle(&Vector3::z_axis(), angle);
            assert!((rotation_angle(rotation.matrix()) - angle).abs() < 1e-12, "{angle}");
        }
    }
}
