//! CPU side of the cost volume: matches are independent tasks.
//!
//! A row of a volume holds the channels of all its elevations; rows are kept shift by shift, within it azimuth by azimuth.
//! A tap of a kernel is then a matrix product over rows that lie a fixed step away. The few rows at the end of each
//! shift, whose kernel would reach into the next one, are computed as well and left out of the outcome.

use std::f64::consts::TAU;

use rayon::prelude::*;

use super::input_of;
use crate::backend::Cpu;
use crate::error::Result;
use crate::stages::azimuth::AlignByCostVolume;
use crate::stages::describe::learned::Layer;
use crate::stages::describe::minispinnet::{COST_VOLUME_LAYERS, MAP_RINGS, WIDTH};
use crate::stages::describe::product::{Before, Rows, multiply};
use crate::stages::describe::{AZIMUTHS, ELEVATIONS};
use crate::stages::matching::Match;

/// Values of an equivariant map.
const MAP: usize = MAP_RINGS * AZIMUTHS;

/// What the first convolution sees. The lowest and the highest elevation, about the poles, are left out.
const VOLUME: Sizes =
    Sizes { shifts: AZIMUTHS, azimuths: AZIMUTHS, elevations: ELEVATIONS - 2, channels: WIDTH };

/// Sizes of a volume.
#[derive(Debug, Clone, Copy)]
struct Sizes {
    shifts: usize,
    azimuths: usize,
    elevations: usize,
    channels: usize,
}

/// A convolution without padding, as products want it.
struct Convolution {
    /// Cells of the kernel along shift, elevation and azimuth.
    kernel: [usize; 3],
    /// For each shift and azimuth of the kernel a matrix: (elevation of the kernel × inputs) × outputs, row by row.
    taps: Vec<Vec<f32>>,
    bias: Vec<f32>,
}

/// The cost volume on the CPU.
pub struct CpuCostVolume(Vec<Convolution>);

/// Memory of one worker.
#[derive(Default)]
struct Workspace {
    values: Vec<f32>,
    outputs: Vec<f32>,
    /// Rows of one elevation, with those that are left out.
    sums: Vec<f32>,
}

impl Sizes {
    fn row(&self) -> usize {
        self.elevations * self.channels
    }

    fn after(&self, kernel: [usize; 3], channels: usize) -> Self {
        Self {
            shifts: self.shifts + 1 - kernel[0],
            elevations: self.elevations + 1 - kernel[1],
            azimuths: self.azimuths + 1 - kernel[2],
            channels,
        }
    }
}

impl Convolution {
    fn new(layer: &Layer, kernel: [usize; 3]) -> Self {
        let [shifts, elevations, azimuths] = kernel;
        let channels = layer.inputs / (shifts * elevations * azimuths);
        let tap = |shift: usize, azimuth: usize| {
            let inputs = (0..elevations).flat_map(|elevation| (0..channels).map(move |c| (elevation, c)));
            let input = |(elevation, c)| input_of(c, [shift, elevation, azimuth], kernel);
            inputs.flat_map(|at| layer.column(input(at))).collect()
        };
        let taps = (0..shifts).flat_map(|shift| (0..azimuths).map(move |azimuth| (shift, azimuth)));
        let taps = taps.map(|(shift, azimuth)| tap(shift, azimuth)).collect();
        Self { kernel, taps, bias: layer.bias.clone() }
    }

    /// Convolves the volume in `workspace.values` of these sizes and leaves the outcome in its place; no value of it is
    /// below `lowest`.
    fn apply(&self, sizes: Sizes, lowest: f32, workspace: &mut Workspace) -> Sizes {
        let after = sizes.after(self.kernel, self.bias.len());
        let Workspace { values, outputs, sums } = workspace;
        outputs.resize(after.shifts * after.azimuths * after.row(), 0.0);
        sums.resize(((after.shifts - 1) * sizes.azimuths + after.azimuths) * after.channels, 0.0);
        for elevation in 0..after.elevations {
            self.sum_taps(&values[elevation * sizes.channels..], sizes, sums);
            self.finish(sums, sizes.azimuths, elevation, after, lowest, outputs);
        }
        std::mem::swap(values, outputs);
        after
    }

