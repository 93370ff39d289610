//! The C++ side: `runtime/block.cpp`, and the registry of kernels that the build writes.

use std::{
    ffi::{CStr, CString, c_char, c_void},
    ptr,
};

/// `emulator::Kernel`.
#[repr(C)]
pub struct Kernel {
    name: *const c_char,
    call: unsafe extern "C" fn(*const *mut c_void),
    pub arguments: usize,
    pub most_threads: u32,
}

/// `emulator::BlockRequest`.
#[repr(C)]
pub struct BlockRequest {
    pub kernel: *const Kernel,
    pub arguments: *const *mut c_void,
    pub shared_bytes: usize,
    pub blocks: [u32; 3],
    pub threads: [u32; 3],
    pub index: [u32; 3],
    pub order: Order,
    pub seed: u32,
    /// The cluster that the block belongs to, and its number there; null for a block of its own.
    pub cluster: *mut c_void,
    pub rank: u32,
    pub finished: *mut c_void,
}

/// `emulator::Order`.
#[repr(u32)]
#[derive(Clone, Copy)]
pub enum Order {
    Ascending,
    Descending,
    Random,
}

unsafe extern "C" {
    fn emulator_find_kernel(name: *const c_char) -> *const Kernel;
    fn emulator_run_block(request: *const BlockRequest, reason: *mut c_char, capacity: usize) -> bool;
    fn emulator_finish_launch(finished: *mut c_void);
    fn emulator_create_cluster(size: u32) -> *mut c_void;
    fn emulator_destroy_cluster(cluster: *mut c_void);
}

pub fn find_kernel(name: &str) -> Option<&'static Kernel> {
    let name = CString::new(name).ok()?;
    // SAFETY: the name ends with a zero; the registry is constant and lives as long as the program.
    unsafe { emulator_find_kernel(name.as_ptr()).as_ref() }
}

/// Runs a block on this thread; the error is why it could not end.
///
/// # Safety
///
/// The pointers in `request` are valid, and the arguments are those the kernel wants.
pub unsafe fn run_block(request: &BlockRequest) -> Result<(), String> {
    let mut reason = [0; 512];
    // SAFETY: the runtime writes at most the given length, with a zero at its end; the caller vouches for the request.
    if unsafe { emulator_run_block(request, reason.as_mut_ptr(), reason.len()) } {
        return Ok(());
    }
    // SAFETY: see above.
    Err(unsafe { CStr::from_ptr(reason.as_ptr()) }.to_string_lossy().into_owned())
}

/// `emulator::Cluster`: where blocks meet.
pub struct Cluster(*mut c_void);

// SAFETY: made for threads to meet at.
unsafe impl Sync for Cluster {}

impl Cluster {
    /// For so many blocks.
    pub fn new(size: u32) -> Self {
        // SAFETY: any number will do.
        Self(unsafe { emulator_create_cluster(size) })
    }

    pub fn address(&self) -> *mut c_void {
        self.0
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        // SAFETY: it was created, and is destroyed once.
        unsafe { emulator_destroy_cluster(self.0) }
    }
}

/// Tells ThreadSanitizer that what follows comes after all that blocks did which had this address as `finished`.
pub fn finish_launch(finished: &mut u8) {
    // SAFETY: the address is not accessed.
    unsafe { emulator_finish_launch(ptr::from_mut(finished).cast()) }
}
