//! CUDA side of the cost volume: a block takes one match through all convolutions. Kernels: `kernels/cost_volume.cu`.
//!
//! The first convolution is taken apart into the source's part and the target's. Angles differ from the CPU's by rounding:
//! by less than 10⁻⁵ cells for maps of the published network.

use super::input_of;
use crate::backend::Device;
use crate::backend::cuda::{Cuda, CudaBuffer, Driver, Grid, Kernel, arguments};
use crate::error::Result;
use crate::stages::azimuth::AlignByCostVolume;
use crate::stages::describe::learned::Layer;
use crate::stages::describe::minispinnet::COST_VOLUME_LAYERS;
use crate::stages::matching::Match;

const ALIGN: Kernel = Kernel::new("cost_volume", "align_by_cost_volume");

const THREADS: u32 = 512;
/// Values in shared memory, as in the kernel: the most between two convolutions, and both maps under the first one.
const SHARED_VALUES: usize = 12 * 12 * 128 + 2 * 3 * 32 * 20;

/// The cost volume on a device: the weights in the order in which the kernel needs them.
pub struct CudaCostVolume<D: Driver>(CudaBuffer<f32, D>);

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

fn number_of_weights() -> usize {
    let (inputs, outputs, [_, elevations, azimuths]) = COST_VOLUME_LAYERS[0];
    let layers = COST_VOLUME_LAYERS
        .iter()
        .map(|(inputs, outputs, kernel)| (inputs * kernel.iter().product::<usize>() + 1) * outputs);
    layers.sum::<usize>() + inputs * elevations * azimuths * outputs
}

impl<D: Driver> AlignByCostVolume for Cuda<D> {
    type CostVolume = CudaCostVolume<D>;

    fn load_cost_volume(&self, layers: &[Layer]) -> Result<CudaCostVolume<D>> {
        let mut weights = Vec::new();
        for (number, (layer, (_, _, kernel))) in layers.iter().zip(COST_VOLUME_LAYERS).enumerate() {
            let ordered = in_order(layer, kernel);
            weights.extend_from_slice(&ordered);
            if number == 0 {
                weights.extend(summed_over_shifts(&ordered, kernel));
            }
            weights.extend_from_slice(&layer.bias);
        }
        assert_eq!(weights.len(), number_of_weights(), "the kernel reads all of them");
        Ok(CudaCostVolume(self.upload(&weights)?))
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
        let arguments = arguments![source, target, matches, &volume.0, &angles];
        // SAFETY: matches hold indices of maps of the published network; the weights are those of all layers; there is an
        // angle for each match.
        unsafe { self.launch(ALIGN, grid, arguments)? };
        Ok(angles)
    }
}
