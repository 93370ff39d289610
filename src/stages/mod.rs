//! The stages of the method, one folder each: `mod.rs` is the contract, `cpu.rs` and `cuda.rs` keep it.
//!
//! Every stage is deterministic: the same input gives the same bits, whatever the number of threads, and ties
//! go to the lower index. Buffers stay on the device; see [`crate::backend::Device`].

pub mod frame;
pub mod patch;
pub mod sample;
pub mod voxel;
