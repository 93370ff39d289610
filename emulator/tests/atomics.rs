//! Atomics of many threads against what one thread would do.

mod support;

use coregister_emulator::launch;
use support::*;

/// As in `kernels/atomics.cu`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq)]
struct Totals {
    added_wide: u64,
    added_double: f64,
    least_wide: u64,
    most_wide: u64,
    added: i32,
    least_signed: i32,
    most_signed: i32,
    added_unsigned: u32,
    least: u32,
    most: u32,
    either: u32,
    both: u32,
    one_of_two: u32,
    subtracted: u32,
    added_float: f32,
}

const NOTHING: Totals = Totals {
    added_wide: 0,
    added_double: 0.0,
    least_wide: u64::MAX,
    most_wide: 0,
    added: 0,
    least_signed: i32::MAX,
    most_signed: i32::MIN,
    added_unsigned: 0,
    least: u32::MAX,
    most: 0,
    either: 0,
    both: u32::MAX,
    one_of_two: 0,
    subtracted: 0,
    added_float: 0.0,
};

/// The sums of floats are exact, so their order does not matter.
fn with_value(totals: Totals, value: u32) -> Totals {
    let wide = u64::from(value) * 0x1_0000_0001;
    Totals {
        added_wide: totals.added_wide.wrapping_add(wide),
        added_double: totals.added_double + f64::from(value),
        least_wide: totals.least_wide.min(wide),
        most_wide: totals.most_wide.max(wide),
        added: totals.added.wrapping_add(value as i32),
        least_signed: totals.least_signed.min(value as i32),
        most_signed: totals.most_signed.max(value as i32),
        added_unsigned: totals.added_unsigned.wrapping_add(value),
        least: totals.least.min(value),
        most: totals.most.max(value),
        either: totals.either | value,
        both: totals.both & value,
        one_of_two: totals.one_of_two ^ value,
        subtracted: totals.subtracted.wrapping_sub(value),
        added_float: totals.added_float + (value % 16) as f32,
    }
}

fn check_totals(kernel: &str, blocks: u32, threads: u32) {
    // Two bits are the same in all, for the totals of AND and OR to say something.
    let values = scattered((blocks * threads) as usize).into_iter().map(|value| value & !0x10 | 0x400);
    let values = values.collect::<Vec<_>>();
    let expected = values.iter().fold(NOTHING, |totals, &value| with_value(totals, value));
    for schedule in SCHEDULES {
        let (input, totals) = (Buffer::with(&values), Buffer::with(&[NOTHING]));
        let (mut from, mut to) = (input.address(), totals.address());
        // SAFETY: as the kernel declares; a value for each thread, and the totals.
        unsafe { launch(kernel, &line(blocks, threads, schedule), &arguments![from, to]) }.unwrap();
        assert_eq!(totals.read(), [expected]);
    }
}

#[test]
fn all_threads_share_global_totals() {
    check_totals("test_global_atomics", 40, 200);
}

#[test]
fn a_block_shares_totals_in_shared_memory() {
    check_totals("test_shared_atomics", 1, 500);
}

#[test]
fn every_exchange_succeeds_once() {
    let (blocks, threads) = (20, 100);
    let count = blocks * threads;
    for schedule in SCHEDULES {
        let (counter, drawn_by) = (Buffer::with(&[0u32]), Buffer::<u32>::new(count));
        let (mark, seen) = (Buffer::with(&[0u64]), Buffer::<u64>::new(count));
        let (mut a, mut b, mut c, mut d) =
            (counter.address(), drawn_by.address(), mark.address(), seen.address());
        let shape = line(blocks as u32, threads as u32, schedule);
        // SAFETY: as the kernel declares; a number and a mark for each thread.
        unsafe { launch("test_exchanges", &shape, &arguments![a, b, c, d]) }.unwrap();
        assert_eq!(counter.read(), [count as u32]);
        let mut drawn_by = drawn_by.read();
        drawn_by.sort_unstable();
        assert!(drawn_by.into_iter().eq(0..count as u32));
        let mut marks = [seen.read(), mark.read()].concat();
        marks.sort_unstable();
        assert!(marks.into_iter().eq(0..=count as u64));
    }
}

#[test]
fn the_last_block_sees_what_all_wrote() {
    for schedule in SCHEDULES {
        let (partial, arrived, total) =
            (Buffer::<u32>::new(50), Buffer::with(&[0u32]), Buffer::<u32>::new(1));
        let (mut a, mut b, mut c) = (partial.address(), arrived.address(), total.address());
        // SAFETY: as the kernel declares; a part for each block.
        unsafe { launch("test_last_block", &line(50, 3, schedule), &arguments![a, b, c]) }.unwrap();
        assert_eq!(total.read(), [50 * 51 / 2]);
    }
}
