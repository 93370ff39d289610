//! The C interface of coregister. Its users read `include/coregister.h`, which is made from this crate, and
//! `include/coregister.hpp`, the C++ classes over it.
//!
//! Every function checks its pointers for null, and catches panics: neither gets into the caller's program.

#![warn(missing_docs)]
// The safety of all functions here is that of the C interface; the header states it once.
#![allow(clippy::missing_safety_doc)]

#[cfg(not(panic = "unwind"))]
compile_error!("panics must unwind, or they could not be kept from the caller: leave out panic = \"abort\"");

mod cloud;
mod config;
mod engine;
mod pointers;
mod points;
mod result;
mod status;

pub use cloud::*;
pub use config::*;
pub use engine::*;
pub use points::{CoregisterByteOrder, CoregisterScalar, Points};
pub use result::*;
pub use status::{CoregisterStatus, coregister_last_error};

use std::ffi::c_char;

/// The version of the library, such as "0.1.0".
#[unsafe(no_mangle)]
pub extern "C" fn coregister_version() -> *const c_char {
    const { concat!(env!("CARGO_PKG_VERSION"), "\0").as_ptr().cast() }
}
