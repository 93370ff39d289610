//! The box around a cloud.

mod cuda;

use bytemuck::{Pod, Zeroable};
use rayon::prelude::*;

use crate::cloud::Point;

/// Points that one task looks at; the result does not depend on it.
const POINTS_PER_TASK: usize = 1 << 15;

/// An axis-aligned box. Kernels have the same: `Bounds` in `kernels/bounds.cuh`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Pod, Zeroable)]
#[repr(C)]
pub(in crate::stages) struct Bounds {
    /// Lowest coordinate along each axis.
    pub lowest: Point,
    /// Highest coordinate along each axis.
    pub highest: Point,
}

impl Bounds {
    /// The smallest box around `points`; `None` when there are none.
    pub fn around(points: &[Point]) -> Option<Self> {
        points.par_chunks(POINTS_PER_TASK).map(bounds_of_chunk).reduce_with(Self::union)
    }

    /// Length along each axis.
    pub fn extent(&self) -> Point {
        [0, 1, 2].map(|k| self.highest[k] - self.lowest[k])
    }

    /// The longest of the three lengths.
    pub fn longest_side(&self) -> f32 {
        self.extent().into_iter().fold(0.0, f32::max)
    }

    fn union(self, other: Self) -> Self {
        Self {
            lowest: [0, 1, 2].map(|k| self.lowest[k].min(other.lowest[k])),
            highest: [0, 1, 2].map(|k| self.highest[k].max(other.highest[k])),
        }
    }
}

#[multiversion::multiversion(targets(
    "x86_64+avx512f+avx512bw+avx512cd+avx512dq+avx512vl+fma",
    "x86_64+avx2+fma"
))]
fn bounds_of_chunk(points: &[Point]) -> Bounds {
    // Eight points side by side: 24 independent minima that fill whole vector registers.
    const LANES: usize = 24;
    let mut lowest = [f32::INFINITY; LANES];
    let mut highest = [f32::NEG_INFINITY; LANES];
    let (blocks, rest) = points.as_flattened().as_chunks::<LANES>();
    for block in blocks {
        for lane in 0..LANES {
            lowest[lane] = if block[lane] < lowest[lane] { block[lane] } else { lowest[lane] };
            highest[lane] = if block[lane] > highest[lane] { block[lane] } else { highest[lane] };
        }
    }
    for (lane, &coordinate) in rest.iter().enumerate() {
        lowest[lane] = lowest[lane].min(coordinate);
        highest[lane] = highest[lane].max(coordinate);
    }
    let of_axis = |lanes: &[f32; LANES], k: usize, pick: fn(f32, f32) -> f32| {
        lanes.iter().skip(k).step_by(3).copied().reduce(pick).unwrap_or(0.0)
    };
    Bounds {
        lowest: [0, 1, 2].map(|k| of_axis(&lowest, k, f32::min)),
        highest: [0, 1, 2].map(|k| of_axis(&highest, k, f32::max)),
    }
}
