//! Where threads are, barriers that count, and the kinds of memory.

mod support;

use coregister_emulator::{Launch, has_kernel, launch};
use support::*;

#[test]
fn every_thread_knows_where_it_is() {
    let (blocks, threads) = ([3, 2, 4], [5, 3, 2]);
    for schedule in SCHEDULES {
        let output = Buffer::<[u32; 12]>::new(24 * 30);
        let mut to = output.address();
        // SAFETY: as the kernel declares; a place of twelve numbers for each thread.
        unsafe {
            launch(
                "test_places",
                &Launch { blocks, threads, cluster: 1, shared_bytes: 0, schedule },
                &arguments![to],
            )
        }
        .unwrap();
        let places = output.read();
        let index = |number: usize, [x, y, _]: [u32; 3]| {
            let (x, y) = (x as usize, y as usize);
            [number % x, number / x % y, number / (x * y)].map(|index| index as u32)
        };
        for (number, place) in places.iter().enumerate() {
            let expected =
                [index(number % 30, threads), index(number / 30, blocks), threads, blocks].concat();
            assert_eq!(place[..], expected);
        }
    }
}

#[test]
fn barriers_count_anew_each_time() {
    const ROUNDS: usize = 20;
    for (schedule, threads) in SCHEDULES.into_iter().zip([1, 45, 128, 1024]) {
        let values = scattered(threads);
        let (input, output) = (Buffer::with(&values), Buffer::<i32>::new(3 * ROUNDS * threads));
        let (mut from, mut rounds, mut to) = (input.address(), ROUNDS as i32, output.address());
        let shape = line(1, threads as u32, schedule);
        // SAFETY: as the kernel declares; three results for each thread and round.
        unsafe { launch("test_counting_barriers", &shape, &arguments![from, rounds, to]) }.unwrap();
        let results = output.read();
        for (round, of_threads) in results.chunks(3 * threads).enumerate() {
            let rest = || values.iter().map(|value| value % (round as u32 + 1));
            let count = rest().filter(|&rest| rest == 1).count() as i32;
            let expected =
                [count, i32::from(rest().any(|rest| rest == 7)), i32::from(rest().all(|rest| rest < 7))];
            assert!(of_threads.chunks(3).all(|results| results == expected), "round {round}");
        }
    }
}

#[test]
fn blocks_of_a_cluster_meet_and_reach_each_other() {
    for (schedule, size, threads) in [(SCHEDULES[0], 8, 32), (SCHEDULES[1], 4, 70), (SCHEDULES[2], 1, 8)] {
        let (clusters, mut rounds) = (3, 50u32);
        let output = Buffer::<u32>::new((clusters * size * size) as usize);
        let mut to = output.address();
        let shape = Launch { cluster: size, ..line(clusters * size, threads, schedule) };
        // SAFETY: as the kernel declares; a result for each two blocks of a cluster.
        unsafe { launch("test_cluster", &shape, &arguments![rounds, to]) }.unwrap();
        for (block, told) in output.read().chunks(size as usize).enumerate() {
            let first = block as u32 / size * size;
            let expected: Vec<u32> = (first..first + size).map(|other| 4900 + other).collect();
            assert_eq!(told, expected, "{schedule:?}");
        }
    }
}

#[test]
fn dynamic_shared_memory_belongs_to_the_block() {
    let (blocks, threads) = (7, 96);
    let values = fractions(4 * blocks * threads);
    let values = values.chunks(4).map(|four| [four[0], four[1], four[2], four[3]]).collect::<Vec<_>>();
    for schedule in SCHEDULES {
        let (input, output) = (Buffer::with(&values), Buffer::<[f32; 4]>::new(values.len()));
        let (mut from, mut to) = (input.address(), output.address());
        let shape = Launch { shared_bytes: 16 * threads, ..line(blocks as u32, threads as u32, schedule) };
        // SAFETY: as the kernel declares; as many results as values, one for each thread.
        unsafe { launch("test_dynamic_shared", &shape, &arguments![from, to]) }.unwrap();
        let expected = values.chunks(threads).flat_map(|block| block.iter().rev().copied());
        assert_eq!(output.read(), expected.collect::<Vec<_>>());
    }
}

#[test]
fn dynamic_shared_memory_starts_without_numbers() {
    for schedule in SCHEDULES {
        let output = Buffer::with(&[0.0f32; 5 * 33]);
        let mut to = output.address();
        let shape = Launch { shared_bytes: 4 * 33, ..line(5, 33, schedule) };
        // SAFETY: as the kernel declares; a result for each thread.
        unsafe { launch("test_unwritten_shared", &shape, &arguments![to]) }.unwrap();
        assert!(output.read().iter().all(|value| value.is_nan()));
    }
}

#[test]
fn constants_have_their_values() {
    let (input, output) = (Buffer::with(&[1.0f32, 2.0, 3.0, 4.0]), Buffer::<f32>::new(2));
    let (mut from, mut to) = (input.address(), output.address());
    // SAFETY: as the kernel declares; four values and two results.
    unsafe { launch("test_constants", &line(1, 1, SCHEDULES[0]), &arguments![from, to]) }.unwrap();
    assert_eq!(output.read(), [0.5 + 3.0 + 7.5 + 14.0, 5.0]);
}

#[test]
fn local_arrays_have_room() {
    let threads = 64;
    let values = scattered(threads);
    for schedule in SCHEDULES {
        let (input, output) = (Buffer::with(&values), Buffer::<u32>::new(threads));
        let (mut from, mut to) = (input.address(), output.address());
        // SAFETY: as the kernel declares; a value and a result for each thread.
        unsafe { launch("test_local_array", &line(1, threads as u32, schedule), &arguments![from, to]) }
            .unwrap();
        let sum = |thread: usize| {
            let local = (0..8192).map(|i| values[(thread + i) % threads]);
            local.fold(0u32, |sum, value| sum.wrapping_mul(31).wrapping_add(value))
        };
        assert_eq!(output.read(), (0..threads).map(sum).collect::<Vec<_>>());
    }
}

#[test]
fn names_of_files_and_of_the_c_library_do_not_meet() {
    assert!(has_kernel("strlen") && !has_kernel("answer") && !has_kernel("no\0name"));
    for (kernel, answer) in [("strlen", 1), ("test_second_answer", 2)] {
        let output = Buffer::<i32>::new(1);
        let mut to = output.address();
        // SAFETY: as the kernel declares; one result.
        unsafe { launch(kernel, &line(1, 1, SCHEDULES[0]), &arguments![to]) }.unwrap();
        assert_eq!(output.read(), [answer]);
    }
}
