//! CUDA side: the whole search runs on the device and takes the same steps as on the CPU. Kernels:
//! `kernels/viewpoint.cu`.

use bytemuck::{Pod, Zeroable};

use super::cpu::{
    AROUND, COARSE_POINTS, DIRECTIONS, FINE_POINTS, IMAGE_EDGE, IMAGE_POINTS, NEAR_OFFSETS, POINTS_PER_CELL,
    SEARCH_POINTS, STARTS, STEPS, fibonacci_direction,
};
use super::{EstimateViewpoint, RangeImage, Viewpoint};
use crate::backend::Device;
use crate::backend::cuda::{Cuda, CudaBuffer, Driver, Grid, Kernel, arguments};
use crate::cloud::Point;
use crate::error::Result;
use crate::stages::lanes::LANES;

const SELECT: Kernel = Kernel::new("viewpoint", "select_points");
const FIND_STARTS: Kernel = Kernel::new("viewpoint", "find_starts");
const RATE_STARTS: Kernel = Kernel::new("viewpoint", "rate_starts");
const SEARCH_FROM_BEST: Kernel = Kernel::new("viewpoint", "search_from_best");
const SEARCH_ON: Kernel = Kernel::new("viewpoint", "search_on");
const SEARCH_FROM_BEST_IN_CLUSTERS: Kernel = Kernel::new("viewpoint", "search_from_best_in_clusters");
const SEARCH_ON_IN_CLUSTER: Kernel = Kernel::new("viewpoint", "search_on_in_cluster");
const CHOOSE_EDGE: Kernel = Kernel::new("viewpoint", "choose_edge");
const SEE_RANGES: Kernel = Kernel::new("viewpoint", "see_ranges");
const LEAST_OF_NEIGHBOURS: Kernel = Kernel::new("viewpoint", "take_least_of_neighbours");

/// Threads of a block that looks at the cloud, as in the kernels; each keeps a few points.
const THREADS: u32 = 512;
/// Blocks of a cluster that searches, as in the kernels.
const WAYS: u32 = 6;
/// Threads of a block where each does a little of its own.
const SMALL_BLOCK: u32 = 256;
/// All starts of the coarse search, as in the kernels.
const ALL_STARTS: usize = STEPS.pow(3) + AROUND.len() * DIRECTIONS + 6 * NEAR_OFFSETS.len() + 1;

/// Where a search starts; as in the kernels.
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct Start {
    position: Point,
    step: Point,
}

/// Where a search ended; as in the kernels.
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct Found {
    position: Point,
    step: Point,
    unevenness: f32,
    narrowness: f32,
    /// Cells along the edge of a face of the range image from there, once it is chosen.
    edge: u32,
}

impl<D: Driver> EstimateViewpoint for Cuda<D> {
    fn estimate_viewpoint(&self, points: &CudaBuffer<Point, D>) -> Result<Viewpoint> {
        Ok(self.read(&self.search(points)?, 0, 1)?[0].viewpoint())
    }

    fn range_image(&self, points: &CudaBuffer<Point, D>, eye: Point) -> Result<RangeImage<Self>> {
        let from = self.upload(&[Found { position: eye, ..Found::zeroed() }])?;
        Ok(self.look_from(points, &from)?.1)
    }

    fn estimate_view(&self, points: &CudaBuffer<Point, D>) -> Result<(Viewpoint, RangeImage<Self>)> {
        let (found, image) = self.look_from(points, &self.search(points)?)?;
        Ok((found.viewpoint(), image))
    }
}

impl Found {
    fn viewpoint(&self) -> Viewpoint {
        let Self { position, unevenness, narrowness, .. } = *self;
        Viewpoint { position, unevenness: unevenness.ln(), narrowness }
    }
}

/// Of at most `most` points, those that fill whole blocks of lanes.
fn in_lanes(points: usize, most: usize) -> usize {
    points.min(most) / LANES * LANES
}

impl<D: Driver> Cuda<D> {
    /// At most `count` of the points; `None` where that is all of them.
    fn select(&self, points: &CudaBuffer<Point, D>, count: usize) -> Result<Option<CudaBuffer<Point, D>>> {
        if points.len() <= count {
            return Ok(None);
        }
        let chosen = self.allocate(count)?;
        let grid = Grid::over(count, SMALL_BLOCK);
        // SAFETY: there are `points.len()` points, and `chosen` has `count` elements.
        unsafe { self.launch(SELECT, grid, arguments![points, points.len(), count, &chosen])? };
        Ok(Some(chosen))
    }

