//! Where the points of a patch lie in the grid of cells. `kernels/cells.cuh` has the same operations.

use std::f32::consts::{FRAC_PI_2, PI, TAU};

use multiversion::multiversion;

use super::{AZIMUTHS, ELEVATIONS, RADII};
use crate::cloud::Point;
use crate::stages::frame::Frame;
use crate::stages::lanes::floor;
use crate::stages::patch::PATCH_CAPACITY;

/// Points closer to the keypoint than this share of the radius have no direction.
const NO_DIRECTION: f32 = 1e-4;

/// The places of all points of a patch, coordinate by coordinate.
pub(super) struct Places {
    /// The lowest cell of the eight that a point is spread over.
    ring: [u32; PATCH_CAPACITY],
    sector: [u32; PATCH_CAPACITY],
    /// The share of the next shell, of the next band and of the next sector.
    radial: [f32; PATCH_CAPACITY],
    elevation: [f32; PATCH_CAPACITY],
    azimuth: [f32; PATCH_CAPACITY],
    /// One, or zero where there is no direction.
    weight: [f32; PATCH_CAPACITY],
    /// Coordinates in the patch's frame.
    x: [f32; PATCH_CAPACITY],
    y: [f32; PATCH_CAPACITY],
    z: [f32; PATCH_CAPACITY],
}

/// The place of one point; see [`Places`].
pub(super) struct Place {
    pub ring: usize,
    pub sector: usize,
    pub radial: f32,
    pub elevation: f32,
    pub azimuth: f32,
    pub weight: f32,
    pub point: Point,
}

impl Default for Places {
    fn default() -> Self {
        Self {
            ring: [0; PATCH_CAPACITY],
            sector: [0; PATCH_CAPACITY],
            radial: [0.0; PATCH_CAPACITY],
            elevation: [0.0; PATCH_CAPACITY],
            azimuth: [0.0; PATCH_CAPACITY],
            weight: [0.0; PATCH_CAPACITY],
            x: [0.0; PATCH_CAPACITY],
            y: [0.0; PATCH_CAPACITY],
            z: [0.0; PATCH_CAPACITY],
        }
    }
}

impl Places {
    /// Finds the places of `points` (offsets from the keypoint over the radius) in the patch's frame.
    pub fn locate(&mut self, points: &[Point], frame: &Frame) {
        locate(points, frame, self);
    }

    /// The place of point `i` of those located last.
    #[inline(always)]
    pub fn get(&self, i: usize) -> Place {
        Place {
            ring: self.ring[i] as usize,
            sector: self.sector[i] as usize,
            radial: self.radial[i],
            elevation: self.elevation[i],
            azimuth: self.azimuth[i],
            weight: self.weight[i],
            point: [self.x[i], self.y[i], self.z[i]],
        }
    }
}

#[multiversion(targets("x86_64+avx512f+avx512bw+avx512cd+avx512dq+avx512vl+fma", "x86_64+avx2+fma"))]
fn locate(points: &[Point], frame: &Frame, out: &mut Places) {
    let points = &points[..points.len().min(PATCH_CAPACITY)];
    for (i, d) in points.iter().enumerate() {
        // p_patch = Rᵀ d: the columns of R are its rows.
        let x = frame[0] * d[0] + frame[3] * d[1] + frame[6] * d[2];
        let y = frame[1] * d[0] + frame[4] * d[1] + frame[7] * d[2];
        let z = frame[2] * d[0] + frame[5] * d[1] + frame[8] * d[2];
        let r = (x * x + y * y + z * z).sqrt();
        let sine = z / r.max(NO_DIRECTION);
        let u = (r * RADII as f32 - 0.5).clamp(0.0, (RADII - 1) as f32);
        let v = ((sine + 1.0) * 0.5 * ELEVATIONS as f32 - 0.5).clamp(0.0, (ELEVATIONS - 1) as f32);
        let a = (azimuth(y, x) * (AZIMUTHS as f32 / TAU)).clamp(0.0, AZIMUTHS as f32);
        let shell = floor(u).min(RADII as u32 - 2);
        let band = floor(v).min(ELEVATIONS as u32 - 2);
        let sector = floor(a).min(AZIMUTHS as u32 - 1);
        out.ring[i] = shell * ELEVATIONS as u32 + band;
        out.sector[i] = sector;
        out.radial[i] = u - shell as f32;
        out.elevation[i] = v - band as f32;
        out.azimuth[i] = a - sector as f32;
        out.weight[i] = if r > NO_DIRECTION { 1.0 } else { 0.0 };
        (out.x[i], out.y[i], out.z[i]) = (x, y, z);
    }
}

/// `atan2(y, x)` in 0..2π to 2·10⁻⁶, without branches so that loops over it vectorise.
/// Polynomial in the ratio of the smaller to the larger coordinate (Abramowitz and Stegun, 4.4.49).
#[inline(always)]
fn azimuth(y: f32, x: f32) -> f32 {
    let (ax, ay) = (x.abs(), y.abs());
    let (small, large) = (ax.min(ay), ax.max(ay));
    let t = small / large.max(f32::MIN_POSITIVE);
    let t2 = t * t;
    let series = -0.016_165_737 + t2 * 0.002_866_226;
    let series = 0.042_909_613 + t2 * series;
    let series = -0.075_289_64 + t2 * series;
    let series = 0.106_562_64 + t2 * series;
    let series = -0.142_089 + t2 * series;
    let series = 0.199_935_51 + t2 * series;
    let series = -0.333_331_45 + t2 * series;
    let angle = t + t * t2 * series;
    let angle = if ay > ax { FRAC_PI_2 - angle } else { angle };
    let angle = if x < 0.0 { PI - angle } else { angle };
    if y < 0.0 { TAU - angle } else { angle }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn azimuth_is_the_arc_tangent() {
        let mut worst = 0.0f64;
        for step in 0..100_000 {
            let angle = std::f64::consts::TAU * f64::from(step) / 100_000.0;
            for length in [1e-30, 1e-3, 1.0, 1e30] {
                let (y, x) = ((length * angle.sin()) as f32, (length * angle.cos()) as f32);
                let exact = f64::from(y).atan2(f64::from(x)).rem_euclid(std::f64::consts::TAU);
                worst = worst.max((f64::from(azimuth(y, x)) - exact).abs());
            }
        }
        assert!(worst < 2e-6, "{worst}");
        let axes = [(0.0, 1.0), (1.0, 0.0), (0.0, -1.0), (-1.0, 0.0), (0.0, 0.0), (-0.0, 0.0)];
        let expected = [0.0, FRAC_PI_2, PI, 1.5 * PI, 0.0, 0.0];
        for ((y, x), expected) in axes.into_iter().zip(expected) {
            assert_eq!(azimuth(y, x), expected, "{y} {x}");
        }
    }
}
