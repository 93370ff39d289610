//! From the user's frames to canonical ones: finite points, centred, turned to the cloud's own axes, in f32.
//!
//! Every later stage works in these frames, so the answer does not depend on where the clouds lie, how they are
//! turned or in which unit they are given, except by rounding:
//! * each cloud is centred on its mean in f64, so that UTM-sized coordinates keep their detail in f32;
//! * each cloud is turned to its principal axes, with signs fixed by its skewness along them;
//! * both clouds are divided by one power of two near their size, which is exact in floating point and keeps
//!   squares of very small or very large coordinates in range.
//!
//! This is host work in f64 before anything is uploaded, so it is a function and no backend's trait.

use nalgebra::{Matrix3, SymmetricEigen, Vector3};
use rayon::prelude::*;

use crate::cloud::{Cloud, Point};
use crate::error::{Error, Result};
use crate::transform::RigidTransform;

/// Fewest finite points of a cloud that can be registered.
pub const MINIMUM_POINTS: usize = 50;
/// Points per task and per partial sum: fixed, so that sums do not depend on the number of threads.
const CHUNK: usize = 1 << 14;

/// A cloud in its canonical frame.
#[derive(Debug, Clone)]
pub struct CanonicalCloud {
    /// Finite points, in the canonical frame, divided by the pair's unit.
    pub points: Vec<Point>,
    /// `p_cloud = unit · rotation · p_canonical + translation`: where the frame lies in the file's frame.
    pub cloud_from_canonical: RigidTransform,
    /// Number of input points that were NaN, infinite or strays far from all others.
    pub dropped: usize,
}

/// Two clouds ready for the stages.
#[derive(Debug, Clone)]
pub struct CanonicalPair {
    /// The source.
    pub source: CanonicalCloud,
    /// The target.
    pub target: CanonicalCloud,
    /// Length of the canonical unit in the clouds' unit; a power of two.
    pub unit: f64,
}

impl CanonicalPair {
    /// `T_target_source` in the files' frames, of the transform between the canonical frames.
    pub fn to_file_frames(&self, canonical: &RigidTransform) -> RigidTransform {
        let scaled = RigidTransform::new(canonical.rotation, canonical.translation * self.unit);
        let back = self.source.cloud_from_canonical.inverse();
        self.target.cloud_from_canonical.compose(&scaled).compose(&back)
    }
}

/// Brings both clouds to their canonical frames.
///
/// # Errors
/// [`Error::Cloud`] when a cloud has fewer than [`MINIMUM_POINTS`] finite points or no extent.
pub fn canonical_pair(source: &Cloud, target: &Cloud) -> Result<CanonicalPair> {
    let (source_moments, target_moments) = rayon::join(|| Moments::of(source), || Moments::of(target));
    source_moments.check("source", source.len())?;
    target_moments.check("target", target.len())?;
    let size = source_moments.size().max(target_moments.size());
    let unit = 2f64.powi(size.log2().round() as i32);
    let (source, target) =
        rayon::join(|| source_moments.canonical(source, unit), || target_moments.canonical(target, unit));
    Ok(CanonicalPair { source, target, unit })
}

/// Count, mean and covariance of the usable points, relative to the cloud's origin.
struct Moments {
    usable: Usable,
    count: usize,
    mean: Vector3<f64>,
    covariance: Matrix3<f64>,
}

