//! The run-time choice of a device: the only place where backends are matched on.

use std::any::Any;
use std::path::Path;
use std::sync::Arc;

use nalgebra::{Matrix3, Matrix6, Vector3};
use tracing::{debug, info, warn};

#[cfg(feature = "cuda")]
use crate::backend::cuda::{self, Cuda, Installation, Nvidia};
use crate::backend::{Cpu, Device as _};
use crate::cloud::{CloudView, Point};
use crate::config::{Azimuth, Config, Descriptor, DeviceChoice, Gravity, Voxel};
use crate::error::{Error, Result};
use crate::geometry::to_vector;
use crate::pipeline::scan::Scan;
use crate::pipeline::{self, Answer, Candidate, Matches, Network, Pipeline, to_rigid};
use crate::registration::{Details, Evidence, KeypointMatch, Registration, Status, Timings};
use crate::stages::Backend;
use crate::stages::clean::{CanonicalCloud, CanonicalPair, canonical_cloud};
use crate::stages::describe::weights::Weights;
use crate::stages::verify::Agreement;
use crate::stages::verify::judge::{self, FreeMotion};

/// Answers with at least this confidence are accepted.
pub const LEAST_CONFIDENCE: f64 = 0.9;

/// Fewer points in contact than this say nothing about a transform.
const LEAST_CONTACTS: f64 = 20.0;

/// A device that is ready to register pairs. Make one, use it for many pairs.
pub struct Engine {
    /// Always there: it cleans the clouds, and it finishes what an accelerator that was not asked for by name cannot.
    cpu: Pipeline<Cpu>,
    accelerator: Option<Accelerator>,
}

/// A device that computes in place of the CPU.
struct Accelerator {
    method: Box<dyn Method>,
    /// What results call it.
    name: String,
    /// Whether the CPU does what it cannot.
    falls_back: bool,
}

/// The method on some device.
trait Method: Send + Sync {
    /// The cloud, for this device.
    fn scan(&self, cloud: Arc<CanonicalCloud>) -> AnyScan;

    /// Bytes that the device keeps for a cloud.
    fn bytes(&self, scan: &AnyScan) -> usize;

    /// See [`Pipeline::register`]. Nothing is at work on the clouds any more when this returns.
    fn register(&self, source: &AnyScan, target: &AnyScan, timings: &mut Timings) -> Result<Answer>;

    /// The same for [`Pipeline::register_with_matches`].
    fn register_with_matches(
        &self,
        source: &AnyScan,
        target: &AnyScan,
        timings: &mut Timings,
    ) -> Result<(Answer, Matches)>;
}

/// A [`Scan`] on the device of the [`Method`] that made it.
type AnyScan = Box<dyn Any + Send + Sync>;

impl<B: Backend + 'static> Method for Pipeline<B> {
    fn scan(&self, cloud: Arc<CanonicalCloud>) -> AnyScan {
        Box::new(Scan::<B>::new(cloud))
    }

    fn bytes(&self, scan: &AnyScan) -> usize {
        scan.downcast_ref::<Scan<B>>().map_or(0, |scan| scan.bytes(&self.backend))
    }

    fn register(&self, source: &AnyScan, target: &AnyScan, timings: &mut Timings) -> Result<Answer> {
        on_device(&self.backend, source, target, |source, target| self.register(source, target, timings))
    }

    fn register_with_matches(
        &self,
        source: &AnyScan,
        target: &AnyScan,
        timings: &mut Timings,
    ) -> Result<(Answer, Matches)> {
        on_device(&self.backend, source, target, |source, target| {
            self.register_with_matches(source, target, timings)
        })
    }
}

/// Does `work` on clouds that are on the device; nothing is at work on them any more when this returns.
fn on_device<B: Backend + 'static, R>(
    backend: &B,
    source: &AnyScan,
    target: &AnyScan,
    work: impl FnOnce(&Scan<B>, &Scan<B>) -> Result<R>,
) -> Result<R> {
    let (Some(source), Some(target)) = (source.downcast_ref(), target.downcast_ref()) else {
        return Err(Error::Config(PREPARED_ELSEWHERE.into()));
    };
    let answer = work(source, target);
    if answer.is_err() {
        // The error that counts is the first one.
        let _ = backend.wait();
    }
    answer
}

