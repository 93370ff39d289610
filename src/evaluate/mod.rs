//! How good the answers are, on pairs whose answer is known.
//!
//! **Where pairs come from.** A list of one's own ([`list`]), or a benchmark as it is downloaded: 3DMatch and 3DLoMatch
//! ([`three_d_match`]), ETH ([`eth`]), KITTI odometry ([`kitti`]). [`Protocol::of`] tells them apart.
//!
//! **Errors.** RRE is the angle of `R_gtᵀ R_est`, in degrees; RTE is `‖t_est − t_gt‖`, in the clouds' unit. A pair is a
//! success when both are below its [`Thresholds`], accepted or not: recall says how often the best guess is right, the
//! share of false accepts says how far an acceptance can be trusted. 3DMatch judges by a root mean square distance as
//! well: [`rmse`].
//!
//! **Matches.** The inlier ratio of a pair is what [`Row::inlier_ratio`] says.
//!
//! **Confidence.** How well it ranks answers ([`PrecisionRecall`]) and how well it is calibrated ([`Calibration`]) is
//! judged on all pairs whose truth is known, by the same successes as recall.

pub mod confidence;
pub mod eth;
pub mod kitti;
pub mod list;
pub mod nees;
pub mod pose_log;
pub mod report;
pub mod rmse;
pub mod row;
pub mod three_d_match;
pub mod thresholds;

mod pair;
mod protocol;
mod scenes;

use crate::engine::Engine;

pub use confidence::{Calibration, PrecisionRecall};
pub use list::read_pairs;
pub use pair::{Fragments, Pair, Truth};
pub use protocol::Protocol;
pub use report::{Report, SideBySide, Summary};
pub use row::Row;
pub use thresholds::{Bounds, Thresholds, extent};

/// Registers all pairs, one after another (the engine uses all threads for each), so that their times are those of a pair
/// alone; [`Batch::evaluate`](crate::batch::Batch::evaluate) takes less time for all. A pair that fails is a row with its
/// error, and the run goes on. `done` is called after each pair, with all rows so far.
pub fn evaluate(engine: &Engine, pairs: &[Pair], mut done: impl FnMut(&[Row])) -> Report {
    let mut rows = Vec::with_capacity(pairs.len());
    for pair in pairs {
        rows.push(row::evaluate_pair(engine, pair));
        done(&rows);
    }
    Report::new(pairs.len(), rows)
}
