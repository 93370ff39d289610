//! Small arithmetic on points and poses, shared by the stages.

use nalgebra::Vector3;

use crate::cloud::Point;

/// A rigid transform in f32, `p_target = R · p_source + t`: the rows of `R`, then `t`.
pub type Pose = [f32; 12];

/// The pose that moves nothing.
pub const IDENTITY: Pose = [1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0];

/// `R · p + t`.
#[inline(always)]
pub fn apply(pose: &Pose, p: &Point) -> Point {
    [0, 1, 2].map(|k| pose[3 * k] * p[0] + pose[3 * k + 1] * p[1] + pose[3 * k + 2] * p[2] + pose[9 + k])
}

/// `R · d`, for directions.
#[inline(always)]
pub fn rotate(pose: &Pose, d: &Point) -> Point {
    [0, 1, 2].map(|k| pose[3 * k] * d[0] + pose[3 * k + 1] * d[1] + pose[3 * k + 2] * d[2])
}

/// The pose back: `Rᵀ`, `−Rᵀ t`.
pub fn inverse(pose: &Pose) -> Pose {
    let mut back = [0.0; 12];
    for row in 0..3 {
        for column in 0..3 {
            back[3 * row + column] = pose[3 * column + row];
        }
        back[9 + row] = -(0..3).map(|k| pose[3 * k + row] * pose[9 + k]).sum::<f32>();
    }
    back
}

/// `a − b`.
#[inline(always)]
pub fn subtract(a: &Point, b: &Point) -> Point {
    [a[0] - b[0], a[1] - b[1], a[2] - b[2]]
}

/// `a · b`.
#[inline(always)]
pub fn dot(a: &Point, b: &Point) -> f32 {
    a[0] * b[0] + a[1] * b[1] + a[2] * b[2]
}

/// `a × b`.
#[inline(always)]
pub fn cross(a: &Point, b: &Point) -> Point {
    [a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]]
}

/// To unit length; zero stays zero.
#[inline(always)]
pub fn normalised(a: &Point) -> Point {
    let length = dot(a, a).sqrt();
    if length > 0.0 { a.map(|x| x / length) } else { *a }
}

/// `|a − b|²`.
#[inline(always)]
pub fn squared_distance(a: &Point, b: &Point) -> f32 {
    let d = subtract(a, b);
    dot(&d, &d)
}

/// `|a − b|`.
#[inline(always)]
pub fn distance(a: &Point, b: &Point) -> f32 {
    squared_distance(a, b).sqrt()
}

/// To f64, as a nalgebra vector.
#[inline(always)]
pub fn to_vector(p: &Point) -> Vector3<f64> {
    Vector3::new(f64::from(p[0]), f64::from(p[1]), f64::from(p[2]))
}

/// A symmetric 3×3 matrix: xx, xy, xz, yy, yz, zz.
pub type Symmetric = [f64; 6];

/// Eigenvalues in ascending order and a unit eigenvector of the least one; `None` where no direction differs from the
/// others to rounding.
///
/// In closed form (Smith 1961), made robust as in Eberly, A Robust Eigensolver for 3×3 Symmetric Matrices: only the
/// eigenvalue that lies apart from the other two is taken from the angle, which is all too coarse for close pairs.
#[inline]
pub fn least_eigenvector(m: &Symmetric) -> Option<([f64; 3], Vector3<f64>)> {
    let mean = (m[0] + m[3] + m[5]) / 3.0;
    let [a, b, c] = [m[0] - mean, m[3] - mean, m[5] - mean];
    let off = m[1] * m[1] + m[2] * m[2] + m[4] * m[4];
    let spread = ((a * a + b * b + c * c + 2.0 * off) / 6.0).sqrt();
    if spread <= f64::EPSILON * mean.abs() || !spread.is_finite() {
        return None;
    }
    // (M − mean) / spread, whose eigenvalues are 2 cos of an angle and of that angle plus thirds of a turn.
    let n = [a, m[1], m[2], b, m[4], c].map(|x| x / spread);
    let half = (determinant(&n) / 2.0).clamp(-1.0, 1.0);
    let angle = half.acos() / 3.0;
    let largest = 2.0 * angle.cos();
    let (values, vector) = if half < 0.0 {
        let least = 2.0 * (angle + std::f64::consts::TAU / 3.0).cos();
        ([least, -least - largest, largest], eigenvector(&n, least))
    } else {
        let ([least, middle], vector) = least_across(&n, &eigenvector(&n, largest));
        ([least, middle, largest], vector)
    };
    Some((values.map(|value| mean + spread * value), vector))
}

