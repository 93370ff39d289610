//! What the launch code needs of a CUDA driver. There are two: NVIDIA's, and the emulator of the tests, which runs the
//! same kernels on the CPU; see `emulator/`.

use std::ffi::c_void;
use std::marker::PhantomData;

use super::buffer::CudaBuffer;
use crate::backend::Element;
use crate::error::Result;

/// A CUDA device and one stream of work on it. Whatever is asked for is done in that order; only
/// [`Driver::read`] and [`Driver::wait`] wait for it.
pub trait Driver: Send + Sync + 'static {
    /// Memory of the device, given back when it is dropped, once the work that was asked for before is done.
    type Memory: Send + Sync;

    /// The end of what was asked for up to some moment.
    type Mark: Send + Sync;

    /// What users call the device.
    fn name(&self) -> &str;

    /// Memory with undefined content; `bytes` is not zero.
    fn allocate(&self, bytes: usize) -> Result<Self::Memory>;

    /// Where the memory begins, for the device; aligned to 256 bytes.
    fn address(memory: &Self::Memory) -> u64;

    /// Copies host values to the beginning of `memory`, which is at least as long.
    fn write(&self, memory: &Self::Memory, host: &[u8]) -> Result<()>;

    /// Waits for all work, and copies what begins `offset` bytes into `memory`, which is long enough, to the host.
    fn read(&self, memory: &Self::Memory, offset: usize, host: &mut [u8]) -> Result<()>;

    /// Copies all of the first `bytes` of `from` to `to`, `offset` bytes into it; both are long enough.
    fn copy(&self, from: &Self::Memory, to: &Self::Memory, offset: usize, bytes: usize) -> Result<()>;

    /// Sets the first `bytes` bytes, at most the memory's, to `value`.
    fn fill(&self, memory: &Self::Memory, value: u8, bytes: usize) -> Result<()>;

    /// Bytes of the device's memory that nobody has taken, on this stream or elsewhere.
    fn free_memory(&self) -> Result<usize>;

    /// Waits for all work.
    fn wait(&self) -> Result<()>;

    /// Marks the work that was asked for so far, for other streams of the device.
    fn mark(&self) -> Result<Self::Mark>;

    /// Lets the device begin no further work before that up to the mark is done. Does not wait itself.
    fn follow(&self, mark: &Self::Mark) -> Result<()>;

    /// Most blocks of a cluster: 1 where the device, or the code that it runs, knows no clusters.
    fn largest_cluster(&self) -> u32;

    /// The process's streams on the device, this one among them: with how many others its work shares the multiprocessors.
    fn streams(&self) -> usize;

    /// Runs a kernel.
    ///
    /// # Safety
    /// The arguments are those that the kernel takes, and the buffers among them as long as it expects.
    unsafe fn launch(&self, kernel: Kernel, grid: Grid, arguments: &[Argument<'_>]) -> Result<()>;
}

/// A kernel: an `extern "C"` function of `kernels/<module>.cu`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Kernel {
    /// The file, without its extension.
    pub module: &'static str,
    /// The function; no two files have the same.
    pub name: &'static str,
}

impl Kernel {
    /// The kernel `name` of `kernels/<module>.cu`.
    pub const fn new(module: &'static str, name: &'static str) -> Self {
        Self { module, name }
    }
}

/// How many threads run a kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Grid {
    /// Blocks along x, y and z; nothing is run where one of them is zero.
    pub blocks: [u32; 3],
    /// Blocks along x that run at the same time and reach each other's shared memory; they divide all along x.
    pub cluster: u32,
    /// Threads of a block along x.
    pub threads: u32,
    /// Dynamic shared memory of a block in bytes.
    pub shared_bytes: u32,
}

impl Grid {
    /// `blocks` blocks of `threads` threads.
    pub const fn new(blocks: usize, threads: u32) -> Self {
        Self { blocks: [blocks as u32, 1, 1], cluster: 1, threads, shared_bytes: 0 }
    }

    /// At least one thread for each of `items`, in blocks of `threads`.
    pub const fn over(items: usize, threads: u32) -> Self {
        Self::new(items.div_ceil(threads as usize), threads)
    }

    /// The same with `rows` blocks along y.
    pub const fn rows(mut self, rows: usize) -> Self {
        self.blocks[1] = rows as u32;
        self
    }

    /// The same in clusters of so many blocks.
    pub const fn in_clusters(mut self, blocks: u32) -> Self {
        self.cluster = blocks;
        self
    }

    /// The same with dynamic shared memory.
    pub const fn with_shared(mut self, bytes: usize) -> Self {
        self.shared_bytes = bytes as u32;
        self
    }
}

/// Most bytes of one argument: a pose is the largest that is passed by value.
const MOST_BYTES: usize = 128;

/// One argument of a kernel, in the layout that C gives it.
#[derive(Clone, Copy)]
#[repr(C, align(16))]
pub struct Argument<'a> {
    bytes: [u8; MOST_BYTES],
    // The buffer whose address this is outlives the call.
    buffer: PhantomData<&'a ()>,
}

impl Argument<'_> {
    /// A value, passed by value. It must have at most 128 bytes, which the compiler checks.
    pub fn value<T: bytemuck::Pod>(value: T) -> Self {
        const { assert!(size_of::<T>() <= MOST_BYTES && align_of::<T>() <= 16) };
        let mut bytes = [0; MOST_BYTES];
        bytes[..size_of::<T>()].copy_from_slice(bytemuck::bytes_of(&value));
        Self { bytes, buffer: PhantomData }
    }

    /// Where drivers find the value.
    pub fn as_pointer(&self) -> *mut c_void {
        self.bytes.as_ptr().cast_mut().cast()
    }
}

impl<'a, T: Element, D: Driver> From<&'a CudaBuffer<T, D>> for Argument<'a> {
    fn from(buffer: &'a CudaBuffer<T, D>) -> Self {
        Self::value(buffer.address())
    }
}

/// Numbers of things are `unsigned` in the kernels; no buffer has 2³² elements, see [`CudaBuffer`].
impl From<usize> for Argument<'_> {
    fn from(number: usize) -> Self {
        Self::value(number as u32)
    }
}

macro_rules! values {
    ($($type:ty),+) => {
        $(impl From<$type> for Argument<'_> {
            fn from(value: $type) -> Self {
                Self::value(value)
            }
        })+
    };
}

values!(u32, i32, u64, f32, f64, [f32; 3], [f32; 9], [f32; 12], [u32; 3]);

/// The arguments of a kernel, in its order.
macro_rules! arguments {
    ($($argument:expr),* $(,)?) => { &[$($crate::backend::cuda::Argument::from($argument)),*] };
}

pub(crate) use arguments;
