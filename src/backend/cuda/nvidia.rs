//! NVIDIA's driver, found at run time. Nothing of it is touched before a device is asked for.

use std::collections::{BTreeMap, HashMap};
use std::ffi::{CString, c_int};
use std::ptr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use cudarc::driver::result::{self, DriverError};
use cudarc::driver::sys::{self, CUdevice_attribute, CUdeviceptr, CUfunction, CUresult};
use cudarc::driver::{CudaContext, CudaEvent, CudaStream};

use super::account::Account;
use super::blocks::{FreeBlocks, block_size};
use super::driver::{Argument, Driver, Grid, Kernel};
use super::images::image;
use super::staging::Staging;
use crate::error::{Error, Result};

/// Dynamic shared memory that a kernel gets without being asked twice, in bytes.
const USUAL_SHARED_BYTES: u32 = 48 << 10;
/// The oldest devices that the embedded kernels run on.
pub const OLDEST_CAPABILITY: (i32, i32) = (8, 0);

/// Major numbers of the compute capabilities with clusters for which the embedded kernels are compiled.
const CAPABILITIES_WITH_CLUSTERS: [i32; 2] = [9, 12];
/// Blocks that every such device can have in a cluster.
const MOST_PORTABLE_CLUSTER: u32 = 8;

/// What is known about CUDA on this machine.
#[derive(Debug, Clone, PartialEq)]
pub enum Installation {
    /// There is no driver.
    NoDriver,
    /// There is a driver, but it refuses to work, for this reason.
    Failed(String),
    /// The driver works; there may still be no device.
    Ready {
        /// The newest CUDA version that it supports, such as "13.0".
        driver: String,
        /// In the order of their numbers, of those that CUDA_VISIBLE_DEVICES lets see.
        devices: Vec<DeviceDescription>,
    },
}

/// A device as its driver describes it.
#[derive(Debug, Clone, PartialEq)]
pub struct DeviceDescription {
    /// The product.
    pub name: String,
    /// In bytes.
    pub memory: usize,
    /// Compute capability: major and minor number.
    pub capability: (i32, i32),
}

impl DeviceDescription {
    /// Whether the embedded kernels run on the device.
    pub fn is_supported(&self) -> bool {
        self.capability >= OLDEST_CAPABILITY
    }

    /// Most blocks of a cluster. Other devices that have clusters run code for older ones, which knows none.
    fn largest_cluster(&self) -> u32 {
        if CAPABILITIES_WITH_CLUSTERS.contains(&self.capability.0) { MOST_PORTABLE_CLUSTER } else { 1 }
    }
}

/// Asks the driver. Makes no context, so it costs little and takes no device memory.
pub fn installation() -> Installation {
    // SAFETY: loads the driver's library and lets go of it again; its initialisers are NVIDIA's own.
    if !unsafe { sys::is_culib_present() } {
        return Installation::NoDriver;
    }
    query().unwrap_or_else(|error| Installation::Failed(reason(error)))
}

fn query() -> Result<Installation, DriverError> {
    result::init()?;
    let driver = driver_version()?;
    let devices = (0..result::device::get_count()?).map(describe).collect::<Result<_, _>>()?;
    Ok(Installation::Ready { driver, devices })
}

fn describe(number: c_int) -> Result<DeviceDescription, DriverError> {
    let device = result::device::get(number)?;
    // SAFETY: `device` was returned by `get`, as both calls ask.
    let attribute = |which| unsafe { result::device::get_attribute(device, which) };
    let major = attribute(CUdevice_attribute::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR)?;
    let minor = attribute(CUdevice_attribute::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR)?;
    // SAFETY: as above.
    let memory = unsafe { result::device::total_mem(device) }?;
    Ok(DeviceDescription { name: result::device::get_name(device)?, memory, capability: (major, minor) })
}

fn driver_version() -> Result<String, DriverError> {
    let mut version: c_int = 0;
    // SAFETY: the driver writes one integer to the address of one.
    unsafe { sys::cuDriverGetVersion(&mut version) }.result()?;
    Ok(format!("{}.{}", version / 1000, version % 1000 / 10))
}

