//! How exactly the overlap holds the transform.

use nalgebra::Matrix6;

use super::Observation;

/// Eigenvalues below this share of the largest count as zero.
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
