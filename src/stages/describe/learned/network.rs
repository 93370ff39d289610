//! The weights in the order of computing, and the network on the CPU: blocks of patches go through it layer by layer.
//!
//! Values of a block are kept sector by sector, within it patch by patch. Then a step along the azimuth is a step of
//! constant length in memory, so a tap of a circular convolution is one matrix product over shifted rows, and an
//! azimuthal harmonic is a product with a small matrix from the other side.

use std::f64::consts::TAU;
use std::sync::LazyLock;

use multiversion::multiversion;

use super::cells::{CellFeatures, FEATURE_ORDER, SECTOR};
use super::weights::{Architecture, Layer, Weights};
use super::{FEATURES, HARMONICS, RAW_FEATURES, RAW_HARMONICS};
use crate::stages::describe::product::{Before, Rows, multiply};
use crate::stages::describe::{AZIMUTHS, RINGS, normalise};

/// Patches that go through the layers together.
pub(super) const BLOCK: usize = 16;
/// Patches whose invariant vectors are made together: the matrices of this last step are large.
pub(super) const BATCH: usize = 4 * BLOCK;

/// Raw features of a sector.
pub(super) const RAW: usize = RINGS * RAW_FEATURES.len();
/// Rows of a matrix that are turned into columns together.
const OUTPUTS_AT_ONCE: usize = 16;
/// Keeps the modulus away from the root's infinite slope; the weights were trained with it.
const LEAST_SQUARED_MODULUS: f32 = 1e-8;

/// A linear layer, as products want it.
pub(super) struct Linear {
    pub inputs: usize,
    /// Inputs × outputs, row by row.
    pub weights: Vec<f32>,
    pub bias: Vec<f32>,
}

/// The weights in the order of computing.
pub struct Network {
    pub(super) architecture: Architecture,
    pub(super) stem: Linear,
    /// Three taps each, one after another.
    pub(super) convolutions: Vec<Linear>,
    pub(super) equivariant: Linear,
    pub(super) pooled_factor: Vec<f32>,
    pub(super) pooled_summand: Vec<f32>,
    /// The hidden layer and, beside it, the one past it.
    pub(super) head: Linear,
    pub(super) output: Linear,
}

/// Memory of one worker.
pub(super) struct Workspace {
    pub cells: CellFeatures,
    /// Sectors × patches × features.
    pub features: Vec<f32>,
    raw: Vec<f32>,
    /// Sectors × patches × channels, with repeated sectors before the first and after the last.
    channels: Vec<f32>,
    outcome: Vec<f32>,
    equivariant: Vec<f32>,
    harmonics: Vec<f32>,
    raw_harmonics: Vec<f32>,
    /// Patches of the batch × pooled values.
    pooled: Vec<f32>,
    head: Vec<f32>,
    invariant: Vec<f32>,
}

impl Linear {
    /// The layer with its inputs in another order: `order[i]` is the place in the file of the `i`-th input.
    fn new(layer: &Layer, order: impl Iterator<Item = usize>) -> Self {
        let outputs = layer.bias.len();
        let mut weights = vec![0.0; layer.weight.len()];
        let order: Vec<usize> = order.collect();
        // A few rows of the file at a time, so that reading and writing both stay within a few cache lines.
        for first in (0..outputs).step_by(OUTPUTS_AT_ONCE) {
            let rows = first..outputs.min(first + OUTPUTS_AT_ONCE);
            for (column, &input) in weights.chunks_exact_mut(outputs).zip(&order) {
                for (value, output) in column[rows.clone()].iter_mut().zip(rows.clone()) {
                    *value = layer.weight[output * layer.inputs + input];
                }
            }
        }
        Self { inputs: layer.inputs, weights, bias: layer.bias.clone() }
    }

    fn unchanged(layer: &Layer) -> Self {
        Self::new(layer, 0..layer.inputs)
    }

    /// Two layers with the same inputs, in one.
    fn beside(one: &Layer, other: &Layer, order: &[usize]) -> Self {
        let weight = [&one.weight[..], &other.weight].concat();
        let both = Layer { inputs: one.inputs, weight, bias: [&one.bias[..], &other.bias].concat() };
        Self::new(&both, order.iter().copied())
    }

    fn outputs(&self) -> usize {
        self.bias.len()
    }

