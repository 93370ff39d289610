//! CUDA side: points are sorted by the place of their cell in the output order, which keeps those of a cell in index
//! order; then every run of equal places is one cell. The search for an edge stays on the device, since the host could only
//! wait for every count. Kernels: `kernels/voxel.cu`.

use bytemuck::{Pod, Zeroable};

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
const BEGIN: Kernel = Kernel::new("voxel", "begin_search");
const COUNT_MARKS: Kernel = Kernel::new("voxel", "count_marks");

const THREADS: u32 = 256;
/// Words of the bit set in which cells are counted, as in the kernels.
const SKETCH_WORDS: usize = 1 << (size::SKETCH_BITS - u32::BITS.ilog2());
/// Words of it that a thread looks at, as in the kernels.
const MARK_WORDS: usize = 16;
/// Steps of a search for which the host does not ask whether it is over: scans need four or five.
const STEPS_PER_READ: usize = 6;
/// Bytes of a search that only the kernels look at.
const STATE: usize = 104;

/// A search for an edge; as in the kernels.
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C, align(8))]
struct Search {
    is_over: u32,
    found: f32,
    state: [u8; STATE],
}

impl<D: Driver> VoxelDownsample for Cuda<D> {
    fn voxel_downsample(&self, points: &CudaBuffer<Point, D>, size: f32) -> Result<CudaBuffer<Point, D>> {
        let length = points.len();
        let grid = Grid::over(length, THREADS);
        let bounds = self.bounds(points)?;
        let places = self.allocate::<u64>(length)?;
        // SAFETY: one element in `bounds`, and a place for each of the `length` points.
        unsafe { self.launch(FIND_PLACES, grid, arguments![points, length, &bounds, size, &places])? };
        let (places, order) = self.sort_hashes(places)?;
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
        let (bounds, search) = (self.bounds(points)?, self.zeroed::<Search>(1)?);
        // SAFETY: one element in `bounds`, and one search.
        unsafe { self.launch(BEGIN, Grid::new(1, 1), arguments![&bounds, points.len(), wanted, &search])? };
        // And a word in which the blocks that count are counted.
        let sketch = self.zeroed::<u32>(SKETCH_WORDS + 1)?;
        loop {
            for _ in 0..STEPS_PER_READ {
                self.step(points, &bounds, &search, &sketch)?;
            }
            let Search { is_over, found, .. } = self.read(&search, 0, 1)?[0];
            if is_over != 0 {
                return Ok(found);
            }
        }
    }
}

impl<D: Driver> Cuda<D> {
    /// Counts cells of the edge that the search is at, and moves it on; nothing where it is over. The sketch is empty before
    /// and after.
    fn step(
        &self,
        points: &CudaBuffer<Point, D>,
        bounds: &CudaBuffer<Bounds, D>,
        search: &CudaBuffer<Search, D>,
        sketch: &CudaBuffer<u32, D>,
    ) -> Result<()> {
        let grid = Grid::over(points.len(), THREADS);
        // SAFETY: a search looks at no more points than it began with, all of them; a sketch of the length that the kernels
        // know.
        unsafe { self.launch(MARK_SKETCH, grid, arguments![points, bounds, search, sketch])? };
        let grid = Grid::over(SKETCH_WORDS / MARK_WORDS, THREADS);
        // SAFETY: as above.
        unsafe { self.launch(COUNT_MARKS, grid, arguments![sketch, search]) }
    }
}
