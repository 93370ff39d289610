//! Intrinsics against the same in Rust, bit by bit.

mod support;

use coregister_emulator::launch;
use support::*;

/// Pairs of numbers, with the edges of their range.
fn pairs() -> Vec<u32> {
    let edges = [0, 1, u32::MAX, 0x8000_0000, 0x7FFF_FFFF, 5];
    let all_edges = edges.iter().flat_map(|&a| edges.iter().flat_map(move |&b| [a, b]));
    all_edges.chain(scattered(200)).collect()
}

fn expected_bits(a: u32, b: u32) -> [i32; 14] {
    let wide = u64::from(a) << 32 | u64::from(b);
    let first_set = |zeros: u32, bits: u32| if zeros == bits { 0 } else { zeros + 1 };
    [
        a.count_ones(),
        wide.count_ones(),
        first_set(a.trailing_zeros(), 32),
        first_set(wide.trailing_zeros(), 64),
        a.leading_zeros(),
        wide.leading_zeros(),
        a.reverse_bits(),
        (wide.reverse_bits() >> 32) as u32,
        ((u64::from(a) * u64::from(b)) >> 32) as u32,
        ((u128::from(wide) * u128::from(wide)) >> 64) as u32,
        a ^ b,
        a,
        a.min(b) ^ (a as i32).max(b as i32) as u32,
        u32::MAX ^ b.min(7),
    ]
    .map(|value| value as i32)
}

#[test]
fn integers_are_as_in_cuda() {
    let values = pairs();
    let threads = values.len() / 2;
    let (input, output) = (Buffer::with(&values), Buffer::<i32>::new(14 * threads));
    let (mut from, mut to) = (input.address(), output.address());
    // SAFETY: as the kernel declares; two values and fourteen results for each thread.
    unsafe { launch("test_bits", &line(1, threads as u32, SCHEDULES[0]), &arguments![from, to]) }.unwrap();
    for (results, pair) in output.read().chunks(14).zip(values.chunks(2)) {
        assert_eq!(results, expected_bits(pair[0], pair[1]), "{pair:08x?}");
    }
}

fn expected_floats(a: f32, b: f32) -> [f32; 26] {
    [
        a * b + a,
        a.mul_add(b, a),
        a.mul_add(b, a),
        a + b,
        a - b,
        a * b,
        a / b,
        a.sqrt(),
        1.0 / a.sqrt(),
        a.sin(),
        a.cos(),
        b.sin() + b.cos(),
        a.atan2(b),
        a.sqrt() + b.exp(),
        a.ln() + b.ln_1p(),
        (10.0 * a).floor() + (10.0 * b).ceil() + (10.0 * a).round_ties_even(),
        (a - b).abs() + a.copysign(-b),
        a.min(b) - a.max(b),
        a.min(b) - a,
        1.0,
        f64::from(a).mul_add(f64::from(b), std::f64::consts::PI) as f32,
        (f64::from(a).min(0.25) + f64::from(b).max(0.25)) as f32,
        (10.0 * a).round_ties_even() + 7.0,
        (1.0 + f64::from(a) + f64::from(b)) as f32,
        7.0,
        (16 + 16 + 4 + 8 + 16) as f32,
    ]
}

#[test]
fn floats_are_as_in_cuda() {
    let values = fractions(400);
    let threads = values.len() / 2;
    let (input, output) = (Buffer::with(&values), Buffer::<f32>::new(26 * threads));
    let (mut from, mut to) = (input.address(), output.address());
    // SAFETY: as the kernel declares; two values and twenty-six results for each thread.
    unsafe { launch("test_floats", &line(1, threads as u32, SCHEDULES[0]), &arguments![from, to]) }.unwrap();
    for (results, pair) in output.read().chunks(26).zip(values.chunks(2)) {
        assert_eq!(results, expected_floats(pair[0], pair[1]), "{pair:?}");
    }
}
