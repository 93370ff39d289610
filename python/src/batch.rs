//! Many pairs, over lanes with threads of their own.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::Duration;

use coregister::batch::{BatchCloud, BatchOptions, BatchPair, Devices, KeptClouds};
use coregister::config::DeviceChoice;
use coregister::{Engine, Registration};
use pyo3::prelude::*;

use crate::answer::to_dict;
use crate::config::read_config;
use crate::engine::PreparedCloud;
use crate::error::exception;
use crate::points::{ArrayCloud, PointArray, PointView};
use crate::process::{OfOneProcess, check_cuda, remember_cuda};

/// How long Ctrl-C may go unnoticed.
const PATIENCE: Duration = Duration::from_millis(50);

/// Devices that are ready to share out pairs.
#[pyclass(frozen, module = "coregister._core")]
pub struct Batch {
    open: OfOneProcess<Open>,
}

struct Open {
    batch: coregister::batch::Batch,
    /// Clouds that have names, for the runs to come.
    kept: KeptClouds<String>,
}

/// A cloud of a run.
#[derive(FromPyObject)]
pub enum CloudArgument<'py> {
    Prepared(Bound<'py, PreparedCloud>),
    Points(PointArray<'py>),
}

/// The same without the interpreter.
enum Given<'a> {
    Prepared(Arc<coregister::engine::PreparedCloud>),
    Points(PointView<'a>),
}

impl CloudArgument<'_> {
    fn given(&self) -> PyResult<Given<'_>> {
        match self {
            Self::Prepared(cloud) => cloud.get().get().map(Given::Prepared),
            Self::Points(array) => Ok(Given::Points(array.view())),
        }
    }
}

impl Given<'_> {
    fn cloud(&self) -> BatchCloud<ArrayCloud<'_>> {
        match self {
            Self::Prepared(cloud) => BatchCloud::Prepared(cloud.clone()),
            Self::Points(view) => BatchCloud::Points(view.cloud()),
        }
    }
}

type Answer = (usize, coregister::Result<Registration>);

#[pymethods]
impl Batch {
    /// Opens the devices: of "auto" all CUDA devices, or the CPU where there is none. Clouds that are kept for pairs to come
    /// take `cloud_memory` bytes at most, or a share of what is free where none is given.
    #[new]
    fn new(py: Python<'_>, config: &Bound<'_, PyAny>, cloud_memory: Option<usize>) -> PyResult<Self> {
        let config = read_config(config)?;
        let devices = match config.device {
            DeviceChoice::Auto => Devices::All,
            DeviceChoice::Cpu => Devices::Cpu,
            DeviceChoice::Cuda(number) => Devices::Cuda(vec![number]),
        };
        if devices != Devices::Cpu {
            check_cuda()?;
        }
        let options = BatchOptions { devices, most_bytes: cloud_memory, ..BatchOptions::default() };
        let batch = py.detach(|| coregister::batch::Batch::open(&config, &options)).map_err(exception)?;
        if batch.devices().any(|device| device != "cpu") {
            remember_cuda();
        }
        let kept = batch.keep();
        Ok(Self { open: OfOneProcess::new(Open { batch, kept }) })
    }

    /// Registers pairs of `clouds`, each given by two numbers of these. `take` is called with the number of a pair and
    /// the fields of its Registration or its error, in the order of the pairs. What `take` raises, and what signals
    /// raise, ends the run when the pairs at work are done. Where clouds have `names`, one each, what is computed of them
    /// is kept for the runs to come: a name stands for the same cloud in all of them.
    fn run(
        &self,
        py: Python<'_>,
        clouds: Vec<CloudArgument<'_>>,
        pairs: Vec<(usize, usize)>,
        take: &Bound<'_, PyAny>,
        names: Option<Vec<String>>,
    ) -> PyResult<()> {
        let Open { batch, kept } = self.open.get()?;
        let clouds: Vec<Given<'_>> = clouds.iter().map(CloudArgument::given).collect::<PyResult<_>>()?;
        let of_this_run = batch.keep();
        let kept = if names.is_some() { kept } else { &of_this_run };
        let names = names.unwrap_or_else(|| (0..clouds.len()).map(|number| number.to_string()).collect());
        let numbers: HashMap<&String, usize> = names.iter().zip(0..).collect();
        let (sender, receiver) = channel();
        let stop = AtomicBool::new(false);
        let pairs = pairs
            .into_iter()
            .enumerate()
            .map(|(label, (source, target))| BatchPair {
                label,
                source: names[source].clone(),
                target: names[target].clone(),
            })
            .take_while(|_| !stop.load(Ordering::Relaxed));
        let read = |name: &String| Ok(clouds[numbers[name]].cloud());
        // After an interruption nobody listens any more.
        let send = move |label, answer| _ = sender.send((label, answer));
        std::thread::scope(|scope| {
            let lanes = scope.spawn(|| batch.run_keeping(kept, pairs, read, Engine::register_prepared, send));
            let outcome = hand_out(py, receiver, take);
            stop.store(true, Ordering::Relaxed);
            py.detach(|| lanes.join()).expect("lanes survive what a pair panics with");
            outcome
        })
    }
}

/// Calls `take` with what the lanes send, until they are done.
fn hand_out(py: Python<'_>, mut receiver: Receiver<Answer>, take: &Bound<'_, PyAny>) -> PyResult<()> {
    loop {
        let received;
        (receiver, received) = py.detach(move || {
            let received = receiver.recv_timeout(PATIENCE);
            (receiver, received)
        });
        match received {
            Ok((number, Ok(answer))) => take.call1((number, to_dict(py, &answer)?))?,
            Ok((number, Err(error))) => take.call1((number, exception(error)))?,
            Err(RecvTimeoutError::Timeout) => py.None().into_bound(py),
            Err(RecvTimeoutError::Disconnected) => return Ok(()),
        };
        py.check_signals()?;
    }
}
