//! An order in which points that follow each other are near each other: by Morton code.

use crate::cloud::Point;
use crate::stages::voxel::bounds::Bounds;

/// Bits of a Morton code along one axis. Many, so that a far outlier does not throw the rest into one cell.
const AXIS_BITS: u32 = 21;
/// Bits that one pass of the radix sort looks at.
const DIGIT_BITS: u32 = 8;

/// The indices of `points`, sorted by Morton code, ties by index.
pub(super) fn nearby_first(points: &[Point]) -> Vec<u32> {
    let Some(bounds) = Bounds::around(points) else { return Vec::new() };
    let largest = ((1u32 << AXIS_BITS) - 1) as f32;
    let per_unit = largest / bounds.longest_side();
    let code = |point: &Point| {
        let [x, y, z] = [0, 1, 2].map(|k| ((point[k] - bounds.lowest[k]) * per_unit).min(largest) as u32);
        spread(x) | spread(y) << 1 | spread(z) << 2
    };
    let keyed = points.iter().zip(0..).map(|(point, index)| (code(point), index)).collect();
    radix_sorted(keyed).into_iter().map(|(_, index)| index).collect()
}

/// Moves bit `i` to bit `3 i`.
fn spread(coordinate: u32) -> u64 {
    let mut x = u64::from(coordinate);
    x = (x | x << 32) & 0x001f_0000_0000_ffff;
    x = (x | x << 16) & 0x001f_0000_ff00_00ff;
    x = (x | x << 8) & 0x100f_00f0_0f00_f00f;
    x = (x | x << 4) & 0x10c3_0c30_c30c_30c3;
    (x | x << 2) & 0x1249_2492_4924_9249
}

/// A stable sort by key, digit by digit from the least.
fn radix_sorted(mut keyed: Vec<(u64, u32)>) -> Vec<(u64, u32)> {
    let mut sorted = keyed.clone();
    for shift in (0..3 * AXIS_BITS).step_by(DIGIT_BITS as usize) {
        let digit = |key: u64| (key >> shift) as usize & ((1 << DIGIT_BITS) - 1);
        let mut next = [0usize; 1 << DIGIT_BITS];
        for &(key, _) in &keyed {
            next[digit(key)] += 1;
        }
        let mut start = 0;
        for slot in &mut next {
            start += std::mem::replace(slot, start);
        }
        for &entry in &keyed {
            let slot = &mut next[digit(entry.0)];
            sorted[*slot] = entry;
            *slot += 1;
        }
        std::mem::swap(&mut keyed, &mut sorted);
    }
    keyed
}
