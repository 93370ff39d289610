//! CUDA side: a block takes one patch through the whole network. Kernels: `kernels/minispinnet.cu`.
//!
//! Cells take the same points as on the CPU. Convolutions sum up in another order, so descriptions differ by rounding: by
//! less than 2·10⁻⁶ in every value.

use super::sampling::GRID;
use super::weights::{KERNEL, input_of};
use super::{
    ATTENTION_CHANNELS, CHANNELS, DescribeMiniSpinNet, Features, MAP_RINGS, POINT_CHANNELS, WIDTH, Weights,
};
use crate::backend::Device;
use crate::backend::cuda::{Cuda, CudaBuffer, Driver, Grid, Kernel, arguments};
use crate::error::Result;
use crate::stages::describe::learned::Layer;
use crate::stages::describe::{AZIMUTHS, ELEVATIONS};
use crate::stages::frame::Frame;
use crate::stages::patch::Patches;

const DESCRIBE: Kernel = Kernel::new("minispinnet", "describe_minispinnet");

/// Threads of a block: one for every azimuth and group of channels, as in the kernel.
const THREADS: u32 = (16 * AZIMUTHS) as u32;
/// Channels that the kernel's shared memory has room for.
const MOST_CHANNELS: usize = 128;
/// Elevations, padded to whole vectors.
const COLUMN: usize = 8;
const SHARED_BYTES: usize = AZIMUTHS * MOST_CHANNELS * COLUMN * size_of::<f32>();
const _: () = assert!(ELEVATIONS <= COLUMN);

/// A network on a device.
pub struct CudaMiniSpinNet<D: Driver> {
    /// The cells' centres, then cosine and sine of the azimuths' angles.
    grid: CudaBuffer<f32, D>,
    /// Layer by layer.
    weights: CudaBuffer<f32, D>,
}

fn grid() -> Vec<f32> {
    let turns = GRID.turns.iter().flat_map(|&(cos, sin)| [cos, sin]);
    GRID.centres.as_flattened().iter().copied().chain(turns).collect()
}

/// In the order in which the kernel needs them: of each layer the weights, input by input, and the biases.
fn in_order(weights: &Weights) -> Vec<f32> {
    let [hidden, attention] = &weights.attention;
    let mut ordered = by_input(&weights.points);
    for (number, layer) in weights.convolutions.iter().enumerate() {
        ordered.extend(convolution(number, layer));
    }
    ordered.extend(by_input(hidden));
    ordered.extend(by_input(attention));
    ordered
}

fn number_of_weights() -> usize {
    let layer = |inputs: usize, outputs: usize| (inputs + 1) * outputs;
    let convolutions = CHANNELS.windows(2).map(|pair| layer(KERNEL * KERNEL * pair[0], pair[1]));
    layer(3, POINT_CHANNELS)
        + convolutions.sum::<usize>()
        + layer(WIDTH, ATTENTION_CHANNELS)
        + layer(ATTENTION_CHANNELS, 1)
}

fn by_input(layer: &Layer) -> Vec<f32> {
    (0..layer.inputs).flat_map(|input| layer.column(input)).chain(layer.bias.iter().copied()).collect()
}

/// Azimuths of the kernel are outermost, then come channels, then elevations.
fn convolution(number: usize, layer: &Layer) -> Vec<f32> {
    let places = (0..KERNEL)
        .flat_map(|azimuth| (0..CHANNELS[number]).map(move |channel| (azimuth, channel)))
        .flat_map(|(azimuth, channel)| (0..KERNEL).map(move |elevation| (azimuth, channel, elevation)));
    places
        .flat_map(|(azimuth, channel, elevation)| layer.column(input_of(number, channel, elevation, azimuth)))
        .chain(layer.bias.iter().copied())
        .collect()
}

impl<D: Driver> DescribeMiniSpinNet for Cuda<D> {
    type MiniSpinNet = CudaMiniSpinNet<D>;

    fn load_minispinnet(&self, weights: &Weights) -> Result<CudaMiniSpinNet<D>> {
        let weights = in_order(weights);
        assert_eq!(weights.len(), number_of_weights(), "the kernel reads all of them");
        Ok(CudaMiniSpinNet { grid: self.upload(&grid())?, weights: self.upload(&weights)? })
    }

    fn describe_minispinnet(
        &self,
        patches: &Patches<Self>,
        frames: CudaBuffer<Frame, D>,
        network: &CudaMiniSpinNet<D>,
    ) -> Result<Features<Self>> {
        let count = frames.len();
        let invariant = self.allocate(count * WIDTH)?;
        let equivariant = self.allocate(count * MAP_RINGS * AZIMUTHS)?;
        let grid = Grid::new(count, THREADS).with_shared(SHARED_BYTES);
        let arguments = arguments![
            &patches.offsets,
            &patches.count,
            &frames,
            &network.grid,
            &network.weights,
            &invariant,
            &equivariant,
        ];
        // SAFETY: there are `count` patches of PATCH_CAPACITY offsets, counts and frames; the network has the layers that
        // the kernel goes through; each patch has WIDTH and MAP_RINGS · AZIMUTHS values for its description.
        unsafe { self.launch(DESCRIBE, grid, arguments)? };
        Ok(Features { invariant, width: WIDTH, equivariant, rings: MAP_RINGS, frames })
    }
}