    /// `weights · inputs`, without the bias.
    fn apply(&self, inputs: Rows, outputs: &mut [f32], before: Before) {
        multiply(outputs.len() / self.outputs(), inputs, &self.weights, self.outputs(), outputs, before);
    }
}

/// Places in the file of a sector's features in the order of [`CellFeatures`].
fn feature_places() -> impl Iterator<Item = usize> {
    FEATURE_ORDER.iter().flat_map(|feature| (0..RINGS).map(move |ring| ring * FEATURES + feature))
}

/// Places in the file of the pooled values in the order of computing: the raw harmonics feature by feature.
fn pooled_places(channels: usize) -> Vec<usize> {
    let of_channels = (2 + HARMONICS) * channels;
    let raw = (0..RAW_HARMONICS * RAW).map(|i| {
        let (harmonic, feature, ring) = (i / RAW, i % RAW / RINGS, i % RINGS);
        of_channels + harmonic * RAW + ring * RAW_FEATURES.len() + feature
    });
    (0..of_channels).chain(raw).collect()
}

impl Network {
    pub(super) fn new(weights: &Weights) -> Self {
        let order = pooled_places(weights.architecture.channels);
        let ordered = |values: &[f32]| order.iter().map(|place| values[*place]).collect();
        Self {
            architecture: weights.architecture.clone(),
            stem: Linear::new(&weights.stem, feature_places()),
            convolutions: weights.convolutions.iter().map(Linear::unchanged).collect(),
            equivariant: Linear::unchanged(&weights.equivariant),
            pooled_factor: ordered(&weights.pooled_factor),
            pooled_summand: ordered(&weights.pooled_summand),
            head: Linear::beside(&weights.hidden, &weights.skip, &order),
            output: Linear::unchanged(&weights.output),
        }
    }

    pub(super) fn workspace(&self) -> Workspace {
        let Architecture { channels, rings, hidden, width, .. } = self.architecture;
        let rows = AZIMUTHS * BLOCK;
        Workspace {
            cells: CellFeatures::default(),
            features: vec![0.0; rows * SECTOR],
            raw: vec![0.0; rows * RAW],
            channels: vec![0.0; (AZIMUTHS + 2 * self.margin()) * BLOCK * channels],
            outcome: vec![0.0; rows * channels],
            equivariant: vec![0.0; rows * rings],
            harmonics: vec![0.0; parts(HARMONICS + 1) * BLOCK * channels],
            raw_harmonics: vec![0.0; parts(RAW_HARMONICS) * BLOCK * RAW],
            pooled: vec![0.0; BATCH * self.architecture.pooled()],
            head: vec![0.0; BATCH * (hidden + width)],
            invariant: vec![0.0; BATCH * width],
        }
    }

    /// Repeated sectors on either side.
    fn margin(&self) -> usize {
        self.architecture.dilations.iter().copied().max().unwrap_or(0)
    }

    /// The maps of a block from its features, and its pooled values, which go to block `block` of the batch.
    pub(super) fn run_block(&self, block: usize, maps: &mut [f32], workspace: &mut Workspace) {
        self.convolve(workspace);
        self.equivariant_maps(maps, workspace);
        self.pool(block, workspace);
    }

    /// `h ← max(stem, 0)`, then `h ← h + max(conv(h), 0)` layer by layer.
    fn convolve(&self, workspace: &mut Workspace) {
        let Workspace { features, channels: values, outcome, .. } = workspace;
        let sector = BLOCK * self.architecture.channels;
        let first = self.margin() * sector;
        self.stem.apply(Rows::dense(features, SECTOR), outcome, Before::Replaced);
        values[first..][..AZIMUTHS * sector].fill(0.0);
        add_rectified(outcome, &self.stem.bias, &mut values[first..]);
        for (layer, &dilation) in self.convolutions.iter().zip(&self.architecture.dilations) {
            repeat_sectors(values, first, dilation * sector, AZIMUTHS * sector);
            self.apply_taps(layer, &values[first - dilation * sector..], dilation * sector, outcome);
            add_rectified(outcome, &layer.bias, &mut values[first..]);
        }
    }

