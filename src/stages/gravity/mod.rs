//! The vertical, where a cloud shows it: a ground that faces up more than anything else faces anywhere.
//!
//! Walls and poles describe themselves far more steadily about the vertical than about the normals of their own
//! patches, so where both clouds show the vertical it serves as every patch's axis. It is found in the data, not
//! assumed to be an axis of the file, and travels with the cloud.

mod cpu;
mod cuda;

use super::surface::Surface;
use crate::backend::Device;
use crate::cloud::Point;
use crate::error::Result;

/// See the module.
pub trait FindVertical: Device {
    /// The unit vector that points up, cloud coordinates, or `None` when the cloud does not show it.
    ///
    /// Up is the direction that the most normals share (within 12°), if it holds a good part of all and clearly more
    /// than any direction across it, and if most of all else stands above the level of what faces that way, as
    /// things stand on a ground. Two parallel walls, or a floor and a ceiling, leave that open.
    fn find_vertical(&self, surface: &Surface<Self>) -> Result<Option<Point>>;
}
