//! CPU side: direct correlation; at 20 sectors it costs less than a transform.

use multiversion::multiversion;
use rayon::prelude::*;

use super::AlignAzimuth;
use crate::backend::Cpu;
use crate::error::Result;
use crate::stages::describe::AZIMUTHS;
use crate::stages::matching::Match;

impl AlignAzimuth for Cpu {
    fn align_azimuth(
        &self,
        source: &Vec<f32>,
        target: &Vec<f32>,
        rings: usize,
        matches: &Vec<Match>,
    ) -> Result<Vec<f32>> {
        let size = rings * AZIMUTHS;
        Ok(self.run(|| {
            matches
                .par_iter()
                .map(|&[s, t]| {
                    let source = &source[s as usize * size..][..size];
                    let target = &target[t as usize * size..][..size];
                    peak(&correlate(source, target)) * (std::f32::consts::TAU / AZIMUTHS as f32)
                })
                .collect()
        }))
    }
}

/// `Σ source[ring, k] · target[ring, k + shift]` for every shift.
#[multiversion(targets("x86_64+avx512f+avx512bw+avx512cd+avx512dq+avx512vl+fma", "x86_64+avx2+fma"))]
fn correlate(source: &[f32], target: &[f32]) -> [f32; AZIMUTHS] {
    let mut sums = [0.0; AZIMUTHS];
    let mut twice = [0.0; 2 * AZIMUTHS];
    for (source, target) in source.chunks_exact(AZIMUTHS).zip(target.chunks_exact(AZIMUTHS)) {
        twice[..AZIMUTHS].copy_from_slice(target);
        twice[AZIMUTHS..].copy_from_slice(target);
        for (k, value) in source.iter().enumerate() {
            for (sum, other) in sums.iter_mut().zip(&twice[k..k + AZIMUTHS]) {
                *sum += value * other;
            }
        }
    }
    sums
}

/// Position of the largest value in cells, 0..AZIMUTHS, with the vertex of the parabola through its neighbours.
fn peak(sums: &[f32; AZIMUTHS]) -> f32 {
    let mut top = 0;
    for (shift, sum) in sums.iter().enumerate() {
        if *sum > sums[top] {
            top = shift;
        }
    }
    let before = sums[(top + AZIMUTHS - 1) % AZIMUTHS];
    let after = sums[(top + 1) % AZIMUTHS];
    let curvature = before - 2.0 * sums[top] + after;
    let fraction = if curvature < -1e-12 { 0.5 * (before - after) / curvature } else { 0.0 };
    let position = (top as f32 + fraction.clamp(-0.5, 0.5)).rem_euclid(AZIMUTHS as f32);
    // What lies before zero by less than half an f32 step has been rounded up to a full turn.
    if position < AZIMUTHS as f32 { position } else { 0.0 }
}
