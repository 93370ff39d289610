//! The best partner of every row of two clouds, by rank: the more similar and, on ties, the lower the index, the larger.
//! Zero stands for none.

use super::Match;

/// See the module.
pub(super) struct Partners {
    of_source: Vec<u64>,
    of_target: Vec<u64>,
}

impl Partners {
    /// None yet, of clouds with so many rows.
    pub fn none(rows: usize, columns: usize) -> Self {
        Self { of_source: vec![0; rows], of_target: vec![0; columns] }
    }

    /// Takes in a pair, unless its similarity is zero.
    pub fn take(&mut self, s: u32, t: u32, similarity: u32) {
        if similarity > 0 {
            let (of_source, of_target) = (&mut self.of_source[s as usize], &mut self.of_target[t as usize]);
            *of_source = rank(similarity, t).max(*of_source);
            *of_target = rank(similarity, s).max(*of_target);
        }
    }

    /// Those that are each other's best.
    pub fn mutual(&self) -> Vec<Match> {
        let mutual = |(s, &best): (u32, &u64)| {
            let t = index_of_rank(best);
            (best != 0 && index_of_rank(self.of_target[t as usize]) == s).then_some([s, t])
        };
        (0..).zip(&self.of_source).filter_map(mutual).collect()
    }
}

fn rank(similarity: u32, index: u32) -> u64 {
    u64::from(similarity) << 32 | u64::from(!index)
}

fn index_of_rank(rank: u64) -> u32 {
    !(rank as u32)
}
