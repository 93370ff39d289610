//! Page-locked memory of the host, through which copies go: only from such memory does a device copy by itself, while the
//! host and other streams do something else.

use std::sync::{Arc, Mutex, PoisonError};

use cudarc::driver::result::{self, DriverError};
use cudarc::driver::sys::{self, CUdeviceptr};
use cudarc::driver::{CudaEvent, CudaStream, PinnedHostSlice};

/// Uploads from this size on, in bytes. What is smaller the driver takes over at once.
const LEAST_UPLOAD: usize = 64 << 10;
/// Most bytes for uploads; clouds beyond that are copied from where they are.
const MOST_FOR_UPLOADS: usize = 64 << 20;
/// Bytes for read-backs; what is larger is copied to where it goes.
const FOR_DOWNLOADS: usize = 64 << 10;

/// The page-locked memory of one stream.
pub(super) struct Staging {
    stream: Arc<CudaStream>,
    for_uploads: Mutex<Vec<Upload>>,
    /// None where there was no such memory.
    for_downloads: Mutex<Option<PinnedHostSlice<u8>>>,
}

/// Memory that an upload goes through.
struct Upload {
    memory: PinnedHostSlice<u8>,
    /// Once this has come, the device has read the memory.
    copied: CudaEvent,
}

impl Drop for Upload {
    fn drop(&mut self) {
        // The memory is released after this. A device that is gone does not read it any more, so errors do not matter.
        let _ = self.copied.synchronize();
    }
}

impl Staging {
    /// For copies on this stream. Where page-locked memory is short, there is none, and copies take another way.
    pub(super) fn new(stream: Arc<CudaStream>) -> Self {
        // SAFETY: it is written before it is read. Without flags, since the host is slow to read write-combined memory.
        let for_downloads = unsafe { stream.context().alloc_pinned_with_flags(FOR_DOWNLOADS, 0) }.ok();
        Self { stream, for_uploads: Mutex::default(), for_downloads: Mutex::new(for_downloads) }
    }

    /// Copies to the device.
    ///
    /// # Safety
    /// There are as many bytes at `to`, and the device's context is the thread's current one.
    pub(super) unsafe fn upload(&self, to: CUdeviceptr, host: &[u8]) -> Result<(), DriverError> {
        match self.take(host.len()) {
            // SAFETY: the caller's word, and the memory is long enough.
            Some(staged) => unsafe { self.upload_through(staged, to, host) },
            // SAFETY: the caller's word. The host's memory is pageable, so the driver has read all of it when the call
            // returns.
            None => unsafe { result::memcpy_htod_async(to, host, self.stream.cu_stream()) },
        }
    }

    /// # Safety
    /// As [`Staging::upload`], and `staged` has at least as many bytes as `host`.
    unsafe fn upload_through(
        &self,
        mut staged: Upload,
        to: CUdeviceptr,
        host: &[u8],
    ) -> Result<(), DriverError> {
        // SAFETY: it is long enough by the caller's word, and nobody else uses it: `take` gives out only memory that the
        // device has read. From the copy on it is left alone until `copied` has come: in the pool, where `take` asks for
        // that, or here, where the stream is waited for if the event cannot be recorded.
        let recorded = unsafe {
            let memory = staged.memory.as_mut_ptr()?;
            memory.copy_from_nonoverlapping(host.as_ptr(), host.len());
            let staged_host = std::slice::from_raw_parts(memory.cast_const(), host.len());
            result::memcpy_htod_async(to, staged_host, self.stream.cu_stream())?;
            staged.copied.record(&self.stream)
        };
        match recorded {
            Ok(()) => self.pool().push(staged),
            Err(_) => self.stream.synchronize()?,
        }
        recorded
    }

    /// Memory for an upload of so many bytes that the device is done with: of the pool, or new where that is not too much.
    fn take(&self, bytes: usize) -> Option<Upload> {
        if !(LEAST_UPLOAD..=MOST_FOR_UPLOADS).contains(&bytes) {
            return None;
        }
        // So that clouds of about the same size share it.
        let bytes = bytes.next_power_of_two();
        let mut pool = self.pool();
        let fits = |upload: &Upload| upload.memory.len() >= bytes && upload.copied.is_complete();
        if let Some(found) = pool.iter().position(fits) {
            return Some(pool.swap_remove(found));
        }
        let is_room = |pool: &[Upload]| {
            pool.iter().map(|upload| upload.memory.len()).sum::<usize>() + bytes <= MOST_FOR_UPLOADS
        };
        if !is_room(&pool) {
            // What is too small makes way, once the device is done with it.
            pool.retain(|upload| !upload.copied.is_complete());
        }
        if is_room(&pool) { self.allocate(bytes).ok() } else { None }
    }

    fn allocate(&self, bytes: usize) -> Result<Upload, DriverError> {
        let context = self.stream.context();
        // An event that was never recorded has come.
        let copied = context.new_event(Some(sys::CUevent_flags::CU_EVENT_DISABLE_TIMING))?;
        // SAFETY: it is written before it is read.
        let memory = unsafe { context.alloc_pinned(bytes) }?;
        Ok(Upload { memory, copied })
    }

    /// A thread that panicked has left the pool whole: memory is in it or not.
    fn pool(&self) -> std::sync::MutexGuard<'_, Vec<Upload>> {
        self.for_uploads.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for the stream, and copies to the host.
    ///
    /// # Safety
    /// There are as many bytes at `from`, and the device's context is the thread's current one.
    pub(super) unsafe fn download(&self, from: CUdeviceptr, host: &mut [u8]) -> Result<(), DriverError> {
        let mut staged = self.for_downloads.lock().unwrap_or_else(PoisonError::into_inner);
        match staged.as_mut().filter(|_| host.len() <= FOR_DOWNLOADS) {
            // SAFETY: the caller's word, and the memory is long enough. It is locked until the stream is done, so nobody
            // else has it meanwhile.
            Some(memory) => unsafe {
                let memory = memory.as_mut_ptr()?;
                let staged_host = std::slice::from_raw_parts_mut(memory, host.len());
                result::memcpy_dtoh_async(staged_host, from, self.stream.cu_stream())?;
                self.stream.synchronize()?;
                host.copy_from_slice(staged_host);
            },
            // SAFETY: the caller's word; the host's memory is not touched until the stream is done.
            None => unsafe {
                result::memcpy_dtoh_async(host, from, self.stream.cu_stream())?;
                self.stream.synchronize()?;
            },
        }
        Ok(())
    }
}
