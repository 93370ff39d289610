//! Memory of a device that is free, kept for the next who asks: a driver's own pool is shared by all streams, and every
//! call to it costs some microseconds in which the other streams wait.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The smallest block, in bytes.
const LEAST_BLOCK: usize = 512;
/// Sizes from one power of two to the next: at most a quarter of a block is wasted.
const SIZES_PER_OCTAVE: usize = 4;

/// The size of the block that an allocation of so many bytes is given.
pub(super) fn block_size(bytes: usize) -> usize {
    let bytes = bytes.max(LEAST_BLOCK);
    // Of the largest power of two below; steps are its quarters.
    let step = (1 << (bytes - 1).ilog2()) / SIZES_PER_OCTAVE;
    bytes.checked_next_multiple_of(step).unwrap_or(bytes)
}

/// Blocks that nobody has, by size. Those of one stream: what was asked for before a block was given back is done before
/// what is asked for after it is taken again.
#[derive(Default)]
pub(super) struct FreeBlocks(Mutex<BTreeMap<usize, Vec<u64>>>);

impl FreeBlocks {
    /// A block of this size, if there is one: that which was given back last.
    pub fn take(&self, size: usize) -> Option<u64> {
        self.blocks().get_mut(&size)?.pop()
    }

    /// Gives a block of this size back.
    pub fn put(&self, size: usize, address: u64) {
        self.blocks().entry(size).or_default().push(address);
    }

    /// Sizes and addresses of all blocks; afterwards there are none.
    pub fn drain(&self) -> Vec<(usize, u64)> {
        let of_size = |(size, addresses): (usize, Vec<u64>)| addresses.into_iter().map(move |a| (size, a));
        std::mem::take(&mut *self.blocks()).into_iter().flat_map(of_size).collect()
    }

    /// A thread that panicked has left the lists whole.
    fn blocks(&self) -> MutexGuard<'_, BTreeMap<usize, Vec<u64>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_waste_little() {
        for bytes in (1..5000).chain([1 << 20, (1 << 20) + 1, 12_345_678, usize::MAX - 5]) {
            let size = block_size(bytes);
            assert!(size >= bytes && size >= LEAST_BLOCK, "{bytes}: {size}");
            assert!(bytes < LEAST_BLOCK || size - bytes <= bytes / SIZES_PER_OCTAVE, "{bytes}: {size}");
            assert_eq!(block_size(size), size);
        }
    }

    #[test]
    fn a_block_comes_back_once_and_to_its_size() {
        let blocks = FreeBlocks::default();
        blocks.put(512, 1);
        blocks.put(512, 2);
        blocks.put(640, 3);
        assert_eq!(blocks.take(1024), None);
        assert_eq!((blocks.take(512), blocks.take(640)), (Some(2), Some(3)));
        blocks.put(640, 3);
        assert_eq!(blocks.drain(), [(512, 1), (640, 3)]);
        assert_eq!(blocks.take(512), None);
    }
}
