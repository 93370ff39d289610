//! Launches of kernels: what a device would refuse is refused, and blocks run in the order of a schedule.

use std::{ffi::c_void, ptr};

use rayon::prelude::*;
use thiserror::Error;

use crate::runtime::{self, BlockRequest, Cluster, Kernel, Order};

/// The limits of devices of compute capability 9.0.
const MOST_THREADS: u64 = 1024;
const MOST_THREADS_ALONG: [u32; 3] = [1024, 1024, 64];
const MOST_BLOCKS_ALONG: [u32; 3] = [i32::MAX as u32, 65_535, 65_535];
const MOST_SHARED_BYTES: usize = 227 * 1024;
const MOST_BLOCKS_IN_CLUSTER: u32 = 8;

/// The order in which the threads of a block run between barriers, and that of the blocks.
///
/// A correct kernel gives the same under all of them. One with a missing barrier usually does not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Schedule {
    /// The first block and in it the first thread come first.
    Ascending,
    /// The last block and in it the last thread come first.
    Descending,
    /// Threads in an order that follows from the seed; blocks on all threads of the current rayon pool at once.
    Random(u32),
}

/// The shape of a launch.
#[derive(Clone, Debug)]
pub struct Launch {
    pub blocks: [u32; 3],
    pub threads: [u32; 3],
    /// Blocks along x that make a cluster.
    pub cluster: u32,
    /// The bytes of dynamic shared memory of a block.
    pub shared_bytes: usize,
    pub schedule: Schedule,
}

/// Why a kernel was not launched, or could not end.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum LaunchError {
    #[error("there is no kernel {kernel}")]
    UnknownKernel { kernel: String },
    #[error("kernel {kernel} has {expected} parameters, but {given} arguments are given")]
    ArgumentCount { kernel: String, expected: usize, given: usize },
    #[error("kernel {kernel}: {blocks:?} blocks are none, or more than {MOST_BLOCKS_ALONG:?}")]
    Blocks { kernel: String, blocks: [u32; 3] },
    #[error(
        "kernel {kernel}: {threads:?} threads in a block are none, or more than {MOST_THREADS_ALONG:?}, \
         or more than {most} in all"
    )]
    Threads { kernel: String, threads: [u32; 3], most: u64 },
    #[error("kernel {kernel}: {bytes} bytes of shared memory are more than {MOST_SHARED_BYTES}")]
    SharedMemory { kernel: String, bytes: usize },
    #[error(
        "kernel {kernel}: clusters of {cluster} blocks are none, or more than {MOST_BLOCKS_IN_CLUSTER}, or do not divide \
         {blocks} blocks"
    )]
    Cluster { kernel: String, cluster: u32, blocks: u32 },
    #[error("kernel {kernel}, block {},{},{}: {reason}", block[0], block[1], block[2])]
    Block { kernel: String, block: [u32; 3], reason: String },
}

/// Whether there is a kernel of this name.
pub fn has_kernel(kernel: &str) -> bool {
    runtime::find_kernel(kernel).is_some()
}

/// Runs a kernel to its end.
///
/// A kernel that touches memory outside of its buffers ends the process, after a line on the standard error that names
/// the kernel, the block and the thread.
///
/// # Safety
///
/// `arguments[i]` points to a value of the type of the kernel's parameter `i`. The addresses in these values are of
/// live memory that is large enough, and that nobody else uses while the kernel runs.
pub unsafe fn launch(kernel: &str, launch: &Launch, arguments: &[*mut c_void]) -> Result<(), LaunchError> {
    let name = kernel.to_string();
    let kernel = runtime::find_kernel(kernel).ok_or(LaunchError::UnknownKernel { kernel: name.clone() })?;
    refuse_what_devices_refuse(&name, kernel, launch, arguments.len())?;
    // SAFETY: the number of arguments was checked; the caller vouches for their types and addresses.
    unsafe { run_blocks(kernel, launch, arguments) }.map_err(|(block, reason)| LaunchError::Block {
        kernel: name,
        block,
        reason,
    })
}

