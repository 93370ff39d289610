//! CUDA side of the learned descriptor, in two kernels: groups of patches along the azimuth, then larger groups through
//! the head. Kernels: `kernels/learned.cu`.
//!
//! The cell features are the CPU's to the bit. The layers are products on tensor cores of values in two parts, and add up
//! in another order, so descriptions agree to 10⁻⁵.

use super::DescribeLearned;
use super::cells::grid_values;
use super::network::{Linear, Network, RAW_HARMONIC_TABLE};
use super::weights::{Architecture, MOST_LAYERS, TAPS, Weights};
use crate::backend::Device;
use crate::backend::cuda::{Cuda, CudaBuffer, Driver, Grid, Kernel, arguments};
use crate::error::{Error, Result};
use crate::stages::describe::fragments::{Layers, TILE, stride_of};
use crate::stages::describe::{AZIMUTHS, Features, RINGS};
use crate::stages::frame::Frame;
use crate::stages::patch::{PATCH_CAPACITY, Patches};

const DESCRIBE_ALONG_AZIMUTH: Kernel = Kernel::new("learned", "describe_along_azimuth");
const DESCRIBE_INVARIANT: Kernel = Kernel::new("learned", "describe_invariant");

/// Threads and patches of a block, as in the kernels.
const AZIMUTH_THREADS: u32 = 256;
const GROUP: usize = 4;
const HEAD_THREADS: u32 = 640;
const HEAD_PATCHES: usize = 16;
/// Cells, and once more those of the first sector, which what comes from the last one is summed up in.
const SLOTS: usize = (AZIMUTHS + 1) * RINGS;
/// What is in shared memory while the features of a patch are computed, in words: for each slot a mask of the points and
/// five places in lists of 16 bits, then 34 counts, and the points.
const WORDS_OF_POINTS: usize = SLOTS * (PATCH_CAPACITY / 32) + SLOTS * 5 / 2 + 34 + 4 * PATCH_CAPACITY;
/// Pooled values that are in shared memory at a time.
const CHUNK: usize = 512;

/// Most channels, or rings, and most hidden values with those of the invariant vector, in whole tiles, such that a block
/// has at most 99 KB of shared memory, which all devices give.
const MOST_CHANNELS: usize = 144;
const MOST_HEAD_ROWS: usize = 640;
const _: () =
    assert!(shared_bytes(MOST_CHANNELS) <= 99 << 10 && head_shared_bytes(MOST_HEAD_ROWS) <= 99 << 10);

/// Channels of all sectors of a group before and after a layer; the latter in the place of the points.
const fn shared_bytes(channels: usize) -> usize {
    let columns = GROUP * AZIMUTHS * stride_of(channels);
    let second = if columns > WORDS_OF_POINTS { columns } else { WORDS_OF_POINTS };
    (columns + second) * size_of::<f32>()
}

const fn head_shared_bytes(rows: usize) -> usize {
    HEAD_PATCHES * (stride_of(CHUNK) + stride_of(rows)) * size_of::<f32>()
}

/// A network on a device.
pub struct CudaNetwork<D: Driver> {
    architecture: Architecture,
    grid: CudaBuffer<f32, D>,
    harmonics: CudaBuffer<f32, D>,
    /// Sizes and layers, as the kernels' `Network`.
    network: CudaBuffer<u32, D>,
    /// The fragments of all layers.
    weights: CudaBuffer<u32, D>,
    /// Biases of all layers, factors and summands of the pooled values.
    values: CudaBuffer<f32, D>,
}

fn add_layer(layers: &mut Layers, layer: &Linear) {
    add_taps(layers, layer, 1);
}

/// A layer whose inputs are those of `taps` taps, one after another.
fn add_taps(layers: &mut Layers, layer: &Linear, taps: usize) {
    let (inputs, outputs) = (layer.inputs / taps, layer.bias.len());
    let weight = |tap, input, output| layer.weights[(tap * inputs + input) * outputs + output];
    layers.add([taps, inputs, outputs], weight, |output| layer.bias[output]);
}

/// The hidden layer, filled up to whole tiles, and the one past it. Its taps are chunks of the inputs.
fn add_head(layers: &mut Layers, layer: &Linear, architecture: &Architecture) {
    let Architecture { hidden, width, .. } = *architecture;
    let past = hidden.next_multiple_of(TILE);
    let source = |output: usize| match output {
        _ if output < hidden => Some(output),
        _ if output < past => None,
        _ => Some(output - past + hidden),
    };
    let weight = |chunk: usize, input, output| match (chunk * CHUNK + input, source(output)) {
        (input, Some(output)) if input < layer.inputs => layer.weights[input * layer.bias.len() + output],
        _ => 0.0,
    };
    let bias = |output| source(output).map_or(0.0, |output| layer.bias[output]);
    layers.add([layer.inputs.div_ceil(CHUNK), CHUNK, past + width], weight, bias);
}