fn reason(error: DriverError) -> String {
    error.error_string().map_or_else(|_| format!("{error:?}"), |text| text.to_string_lossy().into_owned())
}

/// A device of NVIDIA's and a stream on it.
pub struct Nvidia {
    name: String,
    stream: Arc<CudaStream>,
    staging: Staging,
    functions: Mutex<HashMap<Kernel, Function>>,
    pool: Arc<Pool>,
    largest_cluster: u32,
    open: OpenStream,
    /// The process that opened the device: children of it cannot use it.
    process: u32,
}

/// Streams of this process on each device, by its number.
static OPEN_STREAMS: Mutex<BTreeMap<usize, usize>> = Mutex::new(BTreeMap::new());

/// Counts a stream while it lives.
struct OpenStream {
    device: usize,
}

impl OpenStream {
    fn new(device: usize) -> Self {
        *Self::counts().entry(device).or_default() += 1;
        Self { device }
    }

    /// The streams on the same device.
    fn count(&self) -> usize {
        Self::counts().get(&self.device).copied().unwrap_or(1)
    }

    /// A thread that panicked has left the counts whole.
    fn counts() -> MutexGuard<'static, BTreeMap<usize, usize>> {
        OPEN_STREAMS.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for OpenStream {
    fn drop(&mut self) {
        if let Some(count) = Self::counts().get_mut(&self.device) {
            *count -= 1;
        }
    }
}

/// A kernel that the driver has loaded. Modules are never unloaded, so the handle stays good as long as the context.
#[derive(Clone, Copy)]
struct Function {
    handle: CUfunction,
    /// Dynamic shared memory that it may have, in bytes.
    shared_bytes: u32,
}

// SAFETY: a handle that the driver lets every thread use.
unsafe impl Send for Function {}

/// Memory of a device.
pub struct NvidiaMemory {
    address: CUdeviceptr,
    bytes: usize,
    pool: Arc<Pool>,
}

/// The memory of a stream.
struct Pool {
    stream: Arc<CudaStream>,
    account: Account,
    free: FreeBlocks,
}

/// The memory of all streams of this process.
static POOLS: Mutex<Vec<Weak<Pool>>> = Mutex::new(Vec::new());

impl Pool {
    fn open(stream: Arc<CudaStream>, account: Account) -> Arc<Self> {
        let pool = Arc::new(Self { stream, account, free: FreeBlocks::default() });
        let mut pools = Self::all();
        pools.retain(|pool| pool.strong_count() > 0);
        pools.push(Arc::downgrade(&pool));
        pool
    }

    /// A thread that panicked has left the list whole.
    fn all() -> MutexGuard<'static, Vec<Weak<Self>>> {
        POOLS.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A block of this size: a free one, or a new one where so much may be taken. The device's context is the thread's
    /// current one.
    fn take(&self, size: usize) -> Result<CUdeviceptr, NoBlock> {
        if let Some(address) = self.free.take(size) {
            return Ok(address);
        }
        // Blocks of other sizes may have taken the room, here or on other streams.
        for release in [Self::release_own, Self::release_all] {
            match self.allocate(size) {
                Err(NoBlock::NoRoom(_)) => release(self).map_err(NoBlock::Failed)?,
                other => return other,
            }
        }
        self.allocate(size)
    }

    /// Gives the free blocks back, and waits until they are.
    fn release_own(&self) -> Result<(), DriverError> {
        self.release();
        self.stream.synchronize()
    }

    /// The same for all streams on the device.
    fn release_all(&self) -> Result<(), DriverError> {
        let context = self.stream.context();
        // Listed in a statement of its own: other streams may be opened while these are waited for.
        let pools: Vec<_> = Self::all().iter().filter_map(Weak::upgrade).collect();
        for pool in pools.iter().filter(|pool| pool.stream.context() == context) {
            pool.release_own()?;
        }
        // SAFETY: the device's pool is there as long as the device.
        unsafe { result::mem_pool::trim_to(result::device::get_mem_pool(context.cu_device())?, 0) }
    }

