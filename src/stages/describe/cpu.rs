//! CPU side of the classic descriptor: one task per patch, coordinates first (vectorised), then the scatter.

use std::f32::consts::{FRAC_PI_2, PI, TAU};
use std::sync::LazyLock;

use multiversion::multiversion;
use rayon::prelude::*;

use super::{AZIMUTHS, CLASSIC_WIDTH, Describe, ELEVATIONS, Features, HARMONICS, RADII, RINGS};
use crate::backend::Cpu;
use crate::cloud::Point;
use crate::error::Result;
use crate::stages::frame::Frame;
use crate::stages::lanes::floor;
use crate::stages::patch::{PATCH_CAPACITY, Patches};

/// Sectors plus one that repeats the first, so that a point's two sectors are always neighbours in memory.
const PADDED_AZIMUTHS: usize = AZIMUTHS + 1;
/// Real and imaginary part of each harmonic, padded to a full vector register.
const FOURIER_COLUMNS: usize = 16;
/// Points closer to the keypoint than this share of the radius have no direction.
const NO_DIRECTION: f32 = 1e-4;

impl Describe for Cpu {
    fn describe(&self, patches: &Patches<Self>, frames: Vec<Frame>) -> Result<Features<Self>> {
        let count = frames.len();
        let mut invariant = vec![0.0; count * CLASSIC_WIDTH];
        let mut equivariant = vec![0.0; count * RINGS * AZIMUTHS];
        self.run(|| {
            invariant
                .par_chunks_mut(CLASSIC_WIDTH)
                .zip(equivariant.par_chunks_mut(RINGS * AZIMUTHS))
                .enumerate()
                .for_each_init(Workspace::default, |workspace, (i, (invariant, equivariant))| {
                    let points = &patches.offsets[i * PATCH_CAPACITY..][..patches.count[i] as usize];
                    workspace.describe(points, &frames[i], invariant, equivariant);
                });
        });
        Ok(Features { invariant, width: CLASSIC_WIDTH, equivariant, rings: RINGS, frames })
    }
}

/// Scratch of one worker.
struct Workspace {
    cell: [u32; PATCH_CAPACITY],
    radial: [f32; PATCH_CAPACITY],
    elevation: [f32; PATCH_CAPACITY],
    azimuth: [f32; PATCH_CAPACITY],
    weight: [f32; PATCH_CAPACITY],
    occupancy: [f32; RINGS * PADDED_AZIMUTHS],
}

impl Default for Workspace {
    fn default() -> Self {
        Self {
            cell: [0; PATCH_CAPACITY],
            radial: [0.0; PATCH_CAPACITY],
            elevation: [0.0; PATCH_CAPACITY],
            azimuth: [0.0; PATCH_CAPACITY],
            weight: [0.0; PATCH_CAPACITY],
            occupancy: [0.0; RINGS * PADDED_AZIMUTHS],
        }
    }
}

impl Workspace {
    fn describe(&mut self, points: &[Point], frame: &Frame, invariant: &mut [f32], equivariant: &mut [f32]) {
        locate(points, frame, self);
        self.scatter(points.len());
        self.equivariant_map(equivariant);
        harmonic_moduli(equivariant, invariant);
        remove_ring_means(equivariant);
        normalise(invariant);
        normalise(equivariant);
    }

    /// Adds every point's trilinear weights to its eight cells.
    fn scatter(&mut self, count: usize) {
        self.occupancy.fill(0.0);
        for i in 0..count {
            let cell = self.cell[i] as usize;
            let (u, v, a) = (self.radial[i], self.elevation[i], self.azimuth[i]);
            let weight = self.weight[i];
            for (ring, share) in [
                (0, (1.0 - u) * (1.0 - v)),
                (1, (1.0 - u) * v),
                (ELEVATIONS, u * (1.0 - v)),
                (ELEVATIONS + 1, u * v),
            ] {
                let pair = &mut self.occupancy[cell + ring * PADDED_AZIMUTHS..][..2];
                pair[0] += weight * share * (1.0 - a);
                pair[1] += weight * share * a;
            }
        }
    }

    /// Folds the padding back and takes square roots.
    fn equivariant_map(&self, map: &mut [f32]) {
        for (ring, row) in self.occupancy.chunks(PADDED_AZIMUTHS).zip(map.chunks_mut(AZIMUTHS)) {
            row.copy_from_slice(&ring[..AZIMUTHS]);
            row[0] += ring[AZIMUTHS];
            for value in row {
                *value = value.sqrt();
            }
        }
    }
}

/// Cell and position within the cell of every point: shells `u`, bands `v`, sectors `a`.
#[multiversion(targets("x86_64+avx512f+avx512bw+avx512cd+avx512dq+avx512vl+fma", "x86_64+avx2+fma"))]
fn locate(points: &[Point], frame: &Frame, out: &mut Workspace) {
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
        out.cell[i] = (shell * ELEVATIONS as u32 + band) * PADDED_AZIMUTHS as u32 + sector;
        out.radial[i] = u - shell as f32;
        out.elevation[i] = v - band as f32;
        out.azimuth[i] = a - sector as f32;
        out.weight[i] = if r > NO_DIRECTION { 1.0 } else { 0.0 };
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

/// cos and sin of `2π·k·a/AZIMUTHS`, one row per sector `a`, one column per part of each harmonic `k`.
static FOURIER: LazyLock<[[f32; FOURIER_COLUMNS]; AZIMUTHS]> = LazyLock::new(|| {
    let mut table = [[0.0; FOURIER_COLUMNS]; AZIMUTHS];
    for (a, row) in table.iter_mut().enumerate() {
        for k in 0..HARMONICS {
            let phase = std::f64::consts::TAU * (k * a % AZIMUTHS) as f64 / AZIMUTHS as f64;
            row[2 * k] = phase.cos() as f32;
            row[2 * k + 1] = phase.sin() as f32;
        }
    }
    table
});

/// `|Σ_a map[ring, a] e^{2πi·k·a/AZIMUTHS}|` for every ring and harmonic `k`.
#[multiversion(targets("x86_64+avx512f+avx512bw+avx512cd+avx512dq+avx512vl+fma", "x86_64+avx2+fma"))]
fn harmonic_moduli(map: &[f32], moduli: &mut [f32]) {
    let table = &*FOURIER;
    for (ring, out) in map.chunks_exact(AZIMUTHS).zip(moduli.chunks_exact_mut(HARMONICS)) {
        let mut parts = [0.0f32; FOURIER_COLUMNS];
        for (value, row) in ring.iter().zip(table) {
            for (part, factor) in parts.iter_mut().zip(row) {
                *part += value * factor;
            }
        }
        for (k, modulus) in out.iter_mut().enumerate() {
            *modulus = (parts[2 * k] * parts[2 * k] + parts[2 * k + 1] * parts[2 * k + 1]).sqrt();
        }
    }
}

/// Subtracts the azimuthal mean of every ring: what has no direction says nothing about the azimuth.
fn remove_ring_means(map: &mut [f32]) {
    for ring in map.chunks_exact_mut(AZIMUTHS) {
        let mean = ring.iter().sum::<f32>() / AZIMUTHS as f32;
        for value in ring {
            *value -= mean;
        }
    }
}

/// To unit length; zero stays zero.
fn normalise(values: &mut [f32]) {
    let norm = values.iter().map(|x| x * x).sum::<f32>().sqrt();
    if norm > 0.0 {
        for value in values {
            *value /= norm;
        }
    }
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
