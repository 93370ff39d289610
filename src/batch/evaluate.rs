//! Accuracy of many pairs at once.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use super::{Batch, BatchCloud, BatchPair};
use crate::engine::Engine;
use crate::evaluate::row::{Spent, judge};
use crate::evaluate::{Pair, Report, Row, SideBySide, extent};
use crate::io::read_cloud;

impl Batch {
    /// As [`crate::evaluate::evaluate`], with the same answers, several pairs at a time and clouds kept for the pairs to
    /// come. So the time of a pair is that of registering alone, next to other pairs; the report says how long all took.
    pub fn evaluate(&self, pairs: &[Pair], mut done: impl FnMut(&[Row]) + Send) -> Report {
        let start = Instant::now();
        let extents = Mutex::new(HashMap::<PathBuf, f64>::new());
        let read = |path: &&Path| {
            let cloud = read_cloud(path)?;
            let extent = extent(&cloud);
            extents.lock().unwrap_or_else(PoisonError::into_inner).insert(path.to_path_buf(), extent);
            Ok(BatchCloud::Points(cloud))
        };
        let mut rows = Vec::with_capacity(pairs.len());
        let labelled = pairs.iter().map(|pair| BatchPair {
            label: pair,
            source: pair.source.as_path(),
            target: pair.target.as_path(),
        });
        let register = Engine::register_prepared_with_details;
        self.run_keeping(&self.keep(), labelled, read, register, |pair, answer| {
            let total = answer.as_ref().map(|(found, _)| found.timings.total()).unwrap_or_default();
            let extents = extents.lock().unwrap_or_else(PoisonError::into_inner);
            let extent = extents.get(pair.target.as_path()).copied().unwrap_or_default();
            rows.push(judge(pair, answer, extent, Spent { total, ..Spent::default() }));
            drop(extents);
            done(&rows);
        });
        let side_by_side = SideBySide { pairs: self.lanes(), seconds: start.elapsed().as_secs_f64() };
        Report { side_by_side: Some(side_by_side), ..Report::new(pairs.len(), rows) }
    }
}
