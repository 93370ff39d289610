//! CUDA backends without a GPU: the kernels run on the CPU, in several orders of their threads.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use coregister::backend::cuda::{Argument, Cuda, Driver, Grid, Kernel};
use coregister::error::{Error, Result};
use coregister_emulator::{Launch, Memory, Schedule, launch};

/// The emulator as a driver, with counts of what a device would have had to wait for.
pub struct Emulated {
    name: String,
    schedule: Schedule,
    /// From the host to the device.
    pub uploads: Traffic,
    /// Back to the host; a device is waited for each time.
    pub downloads: Traffic,
    launched: Mutex<BTreeSet<&'static str>>,
    most_blocks: BTreeMap<&'static str, u32>,
}

/// How often something was copied, and how much.
#[derive(Debug, Default)]
pub struct Traffic {
    copies: AtomicUsize,
    bytes: AtomicUsize,
}

impl Traffic {
    fn add(&self, bytes: usize) {
        self.copies.fetch_add(1, Ordering::Relaxed);
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Number of copies.
    pub fn copies(&self) -> usize {
        self.copies.load(Ordering::Relaxed)
    }

    /// Bytes of all of them.
    pub fn bytes(&self) -> usize {
        self.bytes.load(Ordering::Relaxed)
    }
}

impl Emulated {
    /// A device whose threads run in this order.
    pub fn new(schedule: Schedule) -> Self {
        let name = format!("emulated, {schedule:?}");
        Self {
            name,
            schedule,
            uploads: Traffic::default(),
            downloads: Traffic::default(),
            launched: Mutex::default(),
            most_blocks: BTreeMap::new(),
        }
    }

    /// Runs only the first blocks of a kernel, for a look at what blocks do to each other; what the others would have
    /// written stays undefined.
    pub fn with_most_blocks(mut self, kernel: &'static str, blocks: u32) -> Self {
        self.most_blocks.insert(kernel, blocks);
        self
    }

    /// Names of all kernels that have run.
    pub fn launched(&self) -> BTreeSet<&'static str> {
        self.launched.lock().expect("nothing panics with it").clone()
    }
}

/// Backends that must agree with the CPU.
pub fn emulated() -> [Cuda<Emulated>; 3] {
    [Schedule::Ascending, Schedule::Descending, Schedule::Random(1)]
        .map(|order| Cuda::new(Emulated::new(order)))
}

fn within(memory: &Memory, offset: usize, bytes: usize) {
    assert!(offset + bytes <= memory.len(), "bytes {offset}..{} of {}", offset + bytes, memory.len());
}

impl Driver for Emulated {
    type Memory = Memory;

    fn name(&self) -> &str {
        &self.name
    }

    fn allocate(&self, bytes: usize) -> Result<Memory> {
        Memory::new(bytes).map_err(|reason| Error::Device(format!("cannot allocate {bytes} bytes: {reason}")))
    }

    fn address(memory: &Memory) -> u64 {
        memory.address()
    }

    fn write(&self, memory: &Memory, host: &[u8]) -> Result<()> {
        within(memory, 0, host.len());
        self.uploads.add(host.len());
        // SAFETY: the memory has at least as many bytes, and nothing else refers to them.
        unsafe { std::ptr::copy_nonoverlapping(host.as_ptr(), memory.address() as *mut u8, host.len()) };
        Ok(())
    }

    fn read(&self, memory: &Memory, offset: usize, host: &mut [u8]) -> Result<()> {
        within(memory, offset, host.len());
        self.downloads.add(host.len());
        let from = (memory.address() as usize + offset) as *const u8;
        // SAFETY: the memory has as many bytes from there on.
        unsafe { std::ptr::copy_nonoverlapping(from, host.as_mut_ptr(), host.len()) };
        Ok(())
    }

    fn copy(&self, from: &Memory, to: &Memory, offset: usize, bytes: usize) -> Result<()> {
        within(from, 0, bytes);
        within(to, offset, bytes);
        let to = (to.address() as usize + offset) as *mut u8;
        // SAFETY: both have as many bytes, and they are two.
        unsafe { std::ptr::copy_nonoverlapping(from.address() as *const u8, to, bytes) };
        Ok(())
    }

    fn fill(&self, memory: &Memory, value: u8, bytes: usize) -> Result<()> {
        within(memory, 0, bytes);
        // SAFETY: the memory has as many bytes.
        unsafe { std::ptr::write_bytes(memory.address() as *mut u8, value, bytes) };
        Ok(())
    }

    fn wait(&self) -> Result<()> {
        Ok(())
    }

    unsafe fn launch(&self, kernel: Kernel, grid: Grid, arguments: &[Argument<'_>]) -> Result<()> {
        let [x, y, z] = grid.blocks;
        let most = self.most_blocks.get(kernel.name).copied().unwrap_or(u32::MAX);
        let launch_of = Launch {
            blocks: [x.min(most), y, z],
            threads: [grid.threads, 1, 1],
            shared_bytes: grid.shared_bytes as usize,
            schedule: self.schedule,
        };
        self.launched.lock().expect("nothing panics with it").insert(kernel.name);
        let pointers: Vec<_> = arguments.iter().map(Argument::as_pointer).collect();
        // SAFETY: the caller's word that these are the kernel's arguments.
        unsafe { launch(kernel.name, &launch_of, &pointers) }
            .map_err(|reason| Error::Device(format!("{}: {reason}", self.name)))
    }
}