    fn find_starts(&self, chosen: &CudaBuffer<Point, D>) -> Result<CudaBuffer<Start, D>> {
        let directions: Vec<Point> = (0..DIRECTIONS).map(|i| fibonacci_direction(i, DIRECTIONS)).collect();
        let directions = self.upload(&directions)?;
        let starts = self.allocate(ALL_STARTS)?;
        let count = chosen.len().min(COARSE_POINTS);
        // SAFETY: at least `count` points were chosen, which the kernel can take; there are `DIRECTIONS` directions and
        // `ALL_STARTS` starts.
        unsafe {
            self.launch(FIND_STARTS, Grid::new(1, THREADS), arguments![chosen, count, &directions, &starts])?
        };
        Ok(starts)
    }

    /// The kernels that search, and how many blocks each search takes.
    fn searching_kernels(&self) -> ([Kernel; 2], u32) {
        if self.driver().largest_cluster() >= WAYS {
            ([SEARCH_FROM_BEST_IN_CLUSTERS, SEARCH_ON_IN_CLUSTER], WAYS)
        } else {
            ([SEARCH_FROM_BEST, SEARCH_ON], 1)
        }
    }

    /// The most even place, not yet on the host.
    fn search(&self, points: &CudaBuffer<Point, D>) -> Result<CudaBuffer<Found, D>> {
        let selection = self.select(points, FINE_POINTS)?;
        let chosen = selection.as_ref().unwrap_or(points);
        let starts = self.find_starts(chosen)?;
        let ratings = self.allocate::<f32>(ALL_STARTS)?;
        let arguments = arguments![chosen, in_lanes(chosen.len(), COARSE_POINTS), &starts, &ratings];
        // SAFETY: the number of points is at most that of the chosen ones and what the kernel can take, and there is a
        // rating for every start.
        unsafe { self.launch(RATE_STARTS, Grid::new(ALL_STARTS, THREADS), arguments)? };
        let ([from_best, on], blocks) = self.searching_kernels();
        let searches = |count| Grid::new(blocks as usize * count, THREADS).in_clusters(blocks);
        let found = self.allocate::<Found>(STARTS)?;
        let arguments = arguments![chosen, in_lanes(chosen.len(), SEARCH_POINTS), &starts, &ratings, &found];
        // SAFETY: as above, and there is a result for every search.
        unsafe { self.launch(from_best, searches(STARTS), arguments)? };
        let last = self.allocate::<Found>(1)?;
        let arguments = arguments![chosen, in_lanes(chosen.len(), FINE_POINTS), &found, &last];
        // SAFETY: as above; the kernel reads `STARTS` results and writes one.
        unsafe { self.launch(on, searches(1), arguments)? };
        Ok(last)
    }

    /// That place on the host, and what is seen from there.
    fn look_from(
        &self,
        points: &CudaBuffer<Point, D>,
        from: &CudaBuffer<Found, D>,
    ) -> Result<(Found, RangeImage<Self>)> {
        let selection = self.select(points, IMAGE_POINTS)?;
        let chosen = selection.as_ref().unwrap_or(points);
        self.choose_edge(chosen, from)?;
        let found = self.read(from, 0, 1)?[0];
        let Found { position: eye, edge, .. } = found;
        let cells = 6 * (edge * edge) as usize;
        // No range has these bits.
        let ranges = self.filled::<u32>(cells, 0xff)?;
        let grid = Grid::over(chosen.len(), SMALL_BLOCK);
        // SAFETY: there are `chosen.len()` points, and a range for every cell of six faces.
        unsafe { self.launch(SEE_RANGES, grid, arguments![chosen, chosen.len(), eye, edge, &ranges])? };
        let nearest = self.allocate(cells)?;
        let grid = Grid::over(cells, SMALL_BLOCK);
        // SAFETY: both arrays have a value for every cell.
        unsafe { self.launch(LEAST_OF_NEIGHBOURS, grid, arguments![&ranges, edge, &nearest])? };
        Ok((found, RangeImage { eye, edge, nearest }))
    }

    /// Notes the cells along the edge of a face of the range image from there.
    fn choose_edge(&self, chosen: &CudaBuffer<Point, D>, from: &CudaBuffer<Found, D>) -> Result<()> {
        let cells = chosen.len() as f32 / POINTS_PER_CELL;
        let (fewest, most) = IMAGE_EDGE;
        let count = in_lanes(chosen.len(), IMAGE_POINTS);
        let arguments = arguments![chosen, count, cells, fewest, most, from];
        // SAFETY: at least `count` points were chosen, and there is one place.
        unsafe { self.launch(CHOOSE_EDGE, Grid::new(1, THREADS), arguments) }
    }
}
