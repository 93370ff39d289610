//! The page of many pairs: what failed comes first.

use serde::{Deserialize, Serialize};

use super::template::{escape, fill, json};
use crate::batch::table::Row;

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
    pub status: BatchStatus,
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
    /// A report of this pair alone, relative to the page; the name becomes a link to it.
    pub report: String,
}

/// How a pair ended.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum BatchStatus {
    /// Without an answer, for example because a file could not be read.
    #[default]
    Failed,
    /// With a best guess that is not to be relied on.
    Rejected,
    /// With an answer.
    Accepted,
}

impl From<&Row> for BatchRow {
    /// What a row of results says.
    fn from(row: &Row) -> Self {
        let status = match row.status.as_str() {
            "accepted" => BatchStatus::Accepted,
            "rejected" => BatchStatus::Rejected,
            _ => BatchStatus::Failed,
        };
        Self {
            name: row.name.clone(),
            set: row.set.clone(),
            status,
            confidence: row.confidence,
            overlap: row.overlap,
            inliers: row.inliers,
            inlier_rmse: row.inlier_rmse,
            reason: row.reason.clone(),
            ..Self::default()
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
fn urgency(row: &BatchRow) -> (bool, BatchStatus) {
    let false_accept = row.status == BatchStatus::Accepted && row.correct == Some(false);
    (!false_accept, row.status)
}

fn confidence(row: &BatchRow) -> f64 {
    row.confidence.unwrap_or(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(name: &str, status: BatchStatus, confidence: f64) -> BatchRow {
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
        use BatchStatus::{Accepted, Failed, Rejected};
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
    fn hostile_text_stays_text() {
        let mut hostile = row("</script><script>alert(1)</script>", BatchStatus::Failed, f64::NAN);
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
            BatchRow { correct: Some(true), seconds: Some(0.25), ..row("a", BatchStatus::Accepted, 0.5) };
        let text = serde_json::to_string(&full).unwrap();
        assert_eq!(serde_json::from_str::<BatchRow>(&text).unwrap(), full);
        assert_eq!(serde_json::from_str::<BatchRow>("{\"name\":\"b\"}").unwrap().status, BatchStatus::Failed);
    }
}
