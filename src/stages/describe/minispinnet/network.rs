//! The network on the CPU: blocks of patches go through it layer by layer.
//!
//! A row holds the channels of one cell. Rows are kept azimuth by azimuth, within it patch by patch, within it elevation
//! by elevation, and behind the last elevation of a patch comes a row of zeros. So the three rows that a cell needs of
//! an azimuth lie side by side, what is beyond the first and the last elevation is zero, and a step along the azimuth is
//! a step of constant length: a convolution is three matrix products over rows that overlap, without copies.

use multiversion::multiversion;

use super::sampling::Sampling;
use super::weights::{KERNEL, Weights, input_of};
use super::{ATTENTION_CHANNELS, CELLS, CHANNELS, MAP_RINGS, POINT_CHANNELS, SAMPLES, SHELLS, WIDTH};
use crate::cloud::Point;
use crate::stages::describe::learned::Layer;
use crate::stages::describe::product::{Before, Rows, multiply};
use crate::stages::describe::{AZIMUTHS, ELEVATIONS, normalise};
use crate::stages::frame::Frame;

/// Patches that go through the layers together.
pub(super) const BLOCK: usize = 4;

/// Rows of a patch at one azimuth: its elevations and one of zeros.
const PATCH_ROWS: usize = ELEVATIONS + 1;
/// Rows of a block at one azimuth.
const AZIMUTH_ROWS: usize = BLOCK * PATCH_ROWS;
/// Rows of a block.
const ROWS: usize = AZIMUTHS * AZIMUTH_ROWS;
/// The row of the first cell: one of zeros comes before all, and the last azimuth before the first.
const FIRST_ROW: usize = 1 + AZIMUTH_ROWS;
/// All rows: the first azimuth is repeated after the last, and a last cell's next row must exist.
const ALL_ROWS: usize = FIRST_ROW + ROWS + AZIMUTH_ROWS + 1;
/// Cells of a map.
const MAP_CELLS: usize = ELEVATIONS * AZIMUTHS;

/// A convolution, as products want it.
struct Convolution {
    /// For each azimuth of the kernel a matrix: (elevation of the kernel × inputs) × outputs, row by row.
    taps: [Vec<f32>; KERNEL],
    bias: Vec<f32>,
}

/// The layer that points go through: a column of outputs per coordinate.
struct PointLayer {
    columns: [[f32; POINT_CHANNELS]; 3],
    bias: [f32; POINT_CHANNELS],
}

/// The weights in the order of computing.
pub(super) struct Network {
    points: PointLayer,
    convolutions: Vec<Convolution>,
    /// [`WIDTH`] × [`ATTENTION_CHANNELS`].
    hidden: Vec<f32>,
    hidden_bias: Vec<f32>,
    attention: Vec<f32>,
    attention_bias: f32,
}

/// Memory of one worker.
pub(super) struct Workspace {
    sampling: Sampling,
    /// Rows before and after a convolution.
    values: Vec<f32>,
    outputs: Vec<f32>,
    hidden: Vec<f32>,
    /// Attention of every row.
    attention: Vec<f32>,
}

/// What the steps give on the way, for one patch. Channels are outermost, azimuths innermost.
#[derive(Debug, Clone, Default)]
pub struct Steps {
    /// [`POINT_CHANNELS`] × [`SHELLS`] × [`ELEVATIONS`] × [`AZIMUTHS`]: the cells before the first convolution.
    pub cells: Vec<f32>,
    /// The map after each convolution.
    pub maps: Vec<Vec<f32>>,
    /// [`ELEVATIONS`] × [`AZIMUTHS`].
    pub attention: Vec<f32>,
}

impl Convolution {
    /// The `number`-th convolution, from zero.
    fn new(number: usize, layer: &Layer) -> Self {
        let channels = CHANNELS[number];
        let tap = |azimuth: usize| {
            let inputs = (0..KERNEL).flat_map(|elevation| (0..channels).map(move |c| (elevation, c)));
            inputs.flat_map(|(elevation, c)| layer.column(input_of(number, c, elevation, azimuth))).collect()
        };
        Self { taps: std::array::from_fn(tap), bias: layer.bias.clone() }
    }

    /// Convolves all rows and leaves the outcome in `outputs`; `rectified` or not.
    fn apply(&self, values: &[f32], outputs: &mut [f32], rectified: bool) {
        let width = self.bias.len();
        let channels = self.taps[0].len() / (KERNEL * width);
        for (tap, weights) in self.taps.iter().enumerate() {
            // From the row before the cell's, one azimuth back, to the row after it, one azimuth on.
            let values = &values[tap * AZIMUTH_ROWS * channels..];
            let rows = Rows { values, columns: KERNEL * channels, stride: channels };
            let before = if tap == 0 { Before::Replaced } else { Before::Kept };
            multiply(ROWS, rows, weights, width, block_mut(outputs, width), before);
        }
        let lowest = if rectified { 0.0 } else { f32::NEG_INFINITY };
        finish(block_mut(outputs, width), &self.bias, lowest);
        repeat_azimuths(outputs, width);
    }
}

