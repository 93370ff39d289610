//! From the user's frames to canonical ones: finite points, centred, turned to the cloud's own axes, in f32.
//!
//! Every later stage works in these frames, so the answer does not depend on where the clouds lie, how they are
//! turned or in which unit they are given, except by rounding:
//! * points that are NaN, infinite or strays (more than [`STRAY`] times as far from the cloud's median as half of
//!   the points) are dropped: one wild return must not decide where the cloud's centre and axes lie;
//! * each cloud is centred on its mean in f64, so that UTM-sized coordinates keep their detail in f32;
//! * each cloud is turned to its principal axes, with signs fixed by its skewness along them;
//! * each cloud is divided by a power of two near its size, and a pair by that of the larger cloud, which is exact in
//!   floating point and keeps squares of very small or very large coordinates in range.
//!
//! This is host work in f64 before anything is uploaded, so it is a function and no backend's trait.

use std::borrow::Cow;

use nalgebra::{Matrix3, SymmetricEigen, Vector3};
use rayon::prelude::*;

use crate::cloud::{CloudView, Point, median};
use crate::error::{Error, Result};
use crate::geometry::to_vector;
use crate::transform::RigidTransform;

/// Fewest finite points of a cloud that can be registered.
pub const MINIMUM_POINTS: usize = 50;
/// A point this many times as far out as the median point belongs to no scene. (The furthest returns of a LiDAR are
/// some twenty times as far out.)
pub const STRAY: f64 = 300.0;
/// Points per task and per partial sum: fixed, so that sums do not depend on the number of threads.
const CHUNK: usize = 1 << 14;

/// A cloud in its canonical frame.
#[derive(Debug, Clone)]
pub struct CanonicalCloud {
    /// The usable points, in the canonical frame, divided by the unit.
    pub points: Vec<Point>,
    /// Length of the canonical unit in the cloud's own; a power of two near the cloud's size.
    pub unit: f64,
    /// `p_cloud = unit · rotation · p_canonical + translation`: where the frame lies in the file's frame.
    pub cloud_from_canonical: RigidTransform,
    /// Number of input points that were NaN, infinite or strays.
    pub dropped: usize,
}

impl CanonicalCloud {
    /// The points divided by another unit, a power of two: exact.
    pub fn points_in(&self, unit: f64) -> Cow<'_, [Point]> {
        if unit == self.unit {
            return Cow::Borrowed(&self.points);
        }
        let factor = (self.unit / unit) as f32;
        Cow::Owned(self.points.par_iter().map(|p| p.map(|x| x * factor)).collect())
    }
}

/// Two clouds, seen in one unit.
#[derive(Debug, Clone, Copy)]
pub struct CanonicalPair<'a> {
    /// The source.
    pub source: &'a CanonicalCloud,
    /// The target.
    pub target: &'a CanonicalCloud,
}

impl CanonicalPair<'_> {
    /// The unit of the pair: that of the larger cloud.
    pub fn unit(&self) -> f64 {
        self.source.unit.max(self.target.unit)
    }

    /// `T_target_source` in the files' frames, of the transform between the canonical frames in the pair's unit.
    pub fn to_file_frames(&self, canonical: &RigidTransform) -> RigidTransform {
        let scaled = RigidTransform::new(canonical.rotation, canonical.translation * self.unit());
        let back = self.source.cloud_from_canonical.inverse();
        self.target.cloud_from_canonical.compose(&scaled).compose(&back)
    }
}

/// Brings a cloud to its canonical frame. `role` is what errors call it.
///
/// # Errors
/// [`Error::Cloud`] when the cloud has fewer than [`MINIMUM_POINTS`] finite points or no extent.
pub fn canonical_cloud<'a>(cloud: impl Into<CloudView<'a>>, role: &'static str) -> Result<CanonicalCloud> {
    let cloud = cloud.into();
    let moments = Moments::of(cloud);
    moments.check(role, cloud.points.len())?;
    Ok(moments.canonical(cloud, 2f64.powi(moments.size().log2().round() as i32)))
}

/// Which points take part: finite ones, in a ball that holds all but strays.
#[derive(Clone, Copy)]
struct Usable {
    centre: Vector3<f64>,
    squared_radius: f64,
}

impl Usable {
    fn of(cloud: CloudView<'_>) -> Self {
        let points: Vec<[f64; 3]> = spread(cloud.points).map(|p| p.map(f64::from)).collect();
        let centre = Vector3::from(median(&points).unwrap_or_default());
        let mut distances: Vec<f64> =
            points.iter().map(|p| (Vector3::from(*p) - centre).norm()).filter(|d| d.is_finite()).collect();
        let middle = distances.len() / 2;
        let typical = match distances.is_empty() {
            true => 0.0,
            false => *distances.select_nth_unstable_by(middle, f64::total_cmp).1,
        };
        // Where most points coincide, nothing tells what is far.
        let radius = if typical > 0.0 { STRAY * typical } else { f64::INFINITY };
        Self { centre, squared_radius: radius * radius }
    }