const PREPARED_ELSEWHERE: &str = "a cloud was prepared by an engine with other settings or on another device; prepare it with \
     the engine that registers it";

/// A cloud that is ready to take part in many pairs: what is computed of it for one is kept for the next, on the device
/// of the engine that prepared it, until this is dropped. Answers are the same as those for the clouds themselves.
pub struct PreparedCloud {
    cloud: Arc<CanonicalCloud>,
    cpu: AnyScan,
    accelerated: Option<AnyScan>,
    /// Of the engine that prepared it.
    config: Config,
    device: String,
}

impl PreparedCloud {
    /// Number of usable points.
    pub fn len(&self) -> usize {
        self.cloud.points.len()
    }

    /// Never: a cloud without points cannot be prepared.
    pub fn is_empty(&self) -> bool {
        self.cloud.points.is_empty()
    }
}

impl Engine {
    /// Checks the settings and opens the device.
    ///
    /// # Errors
    /// [`Error::Config`] for settings out of range, [`Error::Device`] for a device that cannot compute,
    /// [`Error::File`] and [`Error::Format`] for weights that cannot be used.
    pub fn new(config: Config) -> Result<Self> {
        let falls_back = config.device == DeviceChoice::Auto;
        Self::with_fallback(config, falls_back)
    }

    /// As [`Engine::new`]; where it `falls_back`, the CPU does what a CUDA device fails to do, named or not.
    pub(crate) fn with_fallback(config: Config, falls_back: bool) -> Result<Self> {
        check(&config)?;
        let accelerator = choose_cuda(&config, falls_back)?;
        Self::assemble(config, accelerator)
    }

