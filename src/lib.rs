//! Point-cloud registration without an initial guess: two overlapping scans in, one verified rigid transform out.
//!
//! ```
//! use coregister::io::read_cloud;
//! use coregister::{Config, Engine, Status};
//!
//! let engine = Engine::new(Config::default())?;
//! let source = read_cloud("data/demo_source.ply".as_ref())?;
//! let target = read_cloud("data/demo_target.ply".as_ref())?;
//! let answer = engine.register(&source, &target)?;
//! assert_eq!(answer.status, Status::Accepted);
//! // p_target = T_target_source · p_source
//! let p_target = answer.target_from_source.apply(&source.point(0).into());
//! # Ok::<(), coregister::Error>(())
//! ```
//!
//! - [`Engine`] registers pairs, and prepares clouds that take part in many. [`Config`] is what may be set,
//!   [`Registration`] what comes out.
//! - [`batch`] spreads many pairs over all devices and writes their results so that a killed run resumes.
//! - [`evaluate`] measures the accuracy on pairs with known answers, [`report`] shows answers to people, [`simulate`] makes
//!   scans with exact poses.
//! - [`pipeline`] is the method from top to bottom, [`stages`] its parts, [`backend`] what they run on.

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
