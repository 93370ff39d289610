//! `coregister.Config` as the library's settings.

use std::path::PathBuf;

use coregister::config::{Azimuth, Config, Descriptor, DeviceChoice, Gravity, MOST_THREADS, Voxel};
use pyo3::prelude::*;

use crate::error::{ConfigError, exception};

/// Raises ConfigError for settings that are out of range.
#[pyfunction]
pub fn check_config(config: &Bound<'_, PyAny>) -> PyResult<()> {
    read_config(config).map(drop)
}

/// The settings of a `coregister.Config`, checked.
pub fn read_config(config: &Bound<'_, PyAny>) -> PyResult<Config> {
    let settings = Config {
        device: setting(config, "device", "\"auto\", \"cpu\", \"cuda\" or \"cuda:N\"", device)?,
        descriptor: setting(config, "descriptor", "\"auto\", \"learned\" or \"classic\"", descriptor)?,
        weights: setting(config, "weights", "a path or None", |value| {
            value.extract::<Option<PathBuf>>().ok()
        })?,
        azimuth: setting(config, "azimuth", "\"correlation\" or \"cost-volume\"", azimuth)?,
        voxel: setting(config, "voxel", "\"auto\" or a length above zero", voxel)?,
        gravity: setting(config, "gravity", "\"auto\", \"none\" or three numbers, not all zero", gravity)?,
        seed: setting(config, "seed", "a whole number from 0 to 2**64 - 1", |value| value.extract().ok())?,
        threads: setting(config, "threads", "a whole number from 1 to 1024, or None", threads)?,
        refine: setting(config, "refine", "True or False", |value| value.extract().ok())?,
        max_gpu_memory: setting(config, "max_gpu_memory", "a number of bytes or None", memory)?,
    };
    settings.check().map_err(exception)?;
    Ok(settings)
}

/// The field `name`; an error that says what was expected where `read` gives nothing.
fn setting<'py, T>(
    config: &Bound<'py, PyAny>,
    name: &str,
    expected: &str,
    read: impl FnOnce(&Bound<'py, PyAny>) -> Option<T>,
) -> PyResult<T> {
    let value = config.getattr(name)?;
    match read(&value) {
        Some(setting) => Ok(setting),
        None => Err(ConfigError::new_err(format!("{name} must be {expected}, not {}", value.repr()?))),
    }
}

fn device(value: &Bound<'_, PyAny>) -> Option<DeviceChoice> {
    let name: String = value.extract().ok()?;
    match name.as_str() {
        "auto" => Some(DeviceChoice::Auto),
        "cpu" => Some(DeviceChoice::Cpu),
        "cuda" => Some(DeviceChoice::Cuda(0)),
        _ => name.strip_prefix("cuda:")?.parse().ok().map(DeviceChoice::Cuda),
    }
}

fn descriptor(value: &Bound<'_, PyAny>) -> Option<Descriptor> {
    match value.extract::<String>().ok()?.as_str() {
        "auto" => Some(Descriptor::Auto),
        "learned" => Some(Descriptor::Learned),
        "classic" => Some(Descriptor::Classic),
        _ => None,
    }
}

fn azimuth(value: &Bound<'_, PyAny>) -> Option<Azimuth> {
    match value.extract::<String>().ok()?.as_str() {
        "correlation" => Some(Azimuth::Correlation),
        "cost-volume" => Some(Azimuth::CostVolume),
        _ => None,
    }
}

fn voxel(value: &Bound<'_, PyAny>) -> Option<Voxel> {
    match value.extract::<String>() {
        Ok(name) => (name == "auto").then_some(Voxel::Auto),
        Err(_) => value.extract().ok().map(Voxel::Size),
    }
}

fn gravity(value: &Bound<'_, PyAny>) -> Option<Gravity> {
    match value.extract::<String>() {
        Ok(name) if name == "auto" => Some(Gravity::Auto),
        Ok(name) if name == "none" => Some(Gravity::None),
        Ok(_) => None,
        Err(_) => value.extract().ok().map(Gravity::Axis),
    }
}

/// The library counts 0 as one per core, Python says None.
fn threads(value: &Bound<'_, PyAny>) -> Option<usize> {
    match value.extract::<Option<usize>>().ok()? {
        None => Some(0),
        Some(threads) => (1..=MOST_THREADS).contains(&threads).then_some(threads),
    }
}

fn memory(value: &Bound<'_, PyAny>) -> Option<Option<usize>> {
    value.extract::<Option<usize>>().ok().filter(|bytes| *bytes != Some(0))
}
