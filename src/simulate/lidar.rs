//! A spinning LiDAR: beams at fixed elevations, one full turn, no motion during the turn.

use nalgebra::Vector3;
use rayon::prelude::*;

use super::carrier::Carrier;
use super::cloud_tools::Points;
use super::dice::Dice;
use super::scene::Scene;
use super::view::View;

/// The scanner and its faults. Metres and radians.
#[derive(Debug, Clone)]
pub(super) struct Lidar {
    /// Elevation of every beam.
    pub elevations: Vec<f32>,
    /// Shots a turn.
    pub steps: usize,
    pub near: f32,
    pub far: f32,
    /// Standard deviation of the range.
    pub sigma: f32,
    /// Share of shots without an echo.
    pub dropout: f32,
    /// Below this cosine of incidence an echo fails with growing probability.
    pub grazing: f32,
    /// How much of the far range loses its echoes, 0..1.
    pub fading: f32,
    /// What it sees of what carries it.
    pub carrier: Option<Carrier>,
}

impl Lidar {
    /// One of the common models, with the faults of one of its specimens.
    pub fn new(dice: &mut Dice, indoors: bool, noise: f32, detail: f32) -> Self {
        let (beams, low, high, steps) = dice.pick(&[
            (16, -0.262, 0.262, 2400),
            (32, -0.535, 0.186, 1800),
            (32, -0.393, 0.393, 1800),
            (64, -0.433, 0.035, 1900),
            (64, -0.433, 0.035, 1900),
            (64, -0.393, 0.393, 1024),
            (128, -0.393, 0.393, 1024),
            (128, -0.436, 0.262, 900),
        ]);
        let spread = if indoors { (-0.6, 0.6) } else { (low, high) };
        let elevation = |i: usize| {
            let share = i as f32 / (beams - 1) as f32;
            spread.0 + (spread.1 - spread.0) * share + 0.0008 * dice.normal()
        };
        Self {
            elevations: (0..beams).map(elevation).collect(),
            steps: (steps as f32 * detail) as usize,
            near: if indoors { 0.4 } else { 1.8 },
            far: dice.between(60.0, 110.0),
            sigma: noise * dice.between(0.003, 0.03),
            dropout: noise * dice.between(0.0, 0.2),
            grazing: noise * 0.04,
            fading: if noise > 0.0 { 0.5 } else { 0.0 },
            carrier: None,
        }
    }

    /// The world points of one turn, beam by beam.
    pub fn scan(&self, scene: &Scene, view: &View, seed: u64) -> Points {
        let start = Dice::new(seed).turn();
        let beams: Vec<Points> = (0..self.elevations.len())
            .into_par_iter()
            .map(|beam| self.beam(scene, view, beam, start, Dice::stream(seed, beam as u64 + 1)))
            .collect();
        beams.concat()
    }

    fn beam(&self, scene: &Scene, view: &View, beam: usize, start: f32, mut dice: Dice) -> Points {
        let (sin, cos) = self.elevations[beam].sin_cos();
        let shoot = |step: usize| {
            let azimuth = start + std::f32::consts::TAU * step as f32 / self.steps as f32;
            let ahead = Vector3::new(cos * azimuth.cos(), cos * azimuth.sin(), sin);
            let direction = view.axes * ahead;
            let carrier = self.carrier.as_ref().and_then(|carrier| carrier.cast(&ahead));
            let far = self.far.min(carrier.unwrap_or(f32::INFINITY));
            let Some(surface) = scene.cast(&view.eye, &direction, self.near, far) else {
                let range = carrier? + dice.normal() * self.sigma;
                return (dice.unit() >= self.dropout).then(|| (view.eye + direction * range).into());
            };
            let (lost, slant, fade, error) = (dice.unit(), dice.unit(), dice.unit(), dice.normal());
            let range = (surface.point - view.eye).norm();
            let reach = self.far * (1.0 - self.fading * (1.0 - fade.powf(0.3)));
            let echo = lost >= self.dropout && surface.cosine >= self.grazing * slant && range < reach;
            let error = error * self.sigma * (1.0 + 0.01 * range);
            echo.then(|| (surface.point + direction * error).into())
        };
        (0..self.steps).filter_map(shoot).collect()
    }
}
