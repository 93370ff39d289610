//! The run-time choice of a device: the only place where backends are matched on.

use std::path::Path;
use std::sync::Arc;

use tracing::warn;

use super::method::Method;
#[cfg(feature = "cuda")]
use crate::backend::cuda::{self, Cuda, Installation, Nvidia};
use crate::config::{Azimuth, Config, Descriptor, DeviceChoice};
use crate::error::{Error, Result};
use crate::pipeline::Network;
#[cfg(feature = "cuda")]
use crate::pipeline::Pipeline;
use crate::stages::Backend;
use crate::stages::describe::weights::Weights;

/// A device that computes in place of the CPU.
#[derive(Clone)]
pub(super) struct Accelerator {
    pub method: Arc<dyn Method>,
    /// What results call it.
    pub name: String,
    /// Whether the CPU does what it cannot.
    pub falls_back: bool,
    /// Whether that is an error all the same where it is for want of memory, which others may be able to free.
    pub tells_of_memory: bool,
}

impl Accelerator {
    /// Whether the CPU does what has failed with this error.
    pub fn leaves_to_the_cpu(&self, error: &Error) -> bool {
        match error {
            Error::Device(_) => self.falls_back,
            Error::OutOfMemory(_) => self.falls_back && !self.tells_of_memory,
            _ => false,
        }
    }
}

/// What results call the CPU.
pub(super) const CPU: &str = "cpu";

/// What a user is told when the CPU does what a device could not.
pub(super) fn going_on_with_the_cpu(reason: &str) -> String {
    format!("{reason}; going on with the CPU")
}

/// What computes in place of the CPU, if anything does.
#[derive(Default)]
pub(super) struct Choice {
    pub accelerator: Option<Accelerator>,
    /// Why there is none although there is a device.
    pub warning: Option<String>,
}

/// The CUDA device that the settings ask for; none where they leave it open and there is none that works, or where it
/// does not work and the CPU takes its place.
pub(super) fn choose_cuda(config: &Config, falls_back: bool) -> Result<Choice> {
    let number = match config.device {
        DeviceChoice::Cuda(number) => number,
        DeviceChoice::Auto if cuda_devices() > 0 => 0,
        DeviceChoice::Auto | DeviceChoice::Cpu => return Ok(Choice::default()),
    };
    match open_cuda(number, falls_back, config) {
        Err(Error::Device(reason) | Error::OutOfMemory(reason)) if falls_back => {
            let warning = going_on_with_the_cpu(&reason);
            warn!("{warning}");
            Ok(Choice { accelerator: None, warning: Some(warning) })
        }
        opened => Ok(Choice { accelerator: Some(opened?), warning: None }),
    }
}

/// How many of the first CUDA devices the kernels fit.
#[cfg(feature = "cuda")]
pub(crate) fn cuda_devices() -> usize {
    match cuda::installation() {
        Installation::Ready { devices, .. } => {
            devices.iter().take_while(|device| device.is_supported()).count()
        }
        _ => 0,
    }
}

#[cfg(feature = "cuda")]
fn open_cuda(number: usize, falls_back: bool, config: &Config) -> Result<Accelerator> {
    let backend = Cuda::new(Nvidia::open(number, config.max_gpu_memory)?);
    let network = load_network(&backend, config)?;
    let method = Arc::new(Pipeline { backend, config: config.clone(), network });
    Ok(Accelerator { method, name: format!("cuda:{number}"), falls_back, tells_of_memory: false })
}

#[cfg(not(feature = "cuda"))]
pub(crate) fn cuda_devices() -> usize {
    0
}

#[cfg(not(feature = "cuda"))]
fn open_cuda(_: usize, _: bool, _: &Config) -> Result<Accelerator> {
    let reason = "this program was built without CUDA support; use the device cpu, or build it with the feature `cuda`";
    Err(Error::Device(reason.into()))
}

/// The network of the learned descriptor on the device, where the settings ask for that descriptor.
pub fn load_network<B: Backend>(backend: &B, config: &Config) -> Result<Option<Network<B>>> {
    if config.descriptor == Descriptor::Classic {
        return Ok(None);
    }
    let weights = config.weights.as_deref().map_or_else(Weights::built_in, Weights::read)?;
    let network = Network::load(backend, &weights)?;
    if config.azimuth == Azimuth::CostVolume && !network.has_cost_volume() {
        return Err(Error::Config(no_cost_volume(config.weights.as_deref())));
    }
    Ok(Some(network))
}

fn no_cost_volume(weights: Option<&Path>) -> String {
    let what = weights.map_or("the built-in network".into(), |path| path.display().to_string());
    format!(
        "{what} has no cost volume; give weights of a converted checkpoint that has one, or find the azimuth by correlation"
    )
}
