//! CUDA backends without a GPU: the kernels run on the CPU, in several orders of their threads.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{self, Display, Formatter};
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use coregister::backend::cuda::{Account, Argument, Cuda, Driver, Grid, Kernel};
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
    /// Waits for all work without a copy.
    pub waits: AtomicUsize,
    /// How often each kernel was launched.
    launches: Mutex<BTreeMap<&'static str, usize>>,
    latest: Mutex<&'static str>,
    most_blocks: BTreeMap<&'static str, u32>,
    largest_cluster: AtomicU32,
    account: Arc<Account>,
    most_taken: AtomicUsize,
    /// When it comes, allocations find no room.
    pub allocations: CountDown,
    /// When it comes, the device is lost.
    pub calls: CountDown,
}

/// Counts calls down to the one from which on they fail; at first that is as good as never.
pub struct CountDown(AtomicUsize);

impl Default for CountDown {
    fn default() -> Self {
        Self(AtomicUsize::new(usize::MAX))
    }
}

impl CountDown {
    /// The next `good` calls succeed.
    pub fn fail_after(&self, good: usize) {
        self.0.store(good, Ordering::Relaxed);
    }

    /// All calls succeed; returns how many have since the last time.
    pub fn restart(&self) -> usize {
        usize::MAX - self.0.swap(usize::MAX, Ordering::Relaxed)
    }

    /// Counts a call, and whether it is to fail.
    fn has_come(&self) -> bool {
        let next = |left: usize| left.checked_sub(1);
        self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, next).is_err()
    }
}

/// How often something was copied, and how much, by the kernel that was launched last before.
#[derive(Debug, Default)]
pub struct Traffic(Mutex<BTreeMap<&'static str, Vec<usize>>>);

impl Traffic {
    fn add(&self, after: &'static str, bytes: usize) {
        self.0.lock().expect("nothing panics with it").entry(after).or_default().push(bytes);
    }

    fn sum(&self, of_kernel: impl Fn(&Vec<usize>) -> usize) -> usize {
        self.0.lock().expect("nothing panics with it").values().map(of_kernel).sum()
    }

    /// Number of copies.
    pub fn copies(&self) -> usize {
        self.sum(Vec::len)
    }

    /// Bytes of all of them.
    pub fn bytes(&self) -> usize {
        self.sum(|copies| copies.iter().sum())
    }
}

impl Display for Traffic {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let by_kernel = self.0.lock().expect("nothing panics with it");
        by_kernel.iter().try_for_each(|(after, bytes)| writeln!(f, "  {after}: {bytes:?}"))
    }
}

/// Memory of an emulated device, which counts as taken until it is dropped.
pub struct EmulatedMemory {
    memory: Memory,
    account: Arc<Account>,
}

impl Drop for EmulatedMemory {
    fn drop(&mut self) {
        self.account.give_back(self.memory.len());
    }
}

impl Emulated {
    /// A device whose threads run in this order.
    pub fn new(schedule: Schedule) -> Self {
        Self::with_memory(schedule, usize::MAX)
    }

    /// The same with so many bytes of memory.
    pub fn with_memory(schedule: Schedule, most: usize) -> Self {
        let name = format!("emulated, {schedule:?}");
        Self {
            account: Arc::new(Account::new(&name, most)),
            name,
            schedule,
            uploads: Traffic::default(),
            downloads: Traffic::default(),
            waits: AtomicUsize::new(0),
            latest: Mutex::new("the start"),
            launches: Mutex::default(),
            most_blocks: BTreeMap::new(),
            largest_cluster: AtomicU32::new(1),
            most_taken: AtomicUsize::new(0),
            allocations: CountDown::default(),
            calls: CountDown::default(),
        }
    }

    /// Runs only the first blocks of a kernel, for a look at what blocks do to each other; what the others would have
    /// written stays undefined.
    pub fn with_most_blocks(mut self, kernel: &'static str, blocks: u32) -> Self {
        self.most_blocks.insert(kernel, blocks);
        self
    }

    /// Has clusters of up to so many blocks from now on; at first it has none, as devices before compute capability 9.0.
    pub fn set_largest_cluster(&self, blocks: u32) {
        self.largest_cluster.store(blocks, Ordering::Relaxed);
    }

    /// Names of all kernels that have run.
    pub fn launched(&self) -> BTreeSet<&'static str> {
        self.launches().into_keys().collect()
    }

    /// How often each of them was launched.
    pub fn launches(&self) -> BTreeMap<&'static str, usize> {
        self.launches.lock().expect("nothing panics with it").clone()
    }

    /// Bytes that are taken.
    pub fn taken(&self) -> usize {
        self.account.taken()
    }

    /// Most bytes that were taken at any time.
    pub fn most_taken(&self) -> usize {
        self.most_taken.load(Ordering::Relaxed)
    }

    fn latest(&self) -> &'static str {
        *self.latest.lock().expect("nothing panics with it")
    }

    /// Fails if the device is lost.
    fn enter(&self) -> Result<()> {
        if self.calls.has_come() {
            return Err(Error::Device(format!("{} is lost", self.name)));
        }
        Ok(())
    }
}

