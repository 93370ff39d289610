//! CUDA side of the learned descriptor: some thousand patches go through the network together, layer by layer. Kernels:
//! `kernels/learned.cu`.
//!
//! Values are kept in panels: rows of [`COLUMNS`] values. Along the azimuth a panel is a patch and its columns are
//! sectors; in the head a panel is a group of as many patches. The cell features are the CPU's to the bit; the layers add
//! up in another order, so descriptions agree to 10⁻⁵.

use std::ops::Range;

use super::cells::{SECTOR, grid_values};
use super::network::{HARMONIC_TABLE, Linear, Network, RAW, RAW_HARMONIC_TABLE};
use super::weights::{Architecture, Weights};
use super::{DescribeLearned, HARMONICS};
use crate::backend::Device;
use crate::backend::cuda::{Cuda, CudaBuffer, Driver, Grid, Kernel, arguments};
use crate::error::Result;
use crate::stages::describe::{AZIMUTHS, Features, PATCH_THREADS};
use crate::stages::frame::Frame;
use crate::stages::patch::Patches;

const COMPUTE_CELL_FEATURES: Kernel = Kernel::new("learned", "compute_cell_features");
const APPLY_LAYER: Kernel = Kernel::new("learned", "apply_layer");
const POOL_CHANNELS: Kernel = Kernel::new("learned", "pool_channels");
const POOL_FEATURES: Kernel = Kernel::new("learned", "pool_features");
const FINISH_INVARIANT: Kernel = Kernel::new("learned", "finish_invariant");
const NORMALISE_MAPS: Kernel = Kernel::new("learned", "normalise_maps");

/// Values of a row of a panel.
const COLUMNS: usize = AZIMUTHS;
/// Threads of a block, panels and outputs that it works on, as in the kernels.
const LAYER_THREADS: u32 = 256;
const PANELS: usize = LAYER_THREADS as usize / 32;
const OUTPUTS: usize = 64;
const POOL_THREADS: u32 = 128;
const END_THREADS: u32 = 128;
const END_WARPS: usize = END_THREADS as usize / 32;

/// Patches that go through the network together: enough to fill a large device, few enough for the memory of a small
/// one, and whole groups.
const PATCHES_AT_A_TIME: usize = 200 * COLUMNS;

/// A network on a device.
pub struct CudaNetwork<D: Driver> {
    architecture: Architecture,
    grid: CudaBuffer<f32, D>,
    stem: Layer<D>,
    convolutions: Vec<Layer<D>>,
    equivariant: Layer<D>,
    harmonics: CudaBuffer<f32, D>,
    raw_harmonics: CudaBuffer<f32, D>,
    pooled_factor: CudaBuffer<f32, D>,
    pooled_summand: CudaBuffer<f32, D>,
    head: Layer<D>,
    output: Layer<D>,
}

/// A linear layer, or a circular convolution, with what follows it.
struct Layer<D: Driver> {
    /// Rows of the inputs that each tap takes.
    channels: usize,
    taps: usize,
    dilation: usize,
    outputs: usize,
    /// So many of the first outputs are raised to at least zero.
    rectified: usize,
    /// Whether the inputs are added to the outputs.
    residual: bool,
    weights: CudaBuffer<f32, D>,
    bias: CudaBuffer<f32, D>,
}

/// Panels of equal size on a device.
struct Panels<D: Driver> {
    rows: usize,
    values: CudaBuffer<f32, D>,
}

/// What the patches of a batch need, reused from batch to batch: they follow each other on one stream.
struct Workspace<D: Driver> {
    features: Panels<D>,
    /// Channels before a layer, and after it.
    channels: [Panels<D>; 2],
    pooled: Panels<D>,
    head: Panels<D>,
    output: Panels<D>,
}

impl<D: Driver> Layer<D> {
    /// A linear layer without more.
    fn new(device: &Cuda<D>, layer: &Linear) -> Result<Self> {
        Ok(Self {
            channels: layer.inputs,
            taps: 1,
            dilation: 0,
            outputs: layer.bias.len(),
            rectified: 0,
            residual: false,
            weights: device.upload(&layer.weights)?,
            bias: device.upload(&layer.bias)?,
        })
    }

    fn rectified(self, outputs: usize) -> Self {
        Self { rectified: outputs, ..self }
    }

    /// The layer as a residual convolution of `channels` channels; the taps come one after another.
    fn convolution(self, channels: usize, dilation: usize) -> Self {
        let taps = self.channels / channels;
        Self { channels, taps, dilation, residual: true, ..self }
    }
}