    /// The sums of one elevation, whose first value `values` begins with.
    fn sum_taps(&self, values: &[f32], sizes: Sizes, sums: &mut [f32]) {
        let [_, elevations, azimuths] = self.kernel;
        let width = self.bias.len();
        for (tap, weights) in self.taps.iter().enumerate() {
            let step = tap / azimuths * sizes.azimuths + tap % azimuths;
            let values = &values[step * sizes.row()..];
            let rows = Rows { values, columns: elevations * sizes.channels, stride: sizes.row() };
            let before = if tap == 0 { Before::Replaced } else { Before::Kept };
            multiply(sums.len() / width, rows, weights, width, sums, before);
        }
    }

    /// Adds the bias, rectifies, and leaves out the rows at the end of each shift.
    fn finish(
        &self,
        sums: &[f32],
        azimuths: usize,
        elevation: usize,
        after: Sizes,
        lowest: f32,
        outputs: &mut [f32],
    ) {
        let width = self.bias.len();
        for (i, row) in outputs.chunks_exact_mut(after.row()).enumerate() {
            let place = i / after.azimuths * azimuths + i % after.azimuths;
            let row = &mut row[elevation * width..][..width];
            for ((value, sum), bias) in row.iter_mut().zip(&sums[place * width..]).zip(&self.bias) {
                *value = (sum + bias).max(lowest);
            }
        }
    }
}

impl CpuCostVolume {
    /// How well each shift fits two equivariant maps, before the softmax.
    pub fn logits(&self, source: &[f32], target: &[f32]) -> Vec<f32> {
        let mut workspace = Workspace::default();
        self.compute(source, target, &mut workspace);
        workspace.values
    }

    /// Leaves the logits in `workspace.values`.
    fn compute(&self, source: &[f32], target: &[f32], workspace: &mut Workspace) {
        fill_differences(source, target, &mut workspace.values);
        let mut sizes = VOLUME;
        for (i, convolution) in self.0.iter().enumerate() {
            let lowest = if i + 1 < self.0.len() { 0.0 } else { f32::NEG_INFINITY };
            sizes = convolution.apply(sizes, lowest, workspace);
        }
    }

    /// The angle of one match.
    fn angle(&self, source: &[f32], target: &[f32], workspace: &mut Workspace) -> f32 {
        self.compute(source, target, workspace);
        (expected_index(&workspace.values) * TAU / AZIMUTHS as f64) as f32
    }
}

/// `source[azimuth - shift] - target[azimuth]` for every shift, azimuth, elevation and channel.
fn fill_differences(source: &[f32], target: &[f32], volume: &mut Vec<f32>) {
    volume.resize(VOLUME.shifts * VOLUME.azimuths * VOLUME.row(), 0.0);
    for (i, row) in volume.chunks_exact_mut(VOLUME.row()).enumerate() {
        let (shift, azimuth) = (i / AZIMUTHS, i % AZIMUTHS);
        let before = (azimuth + AZIMUTHS - shift) % AZIMUTHS;
        for (elevation, channels) in row.chunks_exact_mut(WIDTH).enumerate() {
            for (channel, value) in channels.iter_mut().enumerate() {
                let ring = (channel * ELEVATIONS + elevation + 1) * AZIMUTHS;
                *value = source[ring + before] - target[ring + azimuth];
            }
        }
    }
}

/// `Σ i · softmax(logits)ᵢ`.
fn expected_index(logits: &[f32]) -> f64 {
    let highest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let (mut total, mut weighted) = (0.0, 0.0);
    for (i, logit) in logits.iter().enumerate() {
        let weight = f64::from(logit - highest).exp();
        total += weight;
        weighted += weight * i as f64;
    }
    weighted / total
}

impl AlignByCostVolume for Cpu {
    type CostVolume = CpuCostVolume;

    fn load_cost_volume(&self, layers: &[Layer]) -> Result<CpuCostVolume> {
        let kernels = COST_VOLUME_LAYERS.iter().map(|(_, _, kernel)| *kernel);
        Ok(CpuCostVolume(layers.iter().zip(kernels).map(|(l, kernel)| Convolution::new(l, kernel)).collect()))
    }

    fn align_by_cost_volume(
        &self,
        source: &Vec<f32>,
        target: &Vec<f32>,
        volume: &CpuCostVolume,
        matches: &Vec<Match>,
    ) -> Result<Vec<f32>> {
        let angle = |workspace: &mut Workspace, &[s, t]: &Match| {
            let (source, target) = (&source[s as usize * MAP..][..MAP], &target[t as usize * MAP..][..MAP]);
            volume.angle(source, target, workspace)
        };
        Ok(self.run(|| matches.par_iter().map_init(Workspace::default, angle).collect()))
    }
}
