//! CPU side: a task per block of patches, all of one shape, so that neither the number of threads nor a patch's place
//! changes its description.

use rayon::prelude::*;

use super::network::{BLOCK, Network, Steps, Workspace};
use super::{DescribeMiniSpinNet, Features, MAP_RINGS, WIDTH, Weights};
use crate::backend::Cpu;
use crate::cloud::Point;
use crate::error::Result;
use crate::stages::describe::AZIMUTHS;
use crate::stages::frame::Frame;
use crate::stages::patch::Patches;

/// A network on the CPU.
pub struct CpuMiniSpinNet(Network);

impl CpuMiniSpinNet {
    /// What the steps give on the way for a patch of these points (offsets over the radius).
    pub fn steps(&self, points: &[Point], frame: &Frame) -> Steps {
        self.0.steps(points, frame)
    }
}

impl DescribeMiniSpinNet for Cpu {
    type MiniSpinNet = CpuMiniSpinNet;

    fn load_minispinnet(&self, weights: &Weights) -> Result<CpuMiniSpinNet> {
        Ok(CpuMiniSpinNet(Network::new(weights)))
    }

    fn describe_minispinnet(
        &self,
        patches: &Patches<Self>,
        frames: Vec<Frame>,
        network: &CpuMiniSpinNet,
    ) -> Result<Features<Self>> {
        let mut invariant = vec![0.0; frames.len() * WIDTH];
        let mut equivariant = vec![0.0; frames.len() * MAP_RINGS * AZIMUTHS];
        self.run(|| {
            invariant
                .par_chunks_mut(BLOCK * WIDTH)
                .zip(equivariant.par_chunks_mut(BLOCK * MAP_RINGS * AZIMUTHS))
                .enumerate()
                .for_each_init(Workspace::default, |workspace, (block, (invariant, maps))| {
                    let patch = |i| (patches.offsets_of(block * BLOCK + i), &frames[block * BLOCK + i]);
                    network.0.describe_block(patch, invariant, maps, workspace);
                });
        });
        Ok(Features { invariant, width: WIDTH, equivariant, rings: MAP_RINGS, frames })
    }
}
