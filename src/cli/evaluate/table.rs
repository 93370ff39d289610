//! The table of an evaluation, for the terminal and as Markdown.

use comfy_table::presets::{ASCII_MARKDOWN, NOTHING};
use comfy_table::{Cell, CellAlignment, Table};
use coregister::evaluate::report::Shares;
use coregister::evaluate::{Report, Summary, confidence, rmse};

/// A line of the table: a set, all pairs, or the mean of the sets.
enum Line<'a> {
    Summary(&'a Summary),
    Mean(&'a Shares),
}

impl Line<'_> {
    fn summary(&self) -> Option<&Summary> {
        match self {
            Self::Summary(summary) => Some(summary),
            Self::Mean(_) => None,
        }
    }

    fn shares(&self) -> &Shares {
        match self {
            Self::Summary(summary) => &summary.shares,
            Self::Mean(shares) => shares,
        }
    }

    fn name(&self) -> &str {
        self.summary().map_or("mean of sets", |summary| &summary.set)
    }
}

/// What a column shows of a line.
struct Column {
    header: &'static str,
    cell: fn(&Line) -> Option<String>,
    /// Left out where no line has anything to show.
    optional: bool,
}

const fn column(header: &'static str, cell: fn(&Line) -> Option<String>) -> Column {
    Column { header, cell, optional: false }
}

const fn optional(header: &'static str, cell: fn(&Line) -> Option<String>) -> Column {
    Column { header, cell, optional: true }
}

const COLUMNS: [Column; 11] = [
    column("n", |line| Some(line.summary()?.pairs.to_string())),
    column("recall%", |line| percent(line.shares().recall)),
    optional("strict%", |line| percent(line.shares().strict_recall)),
    optional("RMSE%", |line| percent(line.shares().rmse_recall)),
    column("accepted%", |line| percent(line.shares().accepted)),
    column("false-acc%", |line| percent(line.shares().false_accepts)),
    optional("inliers%", |line| percent(line.summary()?.inlier_ratio)),
    column("RRE deg", |line| number(line.summary()?.median_rre, 3)),
    column("RTE", |line| number(line.summary()?.median_rte, 4)),
    column("median s", |line| number(Some(line.summary()?.median_seconds), 3)),
    column("p90 s", |line| number(Some(line.summary()?.p90_seconds), 3)),
];

fn number(value: Option<f64>, decimals: usize) -> Option<String> {
    value.map(|value| format!("{value:.decimals$}"))
}

fn percent(share: Option<f64>) -> Option<String> {
    number(share.map(|share| 100.0 * share), 1)
}

/// For the terminal.
pub fn plain(report: &Report) -> String {
    let mut table = table(report, str::to_owned);
    table.load_style(NOTHING);
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    format!("{}\n{}", table.trim_fmt(), notes(report).map(|note| note + "\n").collect::<String>())
}

/// For documents.
pub fn markdown(report: &Report) -> String {
    let mut table = table(report, |text| text.replace('|', "\\|"));
    table.load_style(ASCII_MARKDOWN);
    let notes = notes(report).map(|note| format!("- {}\n", note.replace('\n', " ")));
    format!("{table}\n\n{}", notes.collect::<String>())
}

fn table(report: &Report, name: fn(&str) -> String) -> Table {
    let lines = lines(report);
    let shown = |column: &&Column| !column.optional || lines.iter().any(|line| (column.cell)(line).is_some());
    let columns: Vec<&Column> = COLUMNS.iter().filter(shown).collect();
    let mut table = Table::new();
    table.set_header(std::iter::once("set").chain(columns.iter().map(|column| column.header)));
    for line in &lines {
        let figure = |column: &&Column| Cell::new((column.cell)(line).unwrap_or_else(|| "-".to_owned()));
        table.add_row(std::iter::once(Cell::new(name(line.name()))).chain(columns.iter().map(figure)));
    }
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table
}

fn lines(report: &Report) -> Vec<Line<'_>> {
    let summaries = report.sets.iter().chain(&report.overall).map(Line::Summary);
    summaries.chain(report.mean_of_sets.iter().map(Line::Mean)).collect()
}

