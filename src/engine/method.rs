//! The method on some device, whatever the device.

use std::any::Any;
use std::sync::Arc;

use crate::error::{Error, Result};
use crate::pipeline::scan::Scan;
use crate::pipeline::{Answer, Matches, Pipeline};
use crate::registration::Timings;
use crate::stages::Backend;
use crate::stages::clean::CanonicalCloud;

/// The method on some device.
pub(super) trait Method: Send + Sync {
    /// The cloud, for this device.
    fn scan(&self, cloud: Arc<CanonicalCloud>) -> AnyScan;

    /// Bytes that the device keeps for a cloud.
    fn bytes(&self, scan: &AnyScan) -> usize;

    /// Bytes of the device's memory that are free.
    fn free_memory(&self) -> Result<usize>;

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
pub(super) type AnyScan = Box<dyn Any + Send + Sync>;

impl<B: Backend + 'static> Method for Pipeline<B> {
    fn scan(&self, cloud: Arc<CanonicalCloud>) -> AnyScan {
        Box::new(Scan::<B>::new(cloud))
    }

    fn bytes(&self, scan: &AnyScan) -> usize {
        scan.downcast_ref::<Scan<B>>().map_or(0, |scan| scan.bytes(&self.backend))
    }

    fn free_memory(&self) -> Result<usize> {
        self.backend.free_memory()
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

pub(super) const PREPARED_ELSEWHERE: &str =
    "a cloud was prepared with other settings or on another device; prepare it with what registers it";
