//! The run-time choice of a device: the only place where backends are matched on.

use std::path::Path;

use nalgebra::{Matrix3, Matrix6, Vector3};
use tracing::{debug, info, warn};

use crate::backend::Cpu;
#[cfg(feature = "cuda")]
use crate::backend::cuda::{self, Cuda, DeviceDescription, Installation, Nvidia};
use crate::cloud::{Cloud, Point};
use crate::config::{Azimuth, Config, Descriptor, DeviceChoice, Gravity, Voxel};
use crate::error::{Error, Result};
use crate::geometry::to_vector;
use crate::pipeline::{Answer, Network, Pipeline, to_rigid};
use crate::registration::{Match, Registration, Status, Timings};
use crate::stages::Backend;
use crate::stages::clean::{CanonicalCloud, CanonicalPair, canonical_pair};
use crate::stages::describe::weights::Weights;
use crate::stages::verify::judge::{self, FreeMotion};

/// Answers with at least this confidence are accepted.
pub const LEAST_CONFIDENCE: f64 = 0.9;

/// Fewer points in contact than this say nothing about a transform.
const LEAST_CONTACTS: f64 = 20.0;

/// A device that is ready to register pairs. Make one, use it for many pairs.
pub struct Engine {
    /// Always there: it cleans the clouds, and it finishes what a CUDA device that was not asked for by name cannot.
    cpu: Pipeline<Cpu>,
    cuda: Option<Box<dyn Method>>,
}

/// The method on some device.
trait Method: Send + Sync {
    /// See [`Pipeline::register`].
    fn register(&self, pair: &CanonicalPair, timings: &mut Timings) -> Result<Answer>;
}

impl<B: Backend> Method for Pipeline<B> {
    fn register(&self, pair: &CanonicalPair, timings: &mut Timings) -> Result<Answer> {
        self.register(pair, timings)
    }
}

impl Engine {
    /// Checks the settings and opens the device.
    ///
    /// # Errors
    /// [`Error::Config`] for settings out of range, [`Error::Device`] for a device that cannot compute,
    /// [`Error::File`] and [`Error::Format`] for weights that cannot be used.
    pub fn new(config: Config) -> Result<Self> {
        check(&config)?;
        let cuda = choose_cuda(&config)?;
        let backend = Cpu::new(config.threads)?;
        match &cuda {
            Some(_) => info!("computing on {}", device_name(config.device)),
            None => info!(threads = backend.run(rayon::current_num_threads), "computing on the CPU"),
        }
        let network = load_network(&backend, &config)?;
        Ok(Self { cpu: Pipeline { backend, config, network }, cuda })
    }

    /// Finds the transform that lays `source` onto `target`; see [`Registration`]. A pair without a confident
    /// answer is no error: its status is [`Status::Rejected`].
    ///
    /// # Errors
    /// [`Error::Cloud`] when a cloud has too few usable points or no extent.
    pub fn register(&self, source: &Cloud, target: &Cloud) -> Result<Registration> {
        let mut timings = Timings::default();
        let cpu = &self.cpu.backend;
        let pair = timings.measure("clean", || cpu.run(|| canonical_pair(source, target)))?;
        warn_of_dropped("source", &pair.source);
        warn_of_dropped("target", &pair.target);
        let (answer, device) = self.answer(&pair, &mut timings)?;
        let registration = report(&pair, &answer, &self.cpu.config, timings, device);
        let Registration { status, reason, confidence, overlap, inliers, .. } = &registration;
        debug!(
            confidence,
            overlap,
            inliers,
            contacts = answer.observation.count,
            reason,
            "{}",
            status.as_str()
        );
        Ok(registration)
    }

    /// The answer and the device that it was computed on.
    fn answer(&self, pair: &CanonicalPair, timings: &mut Timings) -> Result<(Answer, String)> {
        if let Some(cuda) = &self.cuda {
            match (cuda.register(pair, timings), self.cpu.config.device) {
                (Err(Error::Device(reason)), DeviceChoice::Auto) => {
                    warn!("{reason}; going on with the CPU");
                    *timings = Timings::default();
                }
                (answer, choice) => return Ok((answer?, device_name(choice))),
            }
        }
        Ok((self.cpu.register(pair, timings)?, device_name(DeviceChoice::Cpu)))
    }
}

/// What results call a device.
fn device_name(choice: DeviceChoice) -> String {
    match choice {
        DeviceChoice::Cpu => "cpu".into(),
        DeviceChoice::Auto => device_name(DeviceChoice::Cuda(0)),
        DeviceChoice::Cuda(number) => format!("cuda:{number}"),
    }
}

/// The CUDA device that the settings ask for; none where they leave it open and there is none that works.
fn choose_cuda(config: &Config) -> Result<Option<Box<dyn Method>>> {
    match config.device {
        DeviceChoice::Cpu => Ok(None),
        DeviceChoice::Cuda(number) => open_cuda(number, config).map(Some),
        DeviceChoice::Auto if !has_cuda() => Ok(None),
        DeviceChoice::Auto => match open_cuda(0, config) {
            Err(Error::Device(reason)) => {
                warn!("{reason}; going on with the CPU");
                Ok(None)
            }
            opened => opened.map(Some),
        },
    }
}

/// Whether there is a CUDA device that the kernels fit.
#[cfg(feature = "cuda")]
fn has_cuda() -> bool {
    match cuda::installation() {
        Installation::Ready { devices, .. } => devices.first().is_some_and(DeviceDescription::is_supported),
        _ => false,
    }
}

#[cfg(feature = "cuda")]
fn open_cuda(number: usize, config: &Config) -> Result<Box<dyn Method>> {
    let backend = Cuda::new(Nvidia::open(number, None)?);
    let network = load_network(&backend, config)?;
    Ok(Box::new(Pipeline { backend, config: config.clone(), network }))
}

