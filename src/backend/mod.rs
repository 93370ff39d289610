//! Where the computing is done: memory and transfer. One trait per stage says what is computed
//! (see [`crate::stages`]); a device that implements all of them is a [`crate::stages::Backend`].

mod cpu;
pub mod cuda;

pub use cpu::Cpu;

use crate::error::Result;

/// Plain values that may live on a device.
pub trait Element: bytemuck::Pod + Send + Sync {}
impl<T: bytemuck::Pod + Send + Sync> Element for T {}

/// Memory of one device. Buffers of different devices have different types, so that mixing them up does not
/// compile, and nothing leaves a device but through [`Device::download`].
pub trait Device: Send + Sync {
    /// A linear array on the device.
    type Buffer<T: Element>: Send + Sync;

    /// Copies host values to the device.
    fn upload<T: Element>(&self, host: &[T]) -> Result<Self::Buffer<T>>;

    /// Copies device values to the host.
    fn download<T: Element>(&self, buffer: &Self::Buffer<T>) -> Result<Vec<T>>;

    /// One buffer after another, in one.
    fn concatenate<T: Element>(&self, parts: &[&Self::Buffer<T>]) -> Result<Self::Buffer<T>>;

    /// A copy of the first `count` elements, or of all where there are fewer.
    fn first<T: Element>(&self, buffer: &Self::Buffer<T>, count: usize) -> Result<Self::Buffer<T>>;

    /// Does two things that do not depend on each other, side by side where the device can.
    fn both<A: Send, B: Send>(
        &self,
        first: impl FnOnce() -> A + Send,
        second: impl FnOnce() -> B + Send,
    ) -> (A, B);

    /// Bytes of memory that nobody has taken, as far as the system says.
    fn free_memory(&self) -> Result<usize>;

    /// Returns when all that was asked for is done.
    fn wait(&self) -> Result<()>;

    /// The end of all that was asked for so far, for other streams of the device to [`follow`](Device::follow).
    type Mark: Send + Sync;

    /// Marks what was asked for so far. Does not wait.
    fn mark(&self) -> Result<Self::Mark>;

    /// From here on nothing begins before what was asked for up to the mark is done, on whichever stream of this device.
    /// The device sees to that; the host does not wait.
    fn follow(&self, mark: &Self::Mark) -> Result<()>;

    /// Number of elements of a buffer.
    fn len<T: Element>(&self, buffer: &Self::Buffer<T>) -> usize;

    /// Size of all elements of a buffer.
    fn bytes<T: Element>(&self, buffer: &Self::Buffer<T>) -> usize {
        self.len(buffer) * size_of::<T>()
    }
}
