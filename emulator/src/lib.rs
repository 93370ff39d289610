//! Runs CUDA kernels on the CPU, so that they and the code that launches them are tested on machines without a GPU.
//!
//! The kernels are those of the folder `kernels` of the project, compiled by this crate's build as plain C++ with the
//! headers in `runtime`. [`launch`] runs one on memory of the host, best on [`Memory`], which ends where a kernel must
//! not go on. The README of this crate tells what is emulated and what is not.

mod launch;
mod memory;
mod runtime;

pub use launch::{Launch, LaunchError, Schedule, has_kernel, launch};
pub use memory::{Memory, Overrun};
