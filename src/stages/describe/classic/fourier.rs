//! Factors of the azimuthal harmonics.

use std::sync::LazyLock;

use super::HARMONICS;
use crate::stages::describe::AZIMUTHS;

/// Real and imaginary part of each harmonic, padded to a full vector register.
pub(super) const FOURIER_COLUMNS: usize = 16;

/// cos and sin of `2π·k·a/AZIMUTHS`, one row per sector `a`, one column per part of each harmonic `k`.
pub(super) static FOURIER: LazyLock<[[f32; FOURIER_COLUMNS]; AZIMUTHS]> = LazyLock::new(|| {
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