    /// A new block.
    fn allocate(&self, size: usize) -> Result<CUdeviceptr, NoBlock> {
        self.account.take(size).map_err(NoBlock::NoRoom)?;
        // SAFETY: the stream is a live one of the context.
        unsafe { result::malloc_async(self.stream.cu_stream(), size) }.map_err(|error| {
            self.account.give_back(size);
            match error.0 {
                CUresult::CUDA_ERROR_OUT_OF_MEMORY => NoBlock::NoRoom(self.account.out_of_memory(size)),
                _ => NoBlock::Failed(error),
            }
        })
    }

    /// Gives all free blocks back to the driver.
    fn release(&self) {
        for (size, address) in self.free.drain() {
            self.account.give_back(size);
            // A device that is gone has no memory to give back, so errors do not matter.
            // SAFETY: allocated on this stream, and in nobody's hands.
            let _ = unsafe { result::free_async(address, self.stream.cu_stream()) };
        }
    }
}

/// Why there is no memory.
enum NoBlock {
    /// More than there is, or may be taken.
    NoRoom(Error),
    /// The driver does not work.
    Failed(DriverError),
}

impl Drop for Pool {
    fn drop(&mut self) {
        if self.stream.context().bind_to_thread().is_ok() {
            self.release();
        }
    }
}

impl Nvidia {
    /// Opens the device of this number for at most `most_memory` bytes, or all of its memory.
    ///
    /// # Errors
    /// [`Error::Device`] when there is no driver, no such device, or it is too old or fails.
    pub fn open(number: usize, most_memory: Option<usize>) -> Result<Self> {
        let device = find(number)?;
        let failed = |error| {
            Error::Device(format!("cuda:{number}, {}, cannot be opened: {}", device.name, reason(error)))
        };
        let context = CudaContext::new(number).map_err(failed)?;
        keep_freed_memory(&context).map_err(failed)?;
        let stream = context.new_stream().map_err(failed)?;
        let most = most_memory.unwrap_or(device.memory);
        let name = format!("cuda:{number} ({})", device.name);
        Ok(Self {
            staging: Staging::new(stream.clone()),
            pool: Pool::open(stream.clone(), Account::new(&name, most)),
            name,
            stream,
            functions: Mutex::default(),
            largest_cluster: device.largest_cluster(),
            open: OpenStream::new(number),
            process: std::process::id(),
        })
    }

    /// Makes the device this thread's current one.
    fn enter(&self) -> Result<()> {
        check_process(&self.name, self.process, std::process::id())?;
        self.said(self.stream.context().bind_to_thread(), "cannot be used")
    }

    /// The driver's error in a sentence.
    fn said<T>(&self, result: Result<T, DriverError>, what: &str) -> Result<T> {
        result.map_err(|error| {
            Error::Device(format!("{} {what}: {}; try the device cpu", self.name, reason(error)))
        })
    }

    /// The kernel, loaded when it is first asked for, with so much dynamic shared memory.
    fn function(&self, kernel: Kernel, shared_bytes: u32) -> Result<CUfunction> {
        // A thread that panicked has left the table whole: entries are only ever added or replaced.
        let mut functions = self.functions.lock().unwrap_or_else(PoisonError::into_inner);
        let known = functions.get(&kernel).copied();
        if let Some(function) = known.filter(|function| function.shared_bytes >= shared_bytes) {
            return Ok(function.handle);
        }
        let loaded = known.map_or_else(|| self.load(kernel), Ok);
        let function = loaded.and_then(|function| allow_shared(function, shared_bytes));
        let function = self.said(function, &format!("cannot load the kernel {}", kernel.name))?;
        functions.insert(kernel, function);
        Ok(function.handle)
    }

    fn load(&self, kernel: Kernel) -> Result<Function, DriverError> {
        let missing = DriverError(CUresult::CUDA_ERROR_NOT_FOUND);
        let image = image(kernel.module).ok_or(missing)?;
        let name = CString::new(kernel.name).map_err(|_| missing)?;
        // SAFETY: the image is one that the compiler made, whole, and the module is loaded and never unloaded.
        unsafe {
            let module = result::module::load_data(image.as_ptr().cast())?;
            let handle = result::module::get_function(module, name)?;
            Ok(Function { handle, shared_bytes: USUAL_SHARED_BYTES })
        }
    }

