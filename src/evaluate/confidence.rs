//! How much the confidence of the answers is worth.

use serde::Serialize;

use super::row::Row;

/// Bins of the confidence in a [`Calibration`].
const BINS: usize = 10;
/// The precision at which [`PrecisionRecall::recall_when_precise`] is taken.
pub const PRECISE: f64 = 0.99;

/// Whether answers of some confidence are right as often as it says.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Calibration {
    /// Expected calibration error: the mean distance between the confidence and the share of right answers, each bin
    /// weighted by its number of pairs.
    pub error: f64,
    /// Ten bins of equal width, those without pairs left out.
    pub bins: Vec<Bin>,
}

/// Answers of about the same confidence.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Bin {
    /// Least confidence in the bin.
    pub from: f64,
    /// The next bin begins here.
    pub to: f64,
    /// Pairs in the bin.
    pub pairs: usize,
    /// Their mean confidence.
    pub mean_confidence: f64,
    /// Share of them that are right.
    pub right: f64,
}

impl Calibration {
    /// Of all rows with a confidence and a known truth; `None` without any.
    pub fn new(rows: &[Row]) -> Option<Self> {
        let judged = judged(rows);
        let bin_of = |confidence: f64| ((confidence * BINS as f64) as usize).min(BINS - 1);
        let members = |bin| judged.iter().filter(move |(confidence, _)| bin_of(*confidence) == bin);
        let bins: Vec<Bin> = (0..BINS).filter_map(|bin| Bin::new(bin, members(bin))).collect();
        let distance = |bin: &Bin| (bin.mean_confidence - bin.right).abs() * bin.pairs as f64;
        let error = bins.iter().map(distance).sum::<f64>() / judged.len() as f64;
        (!judged.is_empty()).then_some(Self { error, bins })
    }
}

impl Bin {
    fn new<'a>(bin: usize, members: impl Iterator<Item = &'a (f64, bool)>) -> Option<Self> {
        let (mut pairs, mut confidences, mut right) = (0, 0.0, 0.0);
        for (confidence, success) in members {
            pairs += 1;
            confidences += confidence;
            right += f64::from(u8::from(*success));
        }
        let edge = |bin: usize| bin as f64 / BINS as f64;
        let mean = |sum: f64| sum / f64::from(pairs);
        (pairs > 0).then(|| Self {
            from: edge(bin),
            to: edge(bin + 1),
            pairs: pairs as usize,
            mean_confidence: mean(confidences),
            right: mean(right),
        })
    }
}

/// What comes of accepting all answers from some confidence on.
///
/// Precision is the share of right answers among the accepted ones; recall is the share of the pairs that have a right
/// answer for which it is accepted, so that it ends at the recall of registration, not at 1.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PrecisionRecall {
    /// Area under the curve: precision, averaged over the recall that each step adds.
    pub average_precision: f64,
    /// The highest recall of those points of the curve whose precision is at least [`PRECISE`]; 0 without any.
    pub recall_when_precise: f64,
    /// From the highest confidence to the lowest.
    pub curve: Vec<CurvePoint>,
}

/// The outcome of one choice of the confidence.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct CurvePoint {
    /// Answers with at least this confidence are accepted.
    pub confidence: f64,
    /// Share of right answers among the accepted ones.
    pub precision: f64,
    /// Share of the pairs that have a right answer for which it is accepted.
    pub recall: f64,
}

impl PrecisionRecall {
    /// Of all rows with a known truth; `None` when none of them has an answer, or when nothing could be registered.
    pub fn new(rows: &[Row]) -> Option<Self> {
        let answerable = rows.iter().filter(|row| row.has_answer == Some(true)).count();
        let mut judged: Vec<(f64, bool, bool)> = rows
            .iter()
            .filter_map(|row| Some((row.confidence?, row.success?, row.has_answer == Some(true))))
            .collect();
        if answerable == 0 || judged.is_empty() {
            return None;
        }
        judged.sort_by(|a, b| b.0.total_cmp(&a.0));
        let (mut curve, mut accepted, mut right, mut recalled) = (Vec::new(), 0, 0, 0);
        // Answers of the same confidence are accepted together.
        for equals in judged.chunk_by(|a, b| a.0 == b.0) {
            accepted += equals.len();
            right += equals.iter().filter(|(_, success, _)| *success).count();
            // A right answer that was not expected is no error, but there was none to miss either.
            recalled += equals.iter().filter(|(_, success, expected)| *success && *expected).count();
            curve.push(CurvePoint {
                confidence: equals[0].0,
                precision: right as f64 / accepted as f64,
                recall: recalled as f64 / answerable as f64,
            });
        }
        Some(Self {
            average_precision: average_precision(&curve),
            recall_when_precise: recall_when_precise(&curve),
            curve,
        })
    }
}

