//! CUDA side: points are sorted by the place of their cell in the output order, which keeps those of a cell in index
//! order; then every run of equal places is one cell. Kernels: `kernels/voxel.cu`.

use super::{VoxelDownsample, size};
use crate::backend::cuda::{Cuda, CudaBuffer, Driver, Grid, Kernel, arguments};
use crate::cloud::Point;
use crate::error::Result;
use crate::stages::bounds::Bounds;
use crate::stages::sample::SampleFarthest;

const FIND_PLACES: Kernel = Kernel::new("voxel", "find_voxel_places");
const MARK_FIRST: Kernel = Kernel::new("voxel", "mark_first_of_voxels");
const FIND_STARTS: Kernel = Kernel::new("voxel", "find_voxel_starts");
const AVERAGE: Kernel = Kernel::new("voxel", "average_voxels");
const MARK_SKETCH: Kernel = Kernel::new("voxel", "mark_sketch");
const COUNT_MARKS: Kernel = Kernel::new("voxel", "count_marks");

const THREADS: u32 = 256;
/// Words of the bit set in which cells are counted, as in the kernels.
const SKETCH_WORDS: usize = 1 << (size::SKETCH_BITS - u32::BITS.ilog2());
/// Words of it that a thread looks at, as in the kernels.
const MARK_WORDS: usize = 16;

impl<D: Driver> VoxelDownsample for Cuda<D> {
    fn voxel_downsample(&self, points: &CudaBuffer<Point, D>, size: f32) -> Result<CudaBuffer<Point, D>> {
        let length = points.len();
        let grid = Grid::over(length, THREADS);
        let bounds = self.bounds(points)?;
        let places = self.allocate::<u64>(length)?;
        // SAFETY: one element in `bounds`, and a place for each of the `length` points.
        unsafe { self.launch(FIND_PLACES, grid, arguments![points, length, &bounds, size, &places])? };
        let (places, order) = self.sort(places, u64::BITS)?;
        let points = self.gather_points(points, &order)?;

        let first = self.allocate::<u32>(length)?;
        // SAFETY: `length` places and as many elements in `first`.
        unsafe { self.launch(MARK_FIRST, grid, arguments![&places, length, &first])? };
        let numbers = self.prefix_sums(&first)?;
        let cells = self.last(&numbers)? as usize;
        let starts = self.allocate::<u32>(cells + 1)?;
        let over_numbers = Grid::over(numbers.len(), THREADS);
        // SAFETY: `length` + 1 numbers, the last of which is `cells`, and one more start than cells.
        unsafe { self.launch(FIND_STARTS, over_numbers, arguments![&numbers, length, &starts])? };
        let means = self.allocate(cells)?;
        let arguments = arguments![&points, &starts, cells, &bounds, size, &means];
        // SAFETY: starts are at most the number of points; there is a mean for each cell.
        unsafe { self.launch(AVERAGE, Grid::over(cells, THREADS), arguments)? };
        Ok(means)
    }

    fn voxel_size(&self, points: &CudaBuffer<Point, D>, wanted: usize) -> Result<f32> {
        let on_device = self.bounds(points)?;
        let Some(bounds) = self.bounds_on_host(&on_device)? else { return Ok(0.0) };
        size::voxel_size(&bounds, points.len(), wanted, |length, edge| {
            self.count_cells(points, length, &on_device, edge)
        })
    }
}

impl<D: Driver> Cuda<D> {
    /// [`size::count_cells`] of the first `length` points.
    fn count_cells(
        &self,
        points: &CudaBuffer<Point, D>,
        length: usize,
        bounds: &CudaBuffer<Bounds, D>,
        edge: f32,
    ) -> Result<f64> {
        // The last word is the count.
        let sketch = self.zeroed::<u32>(SKETCH_WORDS + 1)?;
        let arguments = arguments![points, length, bounds, edge, &sketch];
        // SAFETY: at least `length` points, and a sketch of the length that the kernels know.
        unsafe { self.launch(MARK_SKETCH, Grid::over(length, THREADS), arguments)? };
        let grid = Grid::over(SKETCH_WORDS / MARK_WORDS, THREADS);
        // SAFETY: as above, with the count behind the sketch.
        unsafe { self.launch(COUNT_MARKS, grid, arguments![&sketch])? };
        Ok(size::cells_of_bits(self.last(&sketch)?))
    }
}