impl<D: Driver> CudaNetwork<D> {
    fn new(device: &Cuda<D>, network: &Network) -> Result<Self> {
        let Architecture { channels, hidden, .. } = network.architecture;
        let convolution = |(layer, dilation): (&Linear, &usize)| {
            Ok(Layer::new(device, layer)?.convolution(channels, *dilation).rectified(channels))
        };
        let convolutions = network.convolutions.iter().zip(&network.architecture.dilations);
        Ok(Self {
            grid: device.upload(&grid_values())?,
            stem: Layer::new(device, &network.stem)?.rectified(channels),
            convolutions: convolutions.map(convolution).collect::<Result<_>>()?,
            equivariant: Layer::new(device, &network.equivariant)?,
            harmonics: device.upload(&HARMONIC_TABLE)?,
            raw_harmonics: device.upload(&RAW_HARMONIC_TABLE)?,
            pooled_factor: device.upload(&network.pooled_factor)?,
            pooled_summand: device.upload(&network.pooled_summand)?,
            head: Layer::new(device, &network.head)?.rectified(hidden),
            output: Layer::new(device, &network.output)?,
            architecture: network.architecture.clone(),
        })
    }

    /// Memory for `patches` patches.
    fn workspace(&self, device: &Cuda<D>, patches: usize) -> Result<Workspace<D>> {
        let Architecture { channels, hidden, width, .. } = self.architecture;
        let panels = |count: usize, rows: usize| -> Result<Panels<D>> {
            Ok(Panels { rows, values: device.allocate(count * rows * COLUMNS)? })
        };
        let groups = patches.div_ceil(COLUMNS);
        // The last group may have fewer patches than columns; what is in the others is computed with, but not used.
        let pooled = self.architecture.pooled();
        let pooled = Panels { rows: pooled, values: device.zeroed(groups * pooled * COLUMNS)? };
        Ok(Workspace {
            features: panels(patches, SECTOR)?,
            channels: [panels(patches, channels)?, panels(patches, channels)?],
            pooled,
            head: panels(groups, hidden + width)?,
            output: panels(groups, width)?,
        })
    }
}

impl<D: Driver> DescribeLearned for Cuda<D> {
    type Network = CudaNetwork<D>;

    fn load_network(&self, weights: &Weights) -> Result<CudaNetwork<D>> {
        CudaNetwork::new(self, &Network::new(weights))
    }

    fn describe_learned(
        &self,
        patches: &Patches<Self>,
        frames: CudaBuffer<Frame, D>,
        network: &CudaNetwork<D>,
    ) -> Result<Features<Self>> {
        let Architecture { rings, width, .. } = network.architecture;
        let count = frames.len();
        let workspace = network.workspace(self, count.min(PATCHES_AT_A_TIME))?;
        let invariant = self.allocate(count * width)?;
        let equivariant = self.allocate(count * rings * AZIMUTHS)?;
        let features = Features { invariant, width, equivariant, rings, frames };
        for first in (0..count).step_by(PATCHES_AT_A_TIME) {
            let batch = first..count.min(first + PATCHES_AT_A_TIME);
            self.describe_batch(network, patches, batch, &workspace, &features)?;
        }
        let grid = Grid::new(count.div_ceil(END_WARPS), END_THREADS);
        // SAFETY: there are `count` maps of that length.
        unsafe {
            self.launch(NORMALISE_MAPS, grid, arguments![&features.equivariant, count, rings * AZIMUTHS])?
        };
        Ok(features)
    }
}

impl<D: Driver> Cuda<D> {
    /// The invariant vectors of some patches, and their equivariant maps before these are normalised.
    fn describe_batch(
        &self,
        network: &CudaNetwork<D>,
        patches: &Patches<Self>,
        batch: Range<usize>,
        workspace: &Workspace<D>,
        out: &Features<Self>,
    ) -> Result<()> {
        let count = batch.len();
        let [mut values, mut next] = workspace.channels.each_ref();
        self.compute_cell_features(network, patches, &out.frames, &batch, &workspace.features)?;
        self.apply_layer(&network.stem, count, &workspace.features, &values.values, 0)?;
        for layer in &network.convolutions {
            self.apply_layer(layer, count, values, &next.values, 0)?;
            (values, next) = (next, values);
        }
        self.apply_layer(&network.equivariant, count, values, &out.equivariant, batch.start)?;
        self.pool(network, count, values, workspace)?;
        let groups = count.div_ceil(COLUMNS);
        self.apply_layer(&network.head, groups, &workspace.pooled, &workspace.head.values, 0)?;
        self.apply_layer(&network.output, groups, &workspace.head, &workspace.output.values, 0)?;
        self.finish_invariant(network, &batch, workspace, &out.invariant)
    }

