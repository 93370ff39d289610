//! CUDA side: a stable sort by cell, then sums over each neighbourhood by half a warp, and an eigenvalue problem by one
//! thread. Kernels: `kernels/surface.cu`.

use super::{BuildSurface, Grid, REACH, Surface};
use crate::backend::Device;
use crate::backend::cuda::{Cuda, CudaBuffer, Driver, Grid as Threads, Kernel, arguments};
use crate::cloud::Point;
use crate::error::Result;
use crate::stages::bounds::Bounds;
use crate::stages::lanes::LANES;

const FIND_CELLS: Kernel = Kernel::new("surface", "find_surface_cells");
const FIND_CELL_STARTS: Kernel = Kernel::new("surface", "find_cell_starts");
const SORT_POINTS: Kernel = Kernel::new("surface", "sort_surface_points");
const SUM_NEIGHBOURHOODS: Kernel = Kernel::new("surface", "sum_neighbourhoods");
const FIND_NORMALS: Kernel = Kernel::new("surface", "find_normals");

const THREADS: u32 = 128;
/// Cells whose starts a block finds, as in the kernels.
const CELLS_PER_BLOCK: usize = 2048;
/// Sums over a neighbourhood, as in the kernels.
const SUMS: usize = 10;

impl<D: Driver> BuildSurface for Cuda<D> {
    fn build_surfaces(&self, clouds: &[(&CudaBuffer<Point, D>, f32)]) -> Result<Vec<Surface<Self>>> {
        let bounds = clouds.iter().map(|(points, _)| self.bounds(points)).collect::<Result<Vec<_>>>()?;
        let bounds = self.bounds_on_host(&self.concatenate(&bounds.iter().collect::<Vec<_>>())?)?;
        let build = |(&(points, spacing), bounds): (&(_, f32), Option<Bounds>)| {
            self.build_in_grid(points, spacing, Grid::over(&bounds.unwrap_or_default(), REACH * spacing))
        };
        clouds.iter().zip(bounds).map(build).collect()
    }
}

impl<D: Driver> Cuda<D> {
    fn build_in_grid(
        &self,
        points: &CudaBuffer<Point, D>,
        spacing: f32,
        grid: Grid,
    ) -> Result<Surface<Self>> {
        let length = points.len();
        let (cell_start, order) = self.sort_by_cell(points, grid)?;

        let (sorted, place) = (self.allocate(length)?, self.allocate(length)?);
        let columns = self.allocate(3 * (length + LANES))?;
        let arguments = arguments![points, &order, length, &sorted, &columns, &place];
        // SAFETY: `length` points and indices below it; three columns with a spare block each.
        unsafe { self.launch(SORT_POINTS, Threads::over(length + LANES, THREADS), arguments)? };

        let sums = self.allocate::<f32>(length * SUMS)?;
        let arguments = arguments![&sorted, length, &columns, &cell_start, grid, REACH * spacing, &sums];
        // SAFETY: points and columns as above, a start for every cell of the grid and one more, `SUMS` sums for a point.
        unsafe { self.launch(SUM_NEIGHBOURHOODS, Threads::over(length * LANES, THREADS), arguments)? };
        let normals = self.allocate(length)?;
        // SAFETY: `SUMS` sums and a normal for each point.
        unsafe {
            self.launch(FIND_NORMALS, Threads::over(length, THREADS), arguments![&sums, length, &normals])?
        };
        Ok(Surface { points: sorted, columns, normals, cell_start, place, grid, spacing })
    }

    /// Start of every cell's run, and the indices of the points sorted by cell, in order within a cell.
    fn sort_by_cell(
        &self,
        points: &CudaBuffer<Point, D>,
        grid: Grid,
    ) -> Result<(CudaBuffer<u32, D>, CudaBuffer<u32, D>)> {
        let keys = self.allocate(points.len())?;
        let over_points = Threads::over(points.len(), THREADS);
        // SAFETY: a key for each point.
        unsafe { self.launch(FIND_CELLS, over_points, arguments![points, points.len(), grid, &keys])? };
        let key_bits = (usize::BITS - (grid.cells() - 1).leading_zeros()).max(1);
        let (keys, order) = self.sort(keys, 0..key_bits)?;

        let cell_start = self.allocate(grid.cells() + 1)?;
        let blocks = Threads::new(cell_start.len().div_ceil(CELLS_PER_BLOCK), THREADS);
        let arguments = arguments![&keys, keys.len(), cell_start.len(), &cell_start];
        // SAFETY: the lengths are those of the buffers.
        unsafe { self.launch(FIND_CELL_STARTS, blocks, arguments)? };
        Ok((cell_start, order))
    }
}
