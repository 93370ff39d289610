//! CUDA side: the whole search runs on the device and takes the same steps as on the CPU. Clouds are looked at side by side,
//! in the same launches. Kernels: `kernels/viewpoint.cu`.

use bytemuck::{Pod, Zeroable};

use super::cpu::{
    AROUND, DIRECTIONS, FINE_POINTS, IMAGE_EDGE, IMAGE_POINTS, NEAR_OFFSETS, POINTS_PER_CELL, STARTS, STEPS,
    fibonacci_direction,
};
use super::{EstimateViewpoint, RangeImage, Viewpoint};
use crate::backend::Device;
use crate::backend::cuda::{Cuda, CudaBuffer, Driver, Grid, Kernel, arguments};
use crate::cloud::Point;
use crate::error::Result;

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

/// A cloud and the points that are looked at: `count` of its `length` points, or the points themselves where that is all; as
/// in the kernels.
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct Selection {
    points: u64,
    chosen: u64,
    length: u32,
    count: u32,
}

/// The points that are looked at of some clouds.
struct Selections<D: Driver> {
    /// On the host and on the device.
    clouds: Vec<Selection>,
    on_device: CudaBuffer<Selection, D>,
    /// The chosen points of the clouds of which not all are looked at.
    _copies: Vec<CudaBuffer<Point, D>>,
}

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
    /// Unevenness from the opposite side, once it is known.
    opposite: f32,
    /// Cells along the edge of a face of the range image from there, once it is chosen.
    edge: u32,
}

impl<D: Driver> EstimateViewpoint for Cuda<D> {
    fn estimate_viewpoint(&self, points: &CudaBuffer<Point, D>) -> Result<Viewpoint> {
        Ok(self.read(&self.search(&[points])?, 0, 1)?[0].viewpoint())
    }

    fn range_image(&self, points: &CudaBuffer<Point, D>, eye: Point) -> Result<RangeImage<Self>> {
        let from = self.upload(&[Found { position: eye, ..Found::zeroed() }])?;
        let (_, image) = self.look_from(&[points], &from)?.swap_remove(0);
        Ok(image)
    }

    fn estimate_views(&self, clouds: &[&CudaBuffer<Point, D>]) -> Result<Vec<(Viewpoint, RangeImage<Self>)>> {
        self.look_from(clouds, &self.search(clouds)?)
    }
}

impl Found {
    fn viewpoint(&self) -> Viewpoint {
        let Self { position, unevenness, opposite, narrowness, .. } = *self;
        Viewpoint { position, unevenness: unevenness.ln(), opposite: opposite.ln(), narrowness }
    }
}

impl<D: Driver> Cuda<D> {
    /// At most `most` points of each cloud.
    fn select(&self, clouds: &[&CudaBuffer<Point, D>], most: usize) -> Result<Selections<D>> {
        let mut copies = Vec::new();
        let mut select = |points: &CudaBuffer<Point, D>| {
            let (all, length) = (points.address(), points.len() as u32);
            if points.len() <= most {
                return Ok(Selection { points: all, chosen: all, length, count: length });
            }
            let copy = self.allocate::<Point>(most)?;
            let chosen = copy.address();
            copies.push(copy);
            Ok(Selection { points: all, chosen, length, count: most as u32 })
        };
        let selections = clouds.iter().map(|points| select(points)).collect::<Result<Vec<_>>>()?;
        let on_device = self.upload(&selections)?;
        if !copies.is_empty() {
            let grid = Grid::over(most, SMALL_BLOCK).rows(clouds.len());
            // SAFETY: a row of blocks for each cloud, whose buffers have as many points as its selection says.
            unsafe { self.launch(SELECT, grid, arguments![&on_device])? };
        }
        Ok(Selections { clouds: selections, on_device, _copies: copies })
    }