    /// [`SECTOR`] rows of features for every patch of the batch.
    fn compute_cell_features(
        &self,
        network: &CudaNetwork<D>,
        patches: &Patches<Self>,
        frames: &CudaBuffer<Frame, D>,
        batch: &Range<usize>,
        features: &Panels<D>,
    ) -> Result<()> {
        let arguments = arguments![
            &patches.offsets,
            &patches.count,
            frames,
            &network.grid,
            batch.start,
            &features.values
        ];
        // SAFETY: there are patches and frames up to the batch's end; `features` has a panel for each patch of a batch.
        unsafe { self.launch(COMPUTE_CELL_FEATURES, Grid::new(batch.len(), PATCH_THREADS), arguments) }
    }

    /// Applies a layer to the first `panels` panels of `inputs`; outputs go to the panels from `first_panel` on.
    fn apply_layer(
        &self,
        layer: &Layer<D>,
        panels: usize,
        inputs: &Panels<D>,
        outputs: &CudaBuffer<f32, D>,
        first_panel: usize,
    ) -> Result<()> {
        let grid = Grid::new(panels.div_ceil(PANELS), LAYER_THREADS).rows(layer.outputs.div_ceil(OUTPUTS));
        let arguments = arguments![
            &inputs.values,
            panels,
            inputs.rows,
            layer.channels,
            layer.taps,
            layer.dilation,
            &layer.weights,
            &layer.bias,
            layer.outputs,
            layer.rectified,
            u32::from(layer.residual),
            first_panel,
            outputs
        ];
        // SAFETY: the inputs have `panels` panels of `inputs.rows` rows or more, at least as many as the layer's channels;
        // the outputs have `first_panel + panels` of `layer.outputs` rows; there are weights for each tap, channel and
        // output, and a bias for each output. Residual layers have as many channels as outputs.
        unsafe { self.launch(APPLY_LAYER, grid, arguments) }
    }

    /// The pooled values of `count` patches from their features and the channels of the last layer.
    fn pool(
        &self,
        network: &CudaNetwork<D>,
        count: usize,
        channels: &Panels<D>,
        workspace: &Workspace<D>,
    ) -> Result<()> {
        let (factor, summand) = (&network.pooled_factor, &network.pooled_summand);
        let Workspace { features, pooled, .. } = workspace;
        // A thread for each row of each patch of the groups, whether there is a patch or not.
        let columns = count.next_multiple_of(COLUMNS);
        let grid = |rows: usize| Grid::over(columns * rows, POOL_THREADS);
        let of_channels = arguments![
            &channels.values,
            count,
            channels.rows,
            &network.harmonics,
            factor,
            summand,
            pooled.rows,
            &pooled.values
        ];
        // SAFETY: there are `count` panels, a row of the table for each part of the harmonics, factors and summands for all
        // rows of pooled values, of which there is a panel for each group.
        unsafe { self.launch(POOL_CHANNELS, grid(channels.rows), of_channels)? };
        let of_features = arguments![
            &features.values,
            count,
            &network.raw_harmonics,
            factor,
            summand,
            (2 + HARMONICS) * channels.rows,
            pooled.rows,
            &pooled.values
        ];
        // SAFETY: as above; the rows from those of the channels on are for the features.
        unsafe { self.launch(POOL_FEATURES, grid(RAW), of_features) }
    }

    fn finish_invariant(
        &self,
        network: &CudaNetwork<D>,
        batch: &Range<usize>,
        workspace: &Workspace<D>,
        invariant: &CudaBuffer<f32, D>,
    ) -> Result<()> {
        let Architecture { hidden, width, .. } = network.architecture;
        let Workspace { head, output, .. } = workspace;
        let grid = Grid::new(batch.len().div_ceil(END_WARPS), END_THREADS);
        let arguments =
            arguments![&output.values, &head.values, batch.len(), width, hidden, batch.start, invariant];
        // SAFETY: there is a panel of `width` and one of `hidden + width` rows for each group of the batch; `invariant` has
        // `width` values for each patch up to the batch's end.
        unsafe { self.launch(FINISH_INVARIANT, grid, arguments) }
    }
}
