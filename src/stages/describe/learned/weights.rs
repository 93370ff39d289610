//! The weights of a compact network, from a safetensors file, checked.
//!
//! The header's metadata hold the key `config`, a JSON object: `C` channels, `dils` the dilations of the residual
//! layers, `E` rings of the equivariant map, `D` length of the invariant vector, `hid` hidden values, and what is the
//! same for all networks: `nin`, `k`, `fm`, `rf`. The tensors are f32 or f16: for every layer a matrix `.w`
//! (outputs × inputs) and a vector `.b`; `pg` and `pb` are factors and summands of the pooled values.

use std::path::Path;

use safetensors::SafeTensors;
use serde::Deserialize;

use super::{FEATURES, HARMONICS, RAW_FEATURES, RAW_HARMONICS};
use crate::error::{Error, Result};
use crate::stages::describe::weights::{read_bytes, tensor_values};
use crate::stages::describe::{AZIMUTHS, RINGS};

/// The network that comes with the program.
const BUILT_IN: &[u8] = include_bytes!("../../../../data/weights/compact.safetensors");
/// What messages call it.
const BUILT_IN_NAME: &str = "the built-in weights";

/// Taps of every convolution along the azimuth.
pub(super) const TAPS: usize = 3;
/// No layer of a compact network is wider, and no network deeper, than this.
const MOST_VALUES: usize = 4096;
pub(super) const MOST_LAYERS: usize = 64;

/// Sizes of a network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Architecture {
    /// Channels of the stem and the residual layers.
    pub channels: usize,
    /// Dilation of each residual layer, in sectors.
    pub dilations: Vec<usize>,
    /// Rings of the equivariant map.
    pub rings: usize,
    /// Hidden values before the invariant vector.
    pub hidden: usize,
    /// Length of the invariant vector.
    pub width: usize,
}

/// A linear layer: `outputs = weight · inputs + bias`.
#[derive(Debug, Clone)]
pub struct Layer {
    /// Inputs.
    pub inputs: usize,
    /// Outputs × inputs, row by row.
    pub weight: Vec<f32>,
    /// One per output.
    pub bias: Vec<f32>,
}

impl Layer {
    /// The weights of one input, output by output.
    pub(in crate::stages) fn column(&self, input: usize) -> impl Iterator<Item = f32> {
        self.weight.iter().skip(input).step_by(self.inputs).copied()
    }
}

/// A network as its file holds it, on the host. Channels of cell features are counted `ring · `[`FEATURES`]
/// `+ feature`; taps of a convolution are in order of the azimuth, each with all channels.
#[derive(Debug, Clone)]
pub struct Weights {
    /// The sizes.
    pub architecture: Architecture,
    /// Features of a sector to channels.
    pub stem: Layer,
    /// The residual layers, three taps each.
    pub convolutions: Vec<Layer>,
    /// Channels to the rings of the equivariant map.
    pub equivariant: Layer,
    /// Factors of the pooled values: mean, maximum and harmonics 1, 2, … of the channels, then harmonics 0, 1, … of
    /// the raw features, cell by cell.
    pub pooled_factor: Vec<f32>,
    /// Summands of the pooled values.
    pub pooled_summand: Vec<f32>,
    /// Pooled values to hidden ones.
    pub hidden: Layer,
    /// Hidden values to the invariant vector.
    pub output: Layer,
    /// Pooled values to the invariant vector, past the hidden layer.
    pub skip: Layer,
}

impl Architecture {
    /// Number of pooled values.
    pub fn pooled(&self) -> usize {
        (2 + HARMONICS) * self.channels + RAW_HARMONICS * RINGS * RAW_FEATURES.len()
    }

    /// Multiplications and additions of the layers' products for one patch.
    pub fn operations(&self) -> usize {
        let sector = RINGS * FEATURES * self.channels
            + self.dilations.len() * TAPS * self.channels * self.channels
            + self.channels * self.rings;
        let head = self.pooled() * (self.hidden + self.width) + self.hidden * self.width;
        2 * (AZIMUTHS * sector + head)
    }
}

impl Weights {
    /// The network that comes with the program.
    pub fn built_in() -> Result<Self> {
        Self::parse(BUILT_IN, BUILT_IN_NAME.as_ref())
    }

    /// The network in the file `path`.
    ///
    /// # Errors
    /// [`Error::File`] when it cannot be read, [`Error::Format`] when it holds no compact network.
    pub fn read(path: &Path) -> Result<Self> {
        Self::parse(&read_bytes(path)?, path)
    }

