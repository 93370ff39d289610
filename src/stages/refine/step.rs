//! One Gauss-Newton step. The kernels have the same, operation by operation, so that poses are equal to the bit:
//! `kernels/refine.cu`.

use multiversion::multiversion;

use crate::cloud::Point;
use crate::geometry::Pose;

/// Running sums over the pairs, each of which takes every eighth: so that a block of a device's threads can sum in the
/// same order.
const PARTS: usize = 8;
/// Fewer pairs do not determine a step.
const LEAST_PAIRS: usize = 6;

type Vector = [f64; 3];

/// One pair: moved source point, its offset from the target point, target normal, weight.
pub(super) struct Pair {
    pub moved: Point,
    pub offset: Point,
    pub normal: Point,
    pub weight: f32,
}

/// Applies to `pose` the step that the pairs ask for; how far it moved them at most, or `None` where they ask for none:
/// too few of them, or a step that is no small one. Point-to-point distances have the weight `point_share` beside those
/// along the normals. The blocks follow one another.
pub(super) fn step(blocks: &[Vec<Pair>], point_share: f64, pose: &mut Pose) -> Option<f64> {
    let count: usize = blocks.iter().map(Vec::len).sum();
    if count < LEAST_PAIRS {
        return None;
    }
    let centre = sum_of_moved(blocks).map(|x| x / count as f64);
    let (sums, radius) = accumulate(blocks, &centre);
    let step = solve(&sums, point_share)?;
    let (turn, shift) = ([step[0], step[1], step[2]], [step[3], step[4], step[5]]);
    let small = step.iter().all(|x| x.is_finite()) && norm(&turn) <= 1.0;
    small.then(|| {
        apply(&turn, &shift, &centre, pose);
        norm(&turn) * radius + norm(&shift)
    })
}

fn sum_of_moved(blocks: &[Vec<Pair>]) -> Vector {
    let mut parts = [[0.0; 3]; PARTS];
    for (i, pair) in blocks.iter().flatten().enumerate() {
        add(&mut parts[i % PARTS], &pair.moved.map(f64::from));
    }
    total(&parts)
}

/// The terms of all pairs, summed up, and the length of the longest arm.
#[multiversion(targets("x86_64+avx512f+avx512bw+avx512cd+avx512dq+avx512vl+fma", "x86_64+avx2+fma"))]
fn accumulate(blocks: &[Vec<Pair>], centre: &Vector) -> ([f64; TERMS], f64) {
    let mut parts = [[0.0; TERMS]; PARTS];
    let mut radius = 0.0f64;
    for (i, pair) in blocks.iter().flatten().enumerate() {
        let arm = subtract(&pair.moved.map(f64::from), centre);
        radius = radius.max(norm(&arm));
        add(&mut parts[i % PARTS], &terms(pair, &arm));
    }
    (total(&parts), radius)
}

/// The sum of the running sums, one after another.
fn total<const N: usize>(parts: &[[f64; N]; PARTS]) -> [f64; N] {
    let mut sum = [0.0; N];
    parts.iter().for_each(|part| add(&mut sum, part));
    sum
}

#[inline(always)]
fn add<const N: usize>(sum: &mut [f64; N], vector: &[f64; N]) {
    for (sum, x) in sum.iter_mut().zip(vector) {
        *sum += x;
    }
}

// What is summed up over the pairs; `w` is the weight, `a` the arm from the centre, `n` the normal, `o` the offset.
//
// Point-to-plane: the residual `n·(ω × a + v) + n·o` has the row `r = (a × n, n)`. The lower triangle of `Σ w r rᵀ`, row
// by row, and `Σ w (n·o) r`.
const MATRIX: usize = 0;
const VECTOR: usize = 21;
// Point-to-point: its three rows per pair have the axes as directions, so that these sums are all it takes. `Σ w`,
// `Σ w a`, the lower triangle of `Σ w a aᵀ`, `Σ w o`, `Σ w a × o`.
const WEIGHT: usize = 27;
const ARM: usize = 28;
const PRODUCTS: usize = 31;
const OFFSET: usize = 37;
const TURN: usize = 40;
const TERMS: usize = 43;