/// What the table does not say, a line each.
fn notes(report: &Report) -> impl Iterator<Item = String> {
    let so_far = report.rows.len();
    let unfinished = (so_far < report.pairs).then(|| format!("the first {so_far} of {} pairs", report.pairs));
    let failures = report.failures().map(|row| format!("failed: {} {}: {}", row.set, row.name, row.reason));
    let side_by_side = report.side_by_side.map(|run| {
        format!(
            "{} pairs at a time, all in {:.1} s; the times of pairs are without reading, and not those of a pair alone",
            run.pairs, run.seconds
        )
    });
    let mut notes: Vec<String> =
        unfinished.into_iter().chain(side_by_side).chain(confidence_note(report)).collect();
    notes.extend(yardsticks(&report.sets));
    notes.extend(rmse_note(report));
    notes.extend(failures);
    notes.into_iter()
}

fn confidence_note(report: &Report) -> Option<String> {
    let error = &report.calibration.as_ref()?.error;
    let mut note = format!("calibration error of the confidence: {error:.3}");
    if let Some(found) = &report.precision_recall {
        let (precision, recall) = (100.0 * confidence::PRECISE, 100.0 * found.recall_when_precise);
        note += &format!(
            "; its average precision: {:.3}; recall at {precision:.0} % precision: {recall:.1} %",
            found.average_precision
        );
    }
    Some(note)
}

/// What counts as right, with the sets that it holds for.
fn yardsticks(sets: &[Summary]) -> impl Iterator<Item = String> {
    let mut kinds: Vec<(String, Vec<&str>)> = Vec::new();
    for summary in sets {
        let yardstick = yardstick(summary);
        match kinds.iter_mut().find(|(kind, _)| *kind == yardstick) {
            Some((_, members)) => members.push(&summary.set),
            None => kinds.push((yardstick, vec![&summary.set])),
        }
    }
    let all = kinds.len() == 1 && sets.len() > 1;
    let who = move |members: Vec<&str>| if all { "all sets".to_owned() } else { members.join(", ") };
    let notes: Vec<_> =
        kinds.into_iter().map(|(yardstick, members)| format!("{}: {yardstick}", who(members))).collect();
    notes.into_iter()
}

fn yardstick(summary: &Summary) -> String {
    if !summary.has_answers {
        return "no answer is expected, to accept another than the true one is wrong".to_owned();
    }
    let Some(thresholds) = summary.thresholds else {
        return "right below 5 deg and 5 % of the target's extent, strictly below 2 deg and 2 %".to_owned();
    };
    let right = thresholds.right;
    let mut text = format!("right below {} deg and {}", right.angle, right.distance);
    if let Some(strict) = thresholds.strict {
        text += &format!(", strictly below {} deg and {}", strict.angle, strict.distance);
    }
    text
}

