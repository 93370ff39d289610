//! How long a thread takes.

mod support;

use std::{ffi::c_void, mem};

use coregister_emulator::launch;
use support::*;

/// The seconds that all threads of this process have used, which others on the machine do not change.
fn processor_seconds() -> f64 {
    // SAFETY: zero is a valid time.
    let mut time: libc::timespec = unsafe { mem::zeroed() };
    // SAFETY: the clock writes a time.
    unsafe { libc::clock_gettime(libc::CLOCK_PROCESS_CPUTIME_ID, &mut time) };
    time.tv_sec as f64 + time.tv_nsec as f64 * 1e-9
}

/// Prints nanoseconds per thread: `cargo test --release -p coregister-emulator --test speed -- --ignored --nocapture`.
#[test]
#[ignore = "measures, and checks nothing"]
fn nanoseconds_per_thread() {
    let (blocks, threads) = (2000, 256);
    let input = Buffer::with(&scattered(blocks * threads));
    for schedule in SCHEDULES {
        let time = |kernel: &str, arguments: &[*mut c_void]| {
            let start = processor_seconds();
            // SAFETY: the callers give what the kernels declare, with room for all threads.
            unsafe { launch(kernel, &line(blocks as u32, threads as u32, schedule), arguments) }.unwrap();
            let nanoseconds = (processor_seconds() - start) * 1e9 / (blocks * threads) as f64;
            println!("{schedule:?}: {kernel} {nanoseconds:.0} ns");
        };
        let (mut from, mut count) = (input.address(), (blocks * threads) as i32);
        let (sums, answer) = (Buffer::<f32>::new(blocks), Buffer::<u32>::new(11 * blocks * threads));
        let (mut to_sums, mut to_answer, mut to_one) = (sums.address(), answer.address(), answer.address());
        time("strlen", &arguments![to_one]);
        time("test_block_sum", &arguments![from, count, to_sums]);
        time("test_votes_and_reductions", &arguments![from, to_answer]);
    }
}
