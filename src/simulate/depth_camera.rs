//! A depth camera of the structured-light kind, its faults included; also the turntable's scanner.

use nalgebra::Vector3;
use rayon::prelude::*;

use super::cloud_tools::Points;
use super::dice::Dice;
use super::noise::Field;
use super::scene::Scene;
use super::view::View;

/// The optics. Depths in metres.
#[derive(Debug, Clone)]
pub(super) struct DepthCamera {
    pub width: usize,
    pub height: usize,
    /// Tangent of half the horizontal field of view.
    pub tangent: f32,
    pub near: f32,
    pub far: f32,
    pub faults: Faults,
}

/// What keeps the camera from being ideal; all zero is ideal.
#[derive(Debug, Clone, Default)]
pub(super) struct Faults {
    /// Standard deviation of the depth: `constant + quadratic · z²`.
    pub constant: f32,
    pub quadratic: f32,
    /// Share of the noise that neighbouring pixels have in common, as block matching gives.
    pub correlated: f32,
    /// Depth step at 1 m; grows with z².
    pub step: f32,
    /// Share of pixels without a reading.
    pub dropout: f32,
    /// Below this cosine of incidence a reading fails with growing probability.
    pub grazing: f32,
    /// Smooth depth error `warp · z²` over the image.
    pub warp: f32,
    /// Distance from camera to projector: what the projector does not light has no depth.
    pub baseline: f32,
    /// A reading whose neighbour is farther off than this share of its depth is often lost.
    pub edge: f32,
    /// Share of the image cut off at each side.
    pub border: f32,
}

impl Faults {
    /// All faults made `by` times as strong.
    pub fn scaled(&self, by: f32) -> Self {
        Self {
            constant: self.constant * by,
            quadratic: self.quadratic * by,
            step: self.step * by,
            dropout: self.dropout * by,
            grazing: self.grazing * by,
            warp: self.warp * by,
            baseline: self.baseline * by,
            edge: if by > 0.0 { self.edge } else { 0.0 },
            ..self.clone()
        }
    }
}

/// A pixel with a surface behind it.
#[derive(Clone, Copy)]
pub(super) struct Sample {
    pub point: Vector3<f32>,
    pub normal: Vector3<f32>,
    /// World direction per unit of depth.
    ray: Vector3<f32>,
    pub depth: f32,
    cosine: f32,
}

/// The smooth error fields of one image, over pixel coordinates.
struct Errors {
    warp: Field,
    speckle: Field,
}

impl DepthCamera {
    /// The world points that the camera measures from a view, row by row.
    pub fn image(&self, scene: &Scene, view: &View, seed: u64) -> Points {
        let mut dice = Dice::new(seed);
        let errors = Errors {
            warp: Field::new(&mut dice, 0.8 * self.width as f32),
            speckle: Field::new(&mut dice, 7.0),
        };
        let rows: Vec<Points> = (0..self.height)
            .into_par_iter()
            .map(|row| self.row(scene, view, row, &errors, Dice::stream(seed, row as u64 + 1)))
            .collect();
        rows.concat()
    }

    /// World direction of a pixel, one unit of depth long.
    pub fn ray(&self, view: &View, column: f32, row: f32) -> Vector3<f32> {
        let half = self.width as f32 / 2.0;
        let x = (column - half) / half * self.tangent;
        let y = (row - self.height as f32 / 2.0) / half * self.tangent;
        view.axes * Vector3::new(x, y, 1.0)
    }

    /// Depth of a world point, if it lies within the image and the range.
    pub fn depth_of(&self, view: &View, point: &Vector3<f32>) -> Option<f32> {
        let local = view.axes.transpose() * (point - view.eye);
        let tangent_y = self.tangent * self.height as f32 / self.width as f32;
        let inside = local.x.abs() < local.z * self.tangent && local.y.abs() < local.z * tangent_y;
        (inside && local.z > self.near && local.z < self.far).then_some(local.z)
    }

    /// The surface behind a pixel.
    pub fn cast(&self, scene: &Scene, view: &View, column: f32, row: f32) -> Option<Sample> {
        let ray = self.ray(view, column, row);
        let length = ray.norm();
        let surface = scene.cast(&view.eye, &(ray / length), self.near * length, self.far * length)?;
        let depth = view.axes.column(2).dot(&(surface.point - view.eye));
        Some(Sample { point: surface.point, normal: surface.normal, ray, depth, cosine: surface.cosine })
    }

    fn row(&self, scene: &Scene, view: &View, row: usize, errors: &Errors, mut dice: Dice) -> Points {
        let margin = (self.faults.border * self.width as f32) as usize;
        if row < margin || row + margin >= self.height {
            return Points::new();
        }
        let mut samples: Vec<Option<Sample>> = (margin..self.width - margin)
            .map(|column| self.cast(scene, view, column as f32 + 0.5, row as f32 + 0.5))
            .collect();
        self.drop_shadows(&mut samples);
        self.drop_edges(&mut samples, &mut dice);
        let read = |(i, sample): (usize, &Option<Sample>)| {
            let sample = sample.as_ref()?;
            self.measure(sample, [(margin + i) as f32, row as f32], errors, &mut dice)
        };
        samples.iter().enumerate().filter_map(read).collect()
    }

    /// What lies in the shadow of something nearer, as the projector to the camera's right sees it: there,
    /// the order of the columns is reversed.
    fn drop_shadows(&self, samples: &mut [Option<Sample>]) {
        let focal = self.width as f32 / 2.0 / self.tangent;
        let disparity = focal * self.faults.baseline;
        let mut least = f32::INFINITY;
        for (column, slot) in samples.iter_mut().enumerate().rev() {
            if let Some(sample) = slot {
                let seen_at = column as f32 - disparity / sample.depth;
                if seen_at > least + 1.0 {
                    *slot = None;
                }
                least = least.min(seen_at);
            }
        }
    }

    /// Readings beside a jump in depth fail half of the time.
    fn drop_edges(&self, samples: &mut [Option<Sample>], dice: &mut Dice) {
        if self.faults.edge <= 0.0 {
            return;
        }
        let depths: Vec<f32> = samples.iter().map(|s| s.map_or(f32::INFINITY, |s| s.depth)).collect();
        for i in 1..samples.len().saturating_sub(1) {
            let jump = (depths[i] - depths[i - 1]).abs().max((depths[i] - depths[i + 1]).abs());
            if jump > self.faults.edge * depths[i] && dice.chance(0.5) {
                samples[i] = None;
            }
        }
    }

    /// The point that the camera reports for a sample, if any.
    fn measure(
        &self,
        sample: &Sample,
        [u, v]: [f32; 2],
        errors: &Errors,
        dice: &mut Dice,
    ) -> Option<[f32; 3]> {
        let faults = &self.faults;
        let (lost, slant, white) = (dice.unit(), dice.unit(), dice.normal());
        if lost < faults.dropout || sample.cosine < faults.grazing * slant {
            return None;
        }
        let square = sample.depth * sample.depth;
        let common = faults.correlated;
        let noise = common.sqrt() * errors.speckle.at2(u, v) + (1.0 - common).sqrt() * white;
        let mut depth = sample.depth
            + (faults.constant + faults.quadratic * square) * noise
            + faults.warp * square * errors.warp.at2(u, v);
        if faults.step > 0.0 {
            // Disparity is what comes in equal steps.
            depth = 1.0 / ((1.0 / (depth * faults.step)).round() * faults.step);
        }
        let point = sample.point + sample.ray * (depth - sample.depth);
        (depth > self.near && depth < self.far).then(|| point.into())
    }
}
