//! Many pairs over all devices.
//!
//! A lane is one engine with a thread of its own: on the CPU one for each worker thread, on a CUDA device one for each
//! of a few streams, so that reading and uploading the clouds of one pair overlaps the work on another. Whichever lane
//! is free takes the next pair. What is computed of a cloud is kept on its device for the pairs to come, up to a budget.
//! Neither the number of lanes nor what is kept shows in the answers; they are those of [`Engine::register`], and come
//! out in the order of the pairs.

mod evaluate;
mod kept;
mod lanes;
pub mod table;

use std::any::Any;
use std::hash::Hash;
use std::num::NonZero;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread::available_parallelism;

use kept::Kept;
pub use lanes::Lanes;
use tracing::debug;

use crate::cloud::CloudView;
use crate::config::{Config, DeviceChoice};
use crate::engine::{Engine, PreparedCloud, cuda_devices};
use crate::error::{Error, Result};
use crate::registration::Registration;

/// Streams on each CUDA device.
const STREAMS: usize = 8;
/// Of a CUDA device's free memory, which is there to compute with, one part in so many is for clouds that are kept.
const SHARE_OF_DEVICE: usize = 2;
/// The same of the host's, which others need as well.
const SHARE_OF_HOST: usize = 4;

/// Which devices a batch uses.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Devices {
    /// All CUDA devices that the kernels fit, and the CPU for what they fail to do; the CPU where there is none.
    #[default]
    All,
    /// The processor.
    Cpu,
    /// The CUDA devices of these numbers.
    Cuda(Vec<usize>),
}

/// How a batch is run.
#[derive(Debug, Clone)]
pub struct BatchOptions {
    /// Where to compute.
    pub devices: Devices,
    /// Memory for clouds that are kept for pairs to come, on the host or on each CUDA device, in bytes. Those that lanes
    /// are at work on, two each, may come on top; where a device has no room for these, the others are dropped. Where it
    /// is open, half of what is free on a CUDA device, or of what may be taken there, and a quarter of what is free on the
    /// host.
    pub most_bytes: Option<usize>,
    /// Most lanes that there is work for: the number of pairs, where it is known. On the CPU fewer lanes have more threads
    /// each.
    pub most_lanes: usize,
}

impl Default for BatchOptions {
    fn default() -> Self {
        Self { devices: Devices::All, most_bytes: None, most_lanes: usize::MAX }
    }
}

/// Two clouds of a batch.
#[derive(Debug, Clone, PartialEq)]
pub struct BatchPair<T, K> {
    /// What the caller knows the pair by.
    pub label: T,
    /// Which cloud is the source.
    pub source: K,
    /// Which cloud is the target.
    pub target: K,
}

/// Where a cloud of a batch comes from.
pub enum BatchCloud<C> {
    /// Points, of which the lane makes what it needs.
    Points(C),
    /// A cloud that [`Engine::prepare`] has made. Where it fits a lane's engine, what was computed of it is used, and what
    /// is computed of it stays.
    Prepared(Arc<PreparedCloud>),
}

/// Clouds that a [`Batch`] keeps from one run to the next, by device; made by [`Batch::keep`].
pub struct KeptClouds<K>(Vec<Kept<K, PreparedCloud>>);

/// Engines that share out pairs; see the module.
pub struct Batch {
    lanes: Lanes<Lane>,
    /// Memory for clouds, by device.
    most_bytes: Vec<usize>,
}

struct Lane {
    engine: Engine,
    /// The same, but where the device has no room that is an error, and not left to the CPU.
    telling: Engine,
    /// Lanes of the same number share the clouds on their device.
    device: usize,
}

