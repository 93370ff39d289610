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

/// Eigenvalues in ascending order and the unit eigenvector of the least one, in closed form (Smith 1961), with the
/// vector from the longest cross product of two rows of `A − λI`. `None` for the vector when the two smaller
/// eigenvalues coincide to rounding, so that no direction stands out.
pub fn least_eigenvector(m: &Symmetric) -> ([f64; 3], Option<Vector3<f64>>) {
    let mean = (m[0] + m[3] + m[5]) / 3.0;
    let (a, b, c) = (m[0] - mean, m[3] - mean, m[5] - mean);
    let off = m[1] * m[1] + m[2] * m[2] + m[4] * m[4];
    let spread = ((a * a + b * b + c * c + 2.0 * off) / 6.0).sqrt();
    if spread <= f64::EPSILON * mean.abs() || !spread.is_finite() {
        return ([mean; 3], None);
    }
    let determinant =
        a * (b * c - m[4] * m[4]) - m[1] * (m[1] * c - m[4] * m[2]) + m[2] * (m[1] * m[4] - b * m[2]);
    let half = (determinant / (2.0 * spread * spread * spread)).clamp(-1.0, 1.0);
    let angle = half.acos() / 3.0;
    let largest = mean + 2.0 * spread * angle.cos();
    let least = mean + 2.0 * spread * (angle + std::f64::consts::TAU / 3.0).cos();
    let values = [least, 3.0 * mean - largest - least, largest];
    let rows = [
        Vector3::new(m[0] - least, m[1], m[2]),
        Vector3::new(m[1], m[3] - least, m[4]),
        Vector3::new(m[2], m[4], m[5] - least),
    ];
    let crosses = [rows[0].cross(&rows[1]), rows[0].cross(&rows[2]), rows[1].cross(&rows[2])];
    let longest = crosses.iter().fold(Vector3::zeros(), |best: Vector3<f64>, cross| {
        if cross.norm_squared() > best.norm_squared() { *cross } else { best }
    });
    let length = longest.norm();
    let clear = length > 1e-12 * spread * spread;
    (values, clear.then(|| longest / length))
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
        let centre = [0, 1, 2].map(|k| points.iter().map(|p| p[k]).sum::<f32>() * scale);
        let radius = points.iter().map(|p| distance(p, &centre)).sum::<f32>() * scale;
        Self { centre, radius }
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
        let mut kept: Vec<(Pose, T)> = Vec::new();
        for (pose, label) in ranked {
            if kept.len() == most {
                break;
            }
            if kept.iter().all(|(other, _)| self.apart(other, &pose) >= limit) {
                kept.push((pose, label));
            }
        }
        kept
    }
}