    /// What the driver wants to know of a launch.
    fn config(&self, grid: Grid, cluster: &mut sys::CUlaunchAttribute) -> sys::CUlaunchConfig {
        let [x, y, z] = grid.blocks;
        sys::CUlaunchConfig {
            gridDimX: x,
            gridDimY: y,
            gridDimZ: z,
            blockDimX: grid.threads,
            blockDimY: 1,
            blockDimZ: 1,
            sharedMemBytes: grid.shared_bytes,
            hStream: self.stream.cu_stream(),
            attrs: cluster,
            // Devices without clusters are not asked for any.
            numAttrs: u32::from(grid.cluster > 1),
        }
    }
}

/// Lets a kernel have so much dynamic shared memory.
fn allow_shared(function: Function, bytes: u32) -> Result<Function, DriverError> {
    if bytes <= function.shared_bytes {
        return Ok(function);
    }
    let which = sys::CUfunction_attribute_enum::CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES;
    // SAFETY: the function is loaded.
    unsafe { result::function::set_function_attribute(function.handle, which, bytes as i32) }?;
    Ok(Function { shared_bytes: bytes, ..function })
}

/// Clusters of so many blocks along x.
fn cluster_of(blocks: u32) -> sys::CUlaunchAttribute {
    let size = sys::CUlaunchAttributeValue_union__bindgen_ty_1 { x: blocks, y: 1, z: 1 };
    sys::CUlaunchAttribute {
        id: sys::CUlaunchAttributeID::CU_LAUNCH_ATTRIBUTE_CLUSTER_DIMENSION,
        pad: [0; 4],
        value: sys::CUlaunchAttributeValue { clusterDim: size },
    }
}

/// The device of this number, if it can be used.
fn find(number: usize) -> Result<DeviceDescription> {
    let refuse = |why: String| Err(Error::Device(format!("{why}; use the device cpu")));
    match installation() {
        Installation::NoDriver => refuse("there is no NVIDIA driver on this machine".into()),
        Installation::Failed(reason) => refuse(format!("the NVIDIA driver does not work ({reason})")),
        Installation::Ready { devices, .. } => match devices.get(number) {
            None => {
                refuse(format!("there is no device cuda:{number}, only {} CUDA device(s)", devices.len()))
            }
            Some(device) if !device.is_supported() => {
                let ((major, minor), (oldest, _)) = (device.capability, OLDEST_CAPABILITY);
                refuse(format!(
                    "cuda:{number}, {}, has compute capability {major}.{minor}, but {oldest}.0 is needed",
                    device.name
                ))
            }
            Some(device) => Ok(device.clone()),
        },
    }
}

/// Lets the pool keep what is freed, so that allocating it again costs next to nothing.
fn keep_freed_memory(context: &CudaContext) -> Result<(), DriverError> {
    let which = sys::CUmemPool_attribute::CU_MEMPOOL_ATTR_RELEASE_THRESHOLD;
    let mut everything = u64::MAX;
    // SAFETY: the device is the context's, its pool is there as long as the device, and the attribute is 64 bits long.
    unsafe {
        let pool = result::device::get_mem_pool(context.cu_device())?;
        result::mem_pool::set_attribute(pool, which, (&raw mut everything).cast())
    }
}

impl Driver for Nvidia {
    type Memory = NvidiaMemory;
    type Mark = CudaEvent;

    fn name(&self) -> &str {
        &self.name
    }

    fn allocate(&self, bytes: usize) -> Result<NvidiaMemory> {
        self.enter()?;
        let size = block_size(bytes);
        match self.pool.take(size) {
            Ok(address) => Ok(NvidiaMemory { address, bytes: size, pool: self.pool.clone() }),
            Err(NoBlock::NoRoom(error)) => Err(error),
            Err(NoBlock::Failed(error)) => self.said(Err(error), "cannot allocate memory"),
        }
    }

    fn address(memory: &NvidiaMemory) -> u64 {
        memory.address
    }

