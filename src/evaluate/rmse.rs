//! The error by which 3DMatch is judged officially: how far the points that correspond under the right transform lie
//! apart under the answer, as a root mean square (Choi, Zhou, Koltun, "Robust Reconstruction of Indoor Scenes", CVPR
//! 2015; Zeng et al., "3DMatch", CVPR 2017).

use nalgebra::{Matrix6, Rotation3, UnitQuaternion, Vector3, Vector6};

use crate::transform::RigidTransform;

/// An answer is right when the error is at most this, in metres.
pub const LIMIT: f64 = 0.2;

/// `√(eᵀ Λ e / Λ₀₀)`, where `e` is the translation of `T_gt⁻¹ T_est` and the imaginary part of its unit quaternion, and
/// `Λ` the information matrix.
///
/// With `q` for that imaginary part, a small motion moves the point `p` by `t + 2 q × p`. So if `Λ` is the sum of `GᵀG`
/// with `G = [I, −2 [p]×]` over the corresponding points, this is how far they lie apart, as a root mean square; `Λ₀₀` is
/// their number. The files of 3DMatch were made without the factor 2, and of points in the target's frame, so that
/// theirs is rather a number by agreement; it is the official one, and what is published is measured by it.
pub fn rmse(truth: &RigidTransform, answer: &RigidTransform, information: &Matrix6<f64>) -> f64 {
    let motion = truth.inverse().compose(answer);
    let turn = imaginary_part(&motion);
    let error = Vector6::from_iterator(motion.translation.iter().chain(turn.iter()).copied());
    let squares = (error.transpose() * information * error)[0] / information[(0, 0)];
    squares.max(0.0).sqrt()
}

/// Of the unit quaternion whose real part is not negative.
fn imaginary_part(motion: &RigidTransform) -> Vector3<f64> {
    let quaternion = UnitQuaternion::from_rotation_matrix(&Rotation3::from_matrix_unchecked(motion.rotation));
    quaternion.imag() * if quaternion.w < 0.0 { -1.0 } else { 1.0 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nalgebra::{Matrix3x6, Unit};

    fn transform(axis: Vector3<f64>, degrees: f64, translation: [f64; 3]) -> RigidTransform {
        let rotation = Rotation3::from_axis_angle(&Unit::new_normalize(axis), degrees.to_radians());
        RigidTransform::new(*rotation.matrix(), translation.into())
    }

    /// The definition: Σ GᵀG over points of the source.
    fn information(points: &[Vector3<f64>]) -> Matrix6<f64> {
        let of_point = |p: &Vector3<f64>| {
            let mut g = Matrix3x6::identity();
            g.fixed_view_mut::<3, 3>(0, 3).copy_from(&(p.cross_matrix() * -2.0));
            g.transpose() * g
        };
        points.iter().map(of_point).sum()
    }

    #[test]
    fn a_translation_counts_as_it_is() {
        let truth = transform(Vector3::z(), 90.0, [1.0, 2.0, 3.0]);
        // 0.3 = √(0.1² + 0.2² + 0.2²), whatever the frame.
        let answer = transform(Vector3::z(), 90.0, [1.1, 2.2, 2.8]);
        let thousand_points = Matrix6::identity() * 1000.0;
        assert!((rmse(&truth, &answer, &thousand_points) - 0.3).abs() < 1e-12);
        assert_eq!(rmse(&truth, &truth, &thousand_points), 0.0);
    }

    #[test]
    fn a_rotation_by_hand() {
        // Four points at distance 2 of the axis: Λ = diag(4, 4, 4, _, _, 4·(2·2)²) about z. A turn of 10° has the
        // imaginary part sin 5°, so that the error is √(4·16·sin²5° / 4) = 4 sin 5°.
        let information = Matrix6::from_diagonal(&Vector6::new(4.0, 4.0, 4.0, 7.0, 9.0, 64.0));
        let answer = transform(Vector3::z(), 10.0, [0.0; 3]);
        let expected = 4.0 * 5f64.to_radians().sin();
        assert!((rmse(&RigidTransform::identity(), &answer, &information) - expected).abs() < 1e-12);
        // The same turn the other way round, beyond half a circle.
        let back = transform(Vector3::z(), -350.0, [0.0; 3]);
        assert!((rmse(&RigidTransform::identity(), &back, &information) - expected).abs() < 1e-9);
    }

    #[test]
    fn for_small_errors_it_is_the_distance_of_the_points() {
        let points: Vec<Vector3<f64>> = (0..60)
            .map(|i| Vector3::new(f64::from(i % 7), f64::from(i % 5) - 1.0, f64::from(i % 3)))
            .collect();
        let truth = transform(Vector3::new(1.0, 2.0, -1.0), 130.0, [4.0, -1.0, 0.5]);
        let slip = transform(Vector3::new(0.3, -1.0, 0.4), 0.5, [0.02, -0.01, 0.03]);
        let answer = truth.compose(&slip);
        let squares: f64 = points.iter().map(|p| (answer.apply(p) - truth.apply(p)).norm_squared()).sum();
        let exact = (squares / points.len() as f64).sqrt();
        let error = rmse(&truth, &answer, &information(&points));
        assert!((error - exact).abs() < 0.01 * exact, "{error} for {exact}");
    }
}