/// The least eigenvalue; see [`least_eigenvector`].
pub fn least_eigenvalue(m: &Symmetric) -> f64 {
    match least_eigenvector(m) {
        Some(([least, ..], _)) => least,
        None => (m[0] + m[3] + m[5]) / 3.0,
    }
}

fn determinant([xx, xy, xz, yy, yz, zz]: &Symmetric) -> f64 {
    xx * (yy * zz - yz * yz) - xy * (xy * zz - yz * xz) + xz * (xy * yz - yy * xz)
}

/// The unit vector to an eigenvalue that lies apart: the longest cross product of two rows of `M − λ`.
fn eigenvector([xx, xy, xz, yy, yz, zz]: &Symmetric, value: f64) -> Vector3<f64> {
    let x = Vector3::new(xx - value, *xy, *xz);
    let y = Vector3::new(*xy, yy - value, *yz);
    let z = Vector3::new(*xz, *yz, zz - value);
    let longer = |a: Vector3<f64>, b: Vector3<f64>| if b.norm_squared() > a.norm_squared() { b } else { a };
    longer(longer(x.cross(&y), x.cross(&z)), y.cross(&z)).normalize()
}

/// The two eigenvalues, ascending, in the plane across the eigenvector `normal`, and the vector of the lower one.
fn least_across([xx, xy, xz, yy, yz, zz]: &Symmetric, normal: &Vector3<f64>) -> ([f64; 2], Vector3<f64>) {
    let across = if normal.x.abs() > normal.y.abs() {
        Vector3::new(-normal.z, 0.0, normal.x)
    } else {
        Vector3::new(0.0, normal.z, -normal.y)
    };
    let u = across.normalize();
    let v = normal.cross(&u);
    let image = |d: &Vector3<f64>| {
        Vector3::new(
            xx * d.x + xy * d.y + xz * d.z,
            xy * d.x + yy * d.y + yz * d.z,
            xz * d.x + yz * d.y + zz * d.z,
        )
    };
    let (of_u, of_v) = (image(&u), image(&v));
    let (uu, uv, vv) = (u.dot(&of_u), u.dot(&of_v), v.dot(&of_v));
    let (mean, half) = ((uu + vv) / 2.0, (uu - vv) / 2.0);
    let apart = half.hypot(uv);
    // Of the two ways to write the vector, the one without cancellation.
    let vector = if half < 0.0 { u * (apart - half) - v * uv } else { v * (apart + half) - u * uv };
    let vector = if apart > 0.0 { vector.normalize() } else { u };
    ([mean - apart, mean + apart], vector)
}

/// The sum of many values in an order that devices can follow, too: 256 running sums, of which each takes every 256th
/// value, added in halves.
fn sum<const N: usize>(values: impl Iterator<Item = [f32; N]>) -> [f32; N] {
    const SUMS: usize = 256;
    let add = |a: [f32; N], b: [f32; N]| std::array::from_fn(|k| a[k] + b[k]);
    let mut sums = [[0.0; N]; SUMS];
    for (i, value) in values.enumerate() {
        sums[i % SUMS] = add(sums[i % SUMS], value);
    }
    let mut half = SUMS / 2;
    while half > 0 {
        for i in 0..half {
            sums[i] = add(sums[i], sums[i + half]);
        }
        half /= 2;
    }
    sums[0]
}

