//! A simulated pair as the pipeline sees it.

use std::ops::RangeInclusive;
use std::sync::Arc;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::Options;
use crate::backend::Cpu;
use crate::config::{Config, Descriptor};
use crate::error::Result;
use crate::geometry::Pose;
use crate::pipeline::Pipeline;
use crate::pipeline::scan::{Prepared, Scan};
use crate::registration::Timings;
use crate::simulate::{Kind, Motion, PairOptions, derive_seed, simulate_pair};
use crate::stages::clean::{CanonicalPair, canonical_cloud};
use crate::stages::frame::Orientation;
use crate::transform::RigidTransform;

/// Strength of the sensors' faults: between half of what is usual and half as much again.
const NOISE: RangeInclusive<f64> = 0.5..=1.5;

/// Both clouds, ready for patches.
pub(super) struct Scene {
    pub seed: u64,
    pub kind: Kind,
    /// Share of the source that the target shares, as the simulator measures it.
    pub overlap: f64,
    pub pipeline: Pipeline<Cpu>,
    pub source: Arc<Prepared<Cpu>>,
    pub target: Arc<Prepared<Cpu>>,
    /// The true pose between the canonical frames.
    pub target_from_source: Pose,
    /// Edge of the voxels, canonical units.
    pub spacing: f32,
    /// The axes of both clouds' patches that the pipeline would try, one pair after another.
    pub axes: Vec<(Orientation, Orientation)>,
    /// For the choices that are left.
    pub random: ChaCha8Rng,
}

impl Scene {
    /// The scene of `seed`, thinned to what the pipeline would choose times a factor drawn from `voxel_factors`.
    pub fn new(
        seed: u64,
        options: &Options,
        backend: &Cpu,
        voxel_factors: RangeInclusive<f32>,
    ) -> Result<Self> {
        let mut random = ChaCha8Rng::seed_from_u64(derive_seed(seed, 1));
        let kind = options.mix.at(random.random());
        let simulated = PairOptions {
            kinds: vec![kind],
            overlap: options.overlap.clone(),
            motion: Motion::Full,
            noise: random.random_range(NOISE),
            detail: options.detail,
            ..PairOptions::default()
        };
        let pair = simulate_pair(seed, &simulated)?;
        let scan = |cloud, role| canonical_cloud(cloud, role).map(|cloud| Scan::new(Arc::new(cloud)));
        let (source, target) = (scan(&pair.source, "source")?, scan(&pair.target, "target")?);
        let canonical = CanonicalPair { source: &source.cloud, target: &target.cloud };
        // Patches are what counts here: whatever describes them, the axes are the same.
        let config = Config { descriptor: Descriptor::Classic, ..Config::default() };
        let pipeline = Pipeline { backend: backend.clone(), config, network: None };
        let target_from_source = canonical_pose(&canonical, &pair.target_from_source);
        let (unit, mut timings) = (canonical.unit(), Timings::default());
        let (recorded_source, recorded_target) =
            pipeline.record_both(unit, &source, &target, &mut timings)?;
        let factor = random.random_range(voxel_factors);
        let spacing = factor * recorded_source.spacing.max(recorded_target.spacing);
        let (source, target) = ((&source, &recorded_source), (&target, &recorded_target));
        let (source, target) = pipeline.prepare_at(spacing, source, target, &mut timings)?;
        let axes = pipeline.axes(&source, &target);
        Ok(Self {
            seed,
            kind,
            overlap: pair.overlap,
            pipeline,
            source,
            target,
            target_from_source,
            spacing,
            axes,
            random,
        })
    }

    /// The radii at which a ball holds these shares of the clouds; see [`Pipeline::radii`].
    pub fn radii(&self, shares: &[f32]) -> Result<Vec<f32>> {
        self.pipeline.radii(&self.source, &self.target, shares)
    }

    /// What the file says about the scene as a whole.
    pub fn metadata(&self) -> String {
        let Self { seed, kind, overlap, spacing, .. } = self;
        serde_json::json!({ "kind": kind.name(), "seed": seed, "overlap": overlap, "spacing": spacing })
            .to_string()
    }
}

/// The pose between the canonical frames of the pose between the files' frames: the inverse of
/// [`CanonicalPair::to_file_frames`].
fn canonical_pose(pair: &CanonicalPair, target_from_source: &RigidTransform) -> Pose {
    let back = pair.target.cloud_from_canonical.inverse();
    let pose = back.compose(target_from_source).compose(&pair.source.cloud_from_canonical);
    let (rotation, translation) = (pose.rotation, pose.translation / pair.unit());
    std::array::from_fn(|i| if i < 9 { rotation[(i / 3, i % 3)] } else { translation[i - 9] } as f32)
}
