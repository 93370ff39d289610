//! CPU side: keypoints are independent tasks; see [`super::blocks`] for the search.

use rayon::prelude::*;

use super::blocks::{Blocks, Scratch};
use super::{GatherPatches, PATCH_CAPACITY, Patches, radii};
use crate::backend::Cpu;
use crate::cloud::Point;
use crate::error::Result;

impl GatherPatches for Cpu {
    fn gather_patches(
        &self,
        points: &Vec<Point>,
        keypoints: &Vec<Point>,
        radius: f32,
    ) -> Result<Patches<Self>> {
        Ok(self.run(|| gather(points, keypoints, radius)))
    }

    fn neighbour_radii(
        &self,
        points: &Vec<Point>,
        keypoints: &Vec<Point>,
        shares: &[f32],
    ) -> Result<Vec<f32>> {
        Ok(self.run(|| radii::neighbour_radii(points, keypoints, shares)))
    }
}

impl Patches<Cpu> {
    /// The offsets of patch `i`, over the radius.
    pub fn offsets_of(&self, i: usize) -> &[Point] {
        &self.offsets[i * PATCH_CAPACITY..][..self.count[i] as usize]
    }
}

fn gather(points: &[Point], keypoints: &[Point], radius: f32) -> Patches<Cpu> {
    let blocks = Blocks::new(points, keypoints, radius);
    let (mut rows, mut count) = (Vec::new(), Vec::new());
    let patches =
        keypoints.par_iter().map_init(Scratch::new, |scratch, keypoint| blocks.gather(keypoint, scratch));
    patches.unzip_into_vecs(&mut rows, &mut count);
    Patches { offsets: rows.into_flattened(), count, radius }
}
