//! The extension module `coregister._core`: numpy arrays in, plain values out.
//!
//! What users see is written in Python, in `coregister/`; this module holds what has to touch the engine. Nothing here
//! keeps the interpreter while it computes.

mod answer;
mod batch;
mod config;
mod engine;
mod error;
mod files;
mod points;
mod process;

use pyo3::prelude::*;

#[pymodule]
mod _core {
    #[pymodule_export]
    use super::batch::Batch;
    #[pymodule_export]
    use super::config::check_config;
    #[pymodule_export]
    use super::engine::Engine;
    #[pymodule_export]
    use super::engine::PreparedCloud;
    #[pymodule_export]
    use super::files::read_cloud;
    #[pymodule_export]
    const VERSION: &str = env!("CARGO_PKG_VERSION");
}
