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
