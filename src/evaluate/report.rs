//! All rows and what they come to.

use serde::Serialize;

use super::confidence::{Calibration, PrecisionRecall};
use super::row::Row;
use super::thresholds::Thresholds;

/// All rows and what they come to.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Report {
    /// Pairs that were to be registered; more than there are rows while the run goes on.
    pub pairs: usize,
    /// One summary per set, in the order in which the sets first appear.
    pub sets: Vec<Summary>,
    /// All pairs together, where there are several sets and all have the same thresholds.
    pub overall: Option<Summary>,
    /// The mean of the sets' shares, every set counting alike, where there is `overall`: the recall of scenes that the
    /// official evaluation of 3DMatch reports.
    pub mean_of_sets: Option<Shares>,
    /// How well the confidence is calibrated; `None` when no pair has both a confidence and a known answer.
    pub calibration: Option<Calibration>,
    /// How well the confidence tells right answers from wrong ones.
    pub precision_recall: Option<PrecisionRecall>,
    /// How the pairs were run if it was several at a time.
    pub side_by_side: Option<SideBySide>,
    /// One row per pair, in the order of the list.
    pub rows: Vec<Row>,
}

/// A run of several pairs at a time, whose times are not those of a pair alone.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct SideBySide {
    /// At a time.
    pub pairs: usize,
    /// For all pairs together, reading included.
    pub seconds: f64,
}

impl Report {
    /// The report on the first rows of `pairs` pairs.
    pub fn new(pairs: usize, rows: Vec<Row>) -> Self {
        let mut names: Vec<&str> = Vec::new();
        for row in &rows {
            if !names.contains(&row.set.as_str()) {
                names.push(&row.set);
            }
        }
        let of_set = |name| rows.iter().filter(move |row| row.set == name).collect::<Vec<_>>();
        let sets: Vec<_> = names.into_iter().map(|name| Summary::new(name, &of_set(name))).collect();
        let alike = sets.len() > 1
            && sets[0].thresholds.is_some()
            && sets.iter().all(|set| set.thresholds == sets[0].thresholds);
        Self {
            pairs,
            overall: alike.then(|| Summary::new("all", &rows.iter().collect::<Vec<_>>())),
            mean_of_sets: alike.then(|| Shares::mean(&sets)),
            calibration: Calibration::new(&rows),
            precision_recall: PrecisionRecall::new(&rows),
            side_by_side: None,
            sets,
            rows,
        }
    }

    /// Rows of pairs that could not be registered at all.
    pub fn failures(&self) -> impl Iterator<Item = &Row> {
        self.rows.iter().filter(|row| row.has_failed())
    }
}

/// How often something holds, 0..1; `None` stands where there is nothing to take a share of.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Shares {
    /// Share of right answers among the pairs that have one. A pair that fails is not right.
    pub recall: Option<f64>,
    /// The same by the strict thresholds.
    pub strict_recall: Option<f64>,
    /// The same by [`super::rmse`], of the pairs that are judged by it.
    pub rmse_recall: Option<f64>,
    /// Share of pairs that were accepted.
    pub accepted: Option<f64>,
    /// Share of wrong answers among the accepted ones.
    pub false_accepts: Option<f64>,
}

impl Shares {
    fn new(rows: &[&Row]) -> Self {
        let answerable = || rows.iter().filter(|row| row.has_answer == Some(true));
        let accepted = || rows.iter().filter(|row| row.is_accepted());
        Self {
            recall: share_of(answerable().map(|row| row.success)),
            strict_recall: share_of(answerable().map(|row| row.strict_success)),
            rmse_recall: share_of(answerable().map(|row| row.rmse_success)),
            accepted: share_of(rows.iter().map(|row| Some(row.is_accepted()))),
            false_accepts: share_of(accepted().map(|row| row.success.map(|success| !success))),
        }
    }

