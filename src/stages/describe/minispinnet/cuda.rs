//! CUDA side: a block takes one patch through the whole network. Kernels: `kernels/minispinnet.cu`.
//!
//! Cells take the same points as on the CPU. Convolutions are products on tensor cores of values in two parts and sum up
//! in another order, so descriptions differ by rounding: by less than 2·10⁻⁶ in every value.

use super::sampling::GRID;
use super::weights::{KERNEL, input_of};
use super::{CELLS, CHANNELS, DescribeMiniSpinNet, Features, MAP_RINGS, SAMPLES, WIDTH, Weights};
use crate::backend::Device;
use crate::backend::cuda::{Cuda, CudaBuffer, Driver, Grid, Kernel, arguments};
use crate::error::Result;
use crate::stages::describe::fragments::{Layers, stride_of};
use crate::stages::describe::learned::Layer;
use crate::stages::describe::{AZIMUTHS, ELEVATIONS};
use crate::stages::frame::Frame;
use crate::stages::patch::{PATCH_CAPACITY, Patches};

const DESCRIBE: Kernel = Kernel::new("minispinnet", "describe_minispinnet");

/// Threads of a block, as in the kernel.
const THREADS: u32 = 512;
/// Channels that the kernel's shared memory has room for.
const MOST_CHANNELS: usize = 128;
/// Columns of channels, one for each cell of the map and one of zeros; the points; and which of them the cells have.
const SHARED_BYTES: usize = (ELEVATIONS * AZIMUTHS + 1) * stride_of(MOST_CHANNELS) * size_of::<f32>()
    + PATCH_CAPACITY * size_of::<[f32; 3]>()
    + CELLS * SAMPLES * size_of::<u16>();
// As much as all devices give.
const _: () = assert!(SHARED_BYTES <= 99 << 10);

/// A network on a device.
pub struct CudaMiniSpinNet<D: Driver> {
    /// The cells' centres, then cosine and sine of the azimuths' angles.
    grid: CudaBuffer<f32, D>,
    /// The layer that points go through, and the two of the attention.
    ends: CudaBuffer<f32, D>,
    /// The convolutions, their weights and their biases.
    layers: CudaBuffer<u32, D>,
    weights: CudaBuffer<u32, D>,
    biases: CudaBuffer<f32, D>,
}

fn grid() -> Vec<f32> {
    let turns = GRID.turns.iter().flat_map(|&(cos, sin)| [cos, sin]);
    GRID.centres.as_flattened().iter().copied().chain(turns).collect()
}

fn convolutions(weights: &Weights) -> Layers {
    let mut layers = Layers::default();
    for (number, layer) in weights.convolutions.iter().enumerate() {
        let weight = |tap, channel, output| {
            let input = input_of(number, channel, tap % KERNEL, tap / KERNEL);
            layer.weight[output * layer.inputs + input]
        };
        let sizes = [KERNEL * KERNEL, CHANNELS[number], CHANNELS[number + 1]];
        layers.add(sizes, weight, |output| layer.bias[output]);
    }
    layers
}

fn by_input(layer: &Layer) -> Vec<f32> {
    (0..layer.inputs).flat_map(|input| layer.column(input)).chain(layer.bias.iter().copied()).collect()
}

impl<D: Driver> DescribeMiniSpinNet for Cuda<D> {
    type MiniSpinNet = CudaMiniSpinNet<D>;

    fn load_minispinnet(&self, weights: &Weights) -> Result<CudaMiniSpinNet<D>> {
        let [hidden, attention] = &weights.attention;
        let ends = [&weights.points, hidden, attention].map(by_input).concat();
        let convolutions = convolutions(weights);
        Ok(CudaMiniSpinNet {
            grid: self.upload(&grid())?,
            ends: self.upload(&ends)?,
            layers: self.upload(&convolutions.records)?,
            weights: self.upload(&convolutions.weights())?,
            biases: self.upload(&convolutions.biases)?,
        })
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
            &network.ends,
            &network.layers,
            &network.weights,
            &network.biases,
            &invariant,
            &equivariant,
        ];
        // SAFETY: there are `count` patches of PATCH_CAPACITY offsets, counts and frames; the network has the layers that
        // the kernel goes through; each patch has WIDTH and MAP_RINGS · AZIMUTHS values for its description.
        unsafe { self.launch(DESCRIBE, grid, arguments)? };
        Ok(Features { invariant, width: WIDTH, equivariant, rings: MAP_RINGS, frames })
    }
}
