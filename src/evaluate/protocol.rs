//! Which benchmark a path leads to.

use std::path::Path;

use super::{eth, kitti, scenes};

/// Where pairs come from and how they are judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// A list: [`super::list`].
    List,
    /// 3DMatch or 3DLoMatch: [`super::three_d_match`].
    ThreeDMatch,
    /// ETH: [`super::eth`].
    Eth,
    /// KITTI odometry: [`super::kitti`].
    Kitti,
}

impl Protocol {
    /// The protocol that `data` looks like: files are lists, and folders are told apart by what is in them. `None` for a
    /// folder that looks like nothing.
    pub fn of(data: &Path) -> Option<Self> {
        if !data.is_dir() {
            Some(Self::List)
        } else if kitti::is_kitti(data) {
            Some(Self::Kitti)
        } else if scenes::has_clouds(data, eth::CLOUD_PREFIX) {
            Some(Self::Eth)
        } else {
            scenes::has_scenes(data).then_some(Self::ThreeDMatch)
        }
    }
}
