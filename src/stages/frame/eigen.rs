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
    for k in 0..3 {
        let (vp, vq) = (vectors[p][k], vectors[q][k]);
        vectors[p][k] = cosine * vp - sine * vq;
        vectors[q][k] = sine * vp + cosine * vq;
    }
}
