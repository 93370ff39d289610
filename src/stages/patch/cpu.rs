//! CPU side: the cloud is cut into blocks of consecutive indices, each block sorted into grid cells. A ball looks
//! at block after block and stops when its patch is full; since points come in random order, a large ball is
//! full after the first few blocks, however large the cloud.

use rayon::prelude::*;

use super::blocks::{Blocks, Hits};
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
    offsets.par_chunks_mut(PATCH_CAPACITY).zip(&mut count).zip(keypoints).for_each_init(
        Hits::default,
        |hits, ((row, count), keypoint)| {
            blocks.search(keypoint, radius, hits);
            for (offset, &index) in row.iter_mut().zip(hits.indices()) {
                let point = points[index as usize];
                *offset = [0, 1, 2].map(|k| (point[k] - keypoint[k]) / radius);
            }
            *count = hits.indices().len() as u32;
        },
    );
    Patches { offsets, count, radius }
}
