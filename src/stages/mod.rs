//! The stages of the method, one folder each: `mod.rs` is the contract, `cpu.rs` and `cuda.rs` keep it.
//!
//! Every stage is deterministic: the same input gives the same bits, whatever the number of threads, and ties
//! go to the lower index. Buffers stay on the device; see [`crate::backend::Device`].

pub mod azimuth;
mod bounds;
pub mod clean;
pub mod consensus;
pub mod describe;
pub mod estimate;
pub mod frame;
pub mod gravity;
pub(crate) mod lanes;
pub mod matching;
pub mod patch;
pub mod pose;
pub mod rank;
pub mod refine;
pub mod sample;
pub mod surface;
pub mod verify;
pub mod viewpoint;
pub mod voxel;

/// Joins the traits of the stages, which every device that implements them all then is.
macro_rules! backend {
    ($($stage:path),+ $(,)?) => {
        /// A device that can run every stage.
        pub trait Backend: $($stage +)+ {}

        impl<B: $($stage +)+> Backend for B {}
    };
}

backend![
    voxel::VoxelDownsample,
    viewpoint::EstimateViewpoint,
    sample::SampleFarthest,
    surface::BuildSurface,
    patch::GatherPatches,
    gravity::FindVertical,
    frame::EstimateFrames,
    describe::classic::DescribeClassic,
    describe::learned::DescribeLearned,
    describe::minispinnet::DescribeMiniSpinNet,
    matching::MatchMutual,
    azimuth::AlignAzimuth,
    azimuth::AlignByCostVolume,
    pose::RecoverPoses,
    consensus::ScoreHypotheses,
    estimate::EstimatePoses,
    refine::RefinePoses,
    verify::MeasureAgreement,
    rank::RankCandidates,
];
