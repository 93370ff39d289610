//! What users hold: a device that is ready to register pairs.
//!
//! `device` chooses it at run time, `method` hides which one it is, `answer` puts what comes out into the frames and
//! units of the files.

mod answer;
mod device;
mod method;

use std::sync::Arc;

use tracing::{debug, info, warn};

use crate::backend::{Cpu, Device as _};
use crate::cloud::CloudView;
use crate::config::{Config, DeviceChoice};
use crate::error::{Error, Result};
use crate::pipeline::{Answer, Pipeline};
use crate::registration::{Details, Registration, Timings};
use crate::stages::Backend;
use crate::stages::clean::{CanonicalCloud, CanonicalPair, canonical_cloud};

pub use answer::LEAST_CONFIDENCE;
pub(crate) use device::cuda_devices;
pub use device::load_network;
use device::{Accelerator, CPU, Choice, choose_cuda, going_on_with_the_cpu};
use method::{AnyScan, Method, PREPARED_ELSEWHERE};

/// A device that is ready to register pairs. Make one, use it for many pairs.
pub struct Engine {
    /// Always there: it cleans the clouds, and it finishes what an accelerator that was not asked for by name cannot.
    cpu: Arc<Pipeline<Cpu>>,
    accelerator: Option<Accelerator>,
    /// Why the CPU computes in place of a device that could not be opened; every answer repeats it.
    warning: Option<String>,
}

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

    /// What to tell of points that were left out, if there are any.
    fn warning(&self, role: &str) -> Option<String> {
        let (dropped, points) = (self.cloud.dropped, self.cloud.dropped + self.cloud.points.len());
        (dropped > 0).then(|| {
            format!(
                "ignoring {dropped} of {points} points of the {role} cloud: not finite, or far from all others"
            )
        })
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
        config.check()?;
        let choice = choose_cuda(&config, falls_back)?;
        Self::assemble(config, choice)
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
        config.check()?;
        let network = load_network(&backend, &config)?;
        let method = Arc::new(Pipeline { backend, config: config.clone(), network });
        let accelerator =
            Some(Accelerator { method, name: name.to_owned(), falls_back, tells_of_memory: false });
        Self::assemble(config, Choice { accelerator, warning: None })
    }

    fn assemble(config: Config, Choice { accelerator, warning }: Choice) -> Result<Self> {
        let backend = Cpu::new(config.threads)?;
        match &accelerator {
            Some(device) => info!("computing on {}", device.name),
            None => info!(threads = backend.run(rayon::current_num_threads), "computing on the CPU"),
        }
        let network = load_network(&backend, &config)?;
        Ok(Self { cpu: Arc::new(Pipeline { backend, config, network }), accelerator, warning })
    }

    /// The same engine; where the accelerator has no room that is an error, and not left to the CPU.
    pub(crate) fn telling_of_memory(&self) -> Self {
        let telling = |device: Accelerator| Accelerator { tells_of_memory: true, ..device };
        Self {
            cpu: self.cpu.clone(),
            accelerator: self.accelerator.clone().map(telling),
            warning: self.warning.clone(),
        }
    }

    /// The settings.
    pub fn config(&self) -> &Config {
        &self.cpu.config
    }

    /// What results call the device.
    pub fn device(&self) -> &str {
        self.accelerator.as_ref().map_or(CPU, |device| &device.name)
    }

    /// Whether something other than the CPU computes.
    pub(crate) fn has_accelerator(&self) -> bool {
        self.accelerator.is_some()
    }

    /// Bytes of memory that are free where clouds are kept: on the accelerator, or else on the host.
    pub(crate) fn free_memory(&self) -> Result<usize> {
        let accelerated = self.accelerator.as_ref().map(|device| device.method.free_memory());
        accelerated.unwrap_or_else(|| self.cpu.backend.free_memory())
    }

    /// Finds the transform that lays `source` onto `target`; see [`Registration`]. A pair without a confident
    /// answer is no error: its status is [`Status::Rejected`](crate::Status::Rejected).
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
        self.answer_with_details(&source, &target, timings)
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

    /// The same answer, with what it rests on.
    ///
    /// # Errors
    /// As [`Engine::register_prepared`].
    pub fn register_prepared_with_details(
        &self,
        source: &PreparedCloud,
        target: &PreparedCloud,
    ) -> Result<(Registration, Details)> {
        self.answer_with_details(source, target, Timings::default())
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
        let prepared = self.prepare_canonical(cloud);
        if let Some(warning) = prepared.warning(role) {
            warn!("{warning}");
        }
        Ok(prepared)
    }

    fn prepare_canonical(&self, cloud: Arc<CanonicalCloud>) -> PreparedCloud {
        PreparedCloud {
            cpu: self.cpu.scan(cloud.clone()),
            accelerated: self.accelerator.as_ref().map(|device| device.method.scan(cloud.clone())),
            cloud,
            config: self.config().clone(),
            device: self.device().to_owned(),
        }
    }

    /// The same cloud for this engine, which begins anew with what is computed of it.
    pub(crate) fn prepare_anew(&self, cloud: &PreparedCloud) -> PreparedCloud {
        self.prepare_canonical(cloud.cloud.clone())
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
        let computed = self
            .compute(source, target, &mut timings, |method, s, t, timings| method.register(s, t, timings))?;
        let Computed { answer, device, warnings } = computed;
        Ok(self.registration([source, target], &answer, timings, device, warnings))
    }

    fn answer_with_details(
        &self,
        source: &PreparedCloud,
        target: &PreparedCloud,
        mut timings: Timings,
    ) -> Result<(Registration, Details)> {
        let computed = self.compute(source, target, &mut timings, |method, s, t, timings| {
            method.register_with_matches(s, t, timings)
        })?;
        let Computed { answer: (answer, matches), device, warnings } = computed;
        let pair = CanonicalPair { source: &source.cloud, target: &target.cloud };
        let details = answer::details(&pair, &answer, &matches);
        Ok((self.registration([source, target], &answer, timings, device, warnings), details))
    }

    /// The answer in the files' frames and units.
    fn registration(
        &self,
        [source, target]: [&PreparedCloud; 2],
        answer: &Answer,
        timings: Timings,
        device: &str,
        warnings: Vec<String>,
    ) -> Registration {
        let pair = CanonicalPair { source: &source.cloud, target: &target.cloud };
        let registration =
            answer::registration(&pair, answer, self.config(), timings, device.to_owned(), warnings);
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

    /// Whether the cloud was prepared for this engine. How the device was chosen and the number of threads are nothing
    /// that matters.
    pub(crate) fn has_prepared(&self, cloud: &PreparedCloud) -> bool {
        let Config { device, threads, max_gpu_memory, .. } = cloud.config;
        let as_there = Config { device, threads, max_gpu_memory, ..self.config().clone() };
        as_there == cloud.config && cloud.device == self.device()
    }

    /// Computes on the accelerator, or else on the CPU.
    fn compute<R>(
        &self,
        source: &PreparedCloud,
        target: &PreparedCloud,
        timings: &mut Timings,
        register: impl Fn(&dyn Method, &AnyScan, &AnyScan, &mut Timings) -> Result<R>,
    ) -> Result<Computed<'_, R>> {
        if !(self.has_prepared(source) && self.has_prepared(target)) {
            return Err(Error::Config(PREPARED_ELSEWHERE.into()));
        }
        let warnings = [source.warning("source"), target.warning("target"), self.warning.clone()];
        let mut warnings: Vec<String> = warnings.into_iter().flatten().collect();
        if let (Some(device), Some(s), Some(t)) =
            (&self.accelerator, &source.accelerated, &target.accelerated)
        {
            let before = timings.clone();
            match register(device.method.as_ref(), s, t, timings) {
                Err(error) if device.leaves_to_the_cpu(&error) => {
                    warnings.push(going_on_with_the_cpu(&error.to_string()));
                    warn!("{}", warnings[warnings.len() - 1]);
                    *timings = before;
                }
                answer => return Ok(Computed { answer: answer?, device: &device.name, warnings }),
            }
        }
        let answer = register(&*self.cpu, &source.cpu, &target.cpu, timings)?;
        Ok(Computed { answer, device: CPU, warnings })
    }
}

/// What came out.
struct Computed<'e, R> {
    answer: R,
    /// What computed it.
    device: &'e str,
    /// See [`Registration::warnings`].
    warnings: Vec<String>,
}
