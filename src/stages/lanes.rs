//! Points are worked on sixteen at a time: a wide vector register. Loops over [`LANES`] entries of arrays of that
//! length compile to a few vector instructions; what such a loop decides per lane it hands on as bits.

/// Lanes of a register.
pub(in crate::stages) const LANES: usize = 16;

/// The bit of each lane. Taken from a table, `mask |= if condition { BITS[lane] } else { 0 }` compiles to one
/// comparison.
pub(in crate::stages) const BITS: [u32; LANES] = {
    let mut bits = [1; LANES];
    let mut lane = 1;
    while lane < LANES {
        bits[lane] = 2 * bits[lane - 1];
        lane += 1;
    }
    bits
};

/// The floor of `x`, for `x` in 0..2²², and without the branches that a cast takes for all other numbers.
#[inline(always)]
pub(in crate::stages) fn floor(x: f32) -> u32 {
    // Above 2²³ floats are the integers, so the sum is rounded to one, and its last bits are that integer.
    const SHIFT: f32 = (1 << 23) as f32;
    let shifted = x + SHIFT;
    let rounded_up = shifted - SHIFT > x;
    shifted.to_bits() - SHIFT.to_bits() - u32::from(rounded_up)
}

#[cfg(test)]
mod tests {
    use super::floor;

    #[test]
    fn floor_equals_the_cast() {
        let corners = [0.0, f32::MIN_POSITIVE, 0.5, 1.0f32.next_down(), 1.0, 1.5, 2.5, 4194303.0, 4194303.5];
        let ramp = (0..100_000).map(|i| i as f32 * 41.77);
        for x in corners.into_iter().chain(ramp.take_while(|&x| x < 4194304.0)) {
            assert_eq!(floor(x), x as u32, "{x}");
        }
    }
}
