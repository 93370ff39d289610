//! The host's processor: buffers are vectors, stages run on a rayon pool of their own.

use std::sync::Arc;

use sysinfo::{CGroupLimits, System};

use super::{Device, Element};
use crate::error::{Error, Result};

/// The CPU backend. Cheap to clone; clones share the pool.
#[derive(Debug, Clone)]
pub struct Cpu {
    pool: Arc<rayon::ThreadPool>,
}

impl Cpu {
    /// A backend with `threads` workers; 0 means one per core. Results do not depend on the number.
    pub fn new(threads: usize) -> Result<Self> {
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .thread_name(|i| format!("coregister-{i}"))
            .build()
            .map_err(|source| Error::Threads { threads, source })?;
        Ok(Self { pool: Arc::new(pool) })
    }

    /// Runs `work` on the pool, so that rayon calls inside it use this backend's threads.
    pub fn run<R: Send>(&self, work: impl FnOnce() -> R + Send) -> R {
        self.pool.install(work)
    }
}

impl Device for Cpu {
    type Buffer<T: Element> = Vec<T>;

    fn upload<T: Element>(&self, host: &[T]) -> Result<Vec<T>> {
        Ok(host.to_vec())
    }

    fn download<T: Element>(&self, buffer: &Vec<T>) -> Result<Vec<T>> {
        Ok(buffer.clone())
    }

    fn concatenate<T: Element>(&self, parts: &[&Vec<T>]) -> Result<Vec<T>> {
        Ok(parts.iter().flat_map(|part| part.iter().copied()).collect())
    }

    fn first<T: Element>(&self, buffer: &Vec<T>, count: usize) -> Result<Vec<T>> {
        Ok(buffer[..buffer.len().min(count)].to_vec())
    }

    fn both<A: Send, B: Send>(
        &self,
        first: impl FnOnce() -> A + Send,
        second: impl FnOnce() -> B + Send,
    ) -> (A, B) {
        self.pool.join(first, second)
    }

    /// Of the machine, or of the control group that the process is confined to.
    fn free_memory(&self) -> Result<usize> {
        let mut system = System::new();
        system.refresh_memory();
        let of_group = |limits: CGroupLimits| limits.total_memory.saturating_sub(limits.rss);
        let of_group = system.cgroup_limits().map_or(u64::MAX, of_group);
        Ok(usize::try_from(system.available_memory().min(of_group)).unwrap_or(usize::MAX))
    }

    fn wait(&self) -> Result<()> {
        Ok(())
    }

    /// Nothing: all is done when it was asked for.
    type Mark = ();

    fn mark(&self) -> Result<()> {
        Ok(())
    }

    fn follow(&self, (): &()) -> Result<()> {
        Ok(())
    }

    fn len<T: Element>(&self, buffer: &Vec<T>) -> usize {
        buffer.len()
    }
}
