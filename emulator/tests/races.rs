//! A kernel with all its barriers gives the same under every schedule; one that lacks a barrier does not.

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

#[test]
fn a_missing_barrier_is_seen() {
    let values = fractions(10_000);
    let is_right =
        |schedule| block_sums("test_block_sum_in_a_race", &values, schedule) == expected_sums(&values);
    let right = SCHEDULES.into_iter().filter(|&schedule| is_right(schedule)).collect::<Vec<_>>();
    assert!(right.len() < SCHEDULES.len());
    assert!(!is_right(Schedule::Ascending), "the first thread adds what the last one has not yet written");
}
