//! A made-up scan of a furnished room.

use coregister::cloud::Point;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// Half a range noise, in metres.
const NOISE: f32 = 0.005;

/// Boxes (lowest and highest corner) whose surfaces are seen: walls, table, cupboard, bench.
const BOXES: [(Point, Point); 4] = [
    ([0.0, 0.0, 0.0], [6.0, 4.0, 2.5]),
    ([1.0, 1.0, 0.0], [2.2, 1.8, 0.75]),
    ([4.0, 0.2, 0.0], [5.5, 0.9, 1.9]),
    ([3.0, 2.5, 0.0], [3.6, 3.4, 0.5]),
];

/// `count` points in random order.
pub fn scan(count: usize) -> Vec<Point> {
    let mut random = ChaCha8Rng::seed_from_u64(1);
    (0..count).map(|_| seen_point(&mut random).map(|x| x + random.random_range(-NOISE..NOISE))).collect()
}

fn seen_point(random: &mut ChaCha8Rng) -> Point {
    let (low, high) = BOXES[[0, 0, 0, 1, 2, 3][random.random_range(0..6)]];
    let mut point = [0, 1, 2].map(|k| random.random_range(low[k]..high[k]));
    let axis = random.random_range(0..3);
    point[axis] = if random.random() { low[axis] } else { high[axis] };
    point
}
