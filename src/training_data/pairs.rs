//! Pairs of patches of the same place, for training.

use std::collections::HashSet;
use std::ops::RangeInclusive;

use rand::RngExt;
use rand::seq::SliceRandom;

use super::file::{Content, Tensor};
use super::patches::FramedPatches;
use super::scene::Scene;
use crate::cloud::Point;
use crate::error::Result;
use crate::geometry::{Pose, apply, distance, inverse, squared_distance};
use crate::stages::frame::{Frame, Orientation};

/// Training sees finer and coarser clouds than the pipeline would make.
pub(super) const VOXEL_FACTORS: RangeInclusive<f32> = 0.85..=1.25;
/// Shares of the cloud in a patch, drawn evenly in their logarithm. The pipeline uses 0.05 and 0.02.
const SHARES: RangeInclusive<f32> = 0.0035..=0.07;
/// Smallest radius in voxels: where scan lines are far apart, small shares of a cloud are a point or two.
const SMALLEST_RADIUS: f32 = 4.0;
/// How often the vertical is the axis, where both clouds show one.
const VERTICAL_SHARE: f64 = 0.65;
/// How often the target's patch is that of the keypoint that the pipeline would pick there; else it is anywhere near.
const KEYPOINT_SHARE: f64 = 0.5;
/// How often the latter is further off than usual, and how many times.
const FAR_SHARE: f64 = 0.15;
const FAR: f32 = 2.0;
/// A radius with fewer pairs is not worth a group of negatives.
const FEWEST_PAIRS: usize = 16;
/// Fewest offsets of a patch.
const FEWEST_OFFSETS: usize = 12;
/// Most radians between the axes of both patches.
const MOST_TILT: f32 = 0.6;
/// Least share of either patch that the other cloud has seen.
const LEAST_OVERLAP: f32 = 0.25;
/// Offsets that measure it: the first ones, which are a fair sample.
const PROBES: usize = 48;

/// What a file of pairs holds of one of them, beside the patches.
struct Relation {
    azimuth: f32,
    tilt: f32,
    overlap: f32,
}

/// The pairs of a scene at up to `radii` radii, at most `most` each; `None` where there are hardly any.
pub(super) fn tensors(scene: &mut Scene, radii: usize, most: usize) -> Result<Option<Content>> {
    let mut columns = Columns::default();
    let seen = [Seen::by(&scene.source.points, scene.spacing), Seen::by(&scene.target.points, scene.spacing)];
    let logarithms = SHARES.start().ln()..=SHARES.end().ln();
    let shares: Vec<f32> = (0..radii).map(|_| scene.random.random_range(logarithms.clone()).exp()).collect();
    for radius in scene.radii(&shares)? {
        let radius = radius.max(SMALLEST_RADIUS * scene.spacing);
        let centres = centres(scene, &seen[1], radius, most);
        for (source, target) in orientations(scene) {
            if add_group(&mut columns, scene, &seen, &centres, radius, [source, target])? {
                break;
            }
        }
    }
    Ok((!columns.radius.is_empty()).then(|| columns.content(scene.metadata())))
}

/// How the patches of a radius are oriented: by the vertical, or else by the viewpoints as the pipeline tries them.
fn orientations(scene: &mut Scene) -> Vec<(Orientation, Orientation)> {
    let upright = |source: Orientation| matches!(source, Orientation::Fixed(_));
    let wanted = scene.axes.iter().any(|axes| upright(axes.0)) && scene.random.random_bool(VERTICAL_SHARE);
    let of_choice = scene.axes.iter().filter(|axes| upright(axes.0) == wanted);
    of_choice.copied().collect()
}

/// Centres of patches in the source and, near their true places, in the target.
struct Centres {
    source: Vec<Point>,
    target: Vec<Point>,
    /// Distance between the true place and the target's centre.
    miss: Vec<f32>,
}

