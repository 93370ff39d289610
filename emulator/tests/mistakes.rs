//! Launches that no device takes, kernels that hang or fail there, and accesses outside of the buffers.

mod support;

use std::{
    env,
    ffi::c_void,
    process::{Command, Output},
};

use coregister_emulator::{Launch, LaunchError, Schedule, launch};
use support::*;

fn error_of(kernel: &str, shape: &Launch, arguments: &[*mut c_void]) -> LaunchError {
    // SAFETY: the callers give the arguments that the kernel declares, or a wrong number of them.
    unsafe { launch(kernel, shape, arguments) }.unwrap_err()
}

/// The reason why a kernel with one parameter, the output, does not end.
fn reason_of(kernel: &str, threads: u32, schedule: Schedule) -> String {
    let output = Buffer::<i32>::new(threads as usize);
    let mut to = output.address();
    match error_of(kernel, &line(1, threads, schedule), &arguments![to]) {
        LaunchError::Block { kernel: named, block: [0, 0, 0], reason } if named == kernel => reason,
        other => panic!("{other}"),
    }
}

#[test]
fn what_devices_refuse_is_refused() {
    let (mut from, mut count, mut to) = (0u64, 0i32, 0u64);
    let arguments = arguments![from, count, to];
    let shape = line(1, 32, Schedule::Ascending);
    let error = |kernel: &str, shape: &Launch| error_of(kernel, shape, &arguments).to_string();

    assert_eq!(error("nothing", &shape), "there is no kernel nothing");
    let too_few = error_of("test_block_sum", &shape, &arguments[..2]);
    assert_eq!(too_few.to_string(), "kernel test_block_sum has 3 parameters, but 2 arguments are given");

    for threads in [[1025, 1, 1], [32, 33, 1], [1, 1, 65], [0, 1, 1]] {
        let message = error("test_block_sum_in_a_race", &Launch { threads, ..shape.clone() });
        assert!(message.ends_with("or more than 1024 in all"), "{message}");
    }
    let beyond_bounds = error("test_block_sum", &Launch { threads: [257, 1, 1], ..shape.clone() });
    assert!(beyond_bounds.ends_with("or more than 256 in all"), "{beyond_bounds}");
    for blocks in [[1, 65_536, 1], [1, 1, 65_536], [1 << 31, 1, 1], [1, 0, 1]] {
        let message = error("test_block_sum", &Launch { blocks, ..shape.clone() });
        assert!(message.contains("blocks are none, or more than"), "{message}");
    }
    for (cluster, blocks) in [(0, 8), (9, 9), (4, 6)] {
        let message = error("test_block_sum", &Launch { cluster, ..line(blocks, 32, Schedule::Ascending) });
        let expected = format!(
            "clusters of {cluster} blocks are none, or more than 8, or do not divide {blocks} blocks"
        );
        assert!(message.ends_with(&expected), "{message}");
    }
    let message = error("test_block_sum", &Launch { shared_bytes: 227 * 1024 + 1, ..shape.clone() });
    assert_eq!(message, "kernel test_block_sum: 232449 bytes of shared memory are more than 232448");
}

#[test]
fn what_blocks_of_a_cluster_do_to_each_other_is_an_error() {
    for schedule in SCHEDULES {
        let shape = Launch { cluster: 4, ..line(8, 32, schedule) };
        let message = error_of("test_leave_cluster", &shape, &[]).to_string();
        assert!(message.contains("a block of the cluster ends, but others are at cluster_sync"), "{message}");
        let message = error_of("test_block_beyond_cluster", &shape, &[]).to_string();
        assert!(message.contains("in_block") && message.contains("for block 8 of 4"), "{message}");
    }
}

#[test]
fn barriers_in_divergent_code_are_errors() {
    for schedule in SCHEDULES {
        let reason = reason_of("test_barrier_in_a_branch", 64, schedule);
        assert!(reason.starts_with("barrier in divergent code: thread "), "{reason}");
        assert!(reason.contains("__syncthreads (mistakes.cu:7)"), "{reason}");
        assert!(reason.contains("__syncthreads (mistakes.cu:11)"), "{reason}");

        let reason = reason_of("test_barrier_one_time_more", 64, schedule);
        assert!(reason.starts_with("barrier in divergent code: "), "{reason}");
        assert!(reason.contains("thread 5,0,0"), "{reason}");

        let output = Buffer::<i32>::new(64);
        let (mut count, mut to) = (40i32, output.address());
        let shape = line(1, 64, schedule);
        let error = error_of("test_barrier_some_never_reach", &shape, &arguments![count, to]).to_string();
        assert!(error.contains("block 0,0,0: barrier in divergent code: "), "{error}");
        assert!(error.contains("without it"), "{error}");
    }
}

#[test]
fn deadlocks_are_errors() {
    for schedule in SCHEDULES {
        let reason = reason_of("test_shuffle_against_barrier", 32, schedule);
        assert!(reason.starts_with("deadlock: thread 0,0,0 waits in __shfl_sync (mistakes.cu:"), "{reason}");
        assert!(reason.contains(", thread 3,0,0 waits in __syncthreads (mistakes.cu:"), "{reason}");

        let reason = reason_of("test_masks_that_differ", 32, schedule);
        assert!(reason.contains("waits in __ballot_sync (mistakes.cu:37) with mask 0xffffffff"), "{reason}");
    }
}

