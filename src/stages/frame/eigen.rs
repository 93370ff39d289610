//! Eigenvectors of symmetric 3×3 matrices.

/// A symmetric 3×3 matrix by its upper triangle.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Symmetric {
    pub xx: f64,
    pub xy: f64,
    pub xz: f64,
    pub yy: f64,
    pub yz: f64,
    pub zz: f64,
}

/// Most sweeps of the Jacobi iteration; it converges quadratically, in four or five.
const MOST_SWEEPS: usize = 16;

impl Symmetric {
    /// Eigenvalues, ascending, and the unit eigenvectors that go with them, by Jacobi rotations.
    pub fn eigen(&self) -> [(f64, [f64; 3]); 3] {
        let mut a = [[self.xx, self.xy, self.xz], [self.xy, self.yy, self.yz], [self.xz, self.yz, self.zz]];
        let mut vectors = [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]];
        for _ in 0..MOST_SWEEPS {
            let off_diagonal = a[0][1].abs() + a[0][2].abs() + a[1][2].abs();
            let diagonal = a[0][0].abs() + a[1][1].abs() + a[2][2].abs();
            if off_diagonal <= 1e-17 * diagonal {
                break;
            }
            for (p, q) in [(0, 1), (0, 2), (1, 2)] {
                rotate(&mut a, &mut vectors, p, q);
            }
        }
        let mut pairs = [0, 1, 2].map(|i| (a[i][i], vectors[i]));
        pairs.sort_by(|one, other| one.0.total_cmp(&other.0));
        pairs
    }
}

/// One Jacobi rotation: makes `a[p][q]` zero. Golub and Van Loan, Matrix Computations, 8.5.
fn rotate(a: &mut [[f64; 3]; 3], vectors: &mut [[f64; 3]; 3], p: usize, q: usize) {
    if a[p][q] == 0.0 {
        return;
    }
    let tau = (a[q][q] - a[p][p]) / (2.0 * a[p][q]);
    let tangent = tau.signum() / (tau.abs() + (1.0 + tau * tau).sqrt());
    let cosine = 1.0 / (1.0 + tangent * tangent).sqrt();
    let sine = tangent * cosine;
    let other = 3 - p - q;
    a[p][p] -= tangent * a[p][q];
    a[q][q] += tangent * a[p][q];
    (a[p][q], a[q][p]) = (0.0, 0.0);
    let (to_p, to_q) = (a[other][p], a[other][q]);
    a[other][p] = cosine * to_p - sine * to_q;
    a[other][q] = sine * to_p + cosine * to_q;
    (a[p][other], a[q][other]) = (a[other][p], a[other][q]);
    let (to_p, to_q) = (vectors[p], vectors[q]);
    vectors[p] = [0, 1, 2].map(|k| cosine * to_p[k] - sine * to_q[k]);
    vectors[q] = [0, 1, 2].map(|k| sine * to_p[k] + cosine * to_q[k]);
}

#[cfg(test)]
mod tests {
    use super::Symmetric;

    #[test]
    fn known_eigenvectors_are_found() {
        // 1, 2 and 6 along (1, -1, 0), (0, 0, 1) and (1, 1, 0).
        let matrix = Symmetric { xx: 3.5, xy: 2.5, yy: 3.5, zz: 2.0, ..Symmetric::default() };
        let [(one, v), (two, w), (six, _)] = matrix.eigen();
        assert!((one - 1.0).abs() < 1e-15 && (two - 2.0).abs() < 1e-15 && (six - 6.0).abs() < 1e-14);
        assert!((v[0] + v[1]).abs() < 1e-15 && v[2].abs() < 1e-15 && w[2].abs() == 1.0);
    }

    #[test]
    fn nothing_is_an_eigenproblem_too() {
        assert_eq!(Symmetric::default().eigen().map(|(value, _)| value), [0.0; 3]);
    }
}
