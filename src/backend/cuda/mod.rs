//! CUDA devices: buffers are device memory, stages launch the kernels of `kernels/`. All work of one [`Cuda`] is done in
//! the order in which it is asked for, on one stream; nothing but downloads waits, unless it is asked to.

mod account;
#[cfg(feature = "cuda")]
mod blocks;
mod buffer;
mod driver;
#[cfg(feature = "cuda")]
mod images;
#[cfg(feature = "cuda")]
mod nvidia;
mod primitives;
#[cfg(feature = "cuda")]
mod staging;

use std::sync::Arc;

pub use account::Account;
pub use buffer::CudaBuffer;
pub(crate) use driver::arguments;
pub use driver::{Argument, Driver, Grid, Kernel};
#[cfg(feature = "cuda")]
pub use nvidia::{DeviceDescription, Installation, Nvidia, NvidiaMemory, OLDEST_CAPABILITY, installation};

use super::{Device, Element};
use crate::error::{Error, Result};

/// Most elements of a buffer, so that kernels can count in 32 bits.
const MOST_ELEMENTS: usize = 1 << 31;

/// A device and a stream on it. Cheap to clone; clones share the stream.
pub struct Cuda<D> {
    driver: Arc<D>,
}

impl<D> Clone for Cuda<D> {
    fn clone(&self) -> Self {
        Self { driver: self.driver.clone() }
    }
}

impl<D: Driver> Cuda<D> {
    /// A backend on an open device.
    pub fn new(driver: D) -> Self {
        Self { driver: Arc::new(driver) }
    }

    /// The driver.
    pub fn driver(&self) -> &D {
        &self.driver
    }

    /// A buffer with undefined content.
    pub(crate) fn allocate<T: Element>(&self, len: usize) -> Result<CudaBuffer<T, D>> {
        if len > MOST_ELEMENTS {
            return Err(Error::Device(format!(
                "{} cannot hold {len} values in one array; thin the clouds, or use the device cpu",
                self.driver.name()
            )));
        }
        if len == 0 {
            return Ok(CudaBuffer::empty());
        }
        Ok(CudaBuffer::new(self.driver.allocate(len * size_of::<T>())?, len))
    }

    /// A buffer all of whose bytes are `byte`.
    pub(crate) fn filled<T: Element>(&self, len: usize, byte: u8) -> Result<CudaBuffer<T, D>> {
        let buffer = self.allocate(len)?;
        if let Some(memory) = buffer.memory() {
            self.driver.fill(memory, byte, buffer.bytes())?;
        }
        Ok(buffer)
    }

    /// A buffer of zeros.
    pub(crate) fn zeroed<T: Element>(&self, len: usize) -> Result<CudaBuffer<T, D>> {
        self.filled(len, 0)
    }

    /// `len` elements from the `first` on, on the host; waits for the device. There must be as many.
    pub(crate) fn read<T: Element>(
        &self,
        buffer: &CudaBuffer<T, D>,
        first: usize,
        len: usize,
    ) -> Result<Vec<T>> {
        assert!(first + len <= buffer.len(), "elements {first}..{} of {}", first + len, buffer.len());
        let mut host = vec![T::zeroed(); len];
        if let Some(memory) = buffer.memory()
            && len > 0
        {
            let offset = first * size_of::<T>();
            self.driver.read(memory, offset, bytemuck::cast_slice_mut(&mut host))?;
        }
        Ok(host)
    }

    /// Runs a kernel; nothing, where the grid is empty.
    ///
    /// # Safety
    /// As [`Driver::launch`]: the arguments are those that the kernel takes, and buffers as long as it expects.
    pub(crate) unsafe fn launch(&self, kernel: Kernel, grid: Grid, arguments: &[Argument<'_>]) -> Result<()> {
        if grid.blocks.contains(&0) {
            return Ok(());
        }
        // SAFETY: the caller's word.
        unsafe { self.driver.launch(kernel, grid, arguments) }
    }
}

impl<D: Driver> Device for Cuda<D> {
    type Buffer<T: Element> = CudaBuffer<T, D>;

    fn upload<T: Element>(&self, host: &[T]) -> Result<CudaBuffer<T, D>> {
        let buffer = self.allocate(host.len())?;
        if let Some(memory) = buffer.memory() {
            self.driver.write(memory, bytemuck::cast_slice(host))?;
        }
        Ok(buffer)
    }

    fn download<T: Element>(&self, buffer: &CudaBuffer<T, D>) -> Result<Vec<T>> {
        self.read(buffer, 0, buffer.len())
    }

    fn concatenate<T: Element>(&self, parts: &[&CudaBuffer<T, D>]) -> Result<CudaBuffer<T, D>> {
        let whole = self.allocate(parts.iter().map(|part| part.len()).sum())?;
        let mut offset = 0;
        for part in parts {
            if let (Some(from), Some(to)) = (part.memory(), whole.memory()) {
                self.driver.copy(from, to, offset, part.bytes())?;
                offset += part.bytes();
            }
        }
        Ok(whole)
    }

    fn first<T: Element>(&self, buffer: &CudaBuffer<T, D>, count: usize) -> Result<CudaBuffer<T, D>> {
        let copy = self.allocate(count.min(buffer.len()))?;
        if let (Some(from), Some(to)) = (buffer.memory(), copy.memory()) {
            self.driver.copy(from, to, 0, copy.bytes())?;
        }
        Ok(copy)
    }

    /// One after the other: they share a stream.
    fn both<A: Send, B: Send>(
        &self,
        first: impl FnOnce() -> A + Send,
        second: impl FnOnce() -> B + Send,
    ) -> (A, B) {
        (first(), second())
    }

    fn free_memory(&self) -> Result<usize> {
        self.driver.free_memory()
    }

    fn wait(&self) -> Result<()> {
        self.driver.wait()
    }

    type Mark = D::Mark;

    fn mark(&self) -> Result<D::Mark> {
        self.driver.mark()
    }

    fn follow(&self, mark: &D::Mark) -> Result<()> {
        self.driver.follow(mark)
    }

    fn len<T: Element>(&self, buffer: &CudaBuffer<T, D>) -> usize {
        buffer.len()
    }
}