/// Place in a lower triangle.
const fn lower(row: usize, column: usize) -> usize {
    row * (row + 1) / 2 + column
}

#[inline(always)]
fn terms(pair: &Pair, arm: &Vector) -> [f64; TERMS] {
    let (offset, normal) = (pair.offset.map(f64::from), pair.normal.map(f64::from));
    let w = f64::from(pair.weight);
    let [turn, turned_offset] = [cross(arm, &normal), cross(arm, &offset)];
    let row = [turn[0], turn[1], turn[2], normal[0], normal[1], normal[2]];
    let along = w * dot(&normal, &offset);
    let mut terms = [0.0; TERMS];
    for i in 0..6 {
        for j in 0..=i {
            terms[MATRIX + lower(i, j)] = w * row[i] * row[j];
        }
        terms[VECTOR + i] = along * row[i];
    }
    terms[WEIGHT] = w;
    for i in 0..3 {
        terms[ARM + i] = w * arm[i];
        for j in 0..=i {
            terms[PRODUCTS + lower(i, j)] = w * arm[i] * arm[j];
        }
        terms[OFFSET + i] = w * offset[i];
        terms[TURN + i] = w * turned_offset[i];
    }
    terms
}

/// The entry of `Σ w [|a|² I − a aᵀ, ·; −[a]×, I]`, in its lower triangle.
fn point_entry(sums: &[f64; TERMS], row: usize, column: usize) -> f64 {
    let product = |i, j| sums[PRODUCTS + lower(i, j)];
    match (row, column) {
        (0..3, _) if row == column => product(0, 0) + product(1, 1) + product(2, 2) - product(row, row),
        (0..3, _) => -product(row, column),
        (_, 3..) => {
            if row == column {
                sums[WEIGHT]
            } else {
                0.0
            }
        }
        // The axis that is neither; the sign is that of the permutation.
        _ if row - 3 == column => 0.0,
        _ if (row - 3 + 1) % 3 == column => sums[ARM + (row - 3 + 2) % 3],
        _ => -sums[ARM + (row - 3 + 1) % 3],
    }
}

/// The step, a turn and a shift, that solves the normal equations, by Cholesky's method; `None` where they are singular.
fn solve(sums: &[f64; TERMS], point_share: f64) -> Option<[f64; 6]> {
    let mut factor = [[0.0; 6]; 6];
    for i in 0..6 {
        for j in 0..=i {
            let mut rest = sums[MATRIX + lower(i, j)] + point_share * point_entry(sums, i, j);
            for (a, b) in factor[i][..j].iter().zip(&factor[j]) {
                rest -= a * b;
            }
            if i > j {
                factor[i][j] = rest / factor[j][j];
            } else if rest > 0.0 {
                factor[i][i] = rest.sqrt();
            } else {
                return None;
            }
        }
    }
    let mut x = [0.0; 6];
    for i in 0..6 {
        let part = if i < 3 { sums[TURN + i] } else { sums[OFFSET + i - 3] };
        let mut rest = -(sums[VECTOR + i] + point_share * part);
        for (a, x) in factor[i][..i].iter().zip(&x) {
            rest -= a * x;
        }
        x[i] = rest / factor[i][i];
    }
    for i in (0..6).rev() {
        let mut rest = x[i];
        for k in i + 1..6 {
            rest -= factor[k][i] * x[k];
        }
        x[i] = rest / factor[i][i];
    }
    Some(x)
}

/// Turns about the centre, then shifts.
fn apply(turn: &Vector, shift: &Vector, centre: &Vector, pose: &mut Pose) {
    let rotation = rotation(turn);
    let old = pose.map(f64::from);
    let from_centre = subtract(&[old[9], old[10], old[11]], centre);
    for row in 0..3 {
        for column in 0..3 {
            pose[3 * row + column] =
                dot(&rotation[row], &[old[column], old[3 + column], old[6 + column]]) as f32;
        }
        pose[9 + row] = (dot(&rotation[row], &from_centre) + centre[row] + shift[row]) as f32;
    }
}

