//! Whether answers are as exact as their information matrices promise: the normalised estimation error squared (Bar-Shalom,
//! Li, Kirubarajan, "Estimation with Applications to Tracking and Navigation", 2001, section 5.4).

use nalgebra::{Matrix3, Matrix6, Rotation3, Vector3, Vector6};

use crate::registration::Registration;
use crate::transform::RigidTransform;

/// `ξᵀ Λ ξ`, where `ξ` is the small motion from the answer to the truth and `Λ` the information. For errors as large as
/// promised it is distributed as χ² of six degrees of freedom: 5.35 at the median.
pub fn nees(truth: &RigidTransform, answer: &Registration) -> f64 {
    let motion = truth.compose(&answer.target_from_source.inverse());
    let centre = Vector3::from(answer.information_centre);
    let shift = motion.apply(&centre) - centre;
    let turn = rotation_vector(motion.rotation);
    let error = Vector6::from_iterator(turn.iter().chain(shift.iter()).copied());
    let information = Matrix6::from_fn(|r, c| answer.information[r][c]);
    (error.transpose() * information * error)[0]
}

/// Axis times angle.
fn rotation_vector(rotation: Matrix3<f64>) -> Vector3<f64> {
    Rotation3::from_matrix_unchecked(rotation).scaled_axis()
}

#[cfg(test)]
mod tests {
    use super::super::row::tests::transform;
    use super::*;
    use crate::registration::{Status, Timings};

    #[test]
    fn errors_are_counted_in_standard_deviations_about_the_centre() {
        let mut answer = Registration {
            target_from_source: transform(2.0, 5.0),
            status: Status::Accepted,
            reason: String::new(),
            confidence: 1.0,
            overlap: 1.0,
            inliers: 100,
            inlier_rmse: 0.01,
            information: [[0.0; 6]; 6],
            information_centre: [5.0, 0.0, 0.0],
            unobserved: Vec::new(),
            timings: Timings::default(),
            device: "cpu".into(),
            warnings: Vec::new(),
            seed: 0,
        };
        // 2° about y, where the standard deviation is 0.5°; of the centre, 0.3 along x, where it is 0.1.
        answer.information[1][1] = 0.5f64.to_radians().powi(-2);
        answer.information[3][3] = 0.1f64.powi(-2);
        answer.information[0][0] = 1e9;
        let truth = transform(0.0, 4.7);
        // The answer turns the source's origin to the centre, so that the turn does not move it.
        assert!((nees(&truth, &answer) - 25.0).abs() < 1e-6, "{}", nees(&truth, &answer));
        answer.target_from_source = truth;
        assert!(nees(&truth, &answer).abs() < 1e-12);
    }
}