    fn mean(sets: &[Summary]) -> Self {
        let mean =
            |of: fn(&Self) -> Option<f64>| mean(sets.iter().filter_map(|set| of(&set.shares)).collect());
        Self {
            recall: mean(|shares| shares.recall),
            strict_recall: mean(|shares| shares.strict_recall),
            rmse_recall: mean(|shares| shares.rmse_recall),
            accepted: mean(|shares| shares.accepted),
            false_accepts: mean(|shares| shares.false_accepts),
        }
    }
}

/// What the rows of one set come to.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Summary {
    /// The set's name.
    pub set: String,
    /// Number of pairs.
    pub pairs: usize,
    /// Number of pairs that are judged by [`super::rmse`].
    pub rmse_pairs: usize,
    /// Whether there are pairs that have a right answer, or may have one.
    pub has_answers: bool,
    /// How often answers are right, accepted, and wrongly accepted.
    #[serde(flatten)]
    pub shares: Shares,
    /// Mean of [`Row::inlier_ratio`].
    pub inlier_ratio: Option<f64>,
    /// Median rotation error of the right answers, in degrees.
    pub median_rre: Option<f64>,
    /// Median translation error of the right answers.
    pub median_rte: Option<f64>,
    /// Median of [`Row::nees`] over the right answers that were accepted.
    pub median_nees: Option<f64>,
    /// Mean rotation error of the right answers, in degrees.
    pub mean_rre: Option<f64>,
    /// Mean translation error of the right answers.
    pub mean_rte: Option<f64>,
    /// Median time of a pair, reading included.
    pub median_seconds: f64,
    /// Time that nine of ten pairs stay below.
    pub p90_seconds: f64,
    /// Median of the part of the time that reading takes.
    pub median_reading_seconds: f64,
    /// The thresholds, if all pairs have the same; `None` where each pair's follow from its target's extent.
    pub thresholds: Option<Thresholds>,
}

impl Summary {
    fn new(set: &str, rows: &[&Row]) -> Self {
        let right = || rows.iter().filter(|row| row.success == Some(true));
        let rotations = || right().filter_map(|row| row.rre).collect();
        let accepted = right().filter(|row| row.is_accepted()).filter_map(|row| row.nees).collect();
        let translations = || right().filter_map(|row| row.rte).collect();
        let seconds = || rows.iter().map(|row| row.seconds).collect();
        let reading = rows.iter().map(|row| row.reading_seconds).collect();
        Self {
            set: set.to_owned(),
            pairs: rows.len(),
            rmse_pairs: rows.iter().filter(|row| row.rmse_success.is_some()).count(),
            has_answers: rows.iter().any(|row| row.has_answer != Some(false)),
            shares: Shares::new(rows),
            inlier_ratio: mean(rows.iter().filter_map(|row| row.inlier_ratio).collect()),
            median_rre: quantile(rotations(), 0.5),
            median_rte: quantile(translations(), 0.5),
            median_nees: quantile(accepted, 0.5),
            mean_rre: mean(rotations()),
            mean_rte: mean(translations()),
            median_seconds: quantile(seconds(), 0.5).unwrap_or(0.0),
            p90_seconds: quantile(seconds(), 0.9).unwrap_or(0.0),
            median_reading_seconds: quantile(reading, 0.5).unwrap_or(0.0),
            thresholds: common(rows.iter().filter_map(|row| row.thresholds)),
        }
    }
}

/// The value that all of `values` are equal to.
fn common<T: PartialEq>(mut values: impl Iterator<Item = T>) -> Option<T> {
    let first = values.next()?;
    values.all(|value| value == first).then_some(first)
}

/// Share of those that hold among those that say anything.
fn share_of(holds: impl Iterator<Item = Option<bool>>) -> Option<f64> {
    mean(holds.flatten().map(|holds| f64::from(u8::from(holds))).collect())
}

fn mean(values: Vec<f64>) -> Option<f64> {
    (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
}

/// The `at` quantile (0..1), linear between neighbours.
fn quantile(mut values: Vec<f64>, at: f64) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let position = at * values.len().checked_sub(1)? as f64;
    let (below, above) = (values[position.floor() as usize], values[position.ceil() as usize]);
    Some(below + (above - below) * position.fract())
}