impl Batch {
    /// Opens the devices. Of the settings, the device is chosen by the options, and the threads are those of all lanes
    /// together.
    ///
    /// # Errors
    /// As [`Engine::new`]; [`Error::Config`] when there is no device in the list.
    pub fn open(config: &Config, options: &BatchOptions) -> Result<Self> {
        config.check()?;
        let most_lanes = options.most_lanes.max(1);
        let numbers = match &options.devices {
            Devices::Cpu => return Self::on(cpu_lanes(config, most_lanes)?, options.most_bytes),
            Devices::All => (0..cuda_devices()).collect(),
            Devices::Cuda(numbers) => numbers.clone(),
        };
        let falls_back = options.devices == Devices::All;
        if falls_back && numbers.is_empty() {
            return Self::on(cpu_lanes(config, most_lanes)?, options.most_bytes);
        }
        let lanes = most_lanes.min(STREAMS * numbers.len());
        let threads = (threads(config) / lanes.max(1)).max(1);
        let streams = lanes.div_ceil(numbers.len().max(1)).max(1);
        let max_gpu_memory = config.max_gpu_memory.map(|bytes| bytes / streams);
        let open = |lane: usize| {
            let device = DeviceChoice::Cuda(numbers[lane % numbers.len()]);
            Engine::with_fallback(Config { device, threads, max_gpu_memory, ..config.clone() }, falls_back)
        };
        Self::on((0..lanes).map(open).collect::<Result<_>>()?, options.most_bytes)
    }

    /// A batch on these engines, which have the same settings. Those with the same [`Engine::device`] share clouds, for
    /// which there is so much memory on each device; see [`BatchOptions::most_bytes`].
    ///
    /// # Errors
    /// [`Error::Config`] without engines, [`Error::Threads`] when their threads cannot be started.
    pub fn on(engines: Vec<Engine>, most_bytes: Option<usize>) -> Result<Self> {
        let mut names: Vec<String> = Vec::new();
        let mut lane = |engine: Engine| {
            let known = names.iter().position(|name| name == engine.device());
            let device = known.unwrap_or_else(|| {
                names.push(engine.device().to_owned());
                names.len() - 1
            });
            Lane { telling: engine.telling_of_memory(), engine, device }
        };
        let lanes: Vec<Lane> = engines.into_iter().map(&mut lane).collect();
        let engines =
            |device| lanes.iter().filter(move |lane| lane.device == device).map(|lane| &lane.engine);
        let most_bytes_of = |device| most_bytes.unwrap_or_else(|| usual_bytes(engines(device)));
        let most_bytes = (0..names.len()).map(most_bytes_of).collect();
        Ok(Self { lanes: Lanes::new(lanes)?, most_bytes })
    }

    /// Number of pairs that are worked on at once.
    pub fn lanes(&self) -> usize {
        self.lanes.all().len()
    }

    /// What results call the device of each lane.
    pub fn devices(&self) -> impl Iterator<Item = &str> {
        self.lanes.all().iter().map(|lane| lane.engine.device())
    }

    /// Memory for clouds that are kept on each device, in bytes.
    pub fn most_bytes(&self) -> &[usize] {
        &self.most_bytes
    }

    /// A place for clouds that are to be kept from one run to the next, for runs of this batch only.
    pub fn keep<K: Clone + Eq + Hash>(&self) -> KeptClouds<K> {
        KeptClouds(self.most_bytes.iter().map(|&bytes| Kept::new(bytes)).collect())
    }

    /// Registers all pairs. `read` gives the cloud of a key, and is asked once for each device as long as the cloud is
    /// kept; `take` gets the answers one at a time, in the order of the pairs, as soon as those before are there. A pair
    /// that fails has its error for an answer, and the run goes on.
    pub fn run<T, K, C>(
        &self,
        pairs: impl Iterator<Item = BatchPair<T, K>> + Send,
        read: impl Fn(&K) -> Result<BatchCloud<C>> + Sync,
        take: impl FnMut(T, Result<Registration>) + Send,
    ) where
        T: Send,
        K: Clone + Eq + Hash + Send + Sync,
        for<'c> &'c C: Into<CloudView<'c>>,
    {
        self.run_keeping(&self.keep(), pairs, read, Engine::register_prepared, take);
    }

