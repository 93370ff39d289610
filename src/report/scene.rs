//! What a page and a still show: both clouds, thinned, in a frame that suits a screen.
//!
//! The shown frame has its origin in the middle of the target; z is the direction in which the target extends least,
//! turned up, x the one in which it extends most. The source has two places in it: before, and after.

use nalgebra::{Matrix3, SymmetricEigen, Vector3};

use super::Subject;
use super::residuals::Residuals;
use super::thin::{Usable, spread, thin};
use crate::cloud::Point;
use crate::config::Gravity;
use crate::geometry::to_vector;
use crate::registration::KeypointMatch;
use crate::transform::RigidTransform;

/// Points shown of each cloud.
pub const SHOWN_POINTS: usize = 40_000;
/// Points of the target that distances are measured to.
const COMPARED_POINTS: usize = 150_000;
/// Matches shown; inliers first.
const SHOWN_MATCHES: usize = 4_000;
/// Clouds that lie further apart than this many times their size are drawn closer together before registration.
const FURTHEST: f64 = 2.5;
const CLOSER: f64 = 1.3;
/// Points that axes and sizes are found from.
const SAMPLE: usize = 10_000;

/// See the module.
pub struct Scene {
    pub source: ShownCloud,
    pub target: ShownCloud,
    /// `shown_from_source` as the files have it, or drawn closer.
    pub before: RigidTransform,
    /// `shown_from_source` by the answer.
    pub after: RigidTransform,
    /// How far apart the clouds' centres are in the files, where they are drawn closer.
    pub gap: Option<f64>,
    /// What to look at before.
    pub before_ball: Ball,
    /// What to look at after.
    pub after_ball: Ball,
    /// Distances of the source's shown points from the target.
    pub residuals: Residuals,
    /// Inliers first.
    pub matches: Vec<ShownMatch>,
}

/// A thinned cloud.
pub struct ShownCloud {
    /// The target's in the shown frame; the source's relative to its own centre, along its file's axes.
    pub points: Vec<Point>,
    /// Points in the file.
    pub total: usize,
    /// Of these, points that are not finite or far from all others.
    pub left_out: usize,
}

/// One end relative to the source's centre, the other in the shown frame.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ShownMatch {
    pub source: Point,
    pub target: Point,
    pub inlier: bool,
}

/// A ball that holds nearly all points.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Ball {
    pub centre: Point,
    /// Positive.
    pub radius: f32,
}

impl Scene {
    /// Everything that is shown of `subject`.
    pub fn new(subject: &Subject) -> Self {
        let (source, target) = (Usable::of(subject.source), Usable::of(subject.target));
        let frame = Frame::new(subject, &source, &target);
        let (before, gap) = frame.before(&source, &target);
        let after = frame.after(&subject.registration.target_from_source);
        let target_points: Vec<Point> =
            target.points.iter().map(|p| to_point(&(frame.axes * to_vector(p)))).collect();
        let source_points = thin(&source.points, SHOWN_POINTS);
        let compared: Vec<Point> = spread(&target_points, COMPARED_POINTS).collect();
        let residuals =
            Residuals::new(&placed(&source_points, &after), &compared, subject.details.tolerance as f32);
        let shown = |points, usable: &Usable, total| ShownCloud {
            points,
            total,
            left_out: total - usable.points.len(),
        };
        let source = shown(source_points, &source, subject.source.len());
        let target = shown(thin(&target_points, SHOWN_POINTS), &target, subject.target.len());
        let ball = |place| Ball::around(&[&target.points, &placed(&source.points, place)]);
        Self {
            before_ball: ball(&before),
            after_ball: ball(&after),
            matches: frame.matches(&subject.details.matches),
            source,
            target,
            before,
            after,
            gap,
            residuals,
        }
    }
}

/// The shown frame.
struct Frame {
    /// Rows: the axes of the shown frame in the target's.
    axes: Matrix3<f64>,
    source_centre: Vector3<f64>,
    target_centre: Vector3<f64>,
}

