//! Files with weights: a compact network ([`super::learned`]) or a converted checkpoint ([`super::minispinnet`]).

use std::io::Read as _;
use std::path::Path;

use half::f16;
use half::slice::HalfFloatSliceExt as _;
use safetensors::{Dtype, SafeTensors, tensor::TensorView};

use super::{learned, minispinnet};
use crate::error::{Error, Result};

/// Largest file that is read, in bytes. Compact networks and converted checkpoints have a few megabytes.
const LARGEST_FILE: u64 = 1 << 28;

/// What such a file holds, on the host.
pub enum Weights {
    /// A compact network.
    Compact(learned::Weights),
    /// The published network, perhaps with its cost volume.
    MiniSpinNet(minispinnet::Weights),
}

impl Weights {
    /// The network that comes with the program.
    pub fn built_in() -> Result<Self> {
        learned::Weights::built_in().map(Self::Compact)
    }

    /// The network in the file `path`, of either kind.
    ///
    /// # Errors
    /// [`Error::File`] when it cannot be read, [`Error::Format`] when it holds neither kind of network.
    pub fn read(path: &Path) -> Result<Self> {
        let bytes = read_bytes(path)?;
        if minispinnet::Weights::recognises(&bytes) {
            return minispinnet::Weights::parse(&bytes, path).map(Self::MiniSpinNet);
        }
        learned::Weights::parse(&bytes, path).map(Self::Compact)
    }
}

/// A file's content, unless it is too large to hold weights.
pub(super) fn read_bytes(path: &Path) -> Result<Vec<u8>> {
    let unreadable = |source| Error::file("read", path, source);
    let file = std::fs::File::open(path).map_err(unreadable)?;
    let mut bytes = Vec::new();
    // One byte more than is allowed tells files of that size from larger ones, and from devices without an end.
    file.take(LARGEST_FILE + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    if bytes.len() as u64 > LARGEST_FILE {
        let reason = format!(
            "has more than {LARGEST_FILE} bytes, which no weights have; give another file of weights"
        );
        return Err(Error::format(path, reason));
    }
    Ok(bytes)
}

/// The values of a tensor of this shape, as `who` asks for it.
pub(super) fn tensor_values(
    tensors: &SafeTensors,
    name: &str,
    shape: &[usize],
    who: &str,
) -> Result<Vec<f32>, String> {
    let tensor = tensors.tensor(name).map_err(|_| format!("has no tensor `{name}`"))?;
    if tensor.shape() != shape {
        let found = tensor.shape();
        return Err(format!("its tensor `{name}` has the shape {found:?}, but {who} asks for {shape:?}"));
    }
    let values = values(&tensor)
        .ok_or_else(|| format!("its tensor `{name}` is of the type {}, not F32 or F16", tensor.dtype()))?;
    match values.iter().position(|value| !value.is_finite()) {
        Some(index) => Err(format!("its tensor `{name}` holds {} at place {index}", values[index])),
        None => Ok(values),
    }
}

fn values(tensor: &TensorView) -> Option<Vec<f32>> {
    match tensor.dtype() {
        Dtype::F32 => {
            Some(tensor.data().as_chunks().0.iter().map(|word| f32::from_le_bytes(*word)).collect())
        }
        Dtype::F16 => {
            // A whole slice is converted by the processor's own instruction, where single numbers are not.
            let words = tensor.data().as_chunks().0.iter();
            Some(words.map(|word| f16::from_le_bytes(*word)).collect::<Vec<_>>().to_f32_vec())
        }
        _ => None,
    }
}
