//! What the tests share: launches with typed arguments, and numbers to work on.

#![allow(dead_code, reason = "no file of tests uses everything")]

use coregister_emulator::{Launch, Memory, Schedule};

pub const SCHEDULES: [Schedule; 4] =
    [Schedule::Ascending, Schedule::Descending, Schedule::Random(1), Schedule::Random(2)];

/// Pointers to the arguments of a kernel, which are values of the exact type of its parameters.
#[macro_export]
macro_rules! arguments {
    ($($value:expr),* $(,)?) => { [$((&raw mut $value).cast::<std::ffi::c_void>()),*] };
}

/// A launch along one axis without dynamic shared memory.
pub fn line(blocks: u32, threads: u32, schedule: Schedule) -> Launch {
    Launch { blocks: [blocks, 1, 1], threads: [threads, 1, 1], cluster: 1, shared_bytes: 0, schedule }
}

/// Memory that holds numbers of type `T`.
pub struct Buffer<T> {
    memory: Memory,
    element: std::marker::PhantomData<T>,
}

impl<T: Copy> Buffer<T> {
    /// Memory as the device gives it: filled with what no kernel should use.
    pub fn new(length: usize) -> Self {
        let memory = Memory::new(length * size_of::<T>()).expect("memory for a test");
        Self { memory, element: std::marker::PhantomData }
    }

    pub fn with(values: &[T]) -> Self {
        let buffer = Self::new(values.len());
        // SAFETY: the buffer was made for as many elements, and nobody else uses it.
        unsafe { std::ptr::copy_nonoverlapping(values.as_ptr(), buffer.address(), values.len()) };
        buffer
    }

    pub fn address(&self) -> *mut T {
        self.memory.address() as *mut T
    }

    pub fn read(&self) -> Vec<T> {
        self.memory.check().expect("nothing is written behind the end");
        let length = self.memory.len() / size_of::<T>();
        // SAFETY: all bytes are initialised, with the poison at least, and no kernel runs.
        unsafe { std::slice::from_raw_parts(self.address(), length) }.to_vec()
    }
}

/// Numbers without a pattern.
pub fn scattered(count: usize) -> Vec<u32> {
    let mut state = 0x9E37_79B9_7F4A_7C15_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 32) as u32
    };
    (0..count).map(|_| next()).collect()
}

/// Numbers between 0 and 1.
pub fn fractions(count: usize) -> Vec<f32> {
    scattered(count).into_iter().map(|value| value as f32 / u32::MAX as f32).collect()
}