#[cfg(not(feature = "cuda"))]
fn has_cuda() -> bool {
    false
}

#[cfg(not(feature = "cuda"))]
fn open_cuda(_: usize, _: &Config) -> Result<Box<dyn Method>> {
    let reason =
        "this program was built without CUDA support; use --device cpu, or build it with the feature `cuda`";
    Err(Error::Device(reason.into()))
}

fn warn_of_dropped(name: &str, cloud: &CanonicalCloud) {
    if cloud.dropped > 0 {
        let (dropped, points) = (cloud.dropped, cloud.dropped + cloud.points.len());
        warn!("ignoring {dropped} of {points} points of the {name}: not finite, or far from all others");
    }
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
        "{what} has no cost volume; give --weights a converted checkpoint that has one, or leave out --azimuth cost-volume"
    )
}

fn check(config: &Config) -> Result<()> {
    if let Voxel::Size(size) = config.voxel
        && !(size.is_finite() && size > 0.0)
    {
        return Err(Error::Config(format!("the voxel size must be a positive number, not {size}")));
    }
    if let Gravity::Axis(axis) = config.gravity
        && !(axis.iter().all(|x| x.is_finite()) && axis.iter().any(|x| *x != 0.0))
    {
        return Err(Error::Config(format!(
            "the gravity axis must be three numbers, not all zero, not {axis:?}"
        )));
    }
    if config.weights.is_some() && config.descriptor == Descriptor::Classic {
        let reason =
            "weights are for the learned descriptor; do not ask for the classic one, or give no weights";
        return Err(Error::Config(reason.into()));
    }
    if config.azimuth == Azimuth::CostVolume && config.descriptor == Descriptor::Classic {
        let reason = "the cost volume is for the learned descriptor; do not ask for the classic one, or leave out --azimuth cost-volume";
        return Err(Error::Config(reason.into()));
    }
    Ok(())
}

/// The answer in the files' frames and units.
fn report(
    pair: &CanonicalPair,
    answer: &Answer,
    config: &Config,
    timings: Timings,
    device: String,
) -> Registration {
    let target_from_canonical = pair.target.cloud_from_canonical.rotation;
    let free = judge::free_motions(&answer.observation);
    let (status, reason) = verdict(answer, &free);
    let overlap = answer.candidates.first().map_or(0.0, |c| c.agreement.source_overlap);
    let count = answer.observation.count.max(1.0);
    let rmse = (answer.observation.squares / count).sqrt() * pair.unit;
    Registration {
        target_from_source: pair.to_file_frames(&to_rigid(&answer.pose)),
        status,
        reason,
        confidence: answer.confidence,
        overlap: f64::from(overlap),
        inliers: answer.candidates.first().map_or(0, |c| c.support.count as usize),
        matches: matches(pair, answer),
        inlier_rmse: rmse,
        information: information(answer, &target_from_canonical, pair.unit, rmse),
        unobserved: free.iter().map(|motion| in_words(motion, &target_from_canonical)).collect(),
        timings,
        device,
        seed: config.seed,
    }
}

/// The matches in the files' frames and units.
fn matches(pair: &CanonicalPair, answer: &Answer) -> Vec<Match> {
    let in_file = |cloud: &CanonicalCloud, point: &Point| {
        cloud.cloud_from_canonical.apply(&(to_vector(point) * pair.unit))
    };
    let matched = |[source, target]: &[Point; 2]| Match {
        source: in_file(&pair.source, source),
        target: in_file(&pair.target, target),
    };
    answer.matches.iter().map(matched).collect()
}

fn verdict(answer: &Answer, free: &[FreeMotion]) -> (Status, String) {
    if answer.candidates.is_empty() {
        return (Status::Rejected, "no part of one cloud resembles a part of the other".into());
    }
    if answer.observation.count < LEAST_CONTACTS {
        return (
            Status::Rejected,
            "too little of the two surfaces meets to tell whether they belong together".into(),
        );
    }
    if !free.is_empty() {
        let reason = "the overlap does not determine the transform: the surfaces slide or turn on each other";
        return (Status::Rejected, reason.into());
    }
    if answer.confidence < LEAST_CONFIDENCE {
        let reason = format!(
            "the clouds do not agree clearly enough on this transform: confidence {:.2}, {LEAST_CONFIDENCE} is needed",
            answer.confidence
        );
        return (Status::Rejected, reason);
    }
    (Status::Accepted, String::new())
}

/// `Σ J Jᵀ / σ²`, turned to the target file's axes and divided by the unit where a length enters.
fn information(answer: &Answer, turn: &Matrix3<f64>, unit: f64, rmse: f64) -> [[f64; 6]; 6] {
    let mut both = Matrix6::zeros();
    both.fixed_view_mut::<3, 3>(0, 0).copy_from(&(turn * unit));
    both.fixed_view_mut::<3, 3>(3, 3).copy_from(turn);
    let canonical = Matrix6::from_fn(|r, c| answer.observation.normal_matrix[6 * r + c]);
    let variance = rmse * rmse;
    let scale = if variance > 0.0 { 1.0 / variance } else { 0.0 };
    let matrix = both * canonical * both.transpose() * scale;
    std::array::from_fn(|r| std::array::from_fn(|c| matrix[(r, c)]))
}

fn in_words(motion: &FreeMotion, turn: &Matrix3<f64>) -> String {
    let (what, axis): (_, &Vector3<f64>) = match motion {
        FreeMotion::Rotation(axis) => ("rotation about", axis),
        FreeMotion::Translation(axis) => ("translation along", axis),
    };
    let axis = turn * axis;
    format!("{what} ({:.2}, {:.2}, {:.2})", axis.x, axis.y, axis.z)
}
