//! CUDA side: a thread for every sample under every pose. Kernels: `kernels/verify.cu`.

use bytemuck::{Pod, Zeroable};

use super::{Agreement, AgreementOptions, GROUPS, MeasureAgreement, Observation, Scene};
use crate::backend::cuda::{Argument, Cuda, CudaBuffer, Driver, Grid, Kernel, arguments};
use crate::cloud::Point;
use crate::error::Result;
use crate::geometry::Pose;
use crate::stages::surface::{self, Surface};

const TALLY: Kernel = Kernel::new("verify", "tally_agreement");
const CONCLUDE_AGREEMENT: Kernel = Kernel::new("verify", "conclude_agreement");
const FIND_CONTACTS: Kernel = Kernel::new("verify", "find_contacts");
const SUM_PRODUCTS: Kernel = Kernel::new("verify", "sum_products");
const SUM_GROUPS: Kernel = Kernel::new("verify", "sum_groups");
const CONCLUDE_OBSERVATION: Kernel = Kernel::new("verify", "conclude_observation");

/// Threads of a block, each of which looks at one sample, as in the kernels.
const THREADS: usize = 256;
/// Sums of products that an observation is made of, as in the kernels.
const PRODUCTS: usize = 44;

/// How a block's samples agree under one pose; as in the kernels.
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct Tally {
    sums: [f64; 7],
    overlapping: u32,
    in_front: u32,
    viewed: u32,
    padding: u32,
}

/// A cloud as the kernel that tallies has it, by addresses.
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct Looked {
    points: u64,
    normals: u64,
    places: u64,
    cell_start: u64,
    nearest_ranges: u64,
    grid: surface::Grid,
    eye: Point,
    edge: u32,
    samples: u32,
    chunks: u32,
    padding: u32,
}

impl Looked {
    fn at<D: Driver>(scene: Scene<'_, Cuda<D>>, Chunks { samples, count }: Chunks) -> Self {
        let Scene { surface, view, .. } = scene;
        Self {
            points: surface.points.address(),
            normals: surface.normals.address(),
            places: surface.place.address(),
            cell_start: surface.cell_start.address(),
            nearest_ranges: view.nearest.address(),
            grid: surface.grid,
            eye: view.eye,
            edge: view.edge,
            samples: samples as u32,
            chunks: count as u32,
            padding: 0,
        }
    }
}

/// A sample on the other cloud's surface; as in the kernels.
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct Contact {
    point: [f32; 3],
    normal: [f32; 3],
    difference: [f32; 3],
    distance: f32,
    exists: u32,
}

impl<D: Driver> MeasureAgreement for Cuda<D> {
    fn measure_agreement(
        &self,
        source: Scene<'_, Self>,
        target: Scene<'_, Self>,
        poses: &CudaBuffer<Pose, D>,
        options: AgreementOptions,
    ) -> Result<CudaBuffer<Agreement, D>> {
        let [of_source, of_target] = self.tally(source, target, poses, options)?;
        let agreements = self.allocate(poses.len())?;
        let (source, target) = (Chunks::of(source.surface, options), Chunks::of(target.surface, options));
        let arguments = arguments![
            &of_source,
            source.samples,
            source.count,
            &of_target,
            target.samples,
            target.count,
            poses.len(),
            &agreements
        ];
        let grid = Grid::over(poses.len(), THREADS as u32);
        // SAFETY: there is a tally for every pose and chunk, and an agreement for every pose.
        unsafe { self.launch(CONCLUDE_AGREEMENT, grid, arguments)? };
        Ok(agreements)
    }

    fn observe(
        &self,
        source: &Surface<Self>,
        target: &Surface<Self>,
        pose: &CudaBuffer<Pose, D>,
        options: AgreementOptions,
    ) -> Result<Observation> {
        assert_eq!(pose.len(), 1, "poses in place of one");
        let Chunks { samples, count } = Chunks::of(source, options);
        let (contacts, sums) = (self.allocate::<Contact>(samples)?, self.allocate::<[f64; 4]>(count)?);
        let arguments = arguments![
            &source.points,
            &source.normals,
            &source.place,
            samples,
            &target.points,
            &target.normals,
            &target.cell_start,
            target.grid,
            pose,
            options.reach,
            &contacts,
            &sums
        ];
        let grid = Grid::new(count, THREADS as u32);
        // SAFETY: the buffers of a surface have the lengths that its type states, `samples` are at most the source's
        // places; there is a contact for every sample and a sum for every block.
        unsafe { self.launch(FIND_CONTACTS, grid, arguments)? };
        let products = self.allocate::<f64>(PRODUCTS * count)?;
        let arguments = arguments![&contacts, samples, &sums, count, &products];
        // SAFETY: as above; every block writes `PRODUCTS` sums of its own.
        unsafe { self.launch(SUM_PRODUCTS, grid, arguments)? };
        let groups = self.allocate::<[f64; 8]>(GROUPS)?;
        let arguments = arguments![&contacts, samples, &sums, &products, count, &groups];
        // SAFETY: as above; there are sums for every group.
        unsafe { self.launch(SUM_GROUPS, Grid::new(GROUPS, THREADS as u32), arguments)? };
        let observation = self.allocate::<Observation>(1)?;
        let arguments = arguments![&sums, &products, count, &groups, pose, &observation];
        // SAFETY: as above; there are one pose and one observation, and sums for `GROUPS` groups.
        unsafe { self.launch(CONCLUDE_OBSERVATION, Grid::new(1, 32), arguments)? };
        Ok(self.read(&observation, 0, 1)?[0])
    }
}

/// The samples of a cloud, and the blocks that look at them.
#[derive(Clone, Copy)]
struct Chunks {
    samples: usize,
    count: usize,
}

impl Chunks {
    fn of<D: Driver>(surface: &Surface<Cuda<D>>, options: AgreementOptions) -> Self {
        let samples = surface.place.len().min(options.samples);
        Self { samples, count: samples.div_ceil(THREADS) }
    }
}

impl<D: Driver> Cuda<D> {
    /// What every chunk of each cloud's samples says about every pose: the source's, and the target's about its inverse.
    fn tally(
        &self,
        source: Scene<'_, Self>,
        target: Scene<'_, Self>,
        poses: &CudaBuffer<Pose, D>,
        options: AgreementOptions,
    ) -> Result<[CudaBuffer<Tally, D>; 2]> {
        let (of_source, of_target) =
            (Chunks::of(source.surface, options), Chunks::of(target.surface, options));
        let tallies =
            [self.allocate(poses.len() * of_source.count)?, self.allocate(poses.len() * of_target.count)?];
        let [scene, other] = [Looked::at(source, of_source), Looked::at(target, of_target)];
        let arguments = arguments![
            Argument::value(scene),
            Argument::value(other),
            poses,
            poses.len(),
            options.reach,
            options.margin,
            &tallies[0],
            &tallies[1]
        ];
        let grid = Grid::new(tallies[0].len().max(tallies[1].len()), THREADS as u32).rows(2);
        // SAFETY: the buffers of a surface and of a range image have the lengths that their types state, `samples` are at
        // most the cloud's places, and there is a tally for every block that has one: every chunk under every pose.
        unsafe { self.launch(TALLY, grid, arguments)? };
        Ok(tallies)
    }
}
