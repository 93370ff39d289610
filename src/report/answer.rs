//! The answer for programs: the object that `--json` writes, and the numbers of every report.

use std::time::Duration;

use serde::{Serialize, Serializer};

use crate::registration::Registration;

/// A [`Registration`] and the time it took, ready to be serialised.
#[derive(Debug, Clone, Serialize)]
pub struct Answer<'a> {
    /// Four rows.
    #[serde(rename = "T_target_source")]
    target_from_source: [[f64; 4]; 4],
    status: &'static str,
    reason: &'a str,
    confidence: f64,
    overlap: f64,
    inliers: usize,
    inlier_rmse: f64,
    information: [[f64; 6]; 6],
    information_centre: [f64; 3],
    unobserved: &'a [String],
    warnings: &'a [String],
    timings_ms: Milliseconds,
    device: &'a str,
    seed: u64,
    version: &'static str,
}

impl<'a> Answer<'a> {
    /// `read` is the time for starting the engine and reading both files, `total` that from the start to the answer.
    pub fn new(registration: &'a Registration, read: Duration, total: Duration) -> Self {
        let matrix = registration.target_from_source.to_matrix();
        Self {
            target_from_source: std::array::from_fn(|row| {
                std::array::from_fn(|column| matrix[(row, column)])
            }),
            status: registration.status.as_str(),
            reason: &registration.reason,
            confidence: registration.confidence,
            overlap: registration.overlap,
            inliers: registration.inliers,
            inlier_rmse: registration.inlier_rmse,
            information: registration.information,
            information_centre: registration.information_centre,
            unobserved: &registration.unobserved,
            warnings: &registration.warnings,
            timings_ms: Milliseconds::new(registration, read, total),
            device: &registration.device,
            seed: registration.seed,
            version: env!("CARGO_PKG_VERSION"),
        }
    }
}

/// Stage names and times, written as an object that keeps the order of execution.
#[derive(Debug, Clone)]
struct Milliseconds(Vec<(&'static str, f64)>);

impl Milliseconds {
    fn new(registration: &Registration, read: Duration, total: Duration) -> Self {
        let stages = registration.timings.stages.iter().copied();
        let all = std::iter::once(("read", read)).chain(stages).chain([("total", total)]);
        // Whole microseconds: more digits would be noise.
        Self(all.map(|(stage, spent)| (stage, spent.as_micros() as f64 / 1000.0)).collect())
    }
}

impl Serialize for Milliseconds {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().copied())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::example::Example;

    #[test]
    fn the_object_keeps_the_order_of_the_stages_and_the_rows_of_the_transform() {
        let Example { registration, .. } = Example::new();
        let answer = Answer::new(&registration, Duration::from_millis(1), Duration::from_millis(9));
        let text = serde_json::to_string(&answer).unwrap();
        let times = "\"timings_ms\":{\"read\":1.0,\"voxel\":3.0,\"matching\":2.0,\"total\":9.0}";
        assert!(text.contains(times), "{text}");
        assert!(text.starts_with("{\"T_target_source\":[[") && text.contains("[0.0,0.0,0.0,1.0]]"), "{text}");
    }
}
