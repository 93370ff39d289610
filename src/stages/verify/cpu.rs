//! CPU side: poses in parallel.

use nalgebra::{Matrix6, Vector3, Vector6};
use rayon::prelude::*;

use super::{Agreement, AgreementOptions, GROUPS, MeasureAgreement, Observation, Scene};
use crate::backend::Cpu;
use crate::cloud::Point;
use crate::error::Result;
use crate::geometry::{Pose, Symmetric, apply, dot, inverse, least_eigenvalue, rotate, subtract, to_vector};
use crate::stages::surface::Surface;
use crate::stages::viewpoint::RangeImage;

/// Normals agree when they differ by at most 45°.
const LEAST_COSINE: f32 = 0.7;

/// Relative range error that an uncertain viewpoint may cause.
const RANGE_SLACK: f32 = 0.03;

impl MeasureAgreement for Cpu {
    fn measure_agreement(
        &self,
        source: Scene<'_, Self>,
        target: Scene<'_, Self>,
        poses: &Vec<Pose>,
        options: AgreementOptions,
    ) -> Result<Vec<Agreement>> {
        let measure = |pose: &Pose| {
            let back = inverse(pose);
            let of_source = overlap(source.surface, target.surface, pose, options);
            let of_target = overlap(target.surface, source.surface, &back, options);
            let (source_in_front, source_in_view) = in_front(source.surface, target.view, pose, options);
            let (target_in_front, target_in_view) = in_front(target.surface, source.view, &back, options);
            Agreement {
                source_overlap: of_source.share,
                target_overlap: of_target.share,
                source_hold: of_source.hold,
                target_hold: of_target.hold,
                rmse: of_source.rmse,
                source_in_front,
                target_in_front,
                source_in_view,
                target_in_view,
            }
        };
        Ok(self.run(|| poses.par_iter().map(measure).collect()))
    }

    fn observe(
        &self,
        source: &Surface<Self>,
        target: &Surface<Self>,
        pose: &Vec<Pose>,
        options: AgreementOptions,
    ) -> Result<Observation> {
        let [pose] = pose[..] else { panic!("{} poses in place of one", pose.len()) };
        let pairs: Vec<Contact> = contacts(source, target, &pose, options).collect();
        let count = pairs.len() as f64;
        let sum = pairs.iter().fold(Vector3::zeros(), |sum, c| sum + to_vector(&c.point));
        let centre = sum / count.max(1.0);
        let (mut matrix, mut differences) = (Matrix6::zeros(), Matrix6::zeros());
        let (mut squares, mut arms) = (0.0, 0.0);
        for contact in &pairs {
            let (row, difference) = (contact.jacobian(&centre), contact.jacobian_difference(&centre));
            matrix += row * row.transpose();
            differences += difference * difference.transpose();
            squares += f64::from(contact.distance).powi(2);
            arms += (to_vector(&contact.point) - centre).norm_squared();
        }
        let radius = (arms / count.max(1.0)).sqrt();
        let groups = group(&pairs, &centre, radius);
        Ok(Observation {
            normal_matrix: row_major(&matrix),
            difference_matrix: row_major(&differences),
            common_matrix: row_major(&groups.iter().map(|g| g.jacobian * g.jacobian.transpose()).sum()),
            centre: centre.into(),
            radius,
            squares,
            common_variance: common_variance(&groups, squares),
            count,
            pose,
        })
    }
}

/// Sums over a group of contacts, whose normals are turned alike; see [`GROUPS`].
#[derive(Clone, Copy, Default)]
struct Group {
    jacobian: Vector6<f64>,
    distance: f64,
    count: f64,
}

/// The groups of contacts about this centre.
fn group(pairs: &[Contact], centre: &Vector3<f64>, radius: f64) -> [Group; GROUPS] {
    let edge = block_edge(radius);
    let mut groups = [Group::default(); GROUPS];
    for contact in pairs {
        let (axis, sign) = facing(&contact.normal);
        let group = &mut groups[3 * block(&contact.point, edge) + axis];
        group.jacobian += contact.jacobian(centre) * sign;
        group.distance += f64::from(contact.distance) * sign;
        group.count += 1.0;
    }
    groups
}

/// The axis along which a normal points most, the first of several, and its sign there.
fn facing(normal: &Point) -> (usize, f64) {
    let normal = to_vector(normal);
    let axis = normal.iamax();
    (axis, normal[axis].signum())
}

/// See [`Observation::common_variance`]; `squares` is the sum of squared distances.
fn common_variance(groups: &[Group], squares: f64) -> f64 {
    let products = groups.iter().map(|group| group.distance.powi(2)).sum::<f64>() - squares;
    let pairs: f64 = groups.iter().map(|group| group.count * (group.count - 1.0)).sum();
    (products / pairs.max(1.0)).max(0.0)
}

