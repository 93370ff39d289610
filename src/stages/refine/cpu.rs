//! CPU side: candidates in parallel; a single candidate is split into fixed blocks of points.

use nalgebra::{Matrix3, Matrix6, Rotation3, Vector3, Vector6};
use rayon::prelude::*;

use super::{RefineOptions, RefinePoses};
use crate::backend::Cpu;
use crate::cloud::Point;
use crate::error::Result;
use crate::geometry::{Pose, apply, dot, rotate, subtract, to_vector};
use crate::stages::surface::Surface;

/// Weight of the point-to-point part beside the point-to-plane part.
const POINT_SHARE: f64 = 0.02;
/// Points per partial sum: fixed, so that sums do not depend on the number of threads.
const BLOCK: usize = 512;
/// Normals of a pair may differ by at most 60°: what is met from the side is another surface.
const LEAST_COSINE: f32 = 0.5;

impl RefinePoses for Cpu {
    fn refine_poses(
        &self,
        source: &Surface<Self>,
        target: &Surface<Self>,
        poses: &Vec<Pose>,
        options: RefineOptions,
    ) -> Result<Vec<Pose>> {
        let places = &source.place[..source.place.len().min(options.samples)];
        let samples: Vec<(Point, Point)> =
            places.iter().map(|&i| (source.points[i as usize], source.normals[i as usize])).collect();
        let refine = |pose: &Pose| refine(*pose, &samples, target, &options);
        Ok(self.run(|| poses.par_iter().map(refine).collect()))
    }
}

fn refine(
    mut pose: Pose,
    samples: &[(Point, Point)],
    target: &Surface<Cpu>,
    options: &RefineOptions,
) -> Pose {
    let negligible = 1e-3 * f64::from(target.spacing);
    for round in 0..options.rounds {
        // The second half of the rounds keeps the last reach, until nothing moves any more.
        let late = (2.0 * round as f32 / options.rounds as f32).min(1.0);
        let reach = options.first_reach * (options.last_reach / options.first_reach).powf(late);
        let system = accumulate(&pose, samples, target, reach * target.spacing);
        let Some(moved) = system.step(&mut pose) else { break };
        if moved < negligible && late >= 1.0 {
            break;
        }
    }
    pose
}

/// Normal equations of one Gauss-Newton step, about the centre of the paired points.
struct System {
    pairs: usize,
    centre: Vector3<f64>,
    radius: f64,
    /// Of the point-to-plane part; the lower triangle.
    matrix: Matrix6<f64>,
    vector: Vector6<f64>,
    points: PointPart,
}

/// The point-to-point part of the normal equations: its three rows per pair have the axes as directions, so that sums
/// over the pairs are all it takes. `w` is the weight, `a` the arm from the centre, `o` the offset.
#[derive(Default)]
struct PointPart {
    weight: f64,
    arm: Vector3<f64>,
    products: Matrix3<f64>,
    offset: Vector3<f64>,
    turn: Vector3<f64>,
}

impl PointPart {
    fn add(&mut self, arm: &Vector3<f64>, offset: &Vector3<f64>, weight: f64) {
        self.weight += weight;
        self.arm += weight * arm;
        self.products.syger(weight, arm, arm, 1.0);
        self.offset += weight * offset;
        self.turn += weight * arm.cross(offset);
    }

    /// `Σ w [|a|² I − a aᵀ, ·; −[a]×, I]`, lower triangle, and `−Σ w (a × o, o)`.
    fn normal_equations(&self) -> (Matrix6<f64>, Vector6<f64>) {
        let mut matrix = Matrix6::zeros();
        let square = Matrix3::from_diagonal_element(self.products.trace());
        matrix.fixed_view_mut::<3, 3>(0, 0).copy_from(&(square - self.products));
        matrix.fixed_view_mut::<3, 3>(3, 0).copy_from(&-self.arm.cross_matrix());
        matrix.fixed_view_mut::<3, 3>(3, 3).fill_diagonal(self.weight);
        let vector = -Vector6::from_fn(|i, _| if i < 3 { self.turn[i] } else { self.offset[i - 3] });
        (matrix, vector)
    }
}

