//! How far pairs may be apart, round by round.

use super::RefineOptions;

/// Of all rounds, in the clouds' unit.
pub(super) struct Schedule {
    /// Largest pairing distance of each round.
    pub reaches: Vec<f32>,
    /// The first round from which on the reach is the last one: refinement may stop there when nothing moves any more.
    pub settled: usize,
    /// A step that moves nothing further than this is the last one.
    pub negligible: f64,
}

impl Schedule {
    /// For a target of this spacing.
    pub fn new(options: &RefineOptions, spacing: f32) -> Self {
        // The second half of the rounds keeps the last reach.
        let late = |round: usize| (2.0 * round as f32 / options.rounds as f32).min(1.0);
        let reach = |round: usize| {
            let reach = options.first_reach * (options.last_reach / options.first_reach).powf(late(round));
            reach * spacing
        };
        let rounds = 0..options.rounds;
        Self {
            reaches: rounds.clone().map(reach).collect(),
            settled: rounds.clone().find(|&round| late(round) >= 1.0).unwrap_or(rounds.end),
            negligible: 1e-3 * f64::from(spacing),
        }
    }
}