impl PointLayer {
    fn new(layer: &Layer) -> Self {
        let weight = |output: usize, input: usize| layer.weight[output * layer.inputs + input];
        Self {
            columns: std::array::from_fn(|input| std::array::from_fn(|output| weight(output, input))),
            bias: std::array::from_fn(|output| layer.bias[output]),
        }
    }

    /// The largest rectified value of every channel over the points.
    #[inline(always)]
    fn largest(&self, points: &[Point; SAMPLES]) -> [f32; POINT_CHANNELS] {
        let mut largest = [0.0; POINT_CHANNELS];
        let [of_x, of_y, of_z] = &self.columns;
        for [x, y, z] in points {
            for (channel, largest) in largest.iter_mut().enumerate() {
                let sum = x * of_x[channel] + y * of_y[channel] + z * of_z[channel] + self.bias[channel];
                *largest = if sum > *largest { sum } else { *largest };
            }
        }
        largest
    }
}

impl Network {
    pub fn new(weights: &Weights) -> Self {
        let convolutions = weights.convolutions.iter().enumerate();
        let [hidden, attention] = &weights.attention;
        Self {
            points: PointLayer::new(&weights.points),
            convolutions: convolutions.map(|(number, layer)| Convolution::new(number, layer)).collect(),
            hidden: (0..WIDTH).flat_map(|input| hidden.column(input)).collect(),
            hidden_bias: hidden.bias.clone(),
            attention: attention.weight.clone(),
            attention_bias: attention.bias[0],
        }
    }

    /// Describes the patches of a block, of which there are as many as `maps` has room for.
    pub fn describe_block<'a>(
        &self,
        patch: impl Fn(usize) -> (&'a [Point], &'a Frame),
        invariant: &mut [f32],
        maps: &mut [f32],
        workspace: &mut Workspace,
    ) {
        let count = maps.len() / (MAP_RINGS * AZIMUTHS);
        self.fill_cells((0..count).map(patch), workspace);
        for layer in 0..self.convolutions.len() {
            self.convolve(layer, workspace);
        }
        self.attend(workspace);
        let Workspace { values, attention, .. } = workspace;
        let rows = block_mut(values, WIDTH);
        let parts = invariant.chunks_exact_mut(WIDTH).zip(maps.chunks_exact_mut(MAP_RINGS * AZIMUTHS));
        for (patch, (invariant, map)) in parts.enumerate() {
            pool(rows, attention, patch, invariant);
            write_map(rows, patch, map);
        }
    }

    /// What the steps give on the way for one patch.
    pub fn steps(&self, points: &[Point], frame: &Frame) -> Steps {
        let mut workspace = Workspace::default();
        self.fill_cells([(points, frame)].into_iter(), &mut workspace);
        let mut steps = Steps { cells: first_patch(&workspace.values, CHANNELS[0]), ..Steps::default() };
        steps.cells = channels_before_shells(&steps.cells);
        for layer in 0..self.convolutions.len() {
            self.convolve(layer, &mut workspace);
            steps.maps.push(first_patch(&workspace.values, CHANNELS[layer + 1]));
        }
        self.attend(&mut workspace);
        let row = |cell: usize| row_of(0, cell / AZIMUTHS, cell % AZIMUTHS);
        steps.attention = (0..MAP_CELLS).map(|cell| workspace.attention[row(cell)]).collect();
        steps
    }

    /// The cells of the patches, in rows ready for the first convolution. Patches that are missing keep old values,
    /// which nobody looks at.
    fn fill_cells<'a>(
        &self,
        patches: impl Iterator<Item = (&'a [Point], &'a Frame)>,
        workspace: &mut Workspace,
    ) {
        let Workspace { sampling, values, .. } = workspace;
        let rows = block_mut(values, CHANNELS[0]);
        for (patch, (points, frame)) in patches.enumerate() {
            sampling.load(points, frame);
            fill_patch(sampling, &self.points, patch, rows);
        }
        for patch_rows in rows.chunks_exact_mut(PATCH_ROWS * CHANNELS[0]) {
            patch_rows[ELEVATIONS * CHANNELS[0]..].fill(0.0);
        }
        repeat_azimuths(values, CHANNELS[0]);
    }

    fn convolve(&self, layer: usize, workspace: &mut Workspace) {
        let Workspace { values, outputs, .. } = workspace;
        self.convolutions[layer].apply(values, outputs, layer + 1 < self.convolutions.len());
        std::mem::swap(values, outputs);
    }

    /// The attention of every cell of the last map.
    fn attend(&self, workspace: &mut Workspace) {
        let Workspace { values, hidden, attention, .. } = workspace;
        let rows = Rows::dense(block_mut(values, WIDTH), WIDTH);
        multiply(ROWS, rows, &self.hidden, ATTENTION_CHANNELS, hidden, Before::Replaced);
        for (attention, row) in attention.iter_mut().zip(hidden.chunks_exact(ATTENTION_CHANNELS)) {
            let rectified = row.iter().zip(&self.hidden_bias).map(|(value, bias)| (value + bias).max(0.0));
            let sum: f32 = rectified.zip(&self.attention).map(|(value, weight)| value * weight).sum();
            *attention = (sum + self.attention_bias).max(0.0);
        }
    }
}