impl<D: Driver> CudaNetwork<D> {
    fn new(device: &Cuda<D>, network: &Network) -> Result<Self> {
        let architecture = network.architecture.clone();
        check_size(device, &architecture)?;
        let mut layers = Layers::default();
        add_layer(&mut layers, &network.stem);
        add_layer(&mut layers, &network.equivariant);
        add_head(&mut layers, &network.head, &architecture);
        add_layer(&mut layers, &network.output);
        network.convolutions.iter().for_each(|layer| add_taps(&mut layers, layer, TAPS));
        let factors = layers.biases.len();
        let values = [&layers.biases[..], &network.pooled_factor, &network.pooled_summand].concat();
        let weights = layers.weights();
        let records: Vec<u32> = sizes(&architecture, factors).into_iter().chain(layers.records).collect();
        Ok(Self {
            grid: device.upload(&grid_values())?,
            harmonics: device.upload(&RAW_HARMONIC_TABLE)?,
            network: device.upload(&records)?,
            weights: device.upload(&weights)?,
            values: device.upload(&values)?,
            architecture,
        })
    }
}

/// What comes before the layers in the kernels' `Network`; the factors of the pooled values are the `factors`-th values
/// and those after, and then come the summands.
fn sizes(architecture: &Architecture, factors: usize) -> Vec<u32> {
    let Architecture { channels, rings, width, hidden, ref dilations } = *architecture;
    let pooled = architecture.pooled();
    let (stride, head_stride) = (stride_of(azimuth_rows(architecture)), stride_of(head_rows(architecture)));
    let hidden = hidden.next_multiple_of(TILE);
    let mut sizes =
        vec![channels, rings, width, pooled, stride, head_stride, hidden, factors, factors + pooled];
    sizes.push(dilations.len());
    sizes.extend((0..MOST_LAYERS).map(|layer| dilations.get(layer).copied().unwrap_or(0)));
    sizes.iter().map(|size| *size as u32).collect()
}

/// Rows of the widest layer along the azimuth.
fn azimuth_rows(architecture: &Architecture) -> usize {
    architecture.channels.max(architecture.rings)
}

/// Hidden values and those of the invariant vector.
fn head_rows(architecture: &Architecture) -> usize {
    architecture.hidden.next_multiple_of(TILE) + architecture.width.next_multiple_of(TILE)
}

/// Refuses networks whose values do not fit into shared memory.
fn check_size<D: Driver>(device: &Cuda<D>, architecture: &Architecture) -> Result<()> {
    let limits = [
        ("channels or rings", azimuth_rows(architecture), MOST_CHANNELS),
        ("hidden and final values", head_rows(architecture), MOST_HEAD_ROWS),
    ];
    match limits.into_iter().find(|(_, size, most)| size > most) {
        None => Ok(()),
        Some((what, size, most)) => Err(Error::Device(format!(
            "the network has {size} {what}, but {} takes at most {most}; use the device cpu",
            device.driver().name()
        ))),
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
        // About as much as the patches themselves.
        let pooled = self.allocate(count * network.architecture.pooled())?;
        let equivariant = self.allocate(count * rings * AZIMUTHS)?;
        self.describe_along_azimuth(network, patches, &frames, &pooled, &equivariant)?;
        let invariant = self.describe_invariant(network, count, &pooled)?;
        Ok(Features { invariant, width, equivariant, rings, frames })
    }
}

impl<D: Driver> Cuda<D> {
    /// The pooled values and the equivariant maps of all patches.
    fn describe_along_azimuth(
        &self,
        network: &CudaNetwork<D>,
        patches: &Patches<Self>,
        frames: &CudaBuffer<Frame, D>,
        pooled: &CudaBuffer<f32, D>,
        equivariant: &CudaBuffer<f32, D>,
    ) -> Result<()> {
        let count = frames.len();
        let shared = shared_bytes(azimuth_rows(&network.architecture));
        let grid = Grid::new(count.div_ceil(GROUP), AZIMUTH_THREADS).with_shared(shared);
        let arguments = arguments![
            &patches.offsets,
            &patches.count,
            frames,
            count,
            &network.grid,
            &network.harmonics,
            &network.network,
            &network.weights,
            &network.values,
            pooled,
            equivariant
        ];
        // SAFETY: there are `count` patches of PATCH_CAPACITY offsets, counts and frames; `network` tells where its layers
        // have their weights and biases; each patch has as many pooled values and rings of AZIMUTHS values as it says.
        unsafe { self.launch(DESCRIBE_ALONG_AZIMUTH, grid, arguments) }
    }

    /// The invariant vectors of `count` patches.
    fn describe_invariant(
        &self,
        network: &CudaNetwork<D>,
        count: usize,
        pooled: &CudaBuffer<f32, D>,
    ) -> Result<CudaBuffer<f32, D>> {
        let invariant = self.allocate(count * network.architecture.width)?;
        let shared = head_shared_bytes(head_rows(&network.architecture));
        let grid = Grid::new(count.div_ceil(HEAD_PATCHES), HEAD_THREADS).with_shared(shared);
        let arguments =
            arguments![pooled, count, &network.network, &network.weights, &network.values, &invariant];
        // SAFETY: as above; each patch has `width` values for its vector.
        unsafe { self.launch(DESCRIBE_INVARIANT, grid, arguments)? };
        Ok(invariant)
    }
}