impl Frame {
    fn new(subject: &Subject, source: &Usable, target: &Usable) -> Self {
        let sensor = -target.centre;
        let up = match subject.config.gravity {
            Gravity::Axis(axis) => Vector3::from(axis).try_normalize(0.0),
            Gravity::Auto | Gravity::None => None,
        };
        let axes = axes(&target.points, up, &sensor);
        Self { axes, source_centre: source.centre, target_centre: target.centre }
    }

    /// Of target coordinates.
    fn place(&self, p: &Vector3<f64>) -> Vector3<f64> {
        self.axes * (p - self.target_centre)
    }

    fn after(&self, target_from_source: &RigidTransform) -> RigidTransform {
        let centre = self.place(&target_from_source.apply(&self.source_centre));
        RigidTransform::new(self.axes * target_from_source.rotation, centre)
    }

    /// Where the source is before, and how far away it really is if that is too far to show.
    fn before(&self, source: &Usable, target: &Usable) -> (RigidTransform, Option<f64>) {
        let centre = self.place(&self.source_centre);
        let sizes = Ball::around(&[&source.points]).radius + Ball::around(&[&target.points]).radius;
        let (distance, sizes) = (centre.norm(), f64::from(sizes));
        if distance <= FURTHEST * sizes {
            return (RigidTransform::new(self.axes, centre), None);
        }
        (RigidTransform::new(self.axes, centre * (CLOSER * sizes / distance)), Some(distance))
    }

    fn matches(&self, matches: &[KeypointMatch]) -> Vec<ShownMatch> {
        let shown = |m: &KeypointMatch| ShownMatch {
            source: to_point(&(Vector3::from(m.source) - self.source_centre)),
            target: to_point(&self.place(&Vector3::from(m.target))),
            inlier: m.inlier,
        };
        let (inliers, outliers): (Vec<_>, Vec<_>) = matches.iter().map(shown).partition(|m| m.inlier);
        inliers.into_iter().chain(outliers).take(SHOWN_MATCHES).collect()
    }
}

/// Rows: the direction of the greatest extent across up, what completes it, and up. Without a known up that is the
/// direction of the least extent, seen from the sensor where that looks at the cloud from outside, else towards +z.
fn axes(points: &[Point], up: Option<Vector3<f64>>, sensor: &Vector3<f64>) -> Matrix3<f64> {
    let sample: Vec<Vector3<f64>> = spread(points, SAMPLE).map(|p| to_vector(&p)).collect();
    let count = sample.len().max(1) as f64;
    let mean = sample.iter().sum::<Vector3<f64>>() / count;
    let covariance = sample.iter().fold(Matrix3::zeros(), |sum, p| {
        let d = p - mean;
        sum + d * d.transpose() / count
    });
    let scale = covariance.trace();
    if !(scale.is_normal()) {
        return Matrix3::identity();
    }
    let eigen = SymmetricEigen::new(covariance / scale);
    let mut order = [0, 1, 2];
    order.sort_by(|&a, &b| eigen.eigenvalues[a].total_cmp(&eigen.eigenvalues[b]));
    let up = up.unwrap_or_else(|| {
        let axis = eigen.eigenvectors.column(order[0]).into_owned();
        let spread = (eigen.eigenvalues[order[0]].max(0.0) * scale).sqrt();
        let height = axis.dot(&(sensor - mean));
        let sign = if height.abs() > 2.0 * spread { height } else { axis.z };
        if sign < 0.0 { -axis } else { axis }
    });
    let longest = eigen.eigenvectors.column(order[2]).into_owned();
    let across = (longest - up * up.dot(&longest)).try_normalize(1e-6);
    // Up is the longest direction itself: any other does.
    let x = across.unwrap_or_else(|| up.cross(&eigen.eigenvectors.column(order[1])).normalize());
    Matrix3::from_rows(&[x.transpose(), up.cross(&x).transpose(), up.transpose()])
}

