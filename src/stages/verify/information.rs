//! How exactly the overlap holds the transform.

use nalgebra::{Matrix3, Matrix6};

use super::Observation;

/// Eigenvalues of the covariance of `Σ J d` below this share of its trace count as zero.
const NEGLIGIBLE: f64 = 1e-12;
/// The variance that errors of neighbours have in common is so many times what shows of it in distances. The pose has been
/// fitted to the same distances and takes up most of what is alike in them, and the wider it is alike the more. Chosen so that
/// errors of all kinds of scans, simulated and recorded, are about as large as promised (`docs/benchmarks.md`).
const TAKEN_UP: f64 = 20.0;

/// Fisher information of (rotation, translation) about the overlap's centre: `A (σ² A + c G)⁻¹ A`, with the normal matrix `A`,
/// the mean squared distance `σ²`, the common matrix `G` and the variance `c` that the errors of a group's samples have in
/// common, which is `TAKEN_UP` times what shows of it.
///
/// `A / σ²` alone, the information of independent errors, promises far too much, since neighbours err alike: both clouds are
/// smoothed, thinned and, above all where a depth camera's lens has done it, bent. `σ² A + c G` is the covariance of `Σ J d`
/// where every group has an error of its own besides (Moulton, "Random group effects and the precision of regression
/// estimates", Journal of Econometrics 32, 1986).
///
/// Zero where the overlap says nothing.
pub fn information(observation: &Observation) -> Matrix6<f64> {
    let matrix = |of: &[f64; 36]| Matrix6::from_row_slice(of);
    let (normal, common) = (matrix(&observation.normal_matrix), matrix(&observation.common_matrix));
    let variance = observation.squares / observation.count.max(1.0);
    let noise = normal * variance + common * (TAKEN_UP * observation.common_variance);
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

    /// 1 200 samples that hold motions as `hold` says, in groups of 40 that have a share `alike` of their variance of 0.01 in
    /// common.
    fn observation(hold: [f64; 6], alike: f64) -> Observation {
        let normal = Matrix6::from_diagonal(&Vector6::from(hold)) * 1200.0;
        let rows = |matrix: Matrix6<f64>| std::array::from_fn(|i| matrix[(i / 6, i % 6)]);
        Observation {
            normal_matrix: rows(normal),
            difference_matrix: [0.0; 36],
            common_matrix: rows(normal * 40.0),
            centre: [0.0; 3],
            radius: 1.0,
            squares: 12.0,
            common_variance: 0.01 * alike,
            count: 1200.0,
            pose: IDENTITY,
        }
    }

    #[test]
    fn the_deviation_is_that_of_the_axis_held_least() {
        let found = rotation_deviation(&observation([0.5, 0.1, 0.3, 0.01, 0.02, 0.03], 0.1)).unwrap();
        let expected = (0.01 * (1.0 + TAKEN_UP * 4.0) / (1200.0 * 0.1f64)).sqrt();
        assert!((found - expected).abs() < 1e-9 * expected, "{found}, not {expected}");
        assert_eq!(rotation_deviation(&observation([0.0; 6], 1.0)), None);
    }

    #[test]
    fn errors_that_are_alike_count_as_fewer() {
        for alike in [0.0, 0.01, 0.5] {
            let found = information(&observation([0.5; 6], alike));
            let expected = Matrix6::identity() * (1200.0 * 0.5 / 0.01 / (1.0 + TAKEN_UP * 40.0 * alike));
            assert!((found - expected).norm() < 1e-9 * expected.norm(), "{alike}: {found}");
        }
    }

    #[test]
    fn what_is_not_held_has_no_information() {
        let found = information(&observation([0.5, 0.5, 0.0, 0.5, 0.5, 0.5], 0.001));
        assert!(found[(2, 2)].abs() < 1e-9 && found[(0, 0)] > 1e4, "{found}");
        assert_eq!(information(&bytemuck::Zeroable::zeroed()), Matrix6::zeros());
        let exact = Observation { squares: 0.0, ..observation([0.5; 6], 0.0) };
        assert_eq!(information(&exact), Matrix6::zeros());
    }
}