    fn contains(&self, p: &Point) -> bool {
        p.iter().all(|x| x.is_finite()) && (to_vector(p) - self.centre).norm_squared() <= self.squared_radius
    }
}

/// At most some thousand points, evenly spread over the list.
fn spread(points: &[Point]) -> impl Iterator<Item = Point> + '_ {
    points.iter().step_by(points.len().div_ceil(4096).max(1)).copied()
}

/// Count, mean and covariance of the usable points, relative to the cloud's origin.
struct Moments {
    usable: Usable,
    count: usize,
    mean: Vector3<f64>,
    covariance: Matrix3<f64>,
}

impl Moments {
    fn of(cloud: CloudView<'_>) -> Self {
        let usable = Usable::of(cloud);
        let sums = |points: &[Point]| {
            points
                .iter()
                .filter(|p| usable.contains(p))
                .fold((0usize, Vector3::zeros()), |(n, sum), p| (n + 1, sum + to_vector(p)))
        };
        let (count, sum) = fold_chunks(cloud.points, sums, |a, b| (a.0 + b.0, a.1 + b.1));
        let mean = sum / count.max(1) as f64;
        let products = |points: &[Point]| {
            points.iter().filter(|p| usable.contains(p)).fold(Matrix3::zeros(), |sum, p| {
                let d = to_vector(p) - mean;
                sum + d * d.transpose()
            })
        };
        let covariance = fold_chunks(cloud.points, products, |a, b| a + b) / count.max(1) as f64;
        Self { usable, count, mean, covariance }
    }

    /// Root mean square distance from the mean.
    fn size(&self) -> f64 {
        self.covariance.trace().sqrt()
    }

    fn check(&self, role: &'static str, total: usize) -> Result<()> {
        if self.count < MINIMUM_POINTS {
            let dropped = total - self.count;
            let reason = format!(
                "has {} usable points ({dropped} of {total} are NaN, infinite or strays); registration needs at least \
                 {MINIMUM_POINTS}, give a denser scan",
                self.count
            );
            return Err(Error::Cloud { role, reason });
        }
        let size = self.size();
        if !size.is_finite() || size <= f64::from(f32::EPSILON) * self.mean.norm() || size < 1e-30 {
            let reason = format!(
                "has no extent: all {} points are equal or too close to tell apart in 32-bit coordinates",
                self.count
            );
            return Err(Error::Cloud { role, reason });
        }
        Ok(())
    }

    fn canonical(&self, cloud: CloudView<'_>, unit: f64) -> CanonicalCloud {
        let axes = self.principal_axes(cloud);
        let canonical_from_cloud = axes.transpose() / unit;
        let points: Vec<Point> = cloud
            .points
            .par_chunks(CHUNK)
            .flat_map_iter(|points| {
                points.iter().filter(|p| self.usable.contains(p)).map(|p| {
                    let q = canonical_from_cloud * (to_vector(p) - self.mean);
                    [q.x as f32, q.y as f32, q.z as f32]
                })
            })
            .collect();
        let centre = self.mean + Vector3::from(cloud.origin);
        let dropped = cloud.points.len() - points.len();
        CanonicalCloud { points, unit, cloud_from_canonical: RigidTransform::new(axes, centre), dropped }
    }

    /// Columns: the principal axes, largest spread first, right-handed; each of the first two points to
    /// where the cloud's tail is longer (positive third moment).
    fn principal_axes(&self, cloud: CloudView<'_>) -> Matrix3<f64> {
        let scale = self.covariance.trace();
        let eigen = SymmetricEigen::new(self.covariance / scale);
        let mut order = [0, 1, 2];
        order.sort_by(|&a, &b| eigen.eigenvalues[b].total_cmp(&eigen.eigenvalues[a]));
        let first = eigen.eigenvectors.column(order[0]).into_owned();
        let second = eigen.eigenvectors.column(order[1]).into_owned();
        let skewness = |points: &[Point]| {
            points.iter().filter(|p| self.usable.contains(p)).fold([0.0; 2], |sum, p| {
                let d = to_vector(p) - self.mean;
                [sum[0] + first.dot(&d).powi(3), sum[1] + second.dot(&d).powi(3)]
            })
        };
        let [a, b] = fold_chunks(cloud.points, skewness, |a, b| [a[0] + b[0], a[1] + b[1]]);
        let first = if a < 0.0 { -first } else { first };
        let second = if b < 0.0 { -second } else { second };
        Matrix3::from_columns(&[first, second, first.cross(&second)])
    }
}

/// Maps fixed chunks in parallel and joins the results in order, so that float sums are reproducible.
fn fold_chunks<R: Send>(points: &[Point], map: impl Fn(&[Point]) -> R + Sync, join: impl Fn(R, R) -> R) -> R {
    let parts: Vec<R> = points.par_chunks(CHUNK).map(&map).collect();
    parts.into_iter().reduce(join).unwrap_or_else(|| map(&[]))
}
