//! The surface that a cloud samples: normals, and an index to find the nearest point.
//!
//! Normals are unsigned. A point whose neighbours span no plane (a lone scan line, a wire) has normal zero;
//! refinement and verification leave it out.

mod cpu;
mod cuda;
mod grid;

use bytemuck::{Pod, Zeroable};

use crate::backend::Device;
use crate::cloud::Point;
use crate::error::Result;

/// A uniform grid over a cloud's bounding box. Kernels take it as it is: `Grid` in `kernels/surface.cuh`.
#[derive(Debug, Clone, Copy, PartialEq, Pod, Zeroable)]
#[repr(C)]
pub struct Grid {
    /// Lowest corner.
    pub low: Point,
    /// Edge of a cell.
    pub cell: f32,
    /// Cells along each axis.
    pub size: [u32; 3],
}

/// A cloud with normals, sorted by grid cell.
pub struct Surface<D: Device + ?Sized> {
    /// Points, grouped by cell; cells in row-major order with x fastest, points of a cell in the order of the input.
    pub points: D::Buffer<Point>,
    /// The same points coordinate by coordinate: all x, then all y, then all z, each followed by a spare block of
    /// infinities, so that blocks of lanes may reach past the last run.
    pub columns: D::Buffer<f32>,
    /// Unit normals, or zero.
    pub normals: D::Buffer<Point>,
    /// The points of cell `c` are `cell_start[c]..cell_start[c + 1]`.
    pub cell_start: D::Buffer<u32>,
    /// Where each of the given points went: point `i` of the input is `points[place[i]]`.
    pub place: D::Buffer<u32>,
    /// The grid; queries reach one cell far.
    pub grid: Grid,
    /// Distance between neighbouring points: the edge of the voxels the cloud was thinned to.
    pub spacing: f32,
}

impl<D: Device> Surface<D> {
    /// Bytes of all buffers.
    pub fn bytes(&self, device: &D) -> usize {
        device.bytes(&self.points)
            + device.bytes(&self.columns)
            + device.bytes(&self.normals)
            + device.bytes(&self.cell_start)
            + device.bytes(&self.place)
    }
}

/// Reach of nearest-point queries, in units of the spacing.
pub const REACH: f32 = 3.0;

/// See the module.
pub trait BuildSurface: Device {
    /// The surface of a cloud that was thinned to voxels of edge `spacing`. Nearest-point queries reach
    /// [`REACH`] · `spacing`. Normals come from the neighbours within that reach, or, where these are fewer than
    /// eight, within twice of it.
    fn build_surface(&self, points: &Self::Buffer<Point>, spacing: f32) -> Result<Surface<Self>> {
        Ok(self.build_surfaces(&[(points, spacing)])?.swap_remove(0))
    }

    /// The same of each cloud, with its spacing. Devices wait once for all of them.
    fn build_surfaces(&self, clouds: &[(&Self::Buffer<Point>, f32)]) -> Result<Vec<Surface<Self>>>;
}
