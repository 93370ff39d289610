//! CPU side of the learned descriptor: a task per batch of patches, all of one shape, so that neither the number of
//! threads nor a patch's place changes its description.

use std::sync::{Mutex, PoisonError};

use rayon::prelude::*;

use super::cells::SECTOR;
use super::network::{BATCH, BLOCK, Network, Workspace};
use super::weights::Weights;
use super::{DescribeLearned, Features};
use crate::backend::Cpu;
use crate::cloud::Point;
use crate::error::Result;
use crate::stages::describe::AZIMUTHS;
use crate::stages::frame::Frame;
use crate::stages::patch::Patches;

/// A network on the CPU and the memory that its workers use in turn.
pub struct CpuNetwork {
    network: Network,
    idle: Mutex<Vec<Workspace>>,
}

impl CpuNetwork {
    /// Runs `work` with memory that nobody else uses meanwhile.
    fn with_workspace(&self, work: impl FnOnce(&Network, &mut Workspace)) {
        // A worker that panicked has kept its memory, so the list is whole.
        let idle = || self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        let taken = idle().pop();
        let mut workspace = taken.unwrap_or_else(|| self.network.workspace());
        work(&self.network, &mut workspace);
        idle().push(workspace);
    }
}

impl DescribeLearned for Cpu {
    type Network = CpuNetwork;

    fn load_network(&self, weights: &Weights) -> Result<CpuNetwork> {
        Ok(CpuNetwork { network: Network::new(weights), idle: Mutex::default() })
    }

    fn describe_learned(
        &self,
        patches: &Patches<Self>,
        frames: Vec<Frame>,
        network: &CpuNetwork,
    ) -> Result<Features<Self>> {
        let (width, rings) = (network.network.architecture.width, network.network.architecture.rings);
        let mut invariant = vec![0.0; frames.len() * width];
        let mut equivariant = vec![0.0; frames.len() * rings * AZIMUTHS];
        self.run(|| {
            invariant
                .par_chunks_mut(BATCH * width)
                .zip(equivariant.par_chunks_mut(BATCH * rings * AZIMUTHS))
                .enumerate()
                .for_each(|(batch, (invariant, maps))| {
                    network.with_workspace(|network, workspace| {
                        let patch = |i| (patches.offsets_of(batch * BATCH + i), &frames[batch * BATCH + i]);
                        describe_batch(network, patch, invariant, maps, workspace);
                    });
                });
        });
        Ok(Features { invariant, width, equivariant, rings, frames })
    }
}

/// Describes the patches of a batch, of which there are as many as `maps` has room for.
fn describe_batch<'a>(
    network: &Network,
    patch: impl Fn(usize) -> (&'a [Point], &'a Frame),
    invariant: &mut [f32],
    maps: &mut [f32],
    workspace: &mut Workspace,
) {
    let map = network.architecture.rings * AZIMUTHS;
    for (block, maps) in maps.chunks_mut(BLOCK * map).enumerate() {
        for i in 0..maps.len() / map {
            let (points, frame) = patch(block * BLOCK + i);
            let features = &mut workspace.features[i * SECTOR..];
            workspace.cells.compute(points, frame, features, BLOCK * SECTOR);
        }
        network.run_block(block, maps, workspace);
    }
    network.finish_batch(invariant, workspace);
}