#[cfg(test)]
mod tests {
    use super::super::pair::{Pair, Truth};
    use super::super::row::tests::{failed_row, pair, row, transform};
    use super::*;
    use crate::registration::Status;
    use nalgebra::Matrix6;

    fn aligned(set: &str) -> Pair {
        pair(set, Truth::Transform(transform(0.0, 0.0)))
    }

    #[test]
    fn a_summary_counts_as_defined() {
        let pair = aligned("frame-hi");
        let rows = vec![
            row(&pair, Status::Accepted, 0.95, transform(1.0, 0.02)),
            row(&pair, Status::Accepted, 0.85, transform(90.0, 0.0)),
            row(&pair, Status::Rejected, 0.25, transform(4.0, 0.05)),
            failed_row(&pair),
        ];
        let report = Report::new(5, rows);
        let summary = &report.sets[0];
        assert_eq!((report.pairs, summary.pairs, summary.has_answers), (5, 4, true));
        let expected = Shares {
            recall: Some(0.5),
            strict_recall: Some(0.5),
            rmse_recall: None,
            accepted: Some(0.5),
            false_accepts: Some(0.5),
        };
        assert_eq!(summary.shares, expected);
        assert!(
            (summary.median_rre.unwrap() - 2.5).abs() < 1e-9
                && (summary.mean_rte.unwrap() - 0.035).abs() < 1e-9
        );
        assert!((summary.median_seconds - 0.5).abs() < 1e-12 && (summary.p90_seconds - 1.55).abs() < 1e-12);
        assert!((summary.median_reading_seconds - 0.1).abs() < 1e-12);
        assert_eq!(summary.thresholds, Some(Thresholds::INDOOR));
        assert_eq!((report.failures().count(), report.overall), (1, None));
    }

    #[test]
    fn sets_without_answer_have_false_accepts_but_no_recall() {
        let pair = pair("frame-none", Truth::NoAnswer);
        let rows =
            [Status::Accepted, Status::Rejected].map(|status| row(&pair, status, 0.5, transform(0.0, 0.0)));
        let summary = &Report::new(2, rows.to_vec()).sets[0];
        assert_eq!((summary.shares.recall, summary.shares.false_accepts), (None, Some(1.0)));
        assert!(!summary.has_answers);
    }

    #[test]
    fn scenes_count_alike_in_the_mean_and_pairs_count_alike_overall() {
        let scene = |set, shift| {
            let pair = Pair { information: Some(Matrix6::identity()), ..aligned(set) };
            let pair = Pair { thresholds: Some(Thresholds::INDOOR), ..pair };
            row(&pair, Status::Accepted, 0.9, transform(0.0, shift))
        };
        let consecutive = row(&aligned("frame"), Status::Accepted, 0.9, transform(0.0, 0.0));
        let consecutive = Row { set: "kitchen".into(), ..consecutive };
        let rows = [scene("kitchen", 0.0), scene("kitchen", 0.25), consecutive, scene("hotel", 0.4)];
        let report = Report::new(4, rows.to_vec());
        assert_eq!(report.sets[0].rmse_pairs, 2);
        assert_eq!(report.overall.unwrap().shares.recall, Some(0.75));
        let mean = report.mean_of_sets.unwrap();
        assert_eq!((mean.recall, mean.rmse_recall), (Some(0.5), Some(0.25)));
    }

    #[test]
    fn sets_that_are_judged_differently_are_not_thrown_together() {
        let rows = ["frame-hi", "bunny-hi"]
            .map(|set| row(&aligned(set), Status::Accepted, 0.9, transform(0.0, 0.0)));
        assert_eq!(Report::new(2, rows.to_vec()).overall, None);
    }

    #[test]
    fn quantiles_lie_between_neighbours() {
        assert_eq!(quantile(vec![3.0, 1.0, 2.0], 0.5), Some(2.0));
        assert_eq!(quantile(vec![1.0, 2.0], 0.9), Some(1.9));
        assert_eq!(quantile(Vec::new(), 0.5), None);
    }
}
