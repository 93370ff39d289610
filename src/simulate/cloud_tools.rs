//! Small operations on point lists: voxel means, thinning, overlap.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

use crate::cloud::Point;

use super::dice::Dice;

pub(super) type Points = Vec<Point>;

/// A hash for keys that are already well packed: one multiplication, high bits folded down.
#[derive(Default)]
struct Fold(u64);

impl Hasher for Fold {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.write_u64(u64::from(byte));
        }
    }

    fn write_u64(&mut self, key: u64) {
        let product = (self.0 ^ key).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        self.0 = product ^ (product >> 32);
    }
}

type Grid = HashMap<u64, u32, BuildHasherDefault<Fold>>;

/// Integer cell of a point, 21 bits an axis; good for ±10⁶ cells.
fn cell(p: &Point, size: f32) -> [i64; 3] {
    p.map(|x| (x / size).floor() as i64 + (1 << 20))
}

fn key([x, y, z]: [i64; 3]) -> u64 {
    const MASK: i64 = (1 << 21) - 1;
    ((x & MASK) << 42 | (y & MASK) << 21 | (z & MASK)) as u64
}

/// The mean of the points in every occupied voxel, in the order in which the voxels were first met.
pub(super) fn voxel_means(points: &[Point], size: f32) -> Points {
    let mut grid = Grid::with_capacity_and_hasher(points.len() / 4, Default::default());
    let mut sums: Vec<([f64; 3], u32)> = Vec::new();
    for p in points {
        let slot = *grid.entry(key(cell(p, size))).or_insert_with(|| {
            sums.push(([0.0; 3], 0));
            (sums.len() - 1) as u32
        });
        let (sum, count) = &mut sums[slot as usize];
        for k in 0..3 {
            sum[k] += f64::from(p[k]);
        }
        *count += 1;
    }
    sums.iter().map(|(sum, count)| sum.map(|x| (x / f64::from(*count)) as f32)).collect()
}

/// A random subset of `limit` points in their old order; all of them when they are fewer.
pub(super) fn thin(points: Points, limit: usize, dice: &mut Dice) -> Points {
    if points.len() <= limit {
        return points;
    }
    let mut chosen: Vec<usize> = (0..points.len()).collect();
    for i in 0..limit {
        let other = i + dice.below(points.len() - i);
        chosen.swap(i, other);
    }
    chosen.truncate(limit);
    chosen.sort_unstable();
    chosen.into_iter().map(|i| points[i]).collect()
}

/// How an overlap is measured.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct OverlapRule {
    /// Side of the voxels that both clouds are thinned to.
    pub voxel: f64,
    /// A source voxel is shared when a target voxel's mean lies within this distance.
    pub reach: f64,
}

/// The share of source voxels that have a target voxel near them; both clouds in one frame.
pub(super) fn overlap(source: &[Point], target: &[Point], rule: &OverlapRule) -> f64 {
    let source = voxel_means(source, rule.voxel as f32);
    let target = Neighbours::new(voxel_means(target, rule.voxel as f32), rule.reach as f32);
    let shared = source.iter().filter(|p| target.any_near(p)).count();
    shared as f64 / source.len().max(1) as f64
}

/// Points in cells of the size of the search radius.
struct Neighbours {
    reach: f32,
    /// First point of each cell; the others follow through `next`.
    first: Grid,
    next: Vec<u32>,
    points: Points,
}

impl Neighbours {
    fn new(points: Points, reach: f32) -> Self {
        let mut first = Grid::with_capacity_and_hasher(points.len(), Default::default());
        let next = (0u32..)
            .zip(&points)
            .map(|(i, p)| first.insert(key(cell(p, reach)), i).unwrap_or(u32::MAX))
            .collect();
        Self { reach, first, next, points }
    }

    fn any_near(&self, p: &Point) -> bool {
        let [x, y, z] = cell(p, self.reach);
        // The own cell first: it decides most searches.
        const ORDER: [i64; 3] = [0, -1, 1];
        ORDER.iter().any(|dx| {
            ORDER.iter().any(|dy| ORDER.iter().any(|dz| self.cell_has(key([x + dx, y + dy, z + dz]), p)))
        })
    }

    fn cell_has(&self, key: u64, p: &Point) -> bool {
        let mut i = self.first.get(&key).copied().unwrap_or(u32::MAX);
        while i != u32::MAX {
            let q = self.points[i as usize];
            let square: f32 = (0..3).map(|k| (p[k] - q[k]) * (p[k] - q[k])).sum();
            if square <= self.reach * self.reach {
                return true;
            }
            i = self.next[i as usize];
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn overlap_counts_source_voxels() {
        let line = |from: usize, to: usize| -> Points { (from..to).map(|i| [i as f32, 0.5, 0.5]).collect() };
        let rule = OverlapRule { voxel: 1.0, reach: 0.5 };
        assert_eq!(overlap(&line(0, 10), &line(5, 40), &rule), 0.5);
        assert_eq!(overlap(&line(0, 10), &line(20, 40), &rule), 0.0);
    }

    #[test]
    fn thinning_keeps_the_order_and_the_count() {
        let points: Points = (0..1000).map(|i| [i as f32, 0.0, 0.0]).collect();
        let thinned = thin(points, 100, &mut Dice::new(1));
        assert_eq!(thinned.len(), 100);
        assert!(thinned.windows(2).all(|w| w[0][0] < w[1][0]));
    }
}