    fn write(&self, memory: &NvidiaMemory, host: &[u8]) -> Result<()> {
        assert!(host.len() <= memory.bytes);
        self.enter()?;
        // SAFETY: the memory has at least as many bytes, and `enter` has made the context current.
        let copied = unsafe { self.staging.upload(memory.address, host) };
        self.said(copied, "cannot take an upload")
    }

    fn read(&self, memory: &NvidiaMemory, offset: usize, host: &mut [u8]) -> Result<()> {
        assert!(offset + host.len() <= memory.bytes);
        self.enter()?;
        // SAFETY: the memory has as many bytes from the offset on, and `enter` has made the context current.
        let copied = unsafe { self.staging.download(memory.address + offset as u64, host) };
        self.said(copied, "has failed")
    }

    fn copy(&self, from: &NvidiaMemory, to: &NvidiaMemory, offset: usize, bytes: usize) -> Result<()> {
        assert!(bytes <= from.bytes && offset + bytes <= to.bytes);
        self.enter()?;
        // SAFETY: both have as many bytes.
        let copied = unsafe {
            result::memcpy_dtod_async(
                to.address + offset as u64,
                from.address,
                bytes,
                self.stream.cu_stream(),
            )
        };
        self.said(copied, "cannot copy")
    }

    fn fill(&self, memory: &NvidiaMemory, value: u8, bytes: usize) -> Result<()> {
        assert!(bytes <= memory.bytes);
        self.enter()?;
        // SAFETY: the memory has as many bytes, and any bytes are a value of an `Element`.
        let filled =
            unsafe { result::memset_d8_async(memory.address, value, bytes, self.stream.cu_stream()) };
        self.said(filled, "cannot fill memory")
    }

    fn free_memory(&self) -> Result<usize> {
        self.enter()?;
        let (free, _) = self.said(result::mem_get_info(), "does not say how much of its memory is free")?;
        Ok(free)
    }

    fn wait(&self) -> Result<()> {
        self.enter()?;
        self.said(self.stream.synchronize(), "has failed")
    }

    fn mark(&self) -> Result<CudaEvent> {
        self.enter()?;
        self.said(self.stream.record_event(None), "cannot mark its work")
    }

    fn follow(&self, mark: &CudaEvent) -> Result<()> {
        self.enter()?;
        self.said(self.stream.wait(mark), "cannot follow other work")
    }

    fn largest_cluster(&self) -> u32 {
        self.largest_cluster
    }

    fn streams(&self) -> usize {
        self.open.count()
    }

    unsafe fn launch(&self, kernel: Kernel, grid: Grid, arguments: &[Argument<'_>]) -> Result<()> {
        self.enter()?;
        let function = self.function(kernel, grid.shared_bytes)?;
        let mut pointers: Vec<_> = arguments.iter().map(Argument::as_pointer).collect();
        let mut cluster = cluster_of(grid.cluster);
        let config = self.config(grid, &mut cluster);
        // SAFETY: the function is loaded, the attribute outlives the call, and the caller's word holds for the arguments,
        // which the driver copies.
        let launched =
            unsafe { sys::cuLaunchKernelEx(&config, function, pointers.as_mut_ptr(), ptr::null_mut()) }
                .result();
        self.said(launched, &format!("cannot run the kernel {}", kernel.name))
    }
}

/// A device belongs to the process that opened it, not to the children that are forked from it.
fn check_process(name: &str, opened_in: u32, here: u32) -> Result<()> {
    if opened_in == here {
        return Ok(());
    }
    Err(Error::Device(format!(
        "{name} was opened in process {opened_in}, which was then forked into this one, {here}; CUDA does not allow that: \
         open it in the child, and not before"
    )))
}

impl Drop for NvidiaMemory {
    fn drop(&mut self) {
        self.pool.free.put(self.bytes, self.address);
    }
}

#[cfg(test)]
mod tests {
    use super::check_process;

    #[test]
    fn a_forked_child_is_told_to_open_the_device_itself() {
        assert!(check_process("cuda:0", 7, 7).is_ok());
        let message = check_process("cuda:0", 7, 8).unwrap_err().to_string();
        assert!(message.contains("cuda:0") && message.contains("forked into this one, 8"), "{message}");
    }
}