impl Moments {
    fn of(cloud: &Cloud) -> Self {
        let usable = Usable::of(&cloud.points);
        let sums = |points: &[Point]| {
            points
                .iter()
                .filter(|p| usable.holds(p))
                .fold((0usize, Vector3::zeros()), |(n, sum), p| (n + 1, sum + vector(p)))
        };
        let (count, sum) = fold_chunks(&cloud.points, sums, |a, b| (a.0 + b.0, a.1 + b.1));
        let mean = sum / count.max(1) as f64;
        let products = |points: &[Point]| {
            points.iter().filter(|p| usable.holds(p)).fold(Matrix3::zeros(), |sum, p| {
                let d = vector(p) - mean;
                sum + d * d.transpose()
            })
        };
        let covariance = fold_chunks(&cloud.points, products, |a, b| a + b) / count.max(1) as f64;
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
                "has {} usable points ({dropped} of {total} are NaN, infinite or far from all others); registration needs at least \
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

    fn canonical(&self, cloud: &Cloud, unit: f64) -> CanonicalCloud {
        let (axes, usable) = (self.principal_axes(cloud), self.usable);
        let canonical_from_cloud = axes.transpose() / unit;
        let points: Vec<Point> = cloud
            .points
            .par_chunks(CHUNK)
            .flat_map_iter(|points| {
                points.iter().filter(|p| usable.holds(p)).map(|p| {
                    let q = canonical_from_cloud * (vector(p) - self.mean);
                    [q.x as f32, q.y as f32, q.z as f32]
                })
            })
            .collect();
        let centre = self.mean + Vector3::from(cloud.origin);
        let dropped = cloud.len() - points.len();
        CanonicalCloud { points, cloud_from_canonical: RigidTransform::new(axes, centre), dropped }
    }

    /// Columns: the principal axes, largest spread first, right-handed; each of the first two points to
    /// where the cloud's tail is longer (positive third moment).
    fn principal_axes(&self, cloud: &Cloud) -> Matrix3<f64> {
        let scale = self.covariance.trace();
        let eigen = SymmetricEigen::new(self.covariance / scale);
        let mut order = [0, 1, 2];
        order.sort_by(|&a, &b| eigen.eigenvalues[b].total_cmp(&eigen.eigenvalues[a]));
        let first = eigen.eigenvectors.column(order[0]).into_owned();
        let second = eigen.eigenvectors.column(order[1]).into_owned();
        let usable = self.usable;
        let skewness = |points: &[Point]| {
            points.iter().filter(|p| usable.holds(p)).fold([0.0; 2], |sum, p| {
                let d = vector(p) - self.mean;
                [sum[0] + first.dot(&d).powi(3), sum[1] + second.dot(&d).powi(3)]
            })
        };
        let [a, b] = fold_chunks(&cloud.points, skewness, |a, b| [a[0] + b[0], a[1] + b[1]]);
        let first = if a < 0.0 { -first } else { first };
        let second = if b < 0.0 { -second } else { second };
        Matrix3::from_columns(&[first, second, first.cross(&second)])
    }
}

/// Which points are registered: finite ones, but for strays.
///
/// A stray, such as the echo of a fault, may lie so far out that grids over the whole cloud have no cells left to
/// resolve the rest: 2²¹ a side in [`crate::stages::voxel`].
#[derive(Clone, Copy)]
struct Usable {
    centre: Vector3<f64>,
    /// Squared; infinite where nothing is dropped.
    reach: f64,
}

impl Usable {
    /// Strays lie farther from the medians than this many times the distance that nine in ten points keep.
    const STRAY: f64 = 1e4;
    /// Points from which the distances are taken.
    const SAMPLES: usize = 4096;

    fn of(points: &[Point]) -> Self {
        let step = points.len().div_ceil(Self::SAMPLES).max(1);
        let sample: Vec<Point> = points.iter().step_by(step).filter(|p| is_finite(p)).copied().collect();
        let quantile = |mut values: Vec<f64>, share: f64| {
            let rank = (share * values.len() as f64) as usize;
            if values.is_empty() { 0.0 } else { *values.select_nth_unstable_by(rank, f64::total_cmp).1 }
        };
        let median = |k: usize| quantile(sample.iter().map(|p| f64::from(p[k])).collect(), 0.5);
        let centre = Vector3::new(median(0), median(1), median(2));
        let distances = sample.iter().map(|p| (vector(p) - centre).norm_squared()).collect();
        let nearly_all = quantile(distances, 0.9);
        // Most points equal: their distances say nothing about the others'.
        let reach = if nearly_all > 0.0 { nearly_all * Self::STRAY * Self::STRAY } else { f64::INFINITY };
        Self { centre, reach }
    }

    fn holds(&self, p: &Point) -> bool {
        is_finite(p) && (vector(p) - self.centre).norm_squared() <= self.reach
    }
}

fn is_finite(p: &Point) -> bool {
    p.iter().all(|x| x.is_finite())
}

fn vector(p: &Point) -> Vector3<f64> {
    crate::geometry::to_vector(p)
}

/// Maps fixed chunks in parallel and joins the results in order, so that float sums are reproducible.
fn fold_chunks<R: Send>(points: &[Point], map: impl Fn(&[Point]) -> R + Sync, join: impl Fn(R, R) -> R) -> R {
    let parts: Vec<R> = points.par_chunks(CHUNK).map(&map).collect();
    parts.into_iter().reduce(join).unwrap_or_else(|| map(&[]))
}
