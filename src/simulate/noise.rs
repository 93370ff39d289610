//! Smooth random fields: sums of plane waves with random directions and phases.

use nalgebra::Vector3;

use super::dice::Dice;

const WAVES: usize = 12;

/// A smooth random scalar field over space with mean 0, variance 1 and a typical wavelength.
#[derive(Debug, Clone)]
pub(super) struct Field {
    /// Cycles per unit of length, one wave a column.
    frequency: [[f32; WAVES]; 3],
    /// In turns.
    phase: [f32; WAVES],
}

impl Field {
    pub fn new(dice: &mut Dice, wavelength: f32) -> Self {
        let mut wave = || dice.normal() / wavelength;
        let frequency = std::array::from_fn(|_| std::array::from_fn(|_| wave()));
        Self { frequency, phase: std::array::from_fn(|_| dice.unit()) }
    }

    /// The field's value at a point.
    pub fn at(&self, x: f32, y: f32, z: f32) -> f32 {
        let [fx, fy, fz] = &self.frequency;
        // All waves first, their sum after: a running sum would keep the loop from vectorising.
        let mut waves = [0.0; WAVES];
        for i in 0..WAVES {
            waves[i] = cosine_of_turns(fx[i] * x + fy[i] * y + fz[i] * z + self.phase[i]);
        }
        let [a, b, c] = [0, 4, 8].map(|i| waves[i] + waves[i + 1] + waves[i + 2] + waves[i + 3]);
        (a + b + c) * (2.0 / WAVES as f32).sqrt()
    }

    /// The field's value over the plane.
    pub fn at2(&self, x: f32, y: f32) -> f32 {
        self.at(x, y, 0.0)
    }

    /// The field's value at a vector.
    pub fn of(&self, p: &Vector3<f32>) -> f32 {
        self.at(p.x, p.y, p.z)
    }
}

/// cos(2π·turns) within 0.01, from multiplications and additions only, so that it vectorises.
fn cosine_of_turns(turns: f32) -> f32 {
    // Adding and taking away 1.5·2²³ rounds to the nearest whole number.
    const ROUND: f32 = 12_582_912.0;
    let part = turns - ((turns + ROUND) - ROUND);
    let s = part * part;
    // Exact at 0, ±¼ and ±½, with slope 0 at ±½.
    1.0 + s * (-19.555_555 + s * (60.444_443 - s * 56.888_89))
}

/// Relief of all surfaces of a scene: a displacement along the normal that is a function of the place alone,
/// so that two views of one wall see the same unevenness.
#[derive(Debug, Clone)]
pub(super) struct Relief {
    layers: Vec<(f32, Field)>,
}

impl Relief {
    /// No relief at all.
    pub fn flat() -> Self {
        Self { layers: Vec::new() }
    }

    /// Two octaves; `amplitude` and `wavelength` are in the scene's unit.
    pub fn new(dice: &mut Dice, amplitude: f32, wavelength: f32) -> Self {
        let coarse = dice.between(0.6, 1.5) * wavelength;
        let layers = vec![
            (amplitude * dice.between(0.3, 1.0), Field::new(dice, coarse)),
            (amplitude * dice.between(0.0, 0.5), Field::new(dice, 0.3 * wavelength)),
        ];
        Self { layers }
    }

    /// Displacement at a place.
    pub fn at(&self, p: &Vector3<f32>) -> f32 {
        self.layers.iter().map(|(amplitude, field)| amplitude * field.of(p)).sum()
    }
}