/// Up to `most` random keypoints of the source that the target has seen, and what stands for each in the target.
fn centres(scene: &mut Scene, seen_by_target: &Seen, radius: f32, most: usize) -> Centres {
    let mut found = Centres { source: Vec::new(), target: Vec::new(), miss: Vec::new() };
    let mut keypoints = scene.source.keypoints.clone();
    keypoints.shuffle(&mut scene.random);
    let furthest = (0.3 * radius).max(2.0 * scene.spacing);
    for keypoint in keypoints {
        let place = apply(&scene.target_from_source, &keypoint);
        if !seen_by_target.contains(&place) {
            continue;
        }
        let centre = centre_near(scene, &place, radius);
        let miss = distance(&centre, &place);
        if miss < furthest {
            found.source.push(keypoint);
            found.target.push(centre);
            found.miss.push(miss);
        }
        if found.source.len() == most {
            break;
        }
    }
    found
}

/// A point of the target for the centre of a patch: the keypoint nearest to `place`, or the point nearest to a
/// position some voxels off.
fn centre_near(scene: &mut Scene, place: &Point, radius: f32) -> Point {
    if scene.random.random_bool(KEYPOINT_SHARE) {
        return nearest(&scene.target.keypoints, place);
    }
    let reach = (1.2 * scene.spacing).max(0.06 * radius).min(0.15 * radius);
    let far = if scene.random.random_bool(FAR_SHARE) { FAR } else { 1.0 };
    let length = far * reach * scene.random.random_range(0.0..2.2);
    let direction = loop {
        let p = [0; 3].map(|_| scene.random.random_range(-1.0..1.0f32));
        let norm = distance(&p, &[0.0; 3]);
        if (0.1..=1.0).contains(&norm) {
            break p.map(|x| x / norm);
        }
    };
    let off: Point = [0, 1, 2].map(|k| place[k] + length * direction[k]);
    nearest(&scene.target.points, &off)
}

/// The point nearest to `place`; clouds and their keypoints are never empty.
fn nearest(points: &[Point], place: &Point) -> Point {
    // Distances and numbers stay in registers; comparing whole points would take several times as long.
    let mut best = (f32::INFINITY, 0);
    for (i, point) in points.iter().enumerate() {
        let distance = squared_distance(point, place);
        if distance < best.0 {
            best = (distance, i);
        }
    }
    points[best.1]
}

/// Adds the pairs at these centres if enough of them are good.
fn add_group(
    columns: &mut Columns,
    scene: &Scene,
    [seen_by_source, seen_by_target]: &[Seen; 2],
    centres: &Centres,
    radius: f32,
    [source_axis, target_axis]: [Orientation; 2],
) -> Result<bool> {
    let backend = &scene.pipeline.backend;
    let source = FramedPatches::new(backend, &scene.source, &centres.source, radius, source_axis)?;
    let target = FramedPatches::new(backend, &scene.target, &centres.target, radius, target_axis)?;
    let source_from_target = inverse(&scene.target_from_source);
    let relation = |i: usize| {
        let (azimuth, tilt) = turn(&source.frames[i], &target.frames[i], &scene.target_from_source);
        let there = seen_by_target.share(&source, i, &centres.source[i], &scene.target_from_source);
        let back = seen_by_source.share(&target, i, &centres.target[i], &source_from_target);
        Relation { azimuth, tilt, overlap: there.min(back) }
    };
    let is_good = |i: usize, relation: &Relation| {
        source.offsets(i).len().min(target.offsets(i).len()) >= FEWEST_OFFSETS
            && relation.tilt < MOST_TILT
            && relation.overlap >= LEAST_OVERLAP
    };
    let good: Vec<(usize, Relation)> =
        (0..centres.source.len()).map(|i| (i, relation(i))).filter(|(i, r)| is_good(*i, r)).collect();
    if good.len() < FEWEST_PAIRS {
        return Ok(false);
    }
    let group = columns.radius.len() as i32;
    columns.radius.push(radius);
    for (i, relation) in good {
        columns.add(i, &source, &target, &relation);
        columns.keypoint.push(centres.source[i]);
        columns.miss.push(centres.miss[i]);
        columns.group.push(group);
    }
    Ok(true)
}

