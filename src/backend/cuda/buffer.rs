//! Arrays on a CUDA device.

use std::marker::PhantomData;

use super::driver::Driver;
use crate::backend::Element;

/// An array of at most 2³¹ values on a device.
pub struct CudaBuffer<T, D: Driver> {
    // An empty array has none: drivers refuse to allocate nothing.
    memory: Option<D::Memory>,
    len: usize,
    element: PhantomData<T>,
}

impl<T: Element, D: Driver> CudaBuffer<T, D> {
    /// An array without elements.
    pub(super) fn empty() -> Self {
        Self { memory: None, len: 0, element: PhantomData }
    }

    /// An array of `len` elements in `memory`, which has room for them.
    pub(super) fn new(memory: D::Memory, len: usize) -> Self {
        Self { memory: Some(memory), len, element: PhantomData }
    }

    /// Number of elements.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there is no element.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Size of all elements.
    pub(super) fn bytes(&self) -> usize {
        self.len * size_of::<T>()
    }

    /// The memory, where there is any.
    pub(super) fn memory(&self) -> Option<&D::Memory> {
        self.memory.as_ref()
    }

    /// Where the array begins, for the device; 0 for an empty one.
    pub(crate) fn address(&self) -> u64 {
        self.memory.as_ref().map_or(0, D::address)
    }

    /// The same array with fewer elements; the rest is kept, but out of sight.
    pub fn truncated(mut self, len: usize) -> Self {
        self.len = self.len.min(len);
        self
    }
}
