//! The flags that choose and tune the method, and the one place where they become a [`Config`].

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use coregister::batch::Devices;
use coregister::config::{Azimuth, Config, Descriptor, DeviceChoice, Gravity, MOST_THREADS, Voxel};

/// Flags shared by `register` and `evaluate`.
#[derive(Debug, Args)]
#[command(next_help_heading = "Method")]
pub struct MethodFlags {
    /// Where to compute: auto, cpu, cuda or cuda:N
    #[arg(long, value_name = "DEVICE", default_value = "auto", value_parser = parse_device)]
    device: DeviceChoice,

    #[command(flatten)]
    settings: Settings,
}

/// Flags that are shared with `batch`, which chooses its devices otherwise.
#[derive(Debug, Args)]
#[command(next_help_heading = "Method")]
pub struct Settings {
    /// What describes the surroundings of a point
    #[arg(long, value_enum, default_value = "auto")]
    descriptor: DescriptorName,

    /// Weights of the learned descriptor (.safetensors), in place of the built-in ones: a compact network, or a BUFFER
    /// or BUFFER-X checkpoint that training/convert_checkpoint.py converted
    #[arg(long, value_name = "FILE")]
    weights: Option<PathBuf>,

    /// How the angle between two matched patches is found
    #[arg(long, value_enum, default_value = "correlation")]
    azimuth: AzimuthName,

    /// Edge of the voxels that both clouds are thinned to, in their unit; auto derives it from the data
    #[arg(long, value_name = "auto|SIZE", default_value = "auto", value_parser = parse_voxel)]
    #[arg(allow_hyphen_values = true)]
    voxel: Voxel,

    /// Up axis that both clouds share: auto looks for one, none searches any rotation, x,y,z gives it
    #[arg(long, value_name = "auto|none|X,Y,Z", default_value = "auto", value_parser = parse_gravity)]
    #[arg(allow_hyphen_values = true)]
    gravity: Gravity,

    /// Repeated in the answer; nothing in the method is random, so it changes nothing
    #[arg(long, value_name = "NUMBER", default_value_t = 0, allow_negative_numbers = true)]
    seed: u64,

    /// Worker threads; one per core if left out. Changes the speed, never the answer
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    #[arg(value_parser = clap::value_parser!(u16).range(1..=MOST_THREADS as i64))]
    threads: Option<u16>,

    /// Stop at the estimate from matches; do not refine it on the clouds
    #[arg(long)]
    no_refine: bool,
}

impl MethodFlags {
    /// The settings.
    pub fn config(&self) -> Config {
        Config { device: self.device, ..self.settings.config() }
    }
}

impl Settings {
    /// The settings, with the device left open.
    pub fn config(&self) -> Config {
        Config {
            device: DeviceChoice::Auto,
            descriptor: self.descriptor.into(),
            weights: self.weights.clone(),
            azimuth: self.azimuth.into(),
            voxel: self.voxel,
            gravity: self.gravity,
            seed: self.seed,
            threads: self.threads.map_or(0, usize::from),
            refine: !self.no_refine,
            max_gpu_memory: None,
        }
    }
}

/// The names of the descriptors on the command line.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum DescriptorName {
    /// Classic for a first look, learned where that leaves a doubt
    Auto,
    /// A small network
    Learned,
    /// Hand-made surface statistics
    Classic,
}

impl From<DescriptorName> for Descriptor {
    fn from(name: DescriptorName) -> Self {
        match name {
            DescriptorName::Auto => Self::Auto,
            DescriptorName::Learned => Self::Learned,
            DescriptorName::Classic => Self::Classic,
        }
    }
}

/// The names of the ways to find an azimuth on the command line.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum AzimuthName {
    /// Circular correlation of the patches' maps
    Correlation,
    /// The network of a converted checkpoint, as in the original method
    CostVolume,
}

impl From<AzimuthName> for Azimuth {
    fn from(name: AzimuthName) -> Self {
        match name {
            AzimuthName::Correlation => Self::Correlation,
            AzimuthName::CostVolume => Self::CostVolume,
        }
    }
}

fn parse_device(text: &str) -> Result<DeviceChoice, String> {
    match text.split_once(':') {
        None if text == "auto" => Ok(DeviceChoice::Auto),
        None if text == "cpu" => Ok(DeviceChoice::Cpu),
        None if text == "cuda" => Ok(DeviceChoice::Cuda(0)),
        Some(("cuda", number)) => {
            let number = number.parse().map_err(|_| format!("`{number}` is no device number"))?;
            Ok(DeviceChoice::Cuda(number))
        }
        _ => Err("give auto, cpu, cuda or cuda:N".to_owned()),
    }
}

