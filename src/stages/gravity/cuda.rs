//! CUDA side: a warp counts the votes for each trial, and one block does the rest. Kernels: `kernels/gravity.cu`.

use bytemuck::{Pod, Zeroable};

use super::FindVertical;
use super::cpu::{TRIALS, VOTERS};
use crate::backend::cuda::{Cuda, Driver, Grid, Kernel, arguments};
use crate::cloud::Point;
use crate::error::Result;
use crate::stages::surface::Surface;

const CHOOSE_VOTERS: Kernel = Kernel::new("gravity", "choose_voters");
const COUNT_VOTES: Kernel = Kernel::new("gravity", "count_votes");
const ELECT_VERTICAL: Kernel = Kernel::new("gravity", "elect_vertical");

/// Threads of the blocks that look at all voters, and of those that count votes, as in the kernels.
const THREADS: u32 = 1024;
const COUNTING_THREADS: u32 = 256;
const WARP: usize = 32;

/// A point that has a normal; as in the kernels.
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct Voter {
    point: Point,
    normal: Point,
}

/// What was found, if it exists; as in the kernels.
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct Vertical {
    up: Point,
    exists: u32,
}

impl<D: Driver> FindVertical for Cuda<D> {
    fn find_vertical(&self, surface: &Surface<Self>) -> Result<Option<Point>> {
        let (voters, voter_count) = (self.allocate::<Voter>(VOTERS)?, self.allocate::<u32>(1)?);
        let Surface { points, normals, place, .. } = surface;
        let arguments = arguments![points, normals, place, place.len(), &voters, &voter_count];
        // SAFETY: the buffers of a surface have the lengths that its type states; at most `VOTERS` voters are chosen.
        unsafe { self.launch(CHOOSE_VOTERS, Grid::new(1, THREADS), arguments)? };
        let votes = self.allocate::<u32>(TRIALS)?;
        let grid = Grid::over(TRIALS * WARP, COUNTING_THREADS);
        // SAFETY: the kernel counts for at most `TRIALS` of the voters.
        unsafe { self.launch(COUNT_VOTES, grid, arguments![&voters, &voter_count, &votes])? };
        let elected = self.allocate::<Vertical>(1)?;
        let arguments = arguments![&voters, &voter_count, &votes, &elected];
        // SAFETY: as above; there is one result.
        unsafe { self.launch(ELECT_VERTICAL, Grid::new(1, THREADS), arguments)? };
        let Vertical { up, exists } = self.read(&elected, 0, 1)?[0];
        Ok((exists != 0).then_some(up))
    }
}
