//! How exactly the overlap holds the transform.

use nalgebra::{Matrix3, Matrix6};

use super::Observation;

/// Eigenvalues of `B + σ² A` below this share of its trace count as zero.
const NEGLIGIBLE: f64 = 1e-12;

/// Fisher information of (rotation, translation) about the overlap's centre: `A (B + σ² A)⁻¹ A`, with the normal matrix `A`,
/// the score matrix `B` and the mean squared distance `σ²`.
///
/// `A / σ²` alone, the information of independent errors, promises far too much, since neighbours err alike: both clouds are
/// smoothed, thinned and bent. Sums over blocks find that out, because errors that are alike do not cancel there. `A⁻¹ B A⁻¹`
/// is the covariance that they have (Liang, Zeger, "Longitudinal data analysis using generalized linear models",
/// Biometrika 1986), and `σ² A⁻¹`, that of independent errors, is added because few blocks may by chance show less. An error
/// that bends all of the overlap, as that of a depth camera's lens does, passes for motion, and nothing here can tell.
///
/// Zero where the overlap says nothing.
pub fn information(observation: &Observation) -> Matrix6<f64> {
    let matrix = |of: &[f64; 36]| Matrix6::from_row_slice(of);
    let (normal, score) = (matrix(&observation.normal_matrix), matrix(&observation.score_matrix));
    let noise = score + normal * (observation.squares / observation.count.max(1.0));
    let least = NEGLIGIBLE * noise.trace();
    let inverse = match noise.pseudo_inverse(least) {
        Ok(inverse) if least > 0.0 && inverse.iter().all(|x| x.is_finite()) => inverse,
        _ => return Matrix6::zeros(),
    };
    let information = normal * inverse * normal;
    (information + information.transpose()) / 2.0
}

/// The largest standard deviation that the rotation has about any axis, in radians; none where the information says
/// nothing about some motion.
pub fn rotation_deviation(observation: &Observation) -> Option<f64> {
    let covariance = information(observation).cholesky()?.inverse();
    let of_rotation: Matrix3<f64> = covariance.fixed_view::<3, 3>(0, 0).into();
    let deviation = of_rotation.symmetric_eigenvalues().max().sqrt();
    deviation.is_finite().then_some(deviation)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::geometry::IDENTITY;
    use nalgebra::Vector6;

    /// 1 200 samples that hold motions as `hold` says, with distances of 0.1 that are alike in groups of `alike`.
    fn observation(hold: [f64; 6], alike: f64) -> Observation {
        let normal = Matrix6::from_diagonal(&Vector6::from(hold)) * 1200.0;
        let rows = |matrix: Matrix6<f64>| std::array::from_fn(|i| matrix[(i / 6, i % 6)]);
        Observation {
            normal_matrix: rows(normal),
            difference_matrix: [0.0; 36],
            score_matrix: rows(normal * (0.01 * alike)),
            centre: [0.0; 3],
            radius: 1.0,
            squares: 12.0,
            count: 1200.0,
            pose: IDENTITY,
        }
    }

    #[test]
    fn the_deviation_is_that_of_the_axis_held_least() {
        let found = rotation_deviation(&observation([0.5, 0.1, 0.3, 0.01, 0.02, 0.03], 3.0)).unwrap();
        let expected = (0.01 * (1.0 + 3.0) / (1200.0 * 0.1f64)).sqrt();
        assert!((found - expected).abs() < 1e-9 * expected, "{found}, not {expected}");
        assert_eq!(rotation_deviation(&observation([0.0; 6], 1.0)), None);
    }

    #[test]
    fn errors_that_are_alike_count_once() {
        for alike in [0.0, 1.0, 39.0] {
            let found = information(&observation([0.5; 6], alike));
            let expected = Matrix6::identity() * (1200.0 * 0.5 / 0.01 / (1.0 + alike));
            assert!((found - expected).norm() < 1e-9 * expected.norm(), "{alike}: {found}");
        }
    }

    #[test]
    fn what_is_not_held_has_no_information() {
        let found = information(&observation([0.5, 0.5, 0.0, 0.5, 0.5, 0.5], 3.0));
        assert!(found[(2, 2)].abs() < 1e-9 && found[(0, 0)] > 1e4, "{found}");
        assert_eq!(information(&bytemuck::Zeroable::zeroed()), Matrix6::zeros());
        let exact = Observation { squares: 0.0, ..observation([0.5; 6], 0.0) };
        assert_eq!(information(&exact), Matrix6::zeros());
    }
}
