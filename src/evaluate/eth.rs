//! ETH (Pomerleau et al., "Challenging data sets for point cloud registration algorithms", IJRR 2012), as prepared for
//! registration by 3DSmoothNet (Gojcic et al., CVPR 2019): a gazebo and a wood, scanned in two seasons each.
//!
//! A scene (`gazebo_summer`, `gazebo_winter`, `wood_autmn`, `wood_summer`) is a folder with `gt.log` and the clouds,
//! `Hokuyo_N.ply`. Pairs are judged by [`Thresholds::ETH`].

use std::path::Path;

use crate::error::Result;

use super::pair::Pair;
use super::scenes::{self, Layout};
use super::thresholds::Thresholds;

/// The scanner's name, which begins the names of the clouds.
pub(super) const CLOUD_PREFIX: &str = "Hokuyo_";
const LAYOUT: Layout = Layout { cloud_prefix: CLOUD_PREFIX, thresholds: Thresholds::ETH };

/// The pairs of a scene, or of all scenes in a folder; `clouds` is where the folders of their clouds lie, if not there.
///
/// # Errors
/// As [`super::three_d_match::read_pairs`].
pub fn read_pairs(root: &Path, clouds: Option<&Path>) -> Result<Vec<Pair>> {
    scenes::read_scenes(root, clouds, &LAYOUT)
}