    /// The same with clouds that stay from one run to the next: a key stands for the same cloud in all of them. The
    /// answers are those of `register`, which is [`Engine::register_prepared`] or the like.
    pub fn run_keeping<T, K, C, R>(
        &self,
        clouds: &KeptClouds<K>,
        pairs: impl Iterator<Item = BatchPair<T, K>> + Send,
        read: impl Fn(&K) -> Result<BatchCloud<C>> + Sync,
        register: impl Fn(&Engine, &PreparedCloud, &PreparedCloud) -> Result<R> + Sync,
        mut take: impl FnMut(T, Result<R>) + Send,
    ) where
        T: Send,
        R: Send,
        K: Clone + Eq + Hash + Send + Sync,
        for<'c> &'c C: Into<CloudView<'c>>,
    {
        let work = |lane: &Lane, pair: BatchPair<T, K>| {
            let clouds = &clouds.0[lane.device];
            let registered = || lane.register(&pair.source, &pair.target, clouds, &read, &register);
            let answer = catch_unwind(AssertUnwindSafe(registered));
            (pair.label, answer.unwrap_or_else(|panic| Err(Error::Bug(message(&*panic)))))
        };
        self.lanes.run(pairs, work, |(label, answer)| take(label, answer));
    }
}

impl Lane {
    /// The answer of a pair. Where the device has no room for it, the clouds that are kept there make room.
    fn register<K: Clone + Eq + Hash, C, R>(
        &self,
        source: &K,
        target: &K,
        clouds: &Kept<K, PreparedCloud>,
        read: &impl Fn(&K) -> Result<BatchCloud<C>>,
        register: &impl Fn(&Engine, &PreparedCloud, &PreparedCloud) -> Result<R>,
    ) -> Result<R>
    where
        for<'c> &'c C: Into<CloudView<'c>>,
    {
        let prepare = |key: &K, role| clouds.get_or(key, || self.prepare(read(key)?, role));
        let register_with = |engine: &Engine| {
            let (s, t) = (prepare(source, "source")?, prepare(target, "target")?);
            let answer = register(engine, &s, &t);
            clouds.weigh(source, engine.bytes(&s));
            clouds.weigh(target, engine.bytes(&t));
            answer
        };
        match register_with(&self.telling) {
            Err(Error::OutOfMemory(reason)) => {
                debug!("{reason}; dropping the clouds that are kept");
                clouds.clear();
                register_with(&self.engine)
            }
            answer => answer,
        }
    }

    fn prepare<C>(&self, cloud: BatchCloud<C>, role: &'static str) -> Result<Arc<PreparedCloud>>
    where
        for<'c> &'c C: Into<CloudView<'c>>,
    {
        match cloud {
            BatchCloud::Points(points) => self.engine.prepare_as(&points, role).map(Arc::new),
            BatchCloud::Prepared(cloud) if self.engine.has_prepared(&cloud) => Ok(cloud),
            BatchCloud::Prepared(cloud) => Ok(Arc::new(self.engine.prepare_anew(&cloud))),
        }
    }
}

/// Memory for clouds that are kept on the device of these engines, where nobody says how much.
fn usual_bytes<'e>(mut engines: impl Iterator<Item = &'e Engine>) -> usize {
    let Some(first) = engines.next() else { return 0 };
    // A device that does not even say this keeps nothing; what is wrong with it, the first pair tells, or the CPU takes over.
    let free = first.free_memory().unwrap_or(0);
    if !first.has_accelerator() {
        return free / SHARE_OF_HOST;
    }
    let allowed = |engine: &Engine| engine.config().max_gpu_memory.unwrap_or(usize::MAX);
    let allowed = engines.map(allowed).fold(allowed(first), usize::saturating_add);
    free.min(allowed) / SHARE_OF_DEVICE
}

/// Threads of all lanes together.
fn threads(config: &Config) -> usize {
    match config.threads {
        0 => available_parallelism().map_or(1, NonZero::get),
        threads => threads,
    }
}

/// Pairs side by side leave fewer threads waiting than the parts of one pair do, so each thread is a lane.
fn cpu_lanes(config: &Config, most_lanes: usize) -> Result<Vec<Engine>> {
    let threads = threads(config);
    let lanes = most_lanes.min(threads);
    let engine =
        || Engine::new(Config { device: DeviceChoice::Cpu, threads: threads / lanes, ..config.clone() });
    (0..lanes).map(|_| engine()).collect()
}

/// What a panic said.
fn message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("a panic without a message").to_owned()
}
