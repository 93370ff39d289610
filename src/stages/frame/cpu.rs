//! CPU side: sums over each patch in f64 lanes, then a small eigenvalue problem. `kernels/frame.cu` has the same
//! operations in the same order.

use multiversion::multiversion;
use rayon::prelude::*;

use super::{EstimateFrames, Frame, Orientation};
use crate::backend::Cpu;
use crate::cloud::Point;
use crate::error::Result;
use crate::geometry::{Symmetric, least_eigenvector};
use crate::stages::patch::{PATCH_CAPACITY, Patches};

/// Fewest points that determine an axis.
const FEWEST_POINTS: usize = 3;
/// A patch is a line, and has no axis, when its second eigenvalue is below this share of the largest: what the
/// rounding of f32 offsets leaves of a line.
const LINE: f64 = 1e-12;

impl EstimateFrames for Cpu {
    fn estimate_frames(
        &self,
        patches: &Patches<Self>,
        keypoints: &Vec<Point>,
        orientation: Orientation,
    ) -> Result<Vec<Frame>> {
        let frame_of = |((row, &count), keypoint): ((&[Point], &u32), &Point)| {
            frame(axis(&row[..count as usize], keypoint, orientation))
        };
        let rows = patches.offsets.par_chunks(PATCH_CAPACITY);
        Ok(self.run(|| rows.zip(&patches.count).zip(keypoints).map(frame_of).collect()))
    }
}

/// The oriented unit axis of one patch.
fn axis(offsets: &[Point], keypoint: &Point, orientation: Orientation) -> [f64; 3] {
    match orientation {
        Orientation::Fixed(axis) => axis.map(f64::from),
        Orientation::Towards(place) => towards(offsets, keypoint, &place),
        Orientation::AwayFrom(place) => towards(offsets, keypoint, &place).map(|x| -x),
    }
}

/// The least axis with the sign that points towards `place`.
fn towards(offsets: &[Point], keypoint: &Point, place: &Point) -> [f64; 3] {
    let direction = [0, 1, 2].map(|k| f64::from(place[k]) - f64::from(keypoint[k]));
    let axis = least_axis(&products_of(offsets), offsets.len());
    if dot(axis, direction) < 0.0 { axis.map(|x| -x) } else { axis }
}

fn dot(a: [f64; 3], b: [f64; 3]) -> f64 {
    a[0] * b[0] + a[1] * b[1] + a[2] * b[2]
}

/// The shortest rotation that takes `e_z` to the unit vector `axis`: with `v = e_z × axis` and `c = e_z · axis`,
/// `R = I + [v]× + [v]×² / (1 + c)` (Rodrigues).
fn frame([x, y, z]: [f64; 3]) -> Frame {
    let sine_squared = x * x + y * y;
    // 1 / (1 + c), where c near -1 would cancel; half a turn about x when the axis is -e_z.
    let factor = match z {
        z if z >= 0.0 => 1.0 / (1.0 + z),
        z if sine_squared > 0.0 => (1.0 - z) / sine_squared,
        _ => return [1.0, 0.0, 0.0, 0.0, -1.0, 0.0, 0.0, 0.0, -1.0],
    };
    let cross = -x * y * factor;
    [1.0 - x * x * factor, cross, x, cross, 1.0 - y * y * factor, y, -x, -y, z].map(|value| value as f32)
}

/// The eigenvector of the least eigenvalue, its largest component positive.
fn least_axis(products: &Symmetric, count: usize) -> [f64; 3] {
    match least_eigenvector(products) {
        Some((values, axis)) if count >= FEWEST_POINTS && values[1] > LINE * values[2] => {
            let leading = axis[axis.iamax()];
            (axis * leading.signum()).into()
        }
        _ => [0.0, 0.0, 1.0],
    }
}

/// Lanes of a wide register in f64. Their number is part of the result, so it is the same on every processor.
const LANES: usize = 8;

/// `Σ d dᵀ` over the offsets `d`.
#[multiversion(targets("x86_64+avx512f+avx512bw+avx512cd+avx512dq+avx512vl+fma", "x86_64+avx2+fma"))]
fn products_of(offsets: &[Point]) -> Symmetric {
    let mut sums = [[0.0; LANES]; 6];
    let (blocks, rest) = offsets.as_chunks::<LANES>();
    for block in blocks {
        add_products(&mut sums, block);
    }
    // Zeros change no sum.
    let mut last = [[0.0; 3]; LANES];
    last[..rest.len()].copy_from_slice(rest);
    add_products(&mut sums, &last);
    sums.map(|lanes| lanes.iter().sum())
}

#[inline(always)]
fn add_products(sums: &mut [[f64; LANES]; 6], block: &[Point; LANES]) {
    let [mut x, mut y, mut z] = [[0.0; LANES]; 3];
    for lane in 0..LANES {
        x[lane] = f64::from(block[lane][0]);
        y[lane] = f64::from(block[lane][1]);
        z[lane] = f64::from(block[lane][2]);
    }
    for lane in 0..LANES {
        // Products of two f32 are exact in f64.
        sums[0][lane] += x[lane] * x[lane];
        sums[1][lane] += x[lane] * y[lane];
        sums[2][lane] += x[lane] * z[lane];
        sums[3][lane] += y[lane] * y[lane];
        sums[4][lane] += y[lane] * z[lane];
        sums[5][lane] += z[lane] * z[lane];
    }
}
