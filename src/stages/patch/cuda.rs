//! CUDA side: a block for a few keypoints goes through the points in order, a tile at a time, until their patches are
//! full; quantiles are found by a radix selection. Kernels: `kernels/patch.cu`.

use bytemuck::{Pod, Zeroable};

use super::{GatherPatches, PATCH_CAPACITY, Patches, radii};
use crate::backend::Device;
use crate::backend::cuda::{Cuda, CudaBuffer, Driver, Grid, Kernel, arguments};
use crate::cloud::Point;
use crate::error::Result;

const GATHER: Kernel = Kernel::new("patch", "gather_patches");
const COUNT_DIGITS: Kernel = Kernel::new("patch", "count_distance_digits");
const SELECT_DIGITS: Kernel = Kernel::new("patch", "select_distance_digits");

/// Threads of a warp.
const WARP: u32 = 32;

/// Keypoints of a block that gathers, and its threads for each of them, as in the kernel.
const KEYPOINTS_PER_BLOCK: usize = 4;
const THREADS_PER_KEYPOINT: u32 = 128;

/// The same, and threads, of a block that counts digits.
const KEYPOINTS_PER_COUNT: usize = 4;
const COUNTING_THREADS: u32 = 256;
/// Bits of the digits of a squared distance, from the leading one on; the sign is never set.
const DIGIT_BITS: [u32; 3] = [11, 10, 10];
/// Values of a digit at most.
const DIGITS: usize = 1 << DIGIT_BITS[0];

/// What is known of a quantile, as in the kernels.
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct Selection {
    /// Its leading bits.
    leading: u32,
    /// How many of the squared distances with these leading bits lie below it.
    rank: u32,
}

impl<D: Driver> GatherPatches for Cuda<D> {
    fn gather_patches(
        &self,
        points: &CudaBuffer<Point, D>,
        keypoints: &CudaBuffer<Point, D>,
        radius: f32,
    ) -> Result<Patches<Self>> {
        let offsets = self.allocate(keypoints.len() * PATCH_CAPACITY)?;
        let count = self.allocate(keypoints.len())?;
        let threads = KEYPOINTS_PER_BLOCK as u32 * THREADS_PER_KEYPOINT;
        let grid = Grid::new(keypoints.len().div_ceil(KEYPOINTS_PER_BLOCK), threads);
        let arguments =
            arguments![points, points.len(), keypoints, keypoints.len(), radius, &offsets, &count];
        // SAFETY: both clouds have the lengths told; there is a row of `PATCH_CAPACITY` offsets and a count for each
        // keypoint.
        unsafe { self.launch(GATHER, grid, arguments)? };
        Ok(Patches { offsets, count, radius })
    }

    fn neighbour_radii(
        &self,
        points: &CudaBuffer<Point, D>,
        keypoints: &CudaBuffer<Point, D>,
        shares: &[f32],
    ) -> Result<Vec<f32>> {
        let (point_count, keypoint_count) = radii::looked_at(points.len(), keypoints.len());
        let total = point_count * keypoint_count;
        if total == 0 {
            return Ok(vec![0.0; shares.len()]);
        }
        let open = |&share: &f32| Selection { leading: 0, rank: radii::rank(share, total) as u32 };
        let selections = self.upload(&shares.iter().map(open).collect::<Vec<_>>())?;
        let blocks = Grid::new(keypoint_count.div_ceil(KEYPOINTS_PER_COUNT), COUNTING_THREADS);
        let mut shift: u32 = DIGIT_BITS.iter().sum();
        for bits in DIGIT_BITS {
            shift -= bits;
            let digits = self.zeroed::<u32>(shares.len() * DIGITS)?;
            let arguments =
                arguments![points, point_count, keypoints, keypoint_count, shift, bits, &selections, &digits];
            // SAFETY: both clouds have at least the lengths told; there are a row of blocks and `DIGITS` counts for
            // each selection, and digits are below 2^bits.
            unsafe { self.launch(COUNT_DIGITS, blocks.rows(shares.len()), arguments)? };
            // SAFETY: as above, with a block for each selection.
            unsafe {
                self.launch(
                    SELECT_DIGITS,
                    Grid::new(shares.len(), WARP),
                    arguments![&digits, bits, &selections],
                )?
            };
        }
        let selections = self.download(&selections)?;
        Ok(selections.iter().map(|selection| f32::from_bits(selection.leading).sqrt()).collect())
    }
}
