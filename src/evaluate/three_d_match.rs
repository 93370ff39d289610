//! 3DMatch (Zeng et al., CVPR 2017) and 3DLoMatch (Huang et al., "Predator", CVPR 2021): fragments of indoor scenes.
//!
//! A scene is a folder with `gt.log` and, for the official protocol, `gt.info`. Its clouds, `cloud_bin_N.ply`, lie beside
//! them or in `fragments/`, in the folder of the same name without `-evaluation` (as the official download has it), or
//! in a folder of the scene's name elsewhere (as the benchmark folders of Predator and BUFFER have it).
//!
//! The target of a pair is the first fragment of its entry in `gt.log`, the source the second. Pairs are judged twice:
//! all of them by [`Thresholds::INDOOR`]; and, as officially, those that are not consecutive by [`super::rmse`], where
//! every scene counts alike ([`super::Report::mean_of_sets`]).

use std::path::Path;

use crate::error::Result;

use super::pair::Pair;
use super::scenes::{self, Layout};
use super::thresholds::Thresholds;

const LAYOUT: Layout = Layout { cloud_prefix: "cloud_bin_", thresholds: Thresholds::INDOOR };

/// The pairs of a scene, or of all scenes in a folder; `clouds` is where the folders of their clouds lie, if not there.
///
/// # Errors
/// [`crate::Error::File`] and [`crate::Error::Format`] when there is no scene, or the truth or the clouds of one are
/// missing or malformed. That a single cloud is missing shows only when its pairs are registered.
pub fn read_pairs(root: &Path, clouds: Option<&Path>) -> Result<Vec<Pair>> {
    scenes::read_scenes(root, clouds, &LAYOUT)
}