    /// The sum of the three taps, `step` values apart.
    fn apply_taps(&self, layer: &Linear, values: &[f32], step: usize, outcome: &mut [f32]) {
        let channels = self.architecture.channels;
        for (tap, weights) in layer.weights.chunks(channels * channels).enumerate() {
            let inputs = Rows::dense(&values[tap * step..], channels);
            let before = if tap == 0 { Before::Replaced } else { Before::Kept };
            multiply(AZIMUTHS * BLOCK, inputs, weights, channels, outcome, before);
        }
    }

    fn equivariant_maps(&self, maps: &mut [f32], workspace: &mut Workspace) {
        let Architecture { channels, rings, .. } = self.architecture;
        let values = &workspace.channels[self.margin() * BLOCK * channels..];
        let rows = &mut workspace.equivariant;
        self.equivariant.apply(Rows::dense(values, channels), rows, Before::Replaced);
        for (patch, map) in maps.chunks_mut(rings * AZIMUTHS).enumerate() {
            for sector in 0..AZIMUTHS {
                let row = &rows[(sector * BLOCK + patch) * rings..][..rings];
                for (ring, (value, bias)) in row.iter().zip(&self.equivariant.bias).enumerate() {
                    map[ring * AZIMUTHS + sector] = value + bias;
                }
            }
            normalise(map);
        }
    }

    /// What no shift changes, of every patch of the block.
    fn pool(&self, block: usize, workspace: &mut Workspace) {
        let channels = self.architecture.channels;
        let Workspace { features, raw, channels: values, harmonics, raw_harmonics, pooled, .. } = workspace;
        let values = &values[self.margin() * BLOCK * channels..][..AZIMUTHS * BLOCK * channels];
        copy_raw(features, raw);
        fourier(values, &HARMONIC_TABLE, harmonics);
        fourier(raw, &RAW_HARMONIC_TABLE, raw_harmonics);
        let length = self.architecture.pooled();
        let pooled = &mut pooled[block * BLOCK * length..][..BLOCK * length];
        for (patch, pooled) in pooled.chunks_exact_mut(length).enumerate() {
            let (mean, rest) = pooled.split_at_mut(channels);
            let (largest, rest) = rest.split_at_mut(channels);
            let (of_channels, of_raw) = rest.split_at_mut(HARMONICS * channels);
            mean.copy_from_slice(&harmonics[patch * channels..][..channels]);
            largest_values(&values[patch * channels..], BLOCK * channels, largest);
            moduli(&harmonics[patch * channels..], BLOCK * channels, 1, of_channels, channels);
            moduli(&raw_harmonics[patch * RAW..], BLOCK * RAW, 0, of_raw, RAW);
            scale(pooled, &self.pooled_factor, &self.pooled_summand);
        }
    }

    /// The invariant vectors of a batch, from all its pooled values; the first ones go to `invariant`.
    pub(super) fn finish_batch(&self, invariant: &mut [f32], workspace: &mut Workspace) {
        let Architecture { hidden, width, .. } = self.architecture;
        let Workspace { pooled, head, invariant: sums, .. } = workspace;
        self.head.apply(Rows::dense(pooled, self.head.inputs), head, Before::Replaced);
        for row in head.chunks_exact_mut(hidden + width) {
            for (value, bias) in row.iter_mut().zip(&self.head.bias) {
                *value += bias;
            }
            row[..hidden].iter_mut().for_each(|value| *value = value.max(0.0));
        }
        let rows = Rows { values: head, columns: hidden, stride: hidden + width };
        self.output.apply(rows, sums, Before::Replaced);
        let rows = head.chunks_exact(hidden + width).zip(sums.chunks_exact(width));
        for (invariant, (head, sums)) in invariant.chunks_exact_mut(width).zip(rows) {
            for (k, value) in invariant.iter_mut().enumerate() {
                *value = sums[k] + self.output.bias[k] + head[hidden + k];
            }
            normalise(invariant);
        }
    }
}

/// `values += max(outcome + bias, 0)`, row by row.
#[multiversion(targets("x86_64+avx512f+avx512bw+avx512cd+avx512dq+avx512vl+fma", "x86_64+avx2+fma"))]
fn add_rectified(outcome: &[f32], bias: &[f32], values: &mut [f32]) {
    for (row, values) in outcome.chunks_exact(bias.len()).zip(values.chunks_exact_mut(bias.len())) {
        for ((value, outcome), bias) in values.iter_mut().zip(row).zip(bias) {
            *value += (outcome + bias).max(0.0);
        }
    }
}

