//! CPU side: a stable sort.

use super::{Candidate, Judged, RankCandidates, Ranked};
use crate::backend::Cpu;
use crate::error::Result;
use crate::stages::verify::judge::log_odds;

impl RankCandidates for Cpu {
    fn rank_candidates(&self, judged: Judged<'_, Self>, most: usize) -> Result<Ranked<Self>> {
        let Judged { estimated, poses, agreement, support, circumstances } = judged;
        let candidate = |i: usize| Candidate {
            estimated: estimated[i],
            pose: poses[i],
            agreement: agreement[i],
            support: support[i],
            log_odds: log_odds(&agreement[i], &support[i], &circumstances),
        };
        let mut candidates: Vec<Candidate> = (0..poses.len()).map(candidate).collect();
        candidates.sort_by(|a, b| b.log_odds.total_cmp(&a.log_odds));
        candidates.truncate(most);
        let (estimated, poses) = candidates.iter().map(|found| (found.estimated, found.pose)).unzip();
        Ok(Ranked { candidates, estimated, poses })
    }
}