    /// The starts of the searches in each cloud, one cloud after another.
    fn find_starts(&self, chosen: &Selections<D>) -> Result<CudaBuffer<Start, D>> {
        let directions: Vec<Point> = (0..DIRECTIONS).map(|i| fibonacci_direction(i, DIRECTIONS)).collect();
        let directions = self.upload(&directions)?;
        let clouds = chosen.clouds.len();
        let starts = self.allocate(clouds * ALL_STARTS)?;
        let arguments = arguments![&chosen.on_device, &directions, &starts];
        // SAFETY: a block for each cloud; there are `DIRECTIONS` directions, and `ALL_STARTS` starts for each cloud.
        unsafe { self.launch(FIND_STARTS, Grid::new(clouds, THREADS), arguments)? };
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

    /// The most even place in each cloud, not yet on the host.
    fn search(&self, clouds: &[&CudaBuffer<Point, D>]) -> Result<CudaBuffer<Found, D>> {
        let chosen = self.select(clouds, FINE_POINTS)?;
        let starts = self.find_starts(&chosen)?;
        let (clouds, chosen) = (clouds.len(), &chosen.on_device);
        let ratings = self.allocate::<f32>(clouds * ALL_STARTS)?;
        let arguments = arguments![chosen, &starts, &ratings];
        // SAFETY: a row of blocks for each cloud, whose buffers have as many points as its selection says; there is a rating
        // for every start.
        unsafe { self.launch(RATE_STARTS, Grid::new(ALL_STARTS, THREADS).rows(clouds), arguments)? };
        let ([from_best, on], blocks) = self.searching_kernels();
        let searches =
            |of_each| Grid::new(blocks as usize * of_each, THREADS).in_clusters(blocks).rows(clouds);
        let found = self.allocate::<Found>(clouds * STARTS)?;
        let arguments = arguments![chosen, &starts, &ratings, &found];
        // SAFETY: as above, and there is a result for every search.
        unsafe { self.launch(from_best, searches(STARTS), arguments)? };
        let last = self.allocate::<Found>(clouds)?;
        // SAFETY: as above; of each cloud the kernel reads `STARTS` results and writes one.
        unsafe { self.launch(on, searches(1), arguments![chosen, &found, &last])? };
        Ok(last)
    }

    /// These places, one for each cloud, on the host, and what is seen from there. Waits for the device once.
    fn look_from(
        &self,
        clouds: &[&CudaBuffer<Point, D>],
        from: &CudaBuffer<Found, D>,
    ) -> Result<Vec<(Viewpoint, RangeImage<Self>)>> {
        let chosen = self.select(clouds, IMAGE_POINTS)?;
        let (fewest, most) = IMAGE_EDGE;
        let arguments = arguments![&chosen.on_device, POINTS_PER_CELL, fewest, most, from];
        // SAFETY: a block for each cloud, whose buffers have as many points as its selection says, and for each a place, of
        // which the edge is noted.
        unsafe { self.launch(CHOOSE_EDGE, Grid::new(clouds.len(), THREADS), arguments)? };
        let found = self.read(from, 0, clouds.len())?;
        let view = |(found, cloud)| Ok((Found::viewpoint(&found), self.see(cloud, &found)?));
        found.into_iter().zip(&chosen.clouds).map(view).collect()
    }

    /// The range image from there.
    fn see(&self, cloud: &Selection, from: &Found) -> Result<RangeImage<Self>> {
        let (count, eye, edge) = (cloud.count as usize, from.position, from.edge);
        let cells = 6 * (edge * edge) as usize;
        // No range has these bits.
        let ranges = self.filled::<u32>(cells, 0xff)?;
        let arguments = arguments![cloud.chosen, count, eye, edge, &ranges];
        // SAFETY: so many points were chosen, and there is a range for every cell of six faces.
        unsafe { self.launch(SEE_RANGES, Grid::over(count, SMALL_BLOCK), arguments)? };
        let nearest = self.allocate(cells)?;
        let grid = Grid::over(cells, SMALL_BLOCK);
        // SAFETY: both arrays have a value for every cell.
        unsafe { self.launch(LEAST_OF_NEIGHBOURS, grid, arguments![&ranges, edge, &nearest])? };
        Ok(RangeImage { eye, edge, nearest })
    }
}
