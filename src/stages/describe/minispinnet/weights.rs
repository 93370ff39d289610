//! The weights of a converted checkpoint, from a safetensors file, checked.
//!
//! The tensors have the names of the original's modules, are f32 or f16, and batch normalisation is folded into them:
//! `Desc.…` is the descriptor, `Inlier.…` the cost volume ([`crate::stages::azimuth`]), which may be missing.
//! `training/convert_checkpoint.py` makes such files.

use std::path::Path;

use safetensors::SafeTensors;

use super::{ATTENTION_CHANNELS, CHANNELS, POINT_CHANNELS, SHELLS, WIDTH};
use crate::error::{Error, Result};
use crate::stages::describe::AZIMUTHS;
use crate::stages::describe::learned::Layer;
use crate::stages::describe::weights::tensor_values;

/// A tensor that every checkpoint has and no compact network.
const TELLING: &str = "Desc.pnt_layer.0.weight";
/// Modules of the original from one convolution to the next.
const MODULES_PER_CONVOLUTION: usize = 3;

/// The convolutions of the cost volume: inputs, outputs, and the kernel's sizes along shift, elevation and azimuth.
pub const COST_VOLUME_LAYERS: [(usize, usize, [usize; 3]); 10] = [
    (WIDTH, 32, [3, 3, 3]),
    (32, 64, [3, 3, 3]),
    (64, 64, [3, 1, 3]),
    (64, 128, [3, 1, 3]),
    (128, 128, [3, 1, 3]),
    (128, 64, [3, 1, 3]),
    (64, 64, [3, 1, 3]),
    (64, 32, [3, 1, 3]),
    (32, 32, [3, 1, 3]),
    (32, AZIMUTHS, [2, 1, 2]),
];

/// Cells of the descriptor's kernels along elevation and azimuth.
pub(super) const KERNEL: usize = 3;

/// The input of the `layer`-th convolution (from zero) that the file holds for a place in its kernel. Channels are counted
/// as backends keep them: shells, where there are any, come before the channels of the points, and in the file after.
pub(super) fn input_of(layer: usize, channel: usize, elevation: usize, azimuth: usize) -> usize {
    let channel = match layer {
        0 => channel % POINT_CHANNELS * SHELLS + channel / POINT_CHANNELS,
        _ => channel,
    };
    (channel * KERNEL + elevation) * KERNEL + azimuth
}

/// A checkpoint as its file holds it, on the host. The inputs of a convolution are counted in the order of the file:
/// channel, then (three-dimensional ones only) shell or shift, then elevation, then azimuth.
#[derive(Debug, Clone)]
pub struct Weights {
    /// Coordinates to [`POINT_CHANNELS`].
    pub points: Layer,
    /// The convolutions. The first one's channels are those of the points.
    pub convolutions: Vec<Layer>,
    /// [`WIDTH`] to [`ATTENTION_CHANNELS`], and these to one.
    pub attention: [Layer; 2],
    /// The convolutions of the cost volume, as [`COST_VOLUME_LAYERS`] says.
    pub cost_volume: Option<Vec<Layer>>,
}

impl Weights {
    /// The network in the content of a file; `path` is for messages.
    ///
    /// # Errors
    /// [`Error::Format`] when it holds no converted checkpoint.
    pub fn parse(bytes: &[u8], path: &Path) -> Result<Self> {
        let refusal = |reason: String| {
            let remedy = "convert the original checkpoint anew with training/convert_checkpoint.py";
            Error::format(path, format!("{reason}; {remedy}"))
        };
        let tensors = SafeTensors::deserialize(bytes)
            .map_err(|error| refusal(format!("is no whole safetensors file ({error})")))?;
        Checkpoint(tensors).weights().map_err(refusal)
    }

    /// Whether the content of a file looks like a converted checkpoint.
    pub fn recognises(bytes: &[u8]) -> bool {
        SafeTensors::deserialize(bytes).is_ok_and(|tensors| tensors.tensor(TELLING).is_ok())
    }
}

struct Checkpoint<'a>(SafeTensors<'a>);

impl Checkpoint<'_> {
    fn weights(&self) -> Result<Weights, String> {
        if let Some(name) = self.0.names().into_iter().find(|name| name.ends_with(".running_var")) {
            return Err(format!("its tensor `{name}` belongs to a batch normalisation that is not folded"));
        }
        Ok(Weights {
            points: self.layer("Desc.pnt_layer.0", &[POINT_CHANNELS, 3, 1, 1])?,
            convolutions: (1..CHANNELS.len()).map(|i| self.convolution(i)).collect::<Result<_, _>>()?,
            attention: [
                self.layer("Desc.pool_layer.0", &[ATTENTION_CHANNELS, WIDTH, 1, 1])?,
                self.layer("Desc.pool_layer.3", &[1, ATTENTION_CHANNELS, 1, 1])?,
            ],
            cost_volume: self.cost_volume()?,
        })
    }

    /// The `i`-th convolution of the descriptor, counted from one.
    fn convolution(&self, i: usize) -> Result<Layer, String> {
        let name = format!("Desc.conv_net.ops.{}", MODULES_PER_CONVOLUTION * (i - 1));
        match i {
            1 => self.layer(&name, &[CHANNELS[1], POINT_CHANNELS, SHELLS, 3, 3]),
            _ => self.layer(&name, &[CHANNELS[i], CHANNELS[i - 1], 3, 3]),
        }
    }

    fn cost_volume(&self) -> Result<Option<Vec<Layer>>, String> {
        if !self.0.names().into_iter().any(|name| name.starts_with("Inlier.")) {
            return Ok(None);
        }
        let names = (0..).map(|i| format!("Inlier.conv.ops.{}", MODULES_PER_CONVOLUTION * i));
        let layers = names.zip(COST_VOLUME_LAYERS).map(|(name, (inputs, outputs, kernel))| {
            self.layer(&name, &[outputs, inputs, kernel[0], kernel[1], kernel[2]])
        });
        layers.collect::<Result<_, _>>().map(Some)
    }

    fn layer(&self, name: &str, shape: &[usize]) -> Result<Layer, String> {
        let weight = self.tensor(&format!("{name}.weight"), shape)?;
        let bias = self.tensor(&format!("{name}.bias"), &shape[..1])?;
        Ok(Layer { inputs: shape[1..].iter().product(), weight, bias })
    }

    fn tensor(&self, name: &str, shape: &[usize]) -> Result<Vec<f32>, String> {
        tensor_values(&self.0, name, shape, "MiniSpinNet")
    }
}