fn rmse_note(report: &Report) -> Option<String> {
    let pairs: usize = report.sets.iter().map(|summary| summary.rmse_pairs).sum();
    let limit = rmse::LIMIT;
    (pairs > 0).then(|| {
        format!("RMSE%: of the {pairs} pairs of fragments that are not consecutive, those within {limit}")
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use coregister::evaluate::{Calibration, PrecisionRecall, SideBySide, Thresholds};

    fn summary(set: &str) -> Summary {
        Summary {
            set: set.into(),
            pairs: 12,
            rmse_pairs: 0,
            has_answers: true,
            shares: Shares {
                recall: Some(0.75),
                strict_recall: Some(0.5),
                rmse_recall: None,
                accepted: Some(0.25),
                false_accepts: None,
            },
            inlier_ratio: None,
            median_rre: Some(1.5),
            median_rte: Some(0.02),
            median_nees: None,
            mean_rre: Some(1.7),
            mean_rte: Some(0.03),
            median_seconds: 0.4,
            p90_seconds: 0.9,
            median_reading_seconds: 0.01,
            thresholds: Thresholds::of_set(set),
        }
    }

    fn report(sets: Vec<Summary>) -> Report {
        Report { sets, ..Report::new(0, Vec::new()) }
    }

    fn words(line: &str) -> Vec<&str> {
        line.split_whitespace().collect()
    }

    #[test]
    fn a_table_has_a_line_per_set_and_a_dash_where_there_is_no_figure() {
        let report = Report {
            calibration: Some(Calibration { error: 0.1, bins: Vec::new() }),
            precision_recall: Some(PrecisionRecall {
                average_precision: 0.875,
                recall_when_precise: 0.5,
                curve: Vec::new(),
            }),
            ..report(vec![summary("frame-hi")])
        };
        let text = plain(&report);
        assert!(text.starts_with("set "), "{text}");
        let expected = ["frame-hi", "12", "75.0", "50.0", "25.0", "-", "1.500", "0.0200", "0.400", "0.900"];
        assert_eq!(words(text.lines().nth(1).unwrap()), expected);
        assert!(text.contains("confidence: 0.100; its average precision: 0.875"), "{text}");
        assert!(text.contains("recall at 99 % precision: 50.0 %"), "{text}");
    }

    #[test]
    fn columns_without_figures_are_left_out() {
        let mut bare = summary("wood");
        bare.shares.strict_recall = None;
        let text = plain(&report(vec![bare]));
        assert!(["strict%", "RMSE%", "inliers%"].iter().all(|header| !text.contains(header)), "{text}");
        let mut full = summary("kitchen");
        (full.shares.rmse_recall, full.rmse_pairs) = (Some(1.0), 7);
        let text = plain(&report(vec![full]));
        assert!(text.contains("RMSE%  accepted%") && text.contains("of the 7 pairs of fragments"), "{text}");
    }

    #[test]
    fn all_pairs_and_the_mean_of_the_sets_come_after_the_sets() {
        let report = Report {
            overall: Some(summary("all")),
            mean_of_sets: Some(Shares { recall: Some(0.6), ..Shares::default() }),
            ..report(vec![summary("frame-hi"), summary("frame-lo")])
        };
        let text = plain(&report);
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(words(lines[3])[..3], ["all", "12", "75.0"]);
        assert_eq!(words(lines[4])[..6], ["mean", "of", "sets", "-", "60.0", "-"]);
    }

    #[test]
    fn markdown_is_a_table_whatever_the_sets_are_called() {
        let text = markdown(&report(vec![summary("a|b")]));
        let lines: Vec<_> = text.lines().collect();
        assert!(lines[0].starts_with("| set") && lines[1].starts_with("|--"), "{text}");
        assert!(lines[2].starts_with("| a\\|b "), "{text}");
        assert!(text.contains("\n\n- a|b: right below"), "{text}");
    }

    #[test]
    fn every_set_says_what_counts_as_right() {
        let none = Summary { has_answers: false, ..summary("frame-none") };
        let sets = [summary("lidar-yaw"), summary("lidar-so3"), none, summary("mine")];
        let text = plain(&report(sets.to_vec()));
        let expected = "lidar-yaw, lidar-so3: right below 5 deg and 2, strictly below 1.5 deg and 0.6\n";
        assert!(text.contains(expected), "{text}");
        assert!(text.contains("frame-none: no answer is expected"), "{text}");
        assert!(text.contains("mine: right below 5 deg and 5 % of the target's extent"), "{text}");
        let text = plain(&report(vec![summary("frame-hi"), summary("frame-lo")]));
        assert!(text.contains("all sets: right below 15 deg and 0.3, strictly"), "{text}");
    }

    #[test]
    fn times_of_pairs_side_by_side_say_so() {
        let run = SideBySide { pairs: 8, seconds: 12.34 };
        let text = plain(&Report { side_by_side: Some(run), ..report(vec![summary("frame-hi")]) });
        assert!(text.contains("8 pairs at a time, all in 12.3 s;"), "{text}");
    }

    #[test]
    fn an_unfinished_table_says_so() {
        assert!(plain(&Report::new(9, Vec::new())).contains("the first 0 of 9 pairs"));
        assert!(!plain(&Report::new(0, Vec::new())).contains("the first"));
    }
}