#[test]
fn wrong_masks_and_widths_are_errors() {
    let reason = reason_of("test_mask_without_self", 32, Schedule::Ascending);
    assert!(reason.starts_with("thread 4,0,0 calls __ballot_sync (mistakes.cu:"), "{reason}");
    let reason = reason_of("test_width_of_three", 32, Schedule::Ascending);
    assert!(reason.contains("with a width of 3, which is no power of two"), "{reason}");
}

#[test]
fn the_error_is_that_of_the_first_block_in_the_order_of_the_schedule() {
    for (schedule, first_error) in [
        (Schedule::Ascending, 60),
        (Schedule::Descending, 99),
        (Schedule::Random(1), 60),
        (Schedule::Random(2), 60),
    ] {
        let output = Buffer::<i32>::new(100);
        let (mut first, mut to) = (60u32, output.address());
        let shape = line(100, 64, schedule);
        match error_of("test_error_in_late_blocks", &shape, &arguments![first, to]) {
            LaunchError::Block { block, .. } => assert_eq!(block, [first_error, 0, 0]),
            other => panic!("{other}"),
        }
    }
}

#[test]
fn a_block_that_failed_leaves_nothing_behind() {
    for schedule in SCHEDULES {
        reason_of("test_barrier_in_a_branch", 1024, schedule);
        let output = Buffer::<u32>::new(128);
        let mut to = output.address();
        // SAFETY: as the kernel declares; a result for each thread.
        unsafe { launch("test_syncwarp", &line(1, 128, schedule), &arguments![to]) }.unwrap();
        assert_eq!(output.read(), (0..128).collect::<Vec<_>>());
    }
}

#[test]
fn writing_past_the_dynamic_shared_memory_is_an_error() {
    // The memory of 33 numbers is rounded up to 36 before the guard page, which therefore misses one number too many.
    let output = Buffer::<f32>::new(32);
    let (mut count, mut to) = (33i32, output.address());
    let shape = Launch { shared_bytes: 4 * 33, ..line(1, 32, Schedule::Ascending) };
    let error = error_of("test_shared_past_the_end", &shape, &arguments![count, to]).to_string();
    assert!(error.ends_with("wrote past the end of its dynamic shared memory"), "{error}");
}

/// Names the accident that this process is to have.
const ACCIDENT: &str = "COREGISTER_EMULATOR_ACCIDENT";

/// Has one of the accidents that end the process. Started by the tests below in a process of its own.
#[test]
fn accident() {
    let Ok(kernel) = env::var(ACCIDENT) else { return };
    let buffer = Buffer::with(&[0.5f32; 100]);
    // Whole pages, of any size that is in use: the guard page before them leaves no gap.
    let output = Buffer::<f32>::new(1 << 14);
    let (mut from, mut to) = (buffer.address(), output.address());
    let (mut count, mut many) = (100i32, 1_000_000i32);
    let shape = Launch { shared_bytes: 400, ..line(3, 64, Schedule::Descending) };
    let arguments: &[*mut c_void] = match kernel.as_str() {
        "test_read_past_the_end" => &arguments![from, count, to],
        "test_write_before_the_start" => &arguments![to],
        "test_shared_past_the_end" => &arguments![count, to],
        "test_too_much_stack" => &arguments![many, to],
        _ => return,
    };
    // SAFETY: none; the kernels leave their buffers, and the process ends.
    let _ = unsafe { launch(&kernel, &shape, arguments) };
}

fn have_accident(kernel: &str) -> Output {
    let mut command = Command::new(env::current_exe().unwrap());
    command.args(["--exact", "accident", "--nocapture"]).env(ACCIDENT, kernel);
    command.output().unwrap()
}

#[track_caller]
fn assert_is_caught(kernel: &str, message: &str) {
    use std::os::unix::process::ExitStatusExt;
    let output = have_accident(kernel);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.signal(), Some(libc::SIGABRT), "{errors}");
    assert!(errors.lines().any(|line| line.starts_with(message)), "{errors}");
}

#[test]
fn reading_past_the_end_is_caught() {
    assert_is_caught(
        "test_read_past_the_end",
        "kernel test_read_past_the_end, block 2,0,0, thread 63,0,0 touched memory outside of its buffers at 0x",
    );
}

#[test]
fn shared_memory_ends_at_a_guard_page() {
    assert_is_caught(
        "test_shared_past_the_end",
        "kernel test_shared_past_the_end, block 2,0,0, thread 36,0,0 touched memory outside of its buffers at 0x",
    );
}

#[test]
fn a_stack_that_is_too_small_is_told() {
    assert_is_caught(
        "test_too_much_stack",
        "kernel test_too_much_stack, block 2,0,0, thread 63,0,0 needs more than 128 KiB of stack",
    );
}

#[test]
fn writing_before_the_start_is_caught() {
    assert_is_caught(
        "test_write_before_the_start",
        "kernel test_write_before_the_start, block 2,0,0, thread 0,0,0 touched memory outside of its buffers at 0x",
    );
}
