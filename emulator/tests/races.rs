//! A kernel with all its barriers gives the same under every schedule; one that lacks a barrier does not, and
//! ThreadSanitizer names its file.

mod support;

use coregister_emulator::{Schedule, launch};
use support::*;

const THREADS: usize = 256;

fn block_sums(kernel: &str, values: &[f32], schedule: Schedule) -> Vec<f32> {
    let blocks = values.len().div_ceil(THREADS);
    let input = Buffer::with(values);
    let output = Buffer::<f32>::new(blocks);
    let (mut from, mut count, mut to) = (input.address(), values.len() as i32, output.address());
    let launched = line(blocks as u32, THREADS as u32, schedule);
    // SAFETY: the arguments are those of the kernel; the buffers hold as many numbers as it is told.
    unsafe { launch(kernel, &launched, &arguments![from, count, to]) }.unwrap();
    output.read()
}

/// The sums in the order in which the kernel adds.
fn expected_sums(values: &[f32]) -> Vec<f32> {
    let sum = |block: &[f32]| {
        let mut partial = block.to_vec();
        partial.resize(THREADS, 0.0);
        while partial.len() > 1 {
            let (low, high) = partial.split_at(partial.len() / 2);
            partial = low.iter().zip(high).map(|(a, b)| a + b).collect();
        }
        partial[0]
    };
    values.chunks(THREADS).map(sum).collect()
}

#[test]
fn a_correct_kernel_gives_the_same_bits_under_every_schedule() {
    let values = fractions(10_000);
    for schedule in SCHEDULES {
        assert_eq!(block_sums("test_block_sum", &values, schedule), expected_sums(&values), "{schedule:?}");
    }
}

/// Under the sanitizer the report would fail the whole file of tests.
#[cfg(not(feature = "tsan"))]
#[test]
fn a_missing_barrier_is_seen() {
    let values = fractions(10_000);
    let is_right =
        |schedule| block_sums("test_block_sum_in_a_race", &values, schedule) == expected_sums(&values);
    let right = SCHEDULES.into_iter().filter(|&schedule| is_right(schedule)).collect::<Vec<_>>();
    assert!(right.len() < SCHEDULES.len());
    assert!(!is_right(Schedule::Ascending), "the first thread adds what the last one has not yet written");
}

#[cfg(feature = "tsan")]
mod reports {
    use std::{env, process::Command};

    use super::*;

    /// Names the kernel that this process is to run.
    const RACE: &str = "COREGISTER_EMULATOR_RACE";

    /// Runs a kernel with a race. Started by the test below in a process of its own.
    #[test]
    fn race() {
        let Ok(kernel) = env::var(RACE) else { return };
        if kernel.starts_with("test_block_sum") {
            block_sums(&kernel, &fractions(1000), Schedule::Ascending);
            return;
        }
        let data = Buffer::with(&[0i32; 64]);
        let mut address = data.address();
        // SAFETY: as the kernels declare, which use no more elements than there are blocks or threads.
        unsafe { launch(&kernel, &line(4, 32, Schedule::Random(1)), &arguments![address]) }.unwrap();
    }

    fn report_on(kernel: &str) -> String {
        let mut command = Command::new(env::current_exe().unwrap());
        let output = command.args(["--exact", "reports::race"]).env(RACE, kernel).output().unwrap();
        String::from_utf8_lossy(&output.stderr).into_owned()
    }

    #[test]
    fn races_are_reported_with_the_place_in_the_kernel() {
        for (kernel, file) in [
            ("test_block_sum_in_a_race", "kernels/block_sum.cu:2"),
            ("test_race_of_blocks", "kernels/mistakes.cu:"),
            ("test_race_around_a_shuffle", "kernels/mistakes.cu:"),
        ] {
            let report = report_on(kernel);
            assert!(report.contains("WARNING: ThreadSanitizer: data race"), "{kernel}: {report}");
            assert!(report.contains(file), "{kernel}: {report}");
        }
    }

    #[test]
    fn a_correct_kernel_is_not_reported() {
        assert_eq!(report_on("test_block_sum"), "");
    }
}
