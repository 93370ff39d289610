//! Many pairs, over lanes with threads of their own.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::Duration;

use coregister::Registration;
use coregister::batch::{BatchOptions, BatchPair, Devices, USUAL_BYTES};
use coregister::config::DeviceChoice;
use pyo3::prelude::*;

use crate::answer::to_dict;
use crate::config::read_config;
use crate::error::exception;
use crate::points::{PointArray, PointView};
use crate::process::{OfOneProcess, check_cuda, remember_cuda};

/// How long Ctrl-C may go unnoticed.
const PATIENCE: Duration = Duration::from_millis(50);

/// Devices that are ready to share out pairs.
#[pyclass(frozen, module = "coregister._core")]
pub struct Batch {
    batch: OfOneProcess<coregister::batch::Batch>,
}

type Answer = (usize, coregister::Result<Registration>);

#[pymethods]
impl Batch {
    /// Opens the devices: of "auto" all CUDA devices, or the CPU where there is none.
    #[new]
    fn new(py: Python<'_>, config: &Bound<'_, PyAny>) -> PyResult<Self> {
        let config = read_config(config)?;
        let devices = match config.device {
            DeviceChoice::Auto => Devices::All,
            DeviceChoice::Cpu => Devices::Cpu,
            DeviceChoice::Cuda(number) => Devices::Cuda(vec![number]),
        };
        if devices != Devices::Cpu {
            check_cuda()?;
        }
        let most_bytes = config.max_gpu_memory.map_or(USUAL_BYTES, |bytes| USUAL_BYTES.min(bytes / 2));
        let options = BatchOptions { devices, most_bytes, ..BatchOptions::default() };
        let batch = py.detach(|| coregister::batch::Batch::open(&config, &options)).map_err(exception)?;
        if batch.devices().any(|device| device != "cpu") {
            remember_cuda();
        }
        Ok(Self { batch: OfOneProcess::new(batch) })
    }

    /// Registers pairs of `clouds`, each given by two numbers of these. `take` is called with the number of a pair and
    /// the fields of its Registration or its error, in the order of the pairs. What `take` raises, and what signals
    /// raise, ends the run when the pairs at work are done.
    fn run(
        &self,
        py: Python<'_>,
        clouds: Vec<PointArray<'_>>,
        pairs: Vec<(usize, usize)>,
        take: &Bound<'_, PyAny>,
    ) -> PyResult<()> {
        let batch = self.batch.get()?;
        let clouds: Vec<PointView<'_>> = clouds.iter().map(PointArray::view).collect();
        let (sender, receiver) = channel();
        let stop = AtomicBool::new(false);
        let pairs = pairs
            .into_iter()
            .enumerate()
            .map(|(label, (source, target))| BatchPair { label, source, target })
            .take_while(|_| !stop.load(Ordering::Relaxed));
        let read = |number: &usize| Ok(clouds[*number].cloud());
        // After an interruption nobody listens any more.
        let send = move |label, answer| _ = sender.send((label, answer));
        std::thread::scope(|scope| {
            let lanes = scope.spawn(|| batch.run(pairs, read, send));
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