/// Copies the last sectors before the first and the first after the last: `length` values each.
fn repeat_sectors(values: &mut [f32], first: usize, length: usize, total: usize) {
    values.copy_within(first + total - length..first + total, first - length);
    values.copy_within(first..first + length, first + total);
}

/// The features whose harmonics count, of the first their root.
#[multiversion(targets("x86_64+avx512f+avx512bw+avx512cd+avx512dq+avx512vl+fma", "x86_64+avx2+fma"))]
fn copy_raw(features: &[f32], raw: &mut [f32]) {
    for (features, raw) in features.chunks_exact(SECTOR).zip(raw.chunks_exact_mut(RAW)) {
        raw.copy_from_slice(&features[..RAW]);
        for value in &mut raw[..RINGS] {
            *value = value.max(0.0).sqrt();
        }
    }
}

/// Real and imaginary parts of so many harmonics 0, 1, …; the first has no imaginary part.
const fn parts(harmonics: usize) -> usize {
    2 * harmonics - 1
}

/// Parts of the harmonics 0, 1, … × sectors: 1, cos, sin, cos, sin, … over the number of sectors.
fn harmonic_table(harmonics: usize) -> Vec<f32> {
    let value = |part: usize, sector: usize| {
        let phase = TAU * (part.div_ceil(2) * sector % AZIMUTHS) as f64 / AZIMUTHS as f64;
        let value = if part == 0 || part % 2 == 1 { phase.cos() } else { phase.sin() };
        (value / AZIMUTHS as f64) as f32
    };
    (0..parts(harmonics)).flat_map(|part| (0..AZIMUTHS).map(move |sector| value(part, sector))).collect()
}

pub(super) static HARMONIC_TABLE: LazyLock<Vec<f32>> = LazyLock::new(|| harmonic_table(HARMONICS + 1));
pub(super) static RAW_HARMONIC_TABLE: LazyLock<Vec<f32>> = LazyLock::new(|| harmonic_table(RAW_HARMONICS));

/// `sums[part] = Σ_sector table[part, sector] · values[sector]`.
fn fourier(values: &[f32], table: &[f32], sums: &mut [f32]) {
    let parts = Rows::dense(table, AZIMUTHS);
    multiply(table.len() / AZIMUTHS, parts, values, values.len() / AZIMUTHS, sums, Before::Replaced);
}

/// The largest value over the sectors, `stride` apart.
#[multiversion(targets("x86_64+avx512f+avx512bw+avx512cd+avx512dq+avx512vl+fma", "x86_64+avx2+fma"))]
fn largest_values(values: &[f32], stride: usize, largest: &mut [f32]) {
    largest.copy_from_slice(&values[..largest.len()]);
    for values in values.chunks(stride).skip(1) {
        for (largest, value) in largest.iter_mut().zip(values) {
            *largest = if value > largest { *value } else { *largest };
        }
    }
}

/// Moduli of the harmonics `first`, `first + 1`, … of `width` values each, whose parts are `stride` apart.
#[multiversion(targets("x86_64+avx512f+avx512bw+avx512cd+avx512dq+avx512vl+fma", "x86_64+avx2+fma"))]
fn moduli(harmonics: &[f32], stride: usize, first: usize, moduli: &mut [f32], width: usize) {
    for (moduli, harmonic) in moduli.chunks_exact_mut(width).zip(first..) {
        let real = &harmonics[(2 * harmonic).saturating_sub(1) * stride..][..width];
        let imaginary = &harmonics[2 * harmonic * stride..][..width];
        for ((modulus, real), imaginary) in moduli.iter_mut().zip(real).zip(imaginary) {
            // The mean has no imaginary part.
            let imaginary = if harmonic == 0 { 0.0 } else { *imaginary };
            *modulus = (real * real + imaginary * imaginary + LEAST_SQUARED_MODULUS).sqrt();
        }
    }
}

/// `values ← values · factors + summands`.
#[multiversion(targets("x86_64+avx512f+avx512bw+avx512cd+avx512dq+avx512vl+fma", "x86_64+avx2+fma"))]
fn scale(values: &mut [f32], factors: &[f32], summands: &[f32]) {
    for ((value, factor), summand) in values.iter_mut().zip(factors).zip(summands) {
        *value = *value * factor + summand;
    }
}