    /// An engine on a backend of one's own, which results call `name`. Where it `falls_back`, the CPU does what the
    /// backend fails to do.
    ///
    /// # Errors
    /// As [`Engine::new`].
    pub fn on<B: Backend + 'static>(
        backend: B,
        name: &str,
        falls_back: bool,
        config: Config,
    ) -> Result<Self> {
        check(&config)?;
        let network = load_network(&backend, &config)?;
        let method = Box::new(Pipeline { backend, config: config.clone(), network });
        Self::assemble(config, Some(Accelerator { method, name: name.to_owned(), falls_back }))
    }

    fn assemble(config: Config, accelerator: Option<Accelerator>) -> Result<Self> {
        let backend = Cpu::new(config.threads)?;
        match &accelerator {
            Some(device) => info!("computing on {}", device.name),
            None => info!(threads = backend.run(rayon::current_num_threads), "computing on the CPU"),
        }
        let network = load_network(&backend, &config)?;
        Ok(Self { cpu: Pipeline { backend, config, network }, accelerator })
    }

    /// The settings.
    pub fn config(&self) -> &Config {
        &self.cpu.config
    }

    /// What results call the device.
    pub fn device(&self) -> &str {
        self.accelerator.as_ref().map_or(CPU, |device| &device.name)
    }

    /// Finds the transform that lays `source` onto `target`; see [`Registration`]. A pair without a confident
    /// answer is no error: its status is [`Status::Rejected`].
    ///
    /// # Errors
    /// [`Error::Cloud`] when a cloud has too few usable points or no extent.
    pub fn register<'a>(
        &self,
        source: impl Into<CloudView<'a>>,
        target: impl Into<CloudView<'a>>,
    ) -> Result<Registration> {
        let (source, target) = (source.into(), target.into());
        let mut timings = Timings::default();
        let (source, target) = self.prepare_both(source, target, &mut timings)?;
        self.answer(&source, &target, timings)
    }

    /// The same answer, with what it rests on: for those who want to see why.
    ///
    /// # Errors
    /// As [`Engine::register`].
    pub fn register_with_details<'a>(
        &self,
        source: impl Into<CloudView<'a>>,
        target: impl Into<CloudView<'a>>,
    ) -> Result<(Registration, Details)> {
        let (source, target) = (source.into(), target.into());
        let mut timings = Timings::default();
        let (source, target) = self.prepare_both(source, target, &mut timings)?;
        let ((answer, matches), device) =
            self.compute(&source, &target, &mut timings, |method, s, t, timings| {
                method.register_with_matches(s, t, timings)
            })?;
        let pair = CanonicalPair { source: &source.cloud, target: &target.cloud };
        let details = details(&pair, &answer, &matches);
        Ok((self.registration(&pair, &answer, timings, device), details))
    }

    fn prepare_both(
        &self,
        source: CloudView<'_>,
        target: CloudView<'_>,
        timings: &mut Timings,
    ) -> Result<(PreparedCloud, PreparedCloud)> {
        let prepare = |cloud, role| move || self.prepare_view(cloud, role);
        let (source, target) = timings
            .measure("clean", || self.cpu.backend.both(prepare(source, "source"), prepare(target, "target")));
        Ok((source?, target?))
    }

    /// Makes a cloud ready to take part in many pairs. What is computed of it is computed when the first of them asks
    /// for it.
    ///
    /// # Errors
    /// [`Error::Cloud`] when the cloud has too few usable points or no extent.
    pub fn prepare<'a>(&self, cloud: impl Into<CloudView<'a>>) -> Result<PreparedCloud> {
        self.prepare_as(cloud, "given")
    }

    /// As [`Engine::register`], with clouds that this engine or one with the same settings and device has prepared.
    ///
    /// # Errors
    /// [`Error::Config`] for clouds that were prepared otherwise.
    pub fn register_prepared(&self, source: &PreparedCloud, target: &PreparedCloud) -> Result<Registration> {
        self.answer(source, target, Timings::default())
    }

    /// As [`Engine::prepare`]; errors call it the `role` cloud.
    ///
    /// # Errors
    /// As [`Engine::prepare`].
    pub fn prepare_as<'a>(
        &self,
        cloud: impl Into<CloudView<'a>>,
        role: &'static str,
    ) -> Result<PreparedCloud> {
        self.prepare_view(cloud.into(), role)
    }

    fn prepare_view(&self, cloud: CloudView<'_>, role: &'static str) -> Result<PreparedCloud> {
        let cloud = Arc::new(self.cpu.backend.run(|| canonical_cloud(cloud, role))?);
        if cloud.dropped > 0 {
            let (dropped, points) = (cloud.dropped, cloud.dropped + cloud.points.len());
            warn!(
                "ignoring {dropped} of {points} points of the {role} cloud: not finite, or far from all others"
            );
        }
        Ok(PreparedCloud {
            cpu: self.cpu.scan(cloud.clone()),
            accelerated: self.accelerator.as_ref().map(|device| device.method.scan(cloud.clone())),
            cloud,
            config: self.config().clone(),
            device: self.device().to_owned(),
        })
    }

    /// Bytes that are kept for a cloud on the host and on the device.
    pub(crate) fn bytes(&self, cloud: &PreparedCloud) -> usize {
        let on_device = self.accelerator.as_ref().zip(cloud.accelerated.as_ref());
        size_of_val(&*cloud.cloud.points)
            + self.cpu.bytes(&cloud.cpu)
            + on_device.map_or(0, |(device, scan)| device.method.bytes(scan))
    }

    fn answer(
        &self,
        source: &PreparedCloud,
        target: &PreparedCloud,
        mut timings: Timings,
    ) -> Result<Registration> {
        self.check_prepared(source)?;
        self.check_prepared(target)?;
        let pair = CanonicalPair { source: &source.cloud, target: &target.cloud };
        let (answer, device) = self
            .compute(source, target, &mut timings, |method, s, t, timings| method.register(s, t, timings))?;
        Ok(self.registration(&pair, &answer, timings, device))
    }

    /// The answer in the files' frames and units.
    fn registration(
        &self,
        pair: &CanonicalPair,
        answer: &Answer,
        timings: Timings,
        device: &str,
    ) -> Registration {
        let registration = report(pair, answer, self.config(), timings, device.to_owned());
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
        registration
    }

    /// Whether the cloud was prepared for this engine. The number of threads is nothing that matters.
    fn check_prepared(&self, cloud: &PreparedCloud) -> Result<()> {
        let same_settings = Config { threads: cloud.config.threads, ..self.config().clone() } == cloud.config;
        if same_settings && cloud.device == self.device() {
            return Ok(());
        }
        Err(Error::Config(PREPARED_ELSEWHERE.into()))
    }

    /// The answer and the device that it was computed on: the accelerator, or else the CPU.
    fn compute<R>(
        &self,
        source: &PreparedCloud,
        target: &PreparedCloud,
        timings: &mut Timings,
        register: impl Fn(&dyn Method, &AnyScan, &AnyScan, &mut Timings) -> Result<R>,
    ) -> Result<(R, &str)> {
        if let (Some(device), Some(s), Some(t)) =
            (&self.accelerator, &source.accelerated, &target.accelerated)
        {
            let before = timings.clone();
            match register(device.method.as_ref(), s, t, timings) {
                Err(Error::Device(reason)) if device.falls_back => {
                    warn!("{reason}; going on with the CPU");
                    *timings = before;
                }
                answer => return Ok((answer?, &device.name)),
            }
        }
        Ok((register(&self.cpu, &source.cpu, &target.cpu, timings)?, CPU))
    }
}

