//! Memory in place of a device's: whoever leaves it is caught.

use std::{io, ptr, slice};

use thiserror::Error;

/// The alignment of the start, and so the unit in which memory is taken.
const ALIGNMENT: usize = 16;
/// As a 32-bit or 64-bit float this is a NaN, as an integer it is -1: reading what was never written is noticed.
const POISON: u8 = 0xFF;
/// Fills what lies between the end of the memory and the guard page.
const CANARY: u8 = 0xC5;

/// Memory that ends right before a page that nobody may touch, as does its start after one. It is filled with the bytes
/// of a NaN.
///
/// The start is aligned to 16 bytes; to 256 if the length is a multiple of 256. If the length is no multiple of 16, up
/// to 15 bytes lie between the end and the page. Writing to them is noticed by [`Memory::check`], and when the memory
/// is dropped.
#[derive(Debug)]
pub struct Memory {
    start: *mut u8,
    bytes: usize,
    /// Keeps the pages.
    _mapping: Mapping,
}

// SAFETY: the mapping belongs to the value alone; it is accessed through raw addresses only.
unsafe impl Send for Memory {}
// SAFETY: see above.
unsafe impl Sync for Memory {}

/// Somebody wrote past the end of a memory.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("byte {offset} of a memory of {bytes} bytes was written")]
pub struct Overrun {
    /// Counted from the start of the memory.
    pub offset: usize,
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
        let memory = Self { start, bytes, _mapping: mapping };
        // SAFETY: all of it lies between `first` and the last guard page.
        unsafe {
            ptr::write_bytes(first, POISON, usable);
            ptr::write_bytes(start.add(bytes), CANARY, memory.slack_bytes());
        }
        Ok(memory)
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

    /// Whether the bytes behind the end are as they were.
    pub fn check(&self) -> Result<(), Overrun> {
        // SAFETY: the slack lies within the mapping, before the guard page, and was initialised.
        let slack = unsafe { slice::from_raw_parts(self.start.add(self.bytes), self.slack_bytes()) };
        match slack.iter().position(|&byte| byte != CANARY) {
            Some(position) => Err(Overrun { offset: self.bytes + position, bytes: self.bytes }),
            None => Ok(()),
        }
    }

    fn slack_bytes(&self) -> usize {
        self.bytes.next_multiple_of(ALIGNMENT) - self.bytes
    }
}

impl Drop for Memory {
    /// Panics if somebody wrote past the end.
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
    fn a_write_into_the_slack_is_noticed() {
        let memory = Memory::new(13).unwrap();
        // SAFETY: the slack reaches to byte 16.
        let slack = unsafe { (memory.address() as *mut u8).add(14) };
        // SAFETY: see above.
        unsafe { slack.write(1) };
        assert_eq!(memory.check(), Err(Overrun { offset: 14, bytes: 13 }));
        let panic = std::panic::catch_unwind(|| drop(memory)).unwrap_err();
        assert_eq!(panic.downcast_ref::<String>().unwrap(), "byte 14 of a memory of 13 bytes was written");
    }

    #[test]
    fn more_than_there_is_is_an_error() {
        assert!(Memory::new(usize::MAX).is_err());
        assert!(Memory::new(1 << 60).is_err());
    }
}
