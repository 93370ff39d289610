//! The schedule of polishing.

use super::EstimateOptions;

/// Rounds of reweighting.
pub(super) const ROUNDS: usize = 6;
/// Share of the distance between hypotheses that polished candidates must keep.
const POLISHED_SHARE: f32 = 0.3;

/// Residual at which a match has a quarter of its weight: `base + slope · |s − anchor|`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Width {
    pub base: f32,
    pub slope: f32,
}

impl EstimateOptions {
    /// Of every round: from the consensus tolerance to the precision.
    pub(super) fn widths(&self) -> [Width; ROUNDS] {
        std::array::from_fn(|round| {
            let late = round as f32 / (ROUNDS - 1) as f32;
            let base = self.tolerance.base * (self.precision / self.tolerance.base).powf(late);
            Width { base, slope: self.tolerance.slope * (1.0 - late) }
        })
    }

    /// Polished candidates are the same when they move the source's matches less than this far apart.
    pub(super) fn distinct_polished(&self) -> f32 {
        POLISHED_SHARE * self.distinct
    }
}
