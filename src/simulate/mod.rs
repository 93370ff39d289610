//! A scan simulator: pairs of overlapping scans of made-up scenes, with their exact pose.
//!
//! It makes demonstration data that anyone may share, calibrates the confidence of registrations, and trains
//! descriptors. Scenes are triangle soups drawn from a seed (furnished rooms, streets and parks, single
//! objects, buildings whose parts repeat); sensors are models of depth cameras, of fragments fused from several of
//! their images, and of spinning LiDARs, with their noise, blind spots and quantisation. The same seed gives the same
//! bits, whatever the number of threads.
//!
//! ```
//! use coregister::simulate::{Kind, PairOptions, simulate_pair};
//!
//! let options = PairOptions { kinds: vec![Kind::Object], detail: 0.3, ..PairOptions::default() };
//! let pair = simulate_pair(7, &options)?;
//! println!("{}: {} and {} points", pair.set(), pair.source.len(), pair.target.len());
//! # Ok::<(), coregister::Error>(())
//! ```
//!
//! From the ground up: `dice` and `noise` (randomness), `mesh` and `primitives` (shapes), `things` (what may move),
//! `furniture`, `room`, `building`, `street`, `object` (scenes), `bvh` and `scene` (rays), `depth_camera`, `lidar`,
//! `carrier`, `rig` (sensors), `pair` and `write` (what users call).

mod building;
pub mod bvh;
mod carrier;
mod cloud_tools;
mod depth_camera;
mod dice;
mod furniture;
mod lidar;
pub mod mesh;
mod noise;
mod object;
mod pair;
mod primitives;
mod rig;
mod room;
mod scene;
mod street;
mod things;
mod view;
mod write;

pub use cloud_tools::OverlapRule;
pub use dice::derive_seed;
pub use pair::{Kind, Motion, PairOptions, SimulatedPair, simulate_pair, simulate_pair_in_scenes};
pub use scene::Scene;
pub use write::write_pairs;