fn refuse_what_devices_refuse(
    name: &str,
    kernel: &Kernel,
    launch: &Launch,
    arguments: usize,
) -> Result<(), LaunchError> {
    let name = || name.to_string();
    let &Launch { blocks, threads, shared_bytes, .. } = launch;
    if arguments != kernel.arguments {
        let (expected, given) = (kernel.arguments, arguments);
        return Err(LaunchError::ArgumentCount { kernel: name(), expected, given });
    }
    if !is_within(blocks, MOST_BLOCKS_ALONG) {
        return Err(LaunchError::Blocks { kernel: name(), blocks });
    }
    let most = MOST_THREADS.min(kernel.most_threads.into());
    if !is_within(threads, MOST_THREADS_ALONG) || volume(threads) > most {
        return Err(LaunchError::Threads { kernel: name(), threads, most });
    }
    if shared_bytes > MOST_SHARED_BYTES {
        return Err(LaunchError::SharedMemory { kernel: name(), bytes: shared_bytes });
    }
    let cluster = launch.cluster;
    if !(1..=MOST_BLOCKS_IN_CLUSTER).contains(&cluster) || !blocks[0].is_multiple_of(cluster) {
        return Err(LaunchError::Cluster { kernel: name(), cluster, blocks: blocks[0] });
    }
    Ok(())
}

fn is_within(size: [u32; 3], most: [u32; 3]) -> bool {
    size.iter().zip(most).all(|(&size, most)| (1..=most).contains(&size))
}

fn volume(size: [u32; 3]) -> u64 {
    size.iter().map(|&side| u64::from(side)).product()
}

type BlockError = ([u32; 3], String);

/// Runs all blocks, or up to the first error in the order of the schedule.
///
/// # Safety
///
/// As for [`launch`].
unsafe fn run_blocks(kernel: &Kernel, launch: &Launch, arguments: &[*mut c_void]) -> Result<(), BlockError> {
    let mut finished = 0;
    let shared = Shared { kernel, arguments: arguments.as_ptr(), finished: &raw mut finished };
    let count = volume(launch.blocks) / u64::from(launch.cluster);
    let run = |number| match launch.cluster {
        // SAFETY: the arguments outlive the launch; the caller vouches for them.
        1 => apart_for_the_sanitizer(|| unsafe { run_block(&shared, launch, number, None) }),
        // SAFETY: as above.
        _ => unsafe { run_cluster(&shared, launch, number) },
    };
    let error = match launch.schedule {
        Schedule::Ascending => (0..count).find_map(|number| run(number).err()),
        Schedule::Descending => (0..count).rev().find_map(|number| run(number).err()),
        // One after the other is enough for the sanitizer, to which all blocks are concurrent anyway.
        Schedule::Random(_) if cfg!(feature = "tsan") => (0..count).find_map(|number| run(number).err()),
        Schedule::Random(_) => (0..count).into_par_iter().find_map_first(|number| run(number).err()),
    };
    runtime::finish_launch(&mut finished);
    error.map_or(Ok(()), Err)
}

/// What the blocks of a launch have in common.
struct Shared<'a> {
    kernel: &'a Kernel,
    arguments: *const *mut c_void,
    finished: *mut u8,
}

// SAFETY: the kernel and the arguments are only read, and nobody accesses the address `finished`. What the arguments
// point at is used by all blocks at once, as the caller of `launch` knows.
unsafe impl Sync for Shared<'_> {}

