//! An order in which points that follow each other are near each other: by Morton code.

use multiversion::multiversion;

use crate::cloud::Point;
use crate::stages::bounds::Bounds;
use crate::stages::lanes::floor;

/// Bits of a Morton code along one axis.
const AXIS_BITS: u32 = 10;
/// Bits that one pass of the radix sort looks at.
const DIGIT_BITS: u32 = 10;
/// Points that tell where most of the cloud is.
const PROBES: usize = 256;

/// The indices of `points`, sorted by Morton code, ties by index.
pub(super) fn nearby_first(points: &[Point]) -> Vec<u32> {
    let mut keyed = morton_codes(points, &Cells::over(points));
    let mut sorted = vec![0; keyed.len()];
    for pass in 0..3 * AXIS_BITS / DIGIT_BITS {
        sort_by_digit(&keyed, &mut sorted, u32::BITS + pass * DIGIT_BITS);
        std::mem::swap(&mut keyed, &mut sorted);
    }
    keyed.into_iter().map(|key| key as u32).collect()
}

/// A grid of 2¹⁰ cells along each axis over the bulk of the cloud. What lies outside counts as its border, so a
/// far outlier does not throw all other points into one cell.
struct Cells {
    lowest: Point,
    per_unit: f32,
}

impl Cells {
    /// Reaches beyond the inner nine tenths of the points, along each axis, by their extent on both sides.
    fn over(points: &[Point]) -> Self {
        let probes = || points.iter().step_by(points.len().div_ceil(PROBES).max(1));
        let inner = [0, 1, 2].map(|k| {
            let mut values: Vec<f32> = probes().map(|point| point[k]).collect();
            values.sort_unstable_by(f32::total_cmp);
            (values[values.len() / 20], values[values.len() - 1 - values.len() / 20])
        });
        let longest = inner.into_iter().map(|(low, high)| high - low).fold(0.0, f32::max);
        if longest > 0.0 {
            let lowest = inner.map(|(low, _)| low - longest);
            return Self { lowest, per_unit: (1 << AXIS_BITS) as f32 / (3.0 * longest) };
        }
        // Nine tenths of the points are one point.
        let bounds = Bounds::around(points).unwrap_or(Bounds { lowest: [0.0; 3], highest: [0.0; 3] });
        Self { lowest: bounds.lowest, per_unit: (1 << AXIS_BITS) as f32 / bounds.longest_side() }
    }

    #[inline(always)]
    fn coordinate(&self, point: &Point, k: usize) -> u32 {
        let (cell, last) = ((point[k] - self.lowest[k]) * self.per_unit, ((1 << AXIS_BITS) - 1) as f32);
        let cell = if cell > 0.0 { cell } else { 0.0 };
        floor(if cell < last { cell } else { last })
    }
}

/// Codes in the upper half of each number, indices in the lower.
#[multiversion(targets("x86_64+avx512f+avx512bw+avx512cd+avx512dq+avx512vl+fma", "x86_64+avx2+fma"))]
fn morton_codes(points: &[Point], cells: &Cells) -> Vec<u64> {
    let mut codes = vec![0; points.len()];
    for (index, (code, point)) in (0u64..).zip(codes.iter_mut().zip(points)) {
        let [x, y, z] = [0, 1, 2].map(|k| spread(cells.coordinate(point, k)));
        *code = u64::from(x | y << 1 | z << 2) << u32::BITS | index;
    }
    codes
}

/// Moves bit `i` to bit `3 i`.
#[inline(always)]
fn spread(coordinate: u32) -> u32 {
    let mut x = coordinate;
    x = (x | x << 16) & 0x0300_00ff;
    x = (x | x << 8) & 0x0300_f00f;
    x = (x | x << 4) & 0x030c_30c3;
    (x | x << 2) & 0x0924_9249
}

/// One pass of a radix sort: stable, by the digit at `shift`.
fn sort_by_digit(keys: &[u64], sorted: &mut [u64], shift: u32) {
    let digit = |key: u64| (key >> shift) as usize & ((1 << DIGIT_BITS) - 1);
    let mut next = [0u32; 1 << DIGIT_BITS];
    for &key in keys {
        next[digit(key)] += 1;
    }
    let mut start = 0;
    for slot in &mut next {
        start += std::mem::replace(slot, start);
    }
    for &key in keys {
        let slot = &mut next[digit(key)];
        sorted[*slot as usize] = key;
        *slot += 1;
    }
}
