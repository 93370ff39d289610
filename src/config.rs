//! What a user may set. Everything else follows from the data.

use std::path::PathBuf;

use crate::error::{Error, Result};

/// More threads than this are a mistake.
pub const MOST_THREADS: usize = 1024;

/// Settings of one registration. `Config::default()` is right for almost everybody.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// Where to compute.
    pub device: DeviceChoice,
    /// What describes the surroundings of a keypoint.
    pub descriptor: Descriptor,
    /// File with the weights of the learned descriptor, a compact network's or a converted checkpoint; those built in if
    /// there is none.
    pub weights: Option<PathBuf>,
    /// How the angle about the axis is found between two matched patches.
    pub azimuth: Azimuth,
    /// Edge of the voxels the clouds are thinned to.
    pub voxel: Voxel,
    /// Whether both clouds share an up axis.
    pub gravity: Gravity,
    /// Reserved for random choices: the method has none yet, so that it changes nothing.
    pub seed: u64,
    /// Worker threads, [`MOST_THREADS`] at most; 0 means one per core. Does not change results.
    pub threads: usize,
    /// Whether the estimate is refined on the clouds at the end.
    pub refine: bool,
    /// Most memory of a CUDA device that may be taken, in bytes; all of it if there is no limit.
    pub max_gpu_memory: Option<usize>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            device: DeviceChoice::Auto,
            descriptor: Descriptor::Auto,
            weights: None,
            azimuth: Azimuth::Correlation,
            voxel: Voxel::Auto,
            gravity: Gravity::Auto,
            seed: 0,
            threads: 0,
            refine: true,
            max_gpu_memory: None,
        }
    }
}

impl Config {
    /// Whether the settings are in range and go together, as [`Engine::new`] asks.
    ///
    /// # Errors
    /// [`Error::Config`] for the first setting that is not or does not.
    ///
    /// [`Engine::new`]: crate::Engine::new
    pub fn check(&self) -> Result<()> {
        if let Voxel::Size(size) = self.voxel
            && !(size.is_finite() && size > 0.0)
        {
            return Err(Error::Config(format!("the voxel size must be a positive number, not {size}")));
        }
        if let Gravity::Axis(axis) = self.gravity
            && !(axis.iter().all(|x| x.is_finite()) && axis.iter().any(|x| *x != 0.0))
        {
            return Err(Error::Config(format!(
                "the gravity axis must be three numbers, not all zero, not {axis:?}"
            )));
        }
        if self.weights.is_some() && self.descriptor == Descriptor::Classic {
            let reason =
                "weights are for the learned descriptor; do not ask for the classic one, or give no weights";
            return Err(Error::Config(reason.into()));
        }
        if self.azimuth == Azimuth::CostVolume && self.descriptor == Descriptor::Classic {
            let reason = "the cost volume is for the learned descriptor; do not ask for the classic one, or find the azimuth by correlation";
            return Err(Error::Config(reason.into()));
        }
        if self.threads > MOST_THREADS {
            return Err(Error::Config(format!(
                "{} threads are too many; ask for {MOST_THREADS} at most, or 0 for one per core",
                self.threads
            )));
        }
        Ok(())
    }
}

/// Where to compute.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum DeviceChoice {
    /// The best device that works.
    #[default]
    Auto,
    /// The processor.
    Cpu,
    /// The CUDA device of this number.
    Cuda(usize),
}

/// What describes the surroundings of a keypoint.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Descriptor {
    /// The classic one for a first look, which is enough for most pairs that overlap well; the learned one where
    /// that leaves a doubt.
    #[default]
    Auto,
    /// A small network, see [`crate::stages::describe::learned`], or the published one, see
    /// [`crate::stages::describe::minispinnet`].
    Learned,
    /// Hand-made, without weights; see [`crate::stages::describe::classic`].
    Classic,
}

/// How the angle about the axis is found between two matched patches.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Azimuth {
    /// Where the circular correlation of their maps peaks.
    #[default]
    Correlation,
    /// By the cost volume of a converted checkpoint, for the maps of its network; see [`crate::stages::azimuth`].
    CostVolume,
}

/// How fine the clouds are thinned.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub enum Voxel {
    /// From the data.
    #[default]
    Auto,
    /// This edge, in the clouds' unit.
    Size(f64),
}

/// What is known about the vertical.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub enum Gravity {
    /// Found in the data where both clouds show it, and used where nothing else gives a sure answer.
    #[default]
    Auto,
    /// Unknown; any rotation is searched.
    None,
    /// This axis (any length) points up in both clouds.
    Axis([f64; 3]),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_out_of_range_are_refused_with_the_number() {
        assert!(Config::default().check().is_ok());
        let most = Config { threads: MOST_THREADS, ..Config::default() };
        assert!(most.check().is_ok());
        let refused = |config: Config| config.check().unwrap_err().to_string();
        let threads = refused(Config { threads: MOST_THREADS + 1, ..Config::default() });
        assert!(threads.contains("1025 threads") && threads.contains("1024 at most"), "{threads}");
        let voxel = refused(Config { voxel: Voxel::Size(-0.5), ..Config::default() });
        assert!(voxel.contains("-0.5"), "{voxel}");
        let gravity = refused(Config { gravity: Gravity::Axis([0.0; 3]), ..Config::default() });
        assert!(gravity.contains("[0.0, 0.0, 0.0]"), "{gravity}");
    }
}
