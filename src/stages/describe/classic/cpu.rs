//! CPU side of the classic descriptor: one task per patch, coordinates first (vectorised), then the scatter.
//! `kernels/classic.cu` has the same operations in the same order.

use multiversion::multiversion;
use rayon::prelude::*;

use super::fourier::{FOURIER, FOURIER_COLUMNS};
use super::{CLASSIC_WIDTH, DescribeClassic, HARMONICS};
use crate::backend::Cpu;
use crate::cloud::Point;
use crate::error::Result;
use crate::stages::describe::places::Places;
use crate::stages::describe::{AZIMUTHS, ELEVATIONS, Features, RINGS, normalise};
use crate::stages::frame::Frame;
use crate::stages::patch::Patches;

/// Sectors plus one that repeats the first, so that a point's two sectors are always neighbours in memory.
const PADDED_AZIMUTHS: usize = AZIMUTHS + 1;

impl DescribeClassic for Cpu {
    fn describe_classic(&self, patches: &Patches<Self>, frames: Vec<Frame>) -> Result<Features<Self>> {
        let count = frames.len();
        let mut invariant = vec![0.0; count * CLASSIC_WIDTH];
        let mut equivariant = vec![0.0; count * RINGS * AZIMUTHS];
        self.run(|| {
            invariant
                .par_chunks_mut(CLASSIC_WIDTH)
                .zip(equivariant.par_chunks_mut(RINGS * AZIMUTHS))
                .enumerate()
                .for_each_init(Workspace::default, |workspace, (i, (invariant, equivariant))| {
                    let points = patches.offsets_of(i);
                    workspace.describe(points, &frames[i], invariant, equivariant);
                });
        });
        Ok(Features { invariant, width: CLASSIC_WIDTH, equivariant, rings: RINGS, frames })
    }
}

/// Scratch of one worker.
struct Workspace {
    places: Places,
    occupancy: [f32; RINGS * PADDED_AZIMUTHS],
}

impl Default for Workspace {
    fn default() -> Self {
        Self { places: Places::default(), occupancy: [0.0; RINGS * PADDED_AZIMUTHS] }
    }
}

impl Workspace {
    fn describe(&mut self, points: &[Point], frame: &Frame, invariant: &mut [f32], equivariant: &mut [f32]) {
        self.places.locate(points, frame);
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
            let place = self.places.get(i);
            let cell = place.ring * PADDED_AZIMUTHS + place.sector;
            let (u, v, a) = (place.radial, place.elevation, place.azimuth);
            let weight = place.weight;
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
