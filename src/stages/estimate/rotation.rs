//! The rotation nearest to a 3×3 matrix. The kernels have the same, operation by operation, so that candidates are equal
//! to the bit: `kernels/rotation.cuh`.

/// Rows.
pub(super) type Matrix = [[f64; 3]; 3];
type Vector = [f64; 3];

/// Sweeps over the three pairs of columns; Jacobi's method squares the error in each of the last ones, and six suffice.
const SWEEPS: usize = 12;
/// Columns are at right angles when their cosine is at most this: rounding.
const RIGHT_ANGLE: f64 = 1e-15;
/// The second singular value counts as zero up to this share of the first.
const LINE: f64 = 1e-6;

/// The rotation `R` that maximises `trace(Rᵀ M)`, if there is only one; singular values up to `least` are zero.
///
/// `M = U S Vᵀ` by one-sided Jacobi rotations (Hestenes 1958): columns are turned against each other until they are
/// perpendicular. Two singular vectors of either side make the rotation, since the third is their cross product.
pub(super) fn nearest_rotation(matrix: &Matrix, least: f64) -> Option<Matrix> {
    // Columns of M V and of V.
    let mut image = transposed(matrix);
    let mut turned = [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]];
    for _ in 0..SWEEPS {
        let mut done = true;
        for (i, j) in [(0, 1), (0, 2), (1, 2)] {
            done &= !make_perpendicular(&mut image, &mut turned, i, j);
        }
        if done {
            break;
        }
    }
    let squares = image.map(|column| dot(&column, &column));
    let smallest = smallest_of(&squares);
    let (a, b) = ((smallest + 1) % 3, (smallest + 2) % 3);
    let (first, second) = if squares[b] > squares[a] { (b, a) } else { (a, b) };
    let (largest, middle) = (squares[first].sqrt(), squares[second].sqrt());
    // False for what is no number, too.
    let unique = middle > least && middle > LINE * largest && largest < f64::INFINITY;
    if !unique {
        return None;
    }
    let (u, v) = (scaled(&image[first], 1.0 / largest), scaled(&image[second], 1.0 / middle));
    let left = [u, v, cross(&u, &v)];
    let right = [turned[first], turned[second], cross(&turned[first], &turned[second])];
    let entry = |row: usize, column: usize| {
        left[0][row] * right[0][column] + left[1][row] * right[1][column] + left[2][row] * right[2][column]
    };
    Some([0, 1, 2].map(|row| [0, 1, 2].map(|column| entry(row, column))))
}

/// Turns columns `i` and `j` of both matrices about each other until those of `image` are perpendicular; whether that
/// took a turn.
fn make_perpendicular(image: &mut [Vector; 3], turned: &mut [Vector; 3], i: usize, j: usize) -> bool {
    let (a, b) = (dot(&image[i], &image[i]), dot(&image[j], &image[j]));
    let product = dot(&image[i], &image[j]);
    // False for what is no number, too.
    let aslant = product.abs() > RIGHT_ANGLE * (a * b).sqrt();
    if !aslant {
        return false;
    }
    let ratio = (b - a) / (2.0 * product);
    let root = ratio.abs() + (1.0 + ratio * ratio).sqrt();
    let tangent = if ratio < 0.0 { -1.0 / root } else { 1.0 / root };
    let cosine = 1.0 / (1.0 + tangent * tangent).sqrt();
    let sine = cosine * tangent;
    turn(image, i, j, cosine, sine);
    turn(turned, i, j, cosine, sine);
    true
}

fn turn(columns: &mut [Vector; 3], i: usize, j: usize, cosine: f64, sine: f64) {
    let (a, b) = (columns[i], columns[j]);
    columns[i] = [0, 1, 2].map(|k| cosine * a[k] - sine * b[k]);
    columns[j] = [0, 1, 2].map(|k| sine * a[k] + cosine * b[k]);
}

/// Index of the smallest entry.
fn smallest_of(values: &Vector) -> usize {
    let of_two = usize::from(values[1] < values[0]);
    if values[2] < values[of_two] { 2 } else { of_two }
}

fn transposed(m: &Matrix) -> Matrix {
    [0, 1, 2].map(|row| [0, 1, 2].map(|column| m[column][row]))
}

fn scaled(a: &Vector, factor: f64) -> Vector {
    a.map(|x| x * factor)
}

fn dot(a: &Vector, b: &Vector) -> f64 {
    a[0] * b[0] + a[1] * b[1] + a[2] * b[2]
}

fn cross(a: &Vector, b: &Vector) -> Vector {
    [a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]]
}

#[cfg(test)]
mod tests {
    use super::*;
    use nalgebra::{Matrix3, Rotation3};

    fn rows(m: &Matrix3<f64>) -> Matrix {
        [0, 1, 2].map(|row| [0, 1, 2].map(|column| m[(row, column)]))
    }

    fn matrix(rows: &Matrix) -> Matrix3<f64> {
        Matrix3::from_fn(|row, column| rows[row][column])
    }

    /// A matrix of these singular values, the last of which may be negative, and the rotation nearest to it.
    fn case(seed: usize, values: [f64; 3]) -> (Matrix3<f64>, Matrix3<f64>) {
        let angle = seed as f64;
        let u = Rotation3::from_euler_angles(0.3 * angle, 1.1, -0.4 * angle).into_inner();
        let v = Rotation3::from_euler_angles(2.0, 0.7 * angle, 0.1 * angle).into_inner();
        (u * Matrix3::from_diagonal(&values.into()) * v.transpose(), u * v.transpose())
    }

    #[test]
    fn the_nearest_rotation_is_that_of_the_singular_vectors() {
        let all_values = [
            [1.0, 1.0, 1.0],
            [3.0, 2.0, 1.0],
            [1.0, 2.0, 3.0],
            [3.0, 2.0, 0.0],
            [3.0, 2.0, -1.0],
            [2.0, 1.0, -0.5],
            [1e9, 1e4, 1.0],
            [1.0, 1e-5, 1e-9],
            [1e-40, 1e-41, 1e-42],
        ];
        for values in all_values {
            for seed in 0..20 {
                let (given, expected) = case(seed, values);
                let found = matrix(&nearest_rotation(&rows(&given), 0.0).expect("there is one"));
                // What rounding of the matrix does to its singular vectors.
                let largest = values.iter().fold(0.0, |most: f64, x| most.max(*x));
                let gap = values[0].min(values[1]) + values[2].min(values[1]);
                let allowed = 1e-14 * largest / gap.max(1e-300) + 1e-14;
                assert!(
                    (found - expected).amax() < allowed,
                    "{values:?} {seed}: {}",
                    (found - expected).amax()
                );
                assert!((found * found.transpose() - Matrix3::identity()).amax() < 1e-14);
                assert!((found.determinant() - 1.0).abs() < 1e-14);
            }
        }
    }

    #[test]
    fn what_a_line_leaves_open_has_no_answer() {
        for values in [[0.0; 3], [1.0, 0.0, 0.0], [1.0, 0.9e-6, 0.0]] {
            assert_eq!(nearest_rotation(&rows(&case(3, values).0), 0.0), None, "{values:?}");
        }
        assert_eq!(nearest_rotation(&rows(&case(3, [2.0, 1.0, 0.5]).0), 1.5), None);
        assert_eq!(nearest_rotation(&[[f64::NAN; 3]; 3], 0.0), None);
        assert_eq!(nearest_rotation(&[[f64::INFINITY; 3]; 3], 0.0), None);
        assert_eq!(nearest_rotation(&[[1e300; 3]; 3], 0.0), None);
    }
}