/// Where a cloud's points are, roughly: enough to say how far apart two poses move them.
pub struct Extent {
    /// Mean of the points.
    pub centre: Point,
    /// Mean distance from it.
    pub radius: f32,
}

impl Extent {
    /// Of these points; at the origin, of radius zero, without any.
    pub fn of(points: &[Point]) -> Self {
        let scale = 1.0 / points.len().max(1) as f32;
        let centre = sum(points.iter().copied()).map(|x| x * scale);
        let [radius] = sum(points.iter().map(|p| [distance(p, &centre)]));
        Self { centre, radius: radius * scale }
    }

    /// Upper bound (within √2) on how far apart two poses move a point at the mean radius.
    pub fn apart(&self, a: &Pose, b: &Pose) -> f32 {
        let shift = distance(&apply(a, &self.centre), &apply(b, &self.centre));
        let turn: f32 = a[..9].iter().zip(&b[..9]).map(|(a, b)| (a - b).powi(2)).sum();
        // |A − B|_F = 2√2 sin(angle / 2).
        shift + self.radius * (0.5 * turn).sqrt()
    }

    /// The first `most` entries of which no two are closer than `limit`.
    pub fn distinct<T>(
        &self,
        ranked: impl Iterator<Item = (Pose, T)>,
        limit: f32,
        most: usize,
    ) -> Vec<(Pose, T)> {
        first_distinct(ranked, most, |(kept, _), (other, _)| self.apart(kept, other) >= limit)
    }
}

/// The first `most` items that are distinct from every earlier one that is kept.
pub(crate) fn first_distinct<T>(
    ranked: impl Iterator<Item = T>,
    most: usize,
    are_distinct: impl Fn(&T, &T) -> bool,
) -> Vec<T> {
    let mut kept: Vec<T> = Vec::new();
    for item in ranked {
        if kept.len() == most {
            break;
        }
        if kept.iter().all(|other| are_distinct(other, &item)) {
            kept.push(item);
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;
    use nalgebra::{Matrix3, Rotation3};

    #[test]
    fn eigenvalues_and_vectors_hold_however_close_they_lie() {
        let cases = [
            [1.0, 2.0, 6.0],
            [0.0, 1.0, 1.0],
            [0.0, 1e-9, 1.0],
            [0.0, 0.0, 1.0],
            [1.0, 1.0, 1.0 + 1e-9],
            [1.0 - 1e-9, 1.0, 1.0],
            [-3.0, -1e-6, 0.0],
            [1e-80, 2e-80, 4e-80],
            [1e60, 2e60, 2e60],
        ];
        for (i, expected) in cases.into_iter().enumerate() {
            let turn = Rotation3::from_euler_angles(0.3 * i as f64, 1.1, -0.4 * i as f64).into_inner();
            let matrix = turn * Matrix3::from_diagonal(&expected.into()) * turn.transpose();
            let symmetric = [(0, 0), (0, 1), (0, 2), (1, 1), (1, 2), (2, 2)].map(|at| matrix[at]);
            let (values, vector) = least_eigenvector(&symmetric).expect("directions differ");
            let size = expected[2].abs().max(expected[0].abs());
            for k in 0..3 {
                assert!((values[k] - expected[k]).abs() <= 2e-8 * (expected[2] - expected[0]) + 1e-14 * size);
            }
            assert!((vector.norm() - 1.0).abs() < 1e-14);
            assert!((matrix * vector - vector * expected[0]).norm() < 1e-14 * size, "{expected:?}");
        }
    }

    #[test]
    fn a_sphere_has_no_direction() {
        assert!(least_eigenvector(&[0.0; 6]).is_none());
        assert!(least_eigenvector(&[2.0, 0.0, 0.0, 2.0, 0.0, 2.0]).is_none());
        assert!(least_eigenvector(&[f64::NAN; 6]).is_none());
        assert!(least_eigenvector(&[f64::INFINITY, 0.0, 0.0, 1.0, 0.0, 1.0]).is_none());
    }
}
