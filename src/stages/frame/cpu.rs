//! CPU side: sums over each patch in f64 lanes, then a small eigenvalue problem. `kernels/frame.cu` has the same
//! operations in the same order.

use multiversion::multiversion;
use rayon::prelude::*;

use super::{Covariance, EstimateFrames, Frame, Orientation};
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

/// Points have no spread when the trace of their covariance is below this share of what it is about the keypoint: what
/// rounding leaves where all of them coincide. A patch that holds its keypoint has at least some 1 / 512.
const LEAST_SPREAD: f64 = 1e-4;

impl EstimateFrames for Cpu {
    fn estimate_frames(
        &self,
        patches: &Patches<Self>,
        keypoints: &Vec<Point>,
        covariance: Covariance,
        orientation: Orientation,
    ) -> Result<Vec<Frame>> {
        let frame_of = |((row, &count), keypoint): ((&[Point], &u32), &Point)| {
            frame(axis(&row[..count as usize], keypoint, covariance, orientation))
        };
        let rows = patches.offsets.par_chunks(PATCH_CAPACITY);
        Ok(self.run(|| rows.zip(&patches.count).zip(keypoints).map(frame_of).collect()))
    }
}

/// The oriented unit axis of one patch.
fn axis(offsets: &[Point], keypoint: &Point, covariance: Covariance, orientation: Orientation) -> [f64; 3] {
    let towards = |place: &Point| {
        let products = match covariance {
            Covariance::AboutKeypoint => products_of(offsets),
            Covariance::Weighted => weighted_products_of(offsets),
        };
        let direction = [0, 1, 2].map(|k| f64::from(place[k]) - f64::from(keypoint[k]));
        let axis = least_axis(&products, offsets.len());
        if dot(axis, direction) < 0.0 { axis.map(|x| -x) } else { axis }
    };
    match orientation {
        Orientation::Fixed(axis) => axis.map(f64::from),
        Orientation::Towards(place) => towards(&place),
        Orientation::AwayFrom(place) => towards(&place).map(|x| -x),
    }
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
    // Zeros change no sum.
    for_each_block(offsets, [0.0; 3], |d| add_products(&mut sums, &d, &d));
    sums.map(|lanes| lanes.iter().sum())
}

/// `Σ w (d − m)(d − m)ᵀ = Σ w d dᵀ − (Σ w d)(Σ w d)ᵀ / Σ w` over the offsets `d`, with `w = 1 − |d|`; see
/// [`Covariance::Weighted`].
#[multiversion(targets("x86_64+avx512f+avx512bw+avx512cd+avx512dq+avx512vl+fma", "x86_64+avx2+fma"))]
fn weighted_products_of(offsets: &[Point]) -> Symmetric {
    let (mut products, mut firsts, mut weights) = ([[0.0; LANES]; 6], [[0.0; LANES]; 3], [0.0; LANES]);
    // The weight of what lies on the unit sphere is zero.
    for_each_block(offsets, [1.0, 0.0, 0.0], |d| {
        let mut weighted = d;
        for lane in 0..LANES {
            let [x, y, z] = [d[0][lane], d[1][lane], d[2][lane]];
            // Rounded offsets may lie outside by some last bits.
            let weight = (1.0 - (x * x + y * y + z * z).sqrt()).max(0.0);
            weights[lane] += weight;
            for k in 0..3 {
                weighted[k][lane] *= weight;
                firsts[k][lane] += weighted[k][lane];
            }
        }
        add_products(&mut products, &weighted, &d);
    });
    let total = |lanes: [f64; LANES]| lanes.iter().sum::<f64>();
    let (products, [x, y, z], weight) = (products.map(total), firsts.map(total), total(weights));
    if weight == 0.0 {
        return [0.0; 6];
    }
    let of_mean = [x * x, x * y, x * z, y * y, y * z, z * z];
    let central: Symmetric = std::array::from_fn(|i| products[i] - of_mean[i] / weight);
    let trace = |products: &Symmetric| products[0] + products[3] + products[5];
    if trace(&central) > LEAST_SPREAD * trace(&products) { central } else { [0.0; 6] }
}

/// Coordinates of `LANES` offsets.
type Block = [[f64; LANES]; 3];

/// Calls `work` with the offsets, block after block, the last one filled up with `rest`.
#[inline(always)]
fn for_each_block(offsets: &[Point], rest: Point, mut work: impl FnMut(Block)) {
    let (blocks, last) = offsets.as_chunks::<LANES>();
    for block in blocks {
        work(transposed(block));
    }
    let mut filled = [rest; LANES];
    filled[..last.len()].copy_from_slice(last);
    work(transposed(&filled));
}

#[inline(always)]
fn transposed(block: &[Point; LANES]) -> Block {
    let mut coordinates = [[0.0; LANES]; 3];
    for lane in 0..LANES {
        for k in 0..3 {
            coordinates[k][lane] = f64::from(block[lane][k]);
        }
    }
    coordinates
}

/// Adds `a bᵀ` of each lane, the upper triangle. Products of two f32 are exact in f64.
#[inline(always)]
fn add_products(sums: &mut [[f64; LANES]; 6], [ax, ay, az]: &Block, [bx, by, bz]: &Block) {
    for lane in 0..LANES {
        sums[0][lane] += ax[lane] * bx[lane];
        sums[1][lane] += ax[lane] * by[lane];
        sums[2][lane] += ax[lane] * bz[lane];
        sums[3][lane] += ay[lane] * by[lane];
        sums[4][lane] += ay[lane] * bz[lane];
        sums[5][lane] += az[lane] * bz[lane];
    }
}