fn average_precision(curve: &[CurvePoint]) -> f64 {
    let before = std::iter::once(0.0).chain(curve.iter().map(|point| point.recall));
    curve.iter().zip(before).map(|(point, before)| point.precision * (point.recall - before)).sum()
}

fn recall_when_precise(curve: &[CurvePoint]) -> f64 {
    let precise = curve.iter().filter(|point| point.precision >= PRECISE);
    precise.map(|point| point.recall).fold(0.0, f64::max)
}

/// Confidence and success of the rows that have both.
fn judged(rows: &[Row]) -> Vec<(f64, bool)> {
    rows.iter().filter_map(|row| row.confidence.zip(row.success)).collect()
}

#[cfg(test)]
mod tests {
    use super::super::pair::{Pair, Truth};
    use super::super::row::tests::{failed_row, pair, row, transform};
    use super::*;
    use crate::registration::Status;

    fn answerable() -> Pair {
        pair("frame", Truth::Transform(transform(0.0, 0.0)))
    }

    /// A row of this confidence.
    fn answer(confidence: f64, right: bool) -> Row {
        let guess = transform(if right { 0.0 } else { 90.0 }, 0.0);
        row(&answerable(), Status::Rejected, confidence, guess)
    }

    #[test]
    fn the_calibration_error_weighs_bins_by_their_pairs() {
        let rows = [answer(0.95, true), answer(0.85, false), answer(0.25, true), failed_row(&answerable())];
        let calibration = Calibration::new(&rows).unwrap();
        assert!((calibration.error - (0.05 + 0.85 + 0.75) / 3.0).abs() < 1e-12);
        let bins: Vec<_> = calibration.bins.iter().map(|bin| (bin.from, bin.pairs, bin.right)).collect();
        assert_eq!(bins, [(0.2, 1, 1.0), (0.8, 1, 0.0), (0.9, 1, 1.0)]);
    }

    #[test]
    fn opposite_errors_in_one_bin_cancel() {
        let rows = [answer(0.5, true), answer(0.5, false)];
        assert_eq!(Calibration::new(&rows).unwrap().error, 0.0);
        assert_eq!(Calibration::new(&[]), None);
        assert_eq!(Calibration::new(&[answer(1.0, true)]).unwrap().bins[0].from, 0.9);
    }

    #[test]
    fn the_curve_by_hand() {
        // Four pairs with an answer, one of which fails, and one without an answer.
        let none = pair("frame-none", Truth::NoAnswer);
        let rows = [
            answer(0.5, true),
            answer(0.9, true),
            row(&none, Status::Rejected, 0.7, transform(0.0, 0.0)),
            failed_row(&answerable()),
            answer(0.5, false),
        ];
        let found = PrecisionRecall::new(&rows).unwrap();
        let curve: Vec<_> = found.curve.iter().map(|p| (p.confidence, p.precision, p.recall)).collect();
        assert_eq!(curve, [(0.9, 1.0, 0.25), (0.7, 0.5, 0.25), (0.5, 0.5, 0.5)]);
        assert_eq!(found.average_precision, 0.25 + 0.5 * 0.25);
        assert_eq!(found.recall_when_precise, 0.25);
    }

    #[test]
    fn a_right_answer_that_was_not_expected_is_precise_and_recalls_nothing() {
        let hardly = pair("frame-none", Truth::NotExpected(transform(0.0, 0.0)));
        let rows = [answer(0.5, true), row(&hardly, Status::Accepted, 0.9, transform(0.0, 0.0))];
        let curve = PrecisionRecall::new(&rows).unwrap().curve;
        let found: Vec<_> = curve.iter().map(|p| (p.confidence, p.precision, p.recall)).collect();
        assert_eq!(found, [(0.9, 1.0, 0.0), (0.5, 1.0, 1.0)]);
    }

    #[test]
    fn without_answers_there_is_no_curve() {
        let unknown = row(&pair("frame", Truth::Unknown), Status::Accepted, 0.9, transform(0.0, 0.0));
        assert_eq!(PrecisionRecall::new(&[unknown]), None);
        assert_eq!(PrecisionRecall::new(&[failed_row(&answerable())]), None);
        assert_eq!(PrecisionRecall::new(&[answer(0.9, false)]).unwrap().recall_when_precise, 0.0);
    }
}
