//! How long a thread takes.

mod support;

use std::time::Instant;

use coregister_emulator::{Schedule, launch};
use support::*;

/// Prints nanoseconds per thread: `cargo test --release -p coregister-emulator --test speed -- --ignored --nocapture`.
#[test]
#[ignore = "measures, and checks nothing"]
fn nanoseconds_per_thread() {
    let (blocks, threads) = (2000, 256);
    let input = Buffer::with(&scattered(blocks * threads));
    for schedule in SCHEDULES {
        let time = |kernel: &str, arguments: &[*mut std::ffi::c_void]| {
            let start = Instant::now();
            // SAFETY: the callers give what the kernels declare, with room for all threads.
            unsafe { launch(kernel, &line(blocks as u32, threads as u32, schedule), arguments) }.unwrap();
            let cores = if let Schedule::Random(_) = schedule { rayon::current_num_threads() } else { 1 };
            let nanoseconds = start.elapsed().as_nanos() * cores as u128 / (blocks * threads) as u128;
            println!("{schedule:?}: {kernel} {nanoseconds} ns");
        };
        let (mut from, mut count) = (input.address(), (blocks * threads) as i32);
        let (sums, answer) = (Buffer::<f32>::new(blocks), Buffer::<u32>::new(11 * blocks * threads));
        let (mut to_sums, mut to_answer, mut to_one) = (sums.address(), answer.address(), answer.address());
        time("strlen", &arguments![to_one]);
        time("test_block_sum", &arguments![from, count, to_sums]);
        time("test_votes_and_reductions", &arguments![from, to_answer]);
    }
}