/// What results call the CPU.
const CPU: &str = "cpu";

/// The CUDA device that the settings ask for; none where they leave it open and there is none that works, or where it
/// does not work and the CPU takes its place.
fn choose_cuda(config: &Config, falls_back: bool) -> Result<Option<Accelerator>> {
    let number = match config.device {
        DeviceChoice::Cuda(number) => number,
        DeviceChoice::Auto if cuda_devices() > 0 => 0,
        DeviceChoice::Auto | DeviceChoice::Cpu => return Ok(None),
    };
    match open_cuda(number, falls_back, config) {
        Err(Error::Device(reason)) if falls_back => {
            warn!("{reason}; going on with the CPU");
            Ok(None)
        }
        opened => opened.map(Some),
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
    let method = Box::new(Pipeline { backend, config: config.clone(), network });
    Ok(Accelerator { method, name: format!("cuda:{number}"), falls_back })
}

#[cfg(not(feature = "cuda"))]
pub(crate) fn cuda_devices() -> usize {
    0
}

#[cfg(not(feature = "cuda"))]
fn open_cuda(_: usize, _: bool, _: &Config) -> Result<Accelerator> {
    let reason =
        "this program was built without CUDA support; use --device cpu, or build it with the feature `cuda`";
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
        "{what} has no cost volume; give --weights a converted checkpoint that has one, or leave out --azimuth cost-volume"
    )
}

/// Whether the settings are in range and go together, as [`Engine::new`] asks.
///
/// # Errors
/// [`Error::Config`] for the first setting that is not or does not.
pub fn check(config: &Config) -> Result<()> {
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
    let rmse = (answer.observation.squares / count).sqrt() * pair.unit();
    Registration {
        target_from_source: pair.to_file_frames(&to_rigid(&answer.pose)),
        status,
        reason,
        confidence: answer.confidence,
        overlap: f64::from(overlap),
        inliers: answer.candidates.first().map_or(0, |c| c.support.count as usize),
        inlier_rmse: rmse,
        information: information(answer, &target_from_canonical, pair.unit(), rmse),
        unobserved: free.iter().map(|motion| in_words(motion, &target_from_canonical)).collect(),
        timings,
        device,
        seed: config.seed,
    }
}

/// What the answer rests on, in the files' frames and units.
fn details(pair: &CanonicalPair, answer: &Answer, matches: &Matches) -> Details {
    let unit = pair.unit();
    let place =
        |cloud: &CanonicalCloud, p: &Point| cloud.cloud_from_canonical.apply(&(to_vector(p) * unit)).into();
    let keypoints = matches.source.iter().zip(&matches.target).zip(&matches.inlier);
    let keypoint_match = |((s, t), inlier): ((&Point, &Point), &bool)| KeypointMatch {
        source: place(pair.source, s),
        target: place(pair.target, t),
        inlier: *inlier,
    };
    let voxel = f64::from(answer.spacing) * unit;
    Details {
        matches: keypoints.map(keypoint_match).collect(),
        voxel,
        tolerance: f64::from(pipeline::TOLERANCE) * voxel,
        evidence: answer.distinct.iter().map(evidence).collect(),
    }
}

fn evidence(candidate: &Candidate) -> Evidence {
    let Agreement { source_overlap, target_overlap, source_in_front, target_in_front, .. } =
        candidate.agreement;
    Evidence {
        source_overlap: source_overlap.into(),
        target_overlap: target_overlap.into(),
        source_in_front: source_in_front.into(),
        target_in_front: target_in_front.into(),
        inliers: candidate.support.count as usize,
        log_odds: candidate.log_odds.into(),
    }
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
