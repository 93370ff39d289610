//! How far pairs may be apart, round by round.

use super::RefineOptions;

/// Most rounds until the reach is the last one: the kernel takes their reaches by value.
pub(super) const MOST_REACHES: usize = 32;

/// Of all rounds, in the clouds' unit.
pub(super) struct Schedule {
    /// Largest pairing distance of each round up to `settled`, from which on all have the same.
    pub reaches: [f32; MOST_REACHES],
    /// Number of rounds.
    pub rounds: usize,
    /// The first round from which on the reach is the last one: refinement may stop there when nothing moves any more.
    pub settled: usize,
    /// A step that moves nothing further than this is the last one.
    pub negligible: f64,
    /// Weight of the point-to-point part beside the point-to-plane part.
    pub point_share: f64,
}

impl Schedule {
    /// For a target of this spacing.
    pub fn new(options: &RefineOptions, spacing: f32) -> Self {
        // The second half of the rounds keeps the last reach.
        let settled = options.rounds.div_ceil(2);
        assert!(settled < MOST_REACHES, "{} rounds, more than the kernel has reaches for", options.rounds);
        let late = |round: usize| (2.0 * round as f32 / options.rounds as f32).min(1.0);
        let reach = |round: usize| {
            let reach = options.first_reach * (options.last_reach / options.first_reach).powf(late(round));
            reach * spacing
        };
        Self {
            reaches: std::array::from_fn(reach),
            rounds: options.rounds,
            settled,
            negligible: 1e-3 * f64::from(spacing),
            point_share: options.point_share,
        }
    }

    /// Largest pairing distance of a round.
    pub fn reach(&self, round: usize) -> f32 {
        self.reaches[round.min(self.settled)]
    }
}