/// For [`Devices`] on the command line.
pub fn parse_devices(text: &str) -> Result<Devices, String> {
    match text {
        "all" => Ok(Devices::All),
        "cpu" => Ok(Devices::Cpu),
        _ => {
            let numbers: Result<Vec<usize>, _> =
                text.split(',').map(|number| number.trim().parse()).collect();
            let wrong = |_| "give all, cpu, or numbers of CUDA devices such as 0,1".to_owned();
            let mut numbers = numbers.map_err(wrong)?;
            numbers.sort_unstable();
            numbers.dedup();
            Ok(Devices::Cuda(numbers))
        }
    }
}

fn parse_voxel(text: &str) -> Result<Voxel, String> {
    if text == "auto" {
        return Ok(Voxel::Auto);
    }
    match text.parse() {
        Ok(size) if size > 0.0 && f64::is_finite(size) => Ok(Voxel::Size(size)),
        _ => Err("give auto or a length above zero".to_owned()),
    }
}

fn parse_gravity(text: &str) -> Result<Gravity, String> {
    match text {
        "auto" => Ok(Gravity::Auto),
        "none" => Ok(Gravity::None),
        _ => parse_axis(text).map(Gravity::Axis).ok_or_else(|| {
            "give auto, none, or three finite numbers that are not all zero, such as 0,0,1".to_owned()
        }),
    }
}

fn parse_axis(text: &str) -> Option<[f64; 3]> {
    let numbers: Vec<f64> =
        text.split(',').map(|number| number.trim().parse().ok()).collect::<Option<_>>()?;
    let axis: [f64; 3] = numbers.try_into().ok()?;
    let usable = axis.iter().all(|x| x.is_finite()) && axis.iter().any(|x| *x != 0.0);
    usable.then_some(axis)
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Harness {
        #[command(flatten)]
        method: MethodFlags,
    }

    /// The settings that `arguments` (separated by spaces) give; `None` when they are refused.
    fn config(arguments: &str) -> Option<Config> {
        let words = std::iter::once("test").chain(arguments.split_whitespace());
        Some(Harness::try_parse_from(words).ok()?.method.config())
    }

    #[test]
    fn no_flags_give_the_default() {
        assert_eq!(config(""), Some(Config::default()));
    }

    #[test]
    fn device() {
        assert_eq!(config("--device cpu").unwrap().device, DeviceChoice::Cpu);
        assert_eq!(config("--device auto").unwrap().device, DeviceChoice::Auto);
        assert_eq!(parse_device("cuda"), Ok(DeviceChoice::Cuda(0)));
        assert_eq!(parse_device("cuda:3"), Ok(DeviceChoice::Cuda(3)));
        for wrong in ["gpu", "cuda:", "cuda:-1", "cuda:x", "cpu:0", ""] {
            assert!(parse_device(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn descriptor() {
        assert_eq!(config("--descriptor classic").unwrap().descriptor, Descriptor::Classic);
        assert_eq!(config("--descriptor learned").unwrap().descriptor, Descriptor::Learned);
        assert!(config("--descriptor fancy").is_none());
    }

    #[test]
    fn weights() {
        let config = config("--descriptor learned --weights a.safetensors").unwrap();
        assert_eq!(config.weights, Some("a.safetensors".into()));
    }

    #[test]
    fn azimuth() {
        assert_eq!(config("--azimuth cost-volume").unwrap().azimuth, Azimuth::CostVolume);
        assert_eq!(config("--azimuth correlation").unwrap().azimuth, Azimuth::Correlation);
        assert!(config("--azimuth north").is_none());
    }

    #[test]
    fn voxel() {
        assert_eq!(config("--voxel 0.05").unwrap().voxel, Voxel::Size(0.05));
        assert_eq!(config("--voxel auto").unwrap().voxel, Voxel::Auto);
        for wrong in ["0", "-1", "nan", "inf", "5cm"] {
            assert!(config(&format!("--voxel {wrong}")).is_none(), "{wrong}");
        }
    }

    #[test]
    fn gravity() {
        assert_eq!(config("--gravity auto").unwrap().gravity, Gravity::Auto);
        assert_eq!(config("--gravity none").unwrap().gravity, Gravity::None);
        assert_eq!(config("--gravity -0.1,0,9.8").unwrap().gravity, Gravity::Axis([-0.1, 0.0, 9.8]));
        for wrong in ["0,0,0", "0,1", "0,0,1,0", "a,b,c", "0,0,inf", "up"] {
            assert!(config(&format!("--gravity {wrong}")).is_none(), "{wrong}");
        }
    }

    #[test]
    fn seed() {
        assert_eq!(config("--seed 18446744073709551615").unwrap().seed, u64::MAX);
        assert!(config("--seed -1").is_none());
    }

    #[test]
    fn threads() {
        assert_eq!(config("--threads 3").unwrap().threads, 3);
        for wrong in ["0", "1025", "-2", "two"] {
            assert!(config(&format!("--threads {wrong}")).is_none(), "{wrong}");
        }
    }

    #[test]
    fn no_refine() {
        assert!(!config("--no-refine").unwrap().refine);
    }
}
