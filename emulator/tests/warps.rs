//! Operations of a warp against their definitions.

mod support;

use coregister_emulator::{Schedule, launch};
use support::*;

/// Two whole warps and one of eight lanes.
const THREADS: usize = 72;
const UNDEFINED: u32 = u32::MAX;

fn lanes_of_warp(thread: usize) -> std::ops::Range<usize> {
    let first = thread / 32 * 32;
    first..(first + 32).min(THREADS)
}

/// What the four shuffles of `test_shuffles` read, by the manual's words.
fn expected_shuffles(values: &[u32], thread: usize, argument: usize, width: usize) -> [u32; 4] {
    let (warp, lane) = (thread / 32 * 32, thread % 32);
    let segment = lane / width * width;
    let read = |lane: usize| if warp + lane < THREADS { values[warp + lane] } else { UNDEFINED };
    let within_segment = |source: Option<usize>, beyond: bool| match source {
        Some(source) if !beyond => read(source),
        _ => read(lane),
    };
    let up = lane.checked_sub(argument).filter(|&source| source >= segment);
    [
        read(segment + argument % width),
        within_segment(up, false),
        within_segment(Some(lane + argument), lane + argument >= segment + width),
        within_segment(Some(lane ^ argument), lane ^ argument >= segment + width),
    ]
}

#[test]
fn shuffles_read_the_lane_that_the_manual_names() {
    let values = scattered(THREADS);
    let input = Buffer::with(&values);
    for schedule in SCHEDULES {
        for width in [1, 2, 4, 8, 16, 32] {
            for argument in [0, 1, 2, 3, 5, 8, 16, 31] {
                let output = Buffer::<u32>::new(4 * THREADS);
                let (mut from, mut to) = (input.address(), output.address());
                let (mut lane, mut lanes) = (argument as i32, width as i32);
                let arguments = arguments![from, lane, lanes, to];
                // SAFETY: as the kernel declares; four results for each thread.
                unsafe { launch("test_shuffles", &line(1, THREADS as u32, schedule), &arguments) }.unwrap();
                for (thread, results) in output.read().chunks(4).enumerate() {
                    let expected = expected_shuffles(&values, thread, argument, width);
                    assert_eq!(results, expected, "thread {thread}, argument {argument}, width {width}");
                }
            }
        }
    }
}

#[test]
fn all_types_are_shuffled() {
    for schedule in SCHEDULES {
        let output = Buffer::<i32>::new(32);
        let mut to = output.address();
        // SAFETY: as the kernel declares; a result for each thread.
        unsafe { launch("test_shuffled_types", &line(1, 32, schedule), &arguments![to]) }.unwrap();
        assert_eq!(output.read(), [1; 32]);
    }
}

fn expected_votes_and_reductions(values: &[u32], thread: usize) -> [u32; 11] {
    let warp = &values[lanes_of_warp(thread)];
    let lanes_with = |is_in: &dyn Fn(u32) -> bool| {
        warp.iter().enumerate().map(|(lane, &value)| u32::from(is_in(value)) << lane).sum::<u32>()
    };
    let numbers = warp.iter().map(|&value| value as i32);
    let sum = warp.iter().fold(0u32, |sum, &value| sum.wrapping_add(value));
    let own = values[thread];
    [
        lanes_with(&|value| value % 2 == 1),
        u32::from(warp.iter().any(|value| value % 32 == 0)),
        u32::from(warp.iter().all(|value| value % 32 != 0)),
        sum,
        *warp.iter().min().unwrap(),
        *warp.iter().max().unwrap(),
        sum,
        numbers.clone().min().unwrap() as u32,
        numbers.max().unwrap() as u32,
        warp.iter().fold(u32::MAX, |a, b| a & b)
            ^ warp.iter().fold(0, |a, b| a | b)
            ^ warp.iter().fold(0, |a, b| a ^ b),
        lanes_with(&|value| value % 4 == own % 4),
    ]
}

#[test]
fn votes_and_reductions_are_over_the_warp() {
    let values = scattered(THREADS);
    let input = Buffer::with(&values);
    for schedule in SCHEDULES {
        let output = Buffer::<u32>::new(11 * THREADS);
        let (mut from, mut to) = (input.address(), output.address());
        let shape = line(1, THREADS as u32, schedule);
        // SAFETY: as the kernel declares; eleven results for each thread.
        unsafe { launch("test_votes_and_reductions", &shape, &arguments![from, to]) }.unwrap();
        for (thread, results) in output.read().chunks(11).enumerate() {
            assert_eq!(results, expected_votes_and_reductions(&values, thread), "thread {thread}");
        }
    }
}

#[test]
fn lanes_apart_meet_apart_and_wait_for_none_that_left() {
    let stays = |lane: u32| lane % 3 != 2;
    for schedule in SCHEDULES {
        for split in [0, 1, 7, 16, 31, 32] {
            let output = Buffer::with(&[0u32; 64]);
            let (mut at, mut to) = (split as i32, output.address());
            // SAFETY: as the kernel declares; a result for each thread.
            unsafe { launch("test_partial_masks", &line(1, 64, schedule), &arguments![at, to]) }.unwrap();
            let low_sum = (0..split).filter(|&lane| stays(lane)).sum::<u32>();
            let high_count = (split..32).filter(|&lane| stays(lane)).count() as u32;
            for (thread, result) in output.read().into_iter().enumerate() {
                let lane = thread as u32 % 32;
                let expected = match lane {
                    lane if !stays(lane) => 0,
                    lane if lane < split => low_sum + 220_000,
                    _ => high_count + 220_000,
                };
                assert_eq!(result, expected, "split {split}, thread {thread}");
            }
        }
    }
}

#[test]
fn what_comes_from_nowhere_is_not_a_number() {
    let output = Buffer::<f32>::new(20);
    let mut to = output.address();
    // SAFETY: as the kernel declares; a result for each thread.
    unsafe { launch("test_undefined_shuffle", &line(1, 20, Schedule::Ascending), &arguments![to]) }.unwrap();
    for (thread, result) in output.read().into_iter().enumerate() {
        match thread {
            0..12 => assert_eq!(result, (thread + 9) as f32),
            _ => assert!(result.is_nan(), "thread {thread} reads a lane that does not exist"),
        }
    }
}

#[test]
fn a_warp_hands_values_around_through_memory() {
    for schedule in SCHEDULES {
        let output = Buffer::<u32>::new(128);
        let mut to = output.address();
        // SAFETY: as the kernel declares; a result for each thread.
        unsafe { launch("test_syncwarp", &line(1, 128, schedule), &arguments![to]) }.unwrap();
        assert_eq!(output.read(), (0..128).collect::<Vec<_>>());
    }
}
