//! Inner products of rows in fixed point: sixteen bits a value, 32 a sum.
//!
//! Two values that follow each other are a pair, which processors multiply and add up in one instruction. Rows are packed
//! side by side, so that what is read together lies together.

use multiversion::multiversion;

use crate::stages::lanes::LANES;

/// Steps of a value in one; and the most of them, which two signed parts of eight bits can hold.
const STEPS: f32 = 16_384.0;
const MOST_STEPS: f32 = 16_383.0;
/// A sum with this is rounded to the nearest whole number, even on ties, which its last bits then are.
const TO_LAST_BITS: f32 = 1.5 * (1 << 23) as f32;

/// Source rows whose products are computed together with those of [`LANES`] target rows.
pub(super) const BLOCK_ROWS: usize = 12;

/// Two values of a row that follow each other.
type Pair = [i16; 2];
/// The same pair of values of each of `N` rows.
pub(super) type Pairs<const N: usize> = [Pair; N];
/// Of a block of source rows and a panel of target rows, in steps squared.
pub(super) type Products = [[i32; LANES]; BLOCK_ROWS];

/// Up to `N` rows of `width` values, pair of values by pair; zeros where there is no row or value.
pub(super) fn packed<const N: usize>(rows: &[f32], width: usize) -> Vec<Pairs<N>> {
    let (mut pairs, mut steps) = (vec![[[0; 2]; N]; width.div_ceil(2)], vec![0; rows.len()]);
    pack(rows, width, &mut steps, &mut pairs);
    pairs
}

/// The same to zeroed pairs, by way of the values in steps.
pub(super) fn pack<const N: usize>(rows: &[f32], width: usize, steps: &mut [i16], pairs: &mut [Pairs<N>]) {
    in_steps(rows, steps);
    for (i, row) in steps[..rows.len()].chunks_exact(width).enumerate() {
        let (whole, rest) = row.as_chunks();
        for (pair, &values) in pairs.iter_mut().zip(whole) {
            pair[i] = values;
        }
        if let (&[last], Some(pair)) = (rest, pairs.last_mut()) {
            pair[i] = [last, 0];
        }
    }
}

/// Values as whole numbers of steps.
#[multiversion(targets("x86_64+avx512f+avx512bw+avx512cd+avx512dq+avx512vl+fma", "x86_64+avx2+fma"))]
fn in_steps(values: &[f32], steps: &mut [i16]) {
    for (steps, value) in steps.iter_mut().zip(values) {
        let value = if value.is_nan() { 0.0 } else { value * STEPS };
        *steps = (value.clamp(-MOST_STEPS, MOST_STEPS) + TO_LAST_BITS).to_bits() as i16;
    }
}

/// A sum of products as a value again, in steps: the nearest, halves upwards, short of one.
#[inline(always)]
pub(super) fn rounded(sum: i32) -> i16 {
    const BITS: u32 = 14;
    let steps = sum.wrapping_add(1 << (BITS - 1)) >> BITS;
    steps.clamp(-(MOST_STEPS as i32), MOST_STEPS as i32) as i16
}

/// All products of a block and a panel of as many pairs. Sums that leave 32 bits wrap.
pub(super) fn products(block: &[Pairs<BLOCK_ROWS>], panel: &[Pairs<LANES>]) -> Products {
    #[cfg(target_arch = "x86_64")]
    {
        if is_x86_feature_detected!("avx512bw") && is_x86_feature_detected!("avx512vnni") {
            // SAFETY: the processor has the instructions, as was just asked.
            return unsafe { x86::products_of_512_bits(block, panel) };
        }
        if is_x86_feature_detected!("avx2") {
            // SAFETY: as above.
            return unsafe { x86::products_of_256_bits(block, panel) };
        }
    }
    products_of_pairs(block, panel)
}

fn products_of_pairs(block: &[Pairs<BLOCK_ROWS>], panel: &[Pairs<LANES>]) -> Products {
    let mut sums = [[0i32; LANES]; BLOCK_ROWS];
    for (rows, columns) in block.iter().zip(panel) {
        for (sums, row) in sums.iter_mut().zip(rows) {
            for (sum, column) in sums.iter_mut().zip(columns) {
                let [first, second] = [0, 1].map(|i| i32::from(row[i]) * i32::from(column[i]));
                *sum = sum.wrapping_add(first.wrapping_add(second));
            }
        }
    }
    sums
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::x86_64::*;

    use super::{BLOCK_ROWS, LANES, Pair, Pairs, Products};

    #[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
    pub(super) fn products_of_512_bits(block: &[Pairs<BLOCK_ROWS>], panel: &[Pairs<LANES>]) -> Products {
        let mut sums = [_mm512_setzero_si512(); BLOCK_ROWS];
        for (rows, columns) in block.iter().zip(panel) {
            let columns: __m512i = bytemuck::cast(*columns);
            for (sum, &row) in sums.iter_mut().zip(rows) {
                *sum = _mm512_dpwssd_epi32(*sum, _mm512_set1_epi32(bytemuck::cast(row)), columns);
            }
        }
        sums.map(bytemuck::cast)
    }

    /// Half of the rows at a time, whose sums have room in the registers.
    #[target_feature(enable = "avx2")]
    pub(super) fn products_of_256_bits(block: &[Pairs<BLOCK_ROWS>], panel: &[Pairs<LANES>]) -> Products {
        const HALF: usize = BLOCK_ROWS / 2;
        let mut products = [[0; LANES]; BLOCK_ROWS];
        for half in 0..2 {
            let mut sums = [[_mm256_setzero_si256(); 2]; HALF];
            for (rows, columns) in block.iter().zip(panel) {
                let columns: [__m256i; 2] = bytemuck::cast(*columns);
                let rows: &[Pair; HALF] = rows[half * HALF..].first_chunk().expect("a block is two halves");
                for (sums, &row) in sums.iter_mut().zip(rows) {
                    let row = _mm256_set1_epi32(bytemuck::cast(row));
                    for (sum, columns) in sums.iter_mut().zip(columns) {
                        *sum = _mm256_add_epi32(*sum, _mm256_madd_epi16(row, columns));
                    }
                }
            }
            for (products, sums) in products[half * HALF..].iter_mut().zip(sums) {
                *products = bytemuck::cast(sums);
            }
        }
        products
    }

    #[cfg(test)]
    mod tests {
        use super::super::{packed, products_of_pairs};
        use super::*;

        #[test]
        fn all_instructions_give_the_same_products() {
            for width in [1, 2, 7, 64, 168] {
                let value = |i: usize| ((i * i) as f32 * 0.37).sin();
                let rows: Vec<f32> = (0..(BLOCK_ROWS + LANES) * width).map(value).collect();
                let (source, target) = rows.split_at(BLOCK_ROWS * width);
                let (block, panel) = (packed(source, width), packed(target, width));
                let expected = products_of_pairs(&block, &panel);
                if is_x86_feature_detected!("avx2") {
                    // SAFETY: the processor has the instructions.
                    assert_eq!(unsafe { products_of_256_bits(&block, &panel) }, expected);
                }
                if is_x86_feature_detected!("avx512bw") && is_x86_feature_detected!("avx512vnni") {
                    // SAFETY: the processor has the instructions.
                    assert_eq!(unsafe { products_of_512_bits(&block, &panel) }, expected);
                }
            }
        }
    }
}
