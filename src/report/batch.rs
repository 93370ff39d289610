//! The page of many pairs: what failed comes first.

use serde::{Deserialize, Serialize};

use super::template::{escape, fill, json};
use crate::batch::table::{PairStatus, Row};
use crate::evaluate;

const TEMPLATE: &str = include_str!("page/batch.html");
const COMMON_STYLE: &str = include_str!("page/common.css");
const STYLE: &str = include_str!("page/batch.css");
const SCRIPT: &str = include_str!("page/batch.js");

/// One pair of many. What is unknown is `None`, or empty text.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct BatchRow {
    /// What the pair is called.
    pub name: String,
    /// The set that it belongs to; rows are also counted by set.
    pub set: String,
    /// How it ended.
    pub status: PairStatus,
    /// Probability that the transform is right, 0..1.
    pub confidence: Option<f64>,
    /// Share of the source's surface that lies on the target's, 0..1.
    pub overlap: Option<f64>,
    /// Matches that agree.
    pub inliers: Option<usize>,
    /// Root mean square distance of the overlapping surfaces, in the clouds' unit.
    pub inlier_rmse: Option<f64>,
    /// Why it was rejected or failed.
    pub reason: String,
    /// Time spent on the pair.
    pub seconds: Option<f64>,
    /// Whether the transform is right, where the right one is known.
    pub correct: Option<bool>,
    /// Angle to the right transform in degrees, where that is known.
    pub rotation_error: Option<f64>,
    /// Distance from the right transform in the clouds' unit, where that is known.
    pub translation_error: Option<f64>,
    /// What should be known although there is an answer.
    pub warnings: String,
}

impl From<&Row> for BatchRow {
    /// What a row of results says.
    fn from(row: &Row) -> Self {
        Self {
            name: row.name.clone(),
            set: row.set.clone(),
            status: row.status,
            confidence: row.confidence,
            overlap: row.overlap,
            inliers: row.inliers,
            inlier_rmse: row.inlier_rmse,
            reason: row.reason.clone(),
            warnings: row.warnings.clone(),
            ..Self::default()
        }
    }
}

impl From<&evaluate::Row> for BatchRow {
    /// What a row of an evaluation says.
    fn from(row: &evaluate::Row) -> Self {
        let status = match (row.has_failed(), row.is_accepted()) {
            (true, _) => PairStatus::Failed,
            (_, true) => PairStatus::Accepted,
            (_, false) => PairStatus::Rejected,
        };
        Self {
            name: row.name.clone(),
            set: row.set.clone(),
            status,
            confidence: row.confidence,
            overlap: row.found_overlap,
            inliers: row.inliers,
            inlier_rmse: row.inlier_rmse,
            reason: row.reason.clone(),
            warnings: row.warnings.join("; "),
            seconds: Some(row.seconds),
            // To reject a pair that has no right answer is not wrong.
            correct: row.success.filter(|_| row.has_answer == Some(true) || row.is_accepted()),
            rotation_error: row.rre,
            translation_error: row.rte,
        }
    }
}

/// One self-contained HTML file with a table of all rows that can be sorted and filtered. First come answers that were
/// accepted and are known to be wrong, then failed, rejected and accepted pairs; of equals the least confident first,
/// then in the order of `rows`.
pub fn batch_page(title: &str, rows: &[BatchRow]) -> String {
    let mut rows: Vec<&BatchRow> = rows.iter().collect();
    rows.sort_by(|a, b| urgency(a).cmp(&urgency(b)).then(confidence(a).total_cmp(&confidence(b))));
    let data = json(&serde_json::json!({ "rows": rows, "version": env!("CARGO_PKG_VERSION") }));
    let (title, style) = (escape(title), format!("{COMMON_STYLE}\n{STYLE}"));
    fill(TEMPLATE, &[("TITLE", &title), ("STYLE", &style), ("DATA", &data), ("SCRIPT", SCRIPT)])
}

/// The lower, the sooner somebody should look at it.
fn urgency(row: &BatchRow) -> (bool, PairStatus) {
    let false_accept = row.status == PairStatus::Accepted && row.correct == Some(false);
    (!false_accept, row.status)
}

