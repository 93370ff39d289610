//! CUDA side of the cost volume: a block takes one match through all convolutions. Kernels: `kernels/cost_volume.cu`.
//!
//! The first convolution is taken apart into the source's part and the target's. Those that follow are products on tensor
//! cores of values in two parts. Angles differ from the CPU's by rounding: by less than 10⁻⁵ cells for maps of the
//! published network.

use super::input_of;
use crate::backend::Device;
use crate::backend::cuda::{Cuda, CudaBuffer, Driver, Grid, Kernel, arguments};
use crate::error::Result;
use crate::stages::azimuth::AlignByCostVolume;
use crate::stages::describe::fragments::{Layers, stride_of};
use crate::stages::describe::learned::Layer;
use crate::stages::describe::minispinnet::COST_VOLUME_LAYERS;
use crate::stages::matching::Match;

const ALIGN: Kernel = Kernel::new("cost_volume", "align_by_cost_volume");

const THREADS: u32 = 512;
/// Values in shared memory, as in the kernel: the most columns between two convolutions, and both maps under the first one.
const SHARED_VALUES: usize = 12 * 12 * stride_of(128) + 2 * 3 * 32 * 20;
// As much as all devices give.
const _: () = assert!(SHARED_VALUES * size_of::<f32>() <= 99 << 10);

/// The cost volume on a device.
pub struct CudaCostVolume<D: Driver> {
    /// The first convolution, for the source and for the target, and the last one.
    ends: CudaBuffer<f32, D>,
    /// The convolutions between, their weights and their biases.
    layers: CudaBuffer<u32, D>,
    weights: CudaBuffer<u32, D>,
    biases: CudaBuffer<f32, D>,
}

/// Weights by elevation of the kernel, shift, channel, azimuth, output.
fn in_order(layer: &Layer, kernel: [usize; 3]) -> Vec<f32> {
    let [shifts, elevations, azimuths] = kernel;
    let channels = layer.inputs / (shifts * elevations * azimuths);
    let mut ordered = Vec::with_capacity(layer.weight.len());
    for elevation in 0..elevations {
        for shift in 0..shifts {
            for channel in 0..channels {
                for azimuth in 0..azimuths {
                    ordered.extend(layer.column(input_of(channel, [shift, elevation, azimuth], kernel)));
                }
            }
        }
    }
    ordered
}

/// Weights in that order, summed up over the shifts: what the first convolution makes of a map that no shift moves.
fn summed_over_shifts(ordered: &[f32], kernel: [usize; 3]) -> Vec<f32> {
    let [shifts, elevations, _] = kernel;
    let size = ordered.len() / (shifts * elevations);
    let sum = |elevation: &[f32], i: usize| {
        elevation.iter().skip(i).step_by(size).map(|x| f64::from(*x)).sum::<f64>()
    };
    ordered
        .chunks_exact(shifts * size)
        .flat_map(|elevation| (0..size).map(move |i| sum(elevation, i) as f32))
        .collect()
}

/// The first convolution, for the source and for the target, and the last one.
fn ends(layers: &[Layer]) -> Vec<f32> {
    let (first, last) = (0, COST_VOLUME_LAYERS.len() - 1);
    let ordered = |number: usize| in_order(&layers[number], COST_VOLUME_LAYERS[number].2);
    let for_source = ordered(first);
    let for_target = summed_over_shifts(&for_source, COST_VOLUME_LAYERS[first].2);
    [&for_source, &for_target, &layers[first].bias, &ordered(last), &layers[last].bias]
        .map(|part| &part[..])
        .concat()
}

/// The convolutions between; their taps are elevation of the kernel, shift, azimuth.
fn between(layers: &[Layer]) -> Layers {
    let mut between = Layers::default();
    let last = COST_VOLUME_LAYERS.len() - 1;
    for (layer, (inputs, outputs, kernel)) in layers.iter().zip(COST_VOLUME_LAYERS).take(last).skip(1) {
        let [shifts, _, azimuths] = kernel;
        let weight = |tap: usize, channel: usize, output: usize| {
            let place = [tap / azimuths % shifts, tap / (shifts * azimuths), tap % azimuths];
            layer.weight[output * layer.inputs + input_of(channel, place, kernel)]
        };
        between.add([kernel.iter().product(), inputs, outputs], weight, |output| layer.bias[output]);
    }
    between
}

impl<D: Driver> AlignByCostVolume for Cuda<D> {
    type CostVolume = CudaCostVolume<D>;

    fn load_cost_volume(&self, layers: &[Layer]) -> Result<CudaCostVolume<D>> {
        let between = between(layers);
        Ok(CudaCostVolume {
            ends: self.upload(&ends(layers))?,
            layers: self.upload(&between.records)?,
            weights: self.upload(&between.weights())?,
            biases: self.upload(&between.biases)?,
        })
    }

    fn align_by_cost_volume(
        &self,
        source: &CudaBuffer<f32, D>,
        target: &CudaBuffer<f32, D>,
        volume: &CudaCostVolume<D>,
        matches: &CudaBuffer<Match, D>,
    ) -> Result<CudaBuffer<f32, D>> {
        let angles = self.allocate(matches.len())?;
        let grid = Grid::new(matches.len(), THREADS).with_shared(SHARED_VALUES * size_of::<f32>());
        let CudaCostVolume { ends, layers, weights, biases } = volume;
        let arguments = arguments![source, target, matches, ends, layers, weights, biases, &angles];
        // SAFETY: matches hold indices of maps of the published network; the weights are those of all layers; there is an
        // angle for each match.
        unsafe { self.launch(ALIGN, grid, arguments)? };
        Ok(angles)
    }
}
