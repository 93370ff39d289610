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

fn gather(points: &[Point], keypoints: &[Point], radius: f32) -> Patches<Cpu> {
    let blocks = Blocks::new(points, keypoints, radius);
    let mut offsets = vec![[0.0; 3]; keypoints.len() * PATCH_CAPACITY];
    let mut count = vec![0; keypoints.len()];
    let rows = offsets.par_chunks_mut(PATCH_CAPACITY).zip(&mut count).zip(keypoints);
    rows.for_each_init(Scratch::new, |scratch, ((row, count), keypoint)| {
        *count = blocks.gather(keypoint, scratch, row) as u32;
    });
    Patches { offsets, count, radius }
}
