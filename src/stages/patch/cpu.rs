//! CPU side: keypoints are independent tasks; see [`super::blocks`] for the search.

use multiversion::multiversion;
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
    let rows = offsets.par_chunks_mut(PATCH_CAPACITY).zip(&mut count).zip(keypoints);
    rows.for_each_init(Hits::new, |hits, ((row, count), keypoint)| {
        blocks.search(keypoint, hits);
        write_offsets(points, hits.indices(), keypoint, radius, row);
        *count = hits.indices().len() as u32;
    });
    Patches { offsets, count, radius }
}

#[multiversion(targets("x86_64+avx512f+avx512bw+avx512cd+avx512dq+avx512vl+fma", "x86_64+avx2+fma"))]
fn write_offsets(points: &[Point], indices: &[u32], keypoint: &Point, radius: f32, row: &mut [Point]) {
    // Sixteen points are three wide registers, in which the keypoint's coordinates come in a fixed pattern.
    const LANES: usize = 48;
    let keypoint: [f32; LANES] = std::array::from_fn(|i| keypoint[i % 3]);
    let row = &mut row[..indices.len()];
    for (offset, &index) in row.iter_mut().zip(indices) {
        *offset = points[index as usize];
    }
    for lanes in row.as_flattened_mut().chunks_mut(LANES) {
        for (coordinate, keypoint) in lanes.iter_mut().zip(&keypoint) {
            *coordinate = (*coordinate - keypoint) / radius;
        }
    }
}