/// Runs the blocks of a cluster side by side, each on a thread of its own.
///
/// # Safety
///
/// As for [`launch`].
unsafe fn run_cluster(shared: &Shared, launch: &Launch, number: u64) -> Result<(), BlockError> {
    let cluster = Cluster::new(launch.cluster);
    let first = number * u64::from(launch.cluster);
    let run = |rank: u32| {
        // SAFETY: as the caller vouches; the cluster outlives its blocks.
        unsafe { run_block(shared, launch, first + u64::from(rank), Some((&cluster, rank))) }
    };
    let run = &run;
    let mut errors = Vec::new();
    std::thread::scope(|scope| {
        let blocks: Vec<_> = (0..launch.cluster).map(|rank| scope.spawn(move || run(rank))).collect();
        errors.extend(
            blocks.into_iter().filter_map(|block| block.join().expect("a block does not panic").err()),
        );
    });
    // Where one fails, others miss it: the error that tells more is that of the block they miss.
    errors.sort_by_key(|(_, reason)| reason.starts_with(MISSED));
    errors.into_iter().next().map_or(Ok(()), Err)
}

/// How the error begins of a block that waits for one of its cluster which has ended.
const MISSED: &str = "a block of the cluster ends";

/// # Safety
///
/// As for [`launch`].
unsafe fn run_block(
    shared: &Shared,
    launch: &Launch,
    number: u64,
    cluster: Option<(&Cluster, u32)>,
) -> Result<(), BlockError> {
    let index = index_within(launch.blocks, number);
    let (order, seed) = match launch.schedule {
        Schedule::Ascending => (Order::Ascending, 0),
        Schedule::Descending => (Order::Descending, 0),
        Schedule::Random(seed) => (Order::Random, mix(seed, number)),
    };
    let request = BlockRequest {
        kernel: ptr::from_ref(shared.kernel),
        arguments: shared.arguments,
        shared_bytes: launch.shared_bytes,
        blocks: launch.blocks,
        threads: launch.threads,
        index,
        order,
        seed,
        cluster: cluster.map_or(ptr::null_mut(), |(cluster, _)| cluster.address()),
        rank: cluster.map_or(0, |(_, rank)| rank),
        finished: shared.finished.cast(),
    };
    // SAFETY: the pointers are to what the caller borrowed; it vouches for the arguments.
    unsafe { runtime::run_block(&request) }.map_err(|reason| (index, reason))
}

fn index_within(size: [u32; 3], number: u64) -> [u32; 3] {
    let [x, y, _] = size.map(u64::from);
    [number % x, number / x % y, number / (x * y)].map(|index| index as u32)
}

/// A seed for each block, so that not all have the same order.
fn mix(seed: u32, number: u64) -> u32 {
    let mixed = (u64::from(seed) << 32 ^ number).wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    (mixed >> 32) as u32
}

#[cfg(not(feature = "tsan"))]
fn apart_for_the_sanitizer<R>(work: impl FnOnce() -> R) -> R {
    work()
}

/// Runs `work` on a thread of its own, whose memory (so the shared memory of the block) is new to the sanitizer.
///
/// Nothing tells it that one such thread ends before the next one starts: the thread is not joined, and it does not see
/// the futex that is waited for here. So it reports races between blocks although they run one after the other.
#[cfg(feature = "tsan")]
fn apart_for_the_sanitizer<R: Send>(work: impl FnOnce() -> R + Send) -> R {
    let mut result = None;
    std::thread::scope(|scope| {
        scope.spawn(|| result = Some(work()));
    });
    result.expect("set by the thread, which has ended")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_are_counted_along_x_first() {
        let indices = (0..12).map(|number| index_within([2, 3, 2], number)).collect::<Vec<_>>();
        assert_eq!(indices[..3], [[0, 0, 0], [1, 0, 0], [0, 1, 0]]);
        assert_eq!(indices[6], [0, 0, 1]);
        assert_eq!(indices[11], [1, 2, 1]);
    }

    #[test]
    fn seeds_differ_among_blocks() {
        let mut seeds = (0..1000).map(|number| mix(7, number)).collect::<Vec<_>>();
        seeds.sort_unstable();
        seeds.dedup();
        assert_eq!(seeds.len(), 1000);
    }
}
