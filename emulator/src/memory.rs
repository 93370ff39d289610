//! Memory in place of a device's: whoever leaves it is caught.

use std::{io, ptr};

use thiserror::Error;

/// The alignment of the start, and so the unit in which memory is taken.
const ALIGNMENT: usize = 16;
/// As a 32-bit or 64-bit float this is a NaN, as an integer it is -1: reading what was never written is noticed.
const POISON: u8 = 0xFF;
/// Fills what lies between the memory and the guard pages.
const CANARY: u8 = 0xC5;

/// Memory that ends right before a page that nobody may touch. It is filled with the bytes of a NaN.
///
/// The start is aligned to 16 bytes; to 256 if the length is a multiple of 256. There is such a page before it too, but
/// there only a length of whole pages leaves no gap. What is written into the gap, or into the up to 15 bytes between an
/// end that is not aligned and its page, is noticed by [`Memory::check`], and when the memory is dropped.
#[derive(Debug)]
pub struct Memory {
    /// All that lies between the guard pages.
    first: *mut u8,
    usable: usize,
    /// What of it is the memory.
    start: *mut u8,
    bytes: usize,
    /// Keeps the pages.
    _mapping: Mapping,
}

// SAFETY: the mapping belongs to the value alone; it is accessed through raw addresses only.
unsafe impl Send for Memory {}
// SAFETY: see above.
unsafe impl Sync for Memory {}

/// Somebody wrote past the end of a memory, or before its start.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("byte {offset} of a memory of {bytes} bytes was written")]
pub struct Overrun {
    /// Counted from the start of the memory.
    pub offset: isize,
    pub bytes: usize,
}

impl Memory {
    pub fn new(bytes: usize) -> io::Result<Self> {
        let page = page_bytes();
        let too_large = || io::Error::from(io::ErrorKind::OutOfMemory);
        let usable = bytes.checked_next_multiple_of(page).ok_or_else(too_large)?;
        let mapping = Mapping::new(usable.checked_add(2 * page).ok_or_else(too_large)?)?;
        // SAFETY: one page into a mapping of at least two.
        let first = unsafe { mapping.start.add(page) };
        mapping.allow_access(first, usable)?;
        // SAFETY: the last guard page begins after what is usable, which holds the rounded length.
        let start = unsafe { first.add(usable - bytes.next_multiple_of(ALIGNMENT)) };
        // SAFETY: all of it lies between the guard pages.
        unsafe {
            ptr::write_bytes(first, CANARY, usable);
            ptr::write_bytes(start, POISON, bytes);
        }
        Ok(Self { first, usable, start, bytes, _mapping: mapping })
    }

    /// Where the memory starts.
    pub fn address(&self) -> u64 {
        self.start as u64
    }

    /// The length in bytes.
    pub fn len(&self) -> usize {
        self.bytes
    }

    pub fn is_empty(&self) -> bool {
        self.bytes == 0
    }

    /// Whether the bytes before the start and behind the end are as they were.
    pub fn check(&self) -> Result<(), Overrun> {
        let before = self.start as usize - self.first as usize;
        let behind = before + self.bytes;
        let is_intact = |offset: usize| {
            // SAFETY: the callers stay below `usable`, and all of that was initialised.
            unsafe { self.first.add(offset).read() == CANARY }
        };
        match (0..before).chain(behind..self.usable).find(|&offset| !is_intact(offset)) {
            Some(offset) => Err(Overrun { offset: offset as isize - before as isize, bytes: self.bytes }),
            None => Ok(()),
        }
    }
}

impl Drop for Memory {
    /// Panics if [`Memory::check`] fails.
    fn drop(&mut self) {
        if !std::thread::panicking()
            && let Err(overrun) = self.check()
        {
            panic!("{overrun}");
        }
    }
}

fn page_bytes() -> usize {
    // SAFETY: asks for a number.
    let bytes = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    usize::try_from(bytes).expect("a page has a size")
}

/// Pages of the operating system.
#[derive(Debug)]
struct Mapping {
    start: *mut u8,
    bytes: usize,
}

impl Mapping {
    /// Pages that nobody may touch yet.
    fn new(bytes: usize) -> io::Result<Self> {
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
        // SAFETY: a new mapping, wherever there is room.
        let start = unsafe { libc::mmap(ptr::null_mut(), bytes, libc::PROT_NONE, flags, -1, 0) };
        if start == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        Ok(Self { start: start.cast(), bytes })
    }

    /// Allows access to whole pages, which must be of this mapping.
    fn allow_access(&self, start: *mut u8, bytes: usize) -> io::Result<()> {
        if bytes == 0 {
            return Ok(());
        }
        // SAFETY: nobody else knows of the pages yet.
        let result = unsafe { libc::mprotect(start.cast(), bytes, libc::PROT_READ | libc::PROT_WRITE) };
        if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: the mapping was made by `new`, and ends with this value.
        unsafe { libc::munmap(self.start.cast(), self.bytes) };
    }
}

#[cfg(test)]
mod tests {
    use std::slice;

    use super::*;

    #[test]
    fn starts_are_aligned_and_lengths_kept() {
        for bytes in [0, 1, 15, 16, 17, 255, 256, 4096, 5000, 1 << 20] {
            let memory = Memory::new(bytes).unwrap();
            assert_eq!(memory.len(), bytes);
            assert_eq!(memory.is_empty(), bytes == 0);
            assert_eq!(memory.address() % 16, 0);
            assert!(bytes % 256 != 0 || memory.address().is_multiple_of(256));
            let end = memory.address() as usize + bytes.next_multiple_of(16);
            assert_eq!(end % page_bytes(), 0, "a guard page follows");
            memory.check().unwrap();
        }
    }

    #[test]
    fn what_was_never_written_is_not_a_number() {
        let memory = Memory::new(12).unwrap();
        // SAFETY: twelve initialised bytes at an aligned address.
        let values = unsafe { slice::from_raw_parts(memory.address() as *const f32, 3) };
        assert!(values.iter().all(|value| value.is_nan()));
    }

    #[test]
    fn writes_beside_the_memory_are_noticed() {
        for offset in [14isize, -1] {
            let memory = Memory::new(13).unwrap();
            // SAFETY: what is between the guard pages reaches from far before the start to byte 16.
            unsafe { (memory.address() as *mut u8).offset(offset).write(1) };
            assert_eq!(memory.check(), Err(Overrun { offset, bytes: 13 }));
            let panic = std::panic::catch_unwind(|| drop(memory)).unwrap_err();
            let expected = format!("byte {offset} of a memory of 13 bytes was written");
            assert_eq!(panic.downcast_ref::<String>(), Some(&expected));
        }
    }

    #[test]
    fn more_than_there_is_is_an_error() {
        assert!(Memory::new(usize::MAX).is_err());
        assert!(Memory::new(1 << 60).is_err());
    }
}
