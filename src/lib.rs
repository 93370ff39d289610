//! Point-cloud registration without an initial guess.

#![warn(missing_docs)]

pub mod backend;
pub mod batch;
pub mod cloud;
pub mod config;
pub mod engine;
pub mod error;
pub mod evaluate;
pub mod geometry;
pub mod io;
pub mod pipeline;
pub mod registration;
pub mod report;
pub mod simulate;
pub mod stages;
pub mod training_data;
pub mod transform;

pub use cloud::{Cloud, CloudView};
pub use config::Config;
pub use engine::Engine;
pub use error::{Error, Result};
pub use registration::{Registration, Status};
pub use transform::RigidTransform;

/// The Rust snippets of README.md are compiled and run with the documentation's own.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