/// Backends that must agree with the CPU.
pub fn emulated() -> [Cuda<Emulated>; 3] {
    [Schedule::Ascending, Schedule::Descending, Schedule::Random(1)]
        .map(|order| Cuda::new(Emulated::new(order)))
}

fn within(memory: &EmulatedMemory, offset: usize, bytes: usize) {
    let length = memory.memory.len();
    assert!(offset + bytes <= length, "bytes {offset}..{} of {length}", offset + bytes);
}

impl Driver for Emulated {
    type Memory = EmulatedMemory;
    // Everything is done when it was asked for.
    type Mark = ();

    fn name(&self) -> &str {
        &self.name
    }

    fn allocate(&self, bytes: usize) -> Result<EmulatedMemory> {
        self.enter()?;
        if self.allocations.has_come() {
            return Err(self.account.out_of_memory(bytes));
        }
        self.account.take(bytes)?;
        self.most_taken.fetch_max(self.taken(), Ordering::Relaxed);
        let memory = Memory::new(bytes).expect("memory of the host");
        Ok(EmulatedMemory { memory, account: self.account.clone() })
    }

    fn address(memory: &EmulatedMemory) -> u64 {
        memory.memory.address()
    }

    fn write(&self, memory: &EmulatedMemory, host: &[u8]) -> Result<()> {
        self.enter()?;
        within(memory, 0, host.len());
        self.uploads.add(self.latest(), host.len());
        // SAFETY: the memory has at least as many bytes, and nothing else refers to them.
        unsafe { std::ptr::copy_nonoverlapping(host.as_ptr(), Self::address(memory) as *mut u8, host.len()) };
        Ok(())
    }

    fn read(&self, memory: &EmulatedMemory, offset: usize, host: &mut [u8]) -> Result<()> {
        self.enter()?;
        within(memory, offset, host.len());
        self.downloads.add(self.latest(), host.len());
        let from = (Self::address(memory) as usize + offset) as *const u8;
        // SAFETY: the memory has as many bytes from there on.
        unsafe { std::ptr::copy_nonoverlapping(from, host.as_mut_ptr(), host.len()) };
        Ok(())
    }

    fn copy(&self, from: &EmulatedMemory, to: &EmulatedMemory, offset: usize, bytes: usize) -> Result<()> {
        self.enter()?;
        within(from, 0, bytes);
        within(to, offset, bytes);
        let to = (Self::address(to) as usize + offset) as *mut u8;
        // SAFETY: both have as many bytes, and they are two.
        unsafe { std::ptr::copy_nonoverlapping(Self::address(from) as *const u8, to, bytes) };
        Ok(())
    }

    fn fill(&self, memory: &EmulatedMemory, value: u8, bytes: usize) -> Result<()> {
        self.enter()?;
        within(memory, 0, bytes);
        // SAFETY: the memory has as many bytes.
        unsafe { std::ptr::write_bytes(Self::address(memory) as *mut u8, value, bytes) };
        Ok(())
    }

    fn free_memory(&self) -> Result<usize> {
        self.enter()?;
        Ok(self.account.free())
    }

    fn wait(&self) -> Result<()> {
        self.waits.fetch_add(1, Ordering::Relaxed);
        self.enter()
    }

    fn mark(&self) -> Result<()> {
        self.enter()
    }

    fn follow(&self, (): &()) -> Result<()> {
        self.enter()
    }

    fn largest_cluster(&self) -> u32 {
        self.largest_cluster.load(Ordering::Relaxed)
    }

    fn streams(&self) -> usize {
        1
    }

    unsafe fn launch(&self, kernel: Kernel, grid: Grid, arguments: &[Argument<'_>]) -> Result<()> {
        self.enter()?;
        let [x, y, z] = grid.blocks;
        let most = self.most_blocks.get(kernel.name).copied().unwrap_or(u32::MAX);
        let launch_of = Launch {
            blocks: [x.min(most), y, z],
            cluster: grid.cluster,
            threads: [grid.threads, 1, 1],
            shared_bytes: grid.shared_bytes as usize,
            schedule: self.schedule,
        };
        *self.launches.lock().expect("nothing panics with it").entry(kernel.name).or_default() += 1;
        *self.latest.lock().expect("nothing panics with it") = kernel.name;
        let pointers: Vec<_> = arguments.iter().map(Argument::as_pointer).collect();
        // SAFETY: the caller's word that these are the kernel's arguments.
        unsafe { launch(kernel.name, &launch_of, &pointers) }
            .map_err(|reason| Error::Device(format!("{}: {reason}", self.name)))
    }
}