impl Default for Workspace {
    fn default() -> Self {
        let widest = CHANNELS.into_iter().max().unwrap_or(0);
        Self {
            sampling: Sampling::default(),
            values: vec![0.0; ALL_ROWS * widest],
            outputs: vec![0.0; ALL_ROWS * widest],
            hidden: vec![0.0; ROWS * ATTENTION_CHANNELS],
            attention: vec![0.0; ROWS],
        }
    }
}

/// The row of a cell within a block.
fn row_of(patch: usize, elevation: usize, azimuth: usize) -> usize {
    azimuth * AZIMUTH_ROWS + patch * PATCH_ROWS + elevation
}

/// The rows of a block, without those repeated.
fn block_mut(values: &mut [f32], width: usize) -> &mut [f32] {
    &mut values[FIRST_ROW * width..][..ROWS * width]
}

/// What is beyond the ends: the last azimuth before the first one, the first after the last, and zeros before all.
fn repeat_azimuths(values: &mut [f32], width: usize) {
    let (azimuth, first, end) = (AZIMUTH_ROWS * width, FIRST_ROW * width, (FIRST_ROW + ROWS) * width);
    values.copy_within(end - azimuth..end, first - azimuth);
    values.copy_within(first..first + azimuth, end);
    values[..width].fill(0.0);
    values[(ALL_ROWS - 1) * width..ALL_ROWS * width].fill(0.0);
}

/// The cells of one patch, each to its row: shell by shell, in it channel by channel.
fn fill_patch(sampling: &Sampling, layer: &PointLayer, patch: usize, rows: &mut [f32]) {
    for cell in 0..CELLS {
        let (shell, elevation) = (cell / MAP_CELLS, cell / AZIMUTHS % ELEVATIONS);
        let row = row_of(patch, elevation, cell % AZIMUTHS) * CHANNELS[0];
        let channels = &mut rows[row + shell * POINT_CHANNELS..][..POINT_CHANNELS];
        channels.copy_from_slice(&layer.largest(&sampling.points(cell)));
    }
}

/// `rows ← max(rows + bias, lowest)`, and zeros in the last row of every patch.
#[multiversion(targets("x86_64+avx512f+avx512bw+avx512cd+avx512dq+avx512vl+fma", "x86_64+avx2+fma"))]
fn finish(rows: &mut [f32], bias: &[f32], lowest: f32) {
    let width = bias.len();
    for patch in rows.chunks_exact_mut(PATCH_ROWS * width) {
        let (cells, zeros) = patch.split_at_mut(ELEVATIONS * width);
        for row in cells.chunks_exact_mut(width) {
            for (value, bias) in row.iter_mut().zip(bias) {
                *value = (*value + bias).max(lowest);
            }
        }
        zeros.fill(0.0);
    }
}

/// The mean over the cells of the attended map, normalised. In f64: the terms are many and differ in sign.
fn pool(rows: &[f32], attention: &[f32], patch: usize, invariant: &mut [f32]) {
    let mut sums = [0.0; WIDTH];
    for cell in 0..MAP_CELLS {
        let row = row_of(patch, cell / AZIMUTHS, cell % AZIMUTHS);
        for (sum, value) in sums.iter_mut().zip(&rows[row * WIDTH..][..WIDTH]) {
            *sum += f64::from(attention[row]) * f64::from(*value);
        }
    }
    for (value, sum) in invariant.iter_mut().zip(sums) {
        *value = (sum / MAP_CELLS as f64) as f32;
    }
    normalise(invariant);
}

/// The map, normalised over the channels in every cell.
fn write_map(rows: &[f32], patch: usize, map: &mut [f32]) {
    let mut channels = [0.0; WIDTH];
    for cell in 0..MAP_CELLS {
        let row = row_of(patch, cell / AZIMUTHS, cell % AZIMUTHS);
        channels.copy_from_slice(&rows[row * WIDTH..][..WIDTH]);
        normalise(&mut channels);
        for (channel, value) in channels.iter().enumerate() {
            map[channel * MAP_CELLS + cell] = *value;
        }
    }
}

/// Channels × elevations × azimuths of a block's first patch.
fn first_patch(values: &[f32], width: usize) -> Vec<f32> {
    let rows = &values[FIRST_ROW * width..];
    let cells = |channel: usize| {
        (0..MAP_CELLS).map(move |cell| rows[row_of(0, cell / AZIMUTHS, cell % AZIMUTHS) * width + channel])
    };
    (0..width).flat_map(cells).collect()
}

/// From shells × channels × cells to channels × shells × cells.
fn channels_before_shells(cells: &[f32]) -> Vec<f32> {
    let part = |i: usize| &cells[(i % SHELLS * POINT_CHANNELS + i / SHELLS) * MAP_CELLS..][..MAP_CELLS];
    debug_assert_eq!(cells.len(), POINT_CHANNELS * CELLS);
    (0..CHANNELS[0]).flat_map(part).copied().collect()
}