    /// The network in the content of a file; `path` is for messages.
    ///
    /// # Errors
    /// [`Error::Format`] when it holds no compact network.
    pub fn parse(bytes: &[u8], path: &Path) -> Result<Self> {
        Contents::open(bytes).and_then(|contents| contents.weights()).map_err(|reason| refusal(path, &reason))
    }
}

fn refusal(path: &Path, reason: &str) -> Error {
    Error::format(
        path,
        format!(
            "{reason}; give the weights of a compact network or a converted checkpoint, or none for the built-in ones"
        ),
    )
}

/// The sizes as the file names them.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Header {
    #[serde(rename = "C")]
    channels: usize,
    #[serde(rename = "dils")]
    dilations: Vec<usize>,
    #[serde(rename = "E")]
    rings: usize,
    #[serde(rename = "D")]
    width: usize,
    #[serde(rename = "hid")]
    hidden: usize,
    #[serde(rename = "nin")]
    inputs: usize,
    #[serde(rename = "k")]
    taps: usize,
    #[serde(rename = "fm")]
    harmonics: usize,
    #[serde(rename = "rf")]
    raw_harmonics: usize,
}

impl Header {
    fn check(self) -> Result<Architecture, String> {
        let fixed = [
            ("nin", self.inputs, RINGS * FEATURES),
            ("k", self.taps, TAPS),
            ("fm", self.harmonics, HARMONICS),
            ("rf", self.raw_harmonics, RAW_HARMONICS),
        ];
        for (name, found, expected) in fixed {
            if found != expected {
                return Err(format!("its config has {name} = {found}, but this program needs {expected}"));
            }
        }
        let sizes = [("C", self.channels), ("E", self.rings), ("D", self.width), ("hid", self.hidden)];
        for (name, size) in sizes {
            if !(1..=MOST_VALUES).contains(&size) {
                return Err(format!("its config has {name} = {size}, which must be 1 to {MOST_VALUES}"));
            }
        }
        if self.dilations.len() > MOST_LAYERS {
            let count = self.dilations.len();
            return Err(format!("its config has {count} dilations, but at most {MOST_LAYERS} are allowed"));
        }
        if let Some(dilation) = self.dilations.iter().find(|dilation| !(1..AZIMUTHS).contains(*dilation)) {
            return Err(format!(
                "its config has a dilation of {dilation}, which must be 1 to {}",
                AZIMUTHS - 1
            ));
        }
        Ok(Architecture {
            channels: self.channels,
            dilations: self.dilations,
            rings: self.rings,
            hidden: self.hidden,
            width: self.width,
        })
    }
}

/// A file whose header has been understood.
struct Contents<'a> {
    architecture: Architecture,
    tensors: SafeTensors<'a>,
}

impl<'a> Contents<'a> {
    fn open(bytes: &'a [u8]) -> Result<Self, String> {
        let malformed = |error| format!("is no whole safetensors file ({error})");
        let (_, metadata) = SafeTensors::read_metadata(bytes).map_err(malformed)?;
        let config = metadata.metadata().as_ref().and_then(|entries| entries.get("config"));
        let config = config.ok_or("its header has no `config`, so it is no compact network")?;
        let header: Header = serde_json::from_str(config)
            .map_err(|error| format!("its `config` is not that of a compact network ({error})"))?;
        let tensors = SafeTensors::deserialize(bytes).map_err(malformed)?;
        Ok(Self { architecture: header.check()?, tensors })
    }

    fn weights(&self) -> Result<Weights, String> {
        let sizes = &self.architecture;
        let (channels, pooled) = (sizes.channels, sizes.pooled());
        let convolution = |i| self.layer(&format!("conv.{i}"), TAPS * channels, channels);
        Ok(Weights {
            stem: self.layer("stem", RINGS * FEATURES, channels)?,
            convolutions: (0..sizes.dilations.len()).map(convolution).collect::<Result<_, _>>()?,
            equivariant: self.layer("equi", channels, sizes.rings)?,
            pooled_factor: self.tensor("pg", &[pooled])?,
            pooled_summand: self.tensor("pb", &[pooled])?,
            hidden: self.layer("h1", pooled, sizes.hidden)?,
            output: self.layer("h2", sizes.hidden, sizes.width)?,
            skip: self.layer("skip", pooled, sizes.width)?,
            architecture: sizes.clone(),
        })
    }

    fn layer(&self, name: &str, inputs: usize, outputs: usize) -> Result<Layer, String> {
        let weight = self.tensor(&format!("{name}.w"), &[outputs, inputs])?;
        Ok(Layer { inputs, weight, bias: self.tensor(&format!("{name}.b"), &[outputs])? })
    }

    fn tensor(&self, name: &str, shape: &[usize]) -> Result<Vec<f32>, String> {
        tensor_values(&self.tensors, name, shape, "its config")
    }
}