/// The edge of the cubes that blocks are made of. A power of two, so that a device that rounds the radius differently
/// still puts every point into the same block.
fn block_edge(radius: f64) -> f64 {
    // The sign and the exponent alone.
    f64::from_bits((radius / 2.0).to_bits() & 0xFFF0_0000_0000_0000)
}

/// The block of a point; see [`GROUPS`].
fn block(point: &Point, edge: f64) -> usize {
    let along = |x: f32| if edge > 0.0 { (f64::from(x) / edge).floor() as i64 & 3 } else { 0 };
    let [x, y, z] = point.map(along);
    (x + 4 * y + 16 * z) as usize
}

fn row_major(matrix: &Matrix6<f64>) -> [f64; 36] {
    std::array::from_fn(|i| matrix[(i / 6, i % 6)])
}

/// A point of one cloud that lies on the other's surface.
struct Contact {
    point: Point,
    normal: Point,
    /// The normal less the point's own, which is turned over where the two point apart.
    difference: Point,
    /// Along the normal, signed.
    distance: f32,
}

impl Contact {
    /// `(arm × n, n)`: how the distance changes with rotation about the centre and with translation.
    fn jacobian(&self, centre: &Vector3<f64>) -> Vector6<f64> {
        self.row(centre, &self.normal)
    }

    /// By how much it differs from that of the point's own normal.
    fn jacobian_difference(&self, centre: &Vector3<f64>) -> Vector6<f64> {
        self.row(centre, &self.difference)
    }

    fn row(&self, centre: &Vector3<f64>, along: &Point) -> Vector6<f64> {
        let (arm, along) = (to_vector(&self.point) - centre, to_vector(along));
        let turn = arm.cross(&along);
        Vector6::new(turn.x, turn.y, turn.z, along.x, along.y, along.z)
    }
}

/// The samples of `moving` that lie on `fixed`: within `reach` of a point whose normal agrees.
fn contacts<'a>(
    moving: &'a Surface<Cpu>,
    fixed: &'a Surface<Cpu>,
    pose: &'a Pose,
    options: AgreementOptions,
) -> impl Iterator<Item = Contact> + 'a {
    let places = &moving.place[..moving.place.len().min(options.samples)];
    places.iter().filter_map(move |&place| {
        let point = apply(pose, &moving.points[place as usize]);
        let (i, _) = fixed.nearest(&point, options.reach)?;
        let normal = fixed.normals[i];
        let turned = rotate(pose, &moving.normals[place as usize]);
        let distance = dot(&subtract(&point, &fixed.points[i]), &normal);
        let cosine = dot(&turned, &normal);
        let own = if cosine < 0.0 { turned.map(|x| -x) } else { turned };
        let difference = subtract(&normal, &own);
        (cosine.abs() >= LEAST_COSINE).then_some(Contact { point, normal, difference, distance })
    })
}

/// How one cloud's samples lie on the other; see [`Agreement`].
struct Overlap {
    share: f32,
    hold: f32,
    rmse: f32,
}

/// The overlap of `moving`'s samples with `fixed`. `tally_agreement` in `kernels/verify.cu` has the same sums.
fn overlap(moving: &Surface<Cpu>, fixed: &Surface<Cpu>, pose: &Pose, options: AgreementOptions) -> Overlap {
    let (mut count, mut squares, mut normals) = (0u32, 0.0, Symmetric::default());
    for contact in contacts(moving, fixed, pose, options) {
        count += 1;
        squares += f64::from(contact.distance).powi(2);
        let [x, y, z] = contact.normal.map(f64::from);
        let products = [x * x, x * y, x * z, y * y, y * z, z * z];
        normals.iter_mut().zip(products).for_each(|(sum, product)| *sum += product);
    }
    let total = moving.place.len().min(options.samples).max(1);
    let hold = least_eigenvalue(&normals.map(|sum| sum / total as f64)).max(0.0);
    Overlap {
        share: count as f32 / total as f32,
        hold: hold as f32,
        rmse: (squares / f64::from(count.max(1))).sqrt() as f32,
    }
}

/// Share of `moving`'s samples that stand in front of what `view` saw by more than `margin`, and share of those in
/// directions in which it saw anything.
fn in_front(
    moving: &Surface<Cpu>,
    view: &RangeImage<Cpu>,
    pose: &Pose,
    options: AgreementOptions,
) -> (f32, f32) {
    let places = &moving.place[..moving.place.len().min(options.samples)];
    let (mut front, mut viewed) = (0u32, 0u32);
    for &place in places {
        let (seen, range) = view.seen(&apply(pose, &moving.points[place as usize]));
        if seen.is_finite() {
            viewed += 1;
            front += u32::from(range + options.margin + RANGE_SLACK * seen < seen);
        }
    }
    let total = places.len().max(1) as f32;
    (front as f32 / total, viewed as f32 / total)
}