fn confidence(row: &BatchRow) -> f64 {
    row.confidence.unwrap_or(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(name: &str, status: PairStatus, confidence: f64) -> BatchRow {
        BatchRow { name: name.into(), status, confidence: Some(confidence), ..BatchRow::default() }
    }

    fn data(page: &str) -> serde_json::Value {
        let (_, rest) = page.split_once("<script id=\"data\" type=\"application/json\">").unwrap();
        serde_json::from_str(rest.split_once("</script>").unwrap().0).unwrap()
    }

    fn names(page: &str) -> Vec<String> {
        let rows = data(page)["rows"].as_array().unwrap().clone();
        rows.iter().map(|row| row["name"].as_str().unwrap().to_owned()).collect()
    }

    #[test]
    fn failures_come_first_and_the_least_confident_of_each_kind() {
        use PairStatus::{Accepted, Failed, Rejected};
        let wrong = BatchRow { correct: Some(false), ..row("false accept", Accepted, 0.99) };
        let broken = BatchRow { confidence: None, ..row("broken", Failed, 0.0) };
        let rows = [
            row("sure", Accepted, 1.0),
            row("doubtful", Rejected, 0.5),
            wrong,
            row("hopeless", Rejected, 0.0),
            broken,
            row("less sure", Accepted, 0.91),
        ];
        let expected = ["false accept", "broken", "hopeless", "doubtful", "less sure", "sure"];
        assert_eq!(names(&batch_page("pairs", &rows)), expected);
    }

    #[test]
    fn a_row_of_an_evaluation_brings_its_errors_along() {
        use crate::evaluate::{Pair, Truth, row::tests};
        use crate::registration::Status;
        let pair = tests::pair("frame-hi", Truth::Transform(tests::transform(0.0, 0.0)));
        let wrong = tests::row(&pair, Status::Accepted, 0.95, tests::transform(90.0, 2.0));
        let row = BatchRow::from(&wrong);
        assert_eq!((row.status, row.correct, row.inliers), (PairStatus::Accepted, Some(false), Some(10)));
        assert!((row.rotation_error.unwrap() - 90.0).abs() < 1e-9, "{row:?}");
        assert!((row.translation_error.unwrap() - 2.0).abs() < 1e-12, "{row:?}");
        let none = Pair { truth: Truth::NoAnswer, ..pair.clone() };
        let of_none =
            |status| BatchRow::from(&tests::row(&none, status, 0.5, tests::transform(0.0, 0.0))).correct;
        assert_eq!((of_none(Status::Accepted), of_none(Status::Rejected)), (Some(false), None));
        let unknown = Pair { truth: Truth::Unknown, ..pair };
        let rejected = tests::row(&unknown, Status::Rejected, 0.1, tests::transform(0.0, 0.0));
        assert_eq!(BatchRow::from(&rejected).correct, None);
        let failed = BatchRow::from(&tests::failed_row(&unknown));
        assert_eq!((failed.status, failed.confidence), (PairStatus::Failed, None));
    }

    #[test]
    fn hostile_text_stays_text() {
        let mut hostile = row("</script><script>alert(1)</script>", PairStatus::Failed, f64::NAN);
        hostile.reason = "<img src=x onerror=alert(2)>".into();
        let page = batch_page("<b>{{DATA}}</b>", &[hostile.clone()]);
        assert!(page.contains("<title>&lt;b&gt;{{DATA}}&lt;/b&gt;"));
        assert!(!page.contains("<img") && !page.contains("alert(1)</script>"));
        assert_eq!(names(&page), [hostile.name]);
    }

    #[test]
    fn no_rows_are_a_page_and_rows_survive_json() {
        assert!(names(&batch_page("nothing", &[])).is_empty());
        let full =
            BatchRow { correct: Some(true), seconds: Some(0.25), ..row("a", PairStatus::Accepted, 0.5) };
        let text = serde_json::to_string(&full).unwrap();
        assert_eq!(serde_json::from_str::<BatchRow>(&text).unwrap(), full);
        assert_eq!(serde_json::from_str::<BatchRow>("{\"name\":\"b\"}").unwrap().status, PairStatus::Failed);
    }
}