/// Azimuth and tilt between two frames: `M = R_tᵀ R R_s` takes the source's patch to the target's, and is a turn about z
/// when both axes are those of the same direction.
fn turn(source: &Frame, target: &Frame, target_from_source: &Pose) -> (f32, f32) {
    let rotation = |r: &[f32]| nalgebra::Matrix3::from_row_slice(&r[..9]).cast::<f64>();
    let m = rotation(target).transpose() * rotation(target_from_source) * rotation(source);
    let azimuth = (m[(1, 0)] - m[(0, 1)]).atan2(m[(0, 0)] + m[(1, 1)]);
    (azimuth as f32, m[(2, 2)].clamp(-1.0, 1.0).acos() as f32)
}

/// Where a cloud has points: its occupied voxels.
struct Seen {
    cells: HashSet<[i32; 3]>,
    edge: f32,
}

impl Seen {
    fn by(points: &[Point], edge: f32) -> Self {
        Self { cells: points.iter().map(|p| cell(p, edge)).collect(), edge }
    }

    /// Whether the cloud has a point in the voxel of `p` or in one beside it: within one or two voxels.
    fn contains(&self, p: &Point) -> bool {
        let [x, y, z] = cell(p, self.edge);
        // The own voxel first: it mostly settles it.
        let around = [0, -1, 1];
        around.iter().any(|dx| {
            around.iter().any(|dy| around.iter().any(|dz| self.cells.contains(&[x + dx, y + dy, z + dz])))
        })
    }

    /// Share of patch `i` of the other cloud that lies in this one.
    fn share(&self, other: &FramedPatches, i: usize, centre: &Point, this_from_other: &Pose) -> f32 {
        let offsets = other.offsets(i);
        let probes = &offsets[..offsets.len().min(PROBES)];
        let radius = other.patches.radius;
        let inside = |d: &&Point| {
            self.contains(&apply(this_from_other, &[0, 1, 2].map(|k| centre[k] + radius * d[k])))
        };
        probes.iter().filter(inside).count() as f32 / probes.len().max(1) as f32
    }
}

fn cell(p: &Point, edge: f32) -> [i32; 3] {
    p.map(|x| (x / edge).floor() as i32)
}

/// The fields of a file of pairs.
#[derive(Default)]
struct Columns {
    source_offsets: Vec<[i16; 3]>,
    source_count: Vec<i32>,
    target_offsets: Vec<[i16; 3]>,
    target_count: Vec<i32>,
    azimuth: Vec<f32>,
    tilt: Vec<f32>,
    overlap: Vec<f32>,
    keypoint: Vec<Point>,
    miss: Vec<f32>,
    group: Vec<i32>,
    radius: Vec<f32>,
}

impl Columns {
    fn add(&mut self, i: usize, source: &FramedPatches, target: &FramedPatches, relation: &Relation) {
        self.source_offsets.extend(source.stored(i));
        self.source_count.push(source.offsets(i).len() as i32);
        self.target_offsets.extend(target.stored(i));
        self.target_count.push(target.offsets(i).len() as i32);
        self.azimuth.push(relation.azimuth);
        self.tilt.push(relation.tilt);
        self.overlap.push(relation.overlap);
    }

    fn content(self, metadata: String) -> Content {
        let rows = self.group.len() as u64;
        let tensors = vec![
            Tensor::of("source_offsets", &self.source_offsets),
            Tensor::of("source_count", &self.source_count),
            Tensor::of("target_offsets", &self.target_offsets),
            Tensor::of("target_count", &self.target_count),
            Tensor::of("azimuth", &self.azimuth),
            Tensor::of("tilt", &self.tilt),
            Tensor::of("overlap", &self.overlap),
            Tensor::of("keypoint", &self.keypoint),
            Tensor::of("miss", &self.miss),
            Tensor::of("group", &self.group),
            Tensor::of("radius", &self.radius),
        ];
        Content { metadata, tensors, rows }
    }
}