/// One pair: moved source point, target point, target normal, weight.
struct Pair {
    moved: Point,
    offset: Point,
    normal: Point,
    weight: f32,
}

fn pair(pose: &Pose, sample: &(Point, Point), target: &Surface<Cpu>, reach: f32) -> Option<Pair> {
    let moved = apply(pose, &sample.0);
    let (i, d2) = target.nearest(&moved, reach)?;
    let normal = target.normals[i];
    let facing = dot(&rotate(pose, &sample.1), &normal).abs();
    let usable = facing > LEAST_COSINE;
    // Geman-McClure, width a third of the reach.
    let weight = (1.0 + 9.0 * d2 / (reach * reach)).powi(-2);
    usable.then(|| Pair { moved, offset: subtract(&moved, &target.points[i]), normal, weight })
}

fn accumulate(pose: &Pose, samples: &[(Point, Point)], target: &Surface<Cpu>, reach: f32) -> System {
    let pairs_of = |block: &[(Point, Point)]| {
        let mut pairs = Vec::with_capacity(block.len());
        pairs.extend(block.iter().filter_map(|sample| pair(pose, sample, target, reach)));
        pairs
    };
    let blocks: Vec<Vec<Pair>> = samples.par_chunks(BLOCK).map(pairs_of).collect();
    let pairs: usize = blocks.iter().map(Vec::len).sum();
    let sum = blocks.iter().flatten().fold(Vector3::zeros(), |sum, p| sum + to_vector(&p.moved));
    let mut system = System::about(sum / (pairs.max(1) as f64));
    for pair in blocks.iter().flatten() {
        system.add(pair);
    }
    system
}

impl System {
    fn about(centre: Vector3<f64>) -> Self {
        let (matrix, vector) = (Matrix6::zeros(), Vector6::zeros());
        Self { pairs: 0, centre, radius: 0.0, matrix, vector, points: PointPart::default() }
    }

    /// Residual `n·(ω × a + v) + n·o` along the normal `n`: Jacobian (a × n, n).
    fn add(&mut self, pair: &Pair) {
        let arm = to_vector(&pair.moved) - self.centre;
        let (normal, offset) = (to_vector(&pair.normal), to_vector(&pair.offset));
        let weight = f64::from(pair.weight);
        let turn = arm.cross(&normal);
        let row = Vector6::new(turn.x, turn.y, turn.z, normal.x, normal.y, normal.z);
        self.pairs += 1;
        self.radius = self.radius.max(arm.norm());
        self.matrix.syger(weight, &row, &row, 1.0);
        self.vector -= weight * normal.dot(&offset) * row;
        self.points.add(&arm, &offset, weight);
    }

    /// Applies the step to `pose`; how far it moved the paired points at most, or `None` without enough pairs.
    fn step(&self, pose: &mut Pose) -> Option<f64> {
        if self.pairs < 6 {
            return None;
        }
        let (matrix, vector) = self.points.normal_equations();
        let matrix = self.matrix + POINT_SHARE * matrix;
        let step = matrix.cholesky()?.solve(&(self.vector + POINT_SHARE * vector));
        let turn = Vector3::new(step[0], step[1], step[2]);
        let shift = Vector3::new(step[3], step[4], step[5]);
        if !step.iter().all(|x| x.is_finite()) || turn.norm() > 1.0 {
            return None;
        }
        let rotation = Rotation3::new(turn);
        let old = Matrix3::from_fn(|r, c| f64::from(pose[3 * r + c]));
        let translation = Vector3::new(f64::from(pose[9]), f64::from(pose[10]), f64::from(pose[11]));
        let new = rotation * old;
        let moved = rotation * (translation - self.centre) + self.centre + shift;
        for row in 0..3 {
            for column in 0..3 {
                pose[3 * row + column] = new[(row, column)] as f32;
            }
            pose[9 + row] = moved[row] as f32;
        }
        Some(turn.norm() * self.radius + shift.norm())
    }
}
