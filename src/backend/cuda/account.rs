//! How much memory of a device is taken, and how much may be.

use std::sync::atomic::{AtomicUsize, Ordering};

use crate::error::{Error, Result};

/// Kept by every driver, so that running out of memory is told in the same words everywhere.
#[derive(Debug)]
pub struct Account {
    device: String,
    taken: AtomicUsize,
    most: usize,
}

impl Account {
    /// For a device of which users may have `most` bytes.
    pub fn new(device: &str, most: usize) -> Self {
        Self { device: device.to_owned(), taken: AtomicUsize::new(0), most }
    }

    /// Bytes that are taken.
    pub fn taken(&self) -> usize {
        self.taken.load(Ordering::Relaxed)
    }

    /// Bytes that may still be taken.
    pub fn free(&self) -> usize {
        self.most.saturating_sub(self.taken())
    }

    /// Notes that so many bytes are about to be allocated.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`] where that is more than there may be; then nothing is noted.
    pub fn take(&self, bytes: usize) -> Result<()> {
        let within = |taken: usize| taken.checked_add(bytes).filter(|sum| *sum <= self.most);
        match self.taken.fetch_update(Ordering::Relaxed, Ordering::Relaxed, within) {
            Ok(_) => Ok(()),
            Err(_) => Err(self.out_of_memory(bytes)),
        }
    }

    /// Notes that so many bytes are free again, or could not be allocated.
    pub fn give_back(&self, bytes: usize) {
        self.taken.fetch_sub(bytes, Ordering::Relaxed);
    }

    /// What to tell when there are no `bytes` more.
    pub fn out_of_memory(&self, bytes: usize) -> Error {
        Error::OutOfMemory(format!(
            "{} has no room for {} more: {} of at most {} are taken; thin the clouds, allow more memory, or use the device cpu",
            self.device,
            mebibytes(bytes),
            mebibytes(self.taken()),
            mebibytes(self.most)
        ))
    }
}

fn mebibytes(bytes: usize) -> String {
    format!("{:.1} MiB", bytes as f64 / f64::from(1 << 20))
}