impl Ball {
    /// Around the middle 96 % of all points along each axis; 94 % of them are in it.
    fn around(clouds: &[&[Point]]) -> Self {
        let all: Vec<Point> = clouds.iter().flat_map(|points| spread(points, SAMPLE)).collect();
        let middle = [0, 1, 2].map(|axis| {
            let values: Vec<f32> = all.iter().map(|p| p[axis]).collect();
            0.5 * (quantile(values.clone(), 0.02) + quantile(values, 0.98))
        });
        let distances = all.iter().map(|p| crate::geometry::distance(p, &middle)).collect();
        let radius = quantile(distances, 0.94);
        Self { centre: middle, radius: if radius.is_normal() { radius } else { 1.0 } }
    }
}

fn quantile(mut values: Vec<f32>, share: f32) -> f32 {
    if values.is_empty() {
        return 0.0;
    }
    let place = (share * (values.len() - 1) as f32).round() as usize;
    *values.select_nth_unstable_by(place, f32::total_cmp).1
}

/// The points in the shown frame.
pub fn placed(points: &[Point], shown_from_points: &RigidTransform) -> Vec<Point> {
    points.iter().map(|p| to_point(&shown_from_points.apply(&to_vector(p)))).collect()
}

fn to_point(p: &Vector3<f64>) -> Point {
    [p.x as f32, p.y as f32, p.z as f32]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::example::Example;

    #[test]
    fn the_answer_lays_the_shown_source_on_the_shown_target() {
        let example = Example::new();
        let scene = Scene::new(&example.subject());
        let histogram = scene.residuals.distances.iter().flatten().count();
        assert!(histogram > scene.source.points.len() / 2, "{histogram} points have a counterpart");
        for shown in scene.matches.iter().filter(|m| m.inlier) {
            let source = placed(&[shown.source], &scene.after)[0];
            assert!(crate::geometry::distance(&source, &shown.target) < 1e-4);
        }
    }

    #[test]
    fn the_frame_is_right_handed_and_up_is_the_least_extent() {
        let slab: Vec<Point> =
            (0..1000).map(|i| [(i % 40) as f32, (i % 23) as f32, 0.01 * (i % 7) as f32]).collect();
        let axes = axes(&slab, None, &Vector3::zeros());
        assert!((axes.determinant() - 1.0).abs() < 1e-9);
        assert!(axes[(2, 2)] > 0.999 && axes[(0, 0)].abs() > 0.999, "{axes}");
        let from_below = super::axes(&slab, None, &Vector3::new(0.0, 0.0, -50.0));
        assert!(from_below[(2, 2)] < -0.999);
    }

    #[test]
    fn a_known_up_is_up_even_along_the_longest_side() {
        let pole: Vec<Point> = (0..100).map(|i| [0.01 * (i % 3) as f32, 0.0, i as f32]).collect();
        let axes = axes(&pole, Some(Vector3::z()), &Vector3::zeros());
        assert!((axes.determinant() - 1.0).abs() < 1e-9 && axes[(2, 2)] == 1.0, "{axes}");
    }

    #[test]
    fn clouds_far_apart_are_drawn_closer_together_and_that_is_said() {
        let mut example = Example::new();
        assert!(Scene::new(&example.subject()).gap.is_none());
        example.source.origin = [5e6, 0.0, 0.0];
        let scene = Scene::new(&example.subject());
        assert!((scene.gap.unwrap() - 5e6).abs() < 100.0);
        assert!(scene.before.translation.norm() < 100.0);
    }

    #[test]
    fn clouds_without_points_are_shown_as_nothing() {
        let mut example = Example::new();
        example.source.points = vec![[f32::NAN; 3]; 5];
        example.target.points.clear();
        let scene = Scene::new(&example.subject());
        assert_eq!((scene.source.left_out, scene.target.points.len()), (5, 0));
        assert!(scene.after_ball.radius > 0.0);
    }
}
