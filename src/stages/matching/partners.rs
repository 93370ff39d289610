//! The best partners of every row of two clouds, by rank: the more similar and, on ties, the lower the index, the larger.
//! Zero stands for none.

use super::{Match, PARTNERS};

/// Ranks of a row's partners, largest first.
type Ranks = [u64; PARTNERS];

/// See the module.
pub(super) struct Partners {
    of_source: Vec<Ranks>,
    of_target: Vec<Ranks>,
}

impl Partners {
    /// None yet, of clouds with so many rows.
    pub fn none(rows: usize, columns: usize) -> Self {
        Self { of_source: vec![[0; PARTNERS]; rows], of_target: vec![[0; PARTNERS]; columns] }
    }

    /// Takes in a pair, unless its similarity is zero.
    pub fn take(&mut self, s: u32, t: u32, similarity: u32) {
        if similarity > 0 {
            keep_largest(&mut self.of_source[s as usize], rank(similarity, t));
            keep_largest(&mut self.of_target[t as usize], rank(similarity, s));
        }
    }

    /// The pairs whose rows are each among the best `each` of the other, in ascending order.
    pub fn mutual(&self, each: usize) -> Vec<Match> {
        let is_partner = |s: u32, t: u32| {
            let of_target = &self.of_target[t as usize][..each];
            of_target.iter().any(|&rank| rank != 0 && index_of_rank(rank) == s)
        };
        let matches = |(s, ranks): (u32, &Ranks)| {
            let mut matches: Vec<Match> = ranks[..each]
                .iter()
                .filter(|&&rank| rank != 0)
                .map(|&rank| [s, index_of_rank(rank)])
                .collect();
            matches.retain(|&[s, t]| is_partner(s, t));
            matches.sort_unstable();
            matches
        };
        (0..).zip(&self.of_source).flat_map(matches).collect()
    }
}

/// Takes in a rank, unless it is there: a pair that is on both rows' shortlists comes twice.
fn keep_largest(ranks: &mut Ranks, mut rank: u64) {
    if ranks.contains(&rank) {
        return;
    }
    for kept in ranks {
        if rank > *kept {
            std::mem::swap(kept, &mut rank);
        }
    }
}

fn rank(similarity: u32, index: u32) -> u64 {
    u64::from(similarity) << 32 | u64::from(!index)
}

fn index_of_rank(rank: u64) -> u32 {
    !(rank as u32)
}
