//! What a fork leaves useless: worker threads and CUDA devices stay with the process that started them.

use std::mem::ManuallyDrop;
use std::sync::atomic::{AtomicU32, Ordering};

use pyo3::PyResult;

use crate::error::DeviceError;

/// The process that computed on a CUDA device first; 0 before that.
static CUDA_PROCESS: AtomicU32 = AtomicU32::new(0);

/// Remembers that this process has started CUDA.
pub fn remember_cuda() {
    // A process that is remembered already is this one or, checked before, none.
    CUDA_PROCESS.store(std::process::id(), Ordering::Relaxed);
}

/// CUDA cannot be started in the child of a process that has started it.
pub fn check_cuda() -> PyResult<()> {
    match CUDA_PROCESS.load(Ordering::Relaxed) {
        0 => Ok(()),
        process if process == std::process::id() => Ok(()),
        process => Err(DeviceError::new_err(format!(
            "process {process} has used CUDA and was then forked into this one, {}, which CUDA does not allow; start \
             workers with multiprocessing's \"spawn\", or use device=\"cpu\"",
            std::process::id()
        ))),
    }
}

/// A value that works in the process that made it and nowhere else.
pub struct OfOneProcess<T> {
    value: ManuallyDrop<T>,
    process: u32,
}

impl<T> OfOneProcess<T> {
    /// A value of this process.
    pub fn new(value: T) -> Self {
        Self { value: ManuallyDrop::new(value), process: std::process::id() }
    }

    /// The value, in the process that made it.
    pub fn get(&self) -> PyResult<&T> {
        if self.is_here() {
            return Ok(&self.value);
        }
        Err(DeviceError::new_err(format!(
            "this was made in process {}, which was then forked into this one, {}; its threads and devices did not \
             come along: make a Registrar in the child, or start workers with multiprocessing's \"spawn\"",
            self.process,
            std::process::id()
        )))
    }

    fn is_here(&self) -> bool {
        self.process == std::process::id()
    }
}

impl<T> Drop for OfOneProcess<T> {
    fn drop(&mut self) {
        // In a forked child the value's threads are gone and its locks may be held for ever, so it is left alone.
        if self.is_here() {
            // SAFETY: the value is dropped here only, and nothing can reach it afterwards.
            unsafe { ManuallyDrop::drop(&mut self.value) }
        }
    }
}