/// The rotation about the axis `turn` by its length, which is at most 1 (Rodrigues' formula).
fn rotation(turn: &Vector) -> [Vector; 3] {
    let [x, y, z] = *turn;
    let square = dot(turn, turn);
    // sin(θ) / θ and (1 − cos(θ)) / θ² as power series: exact to rounding for θ up to 1, and the same on all devices.
    let (mut sine, mut cosine) = (1.0, 1.0);
    for k in (1..=9).rev() {
        let n = f64::from(2 * k);
        sine = 1.0 - sine * square / (n * (n + 1.0));
        cosine = 1.0 - cosine * square / ((n + 1.0) * (n + 2.0));
    }
    cosine *= 0.5;
    let [xy, xz, yz] = [cosine * x * y, cosine * x * z, cosine * y * z];
    [
        [1.0 - cosine * (y * y + z * z), xy - sine * z, xz + sine * y],
        [xy + sine * z, 1.0 - cosine * (x * x + z * z), yz - sine * x],
        [xz - sine * y, yz + sine * x, 1.0 - cosine * (x * x + y * y)],
    ]
}

#[inline(always)]
fn subtract(a: &Vector, b: &Vector) -> Vector {
    [a[0] - b[0], a[1] - b[1], a[2] - b[2]]
}

#[inline(always)]
fn dot(a: &Vector, b: &Vector) -> f64 {
    a[0] * b[0] + a[1] * b[1] + a[2] * b[2]
}

#[inline(always)]
fn cross(a: &Vector, b: &Vector) -> Vector {
    [a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]]
}

#[inline(always)]
fn norm(a: &Vector) -> f64 {
    dot(a, a).sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;
    use nalgebra::{Matrix3x6, Matrix6, RowVector6, Vector3, Vector6};

    const POINT_SHARE: f64 = 0.02;

    #[test]
    fn the_series_is_the_rotation() {
        for turn in [[0.0; 3], [1e-9, 0.0, 0.0], [0.1, -0.2, 0.3], [0.6, 0.0, -0.8], [0.0, 1.0, 0.0]] {
            let expected = nalgebra::Rotation3::new(Vector3::from(turn));
            let found = rotation(&turn);
            for row in 0..3 {
                for column in 0..3 {
                    let error: f64 = found[row][column] - expected[(row, column)];
                    assert!(error.abs() < 1e-15, "{turn:?} {row} {column}: {error}");
                }
            }
        }
    }

    #[test]
    fn the_step_solves_the_least_squares_problem() {
        let number = |seed: usize| (seed as f32 * 12.9898).sin();
        let point = |seed: usize| [number(3 * seed), number(3 * seed + 1), number(3 * seed + 2)];
        let pair = |i: usize| {
            let normal = Vector3::from(point(3 * i)).normalize().into();
            let offset = point(3 * i + 1).map(|x| 0.01 * x);
            Pair { moved: point(3 * i + 2), offset, normal, weight: 0.5 + 0.4 * number(i) }
        };
        let pairs: Vec<Pair> = (0..50).map(pair).collect();
        let arm = |pair: &Pair| Vector3::from(pair.moved.map(f64::from));
        let (mut matrix, mut vector) = (Matrix6::zeros(), Vector6::zeros());
        for pair in &pairs {
            let (normal, offset) =
                (Vector3::from(pair.normal.map(f64::from)), Vector3::from(pair.offset.map(f64::from)));
            // Of the displacement `ω × a + v`.
            let mut jacobian = Matrix3x6::identity();
            jacobian.fixed_view_mut::<3, 3>(0, 0).copy_from(&-arm(pair).cross_matrix());
            jacobian.fixed_view_mut::<3, 3>(0, 3).fill_with_identity();
            let row: RowVector6<f64> = normal.transpose() * jacobian;
            let w = f64::from(pair.weight);
            matrix += w * (row.transpose() * row + POINT_SHARE * jacobian.transpose() * jacobian);
            vector -=
                w * (row.transpose() * normal.dot(&offset) + POINT_SHARE * jacobian.transpose() * offset);
        }
        let expected: Vector6<f64> = matrix.lu().solve(&vector).unwrap();
        let (sums, _) = accumulate(&[pairs], &[0.0; 3]);
        let found = Vector6::from(solve(&sums, POINT_SHARE).unwrap());
        assert!((found - expected).norm() < 1e-12 * expected.norm(), "{found} {expected}");
    }
}
