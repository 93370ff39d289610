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
