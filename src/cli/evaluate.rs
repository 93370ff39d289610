//! `coregister evaluate`: the accuracy on a list of pairs, as a table and as JSON.

use std::fmt::Write as _;
use std::path::PathBuf;

use clap::Args;
use coregister::Engine;
use coregister::evaluate::{self, Report, Summary, Thresholds};

use super::Outcome;
use super::method::MethodFlags;
use super::output::{self, Destination};

/// Register every pair of a list and compare the answers with the known ones
///
/// PAIRS.csv has a header. Columns: src and tgt (paths relative to the file); where known also name, set,
/// overlap and T (16 numbers, row by row, maps source to target). The part of a set's name before the first -
/// picks the thresholds; sets that end in -none have no right answer. Exit code 2 when a pair could not be read
/// or registered; the others are still evaluated.
#[derive(Debug, Args)]
pub struct Arguments {
    /// The list of pairs
    pairs: PathBuf,

    /// Write the summary and one row per pair as JSON to FILE, or to the standard output (-) in place of the table
    #[arg(long, value_name = "FILE|-", value_parser = |text: &str| Ok::<_, String>(Destination::from(text)))]
    json: Option<Destination>,

    #[command(flatten)]
    method: MethodFlags,
}

impl Arguments {
    /// Registers all pairs, then prints.
    pub fn run(&self) -> anyhow::Result<Outcome> {
        let engine = Engine::new(self.method.config())?;
        let pairs = evaluate::read_pairs(&self.pairs)?;
        if let Some(destination) = &self.json {
            destination.check()?;
        }
        let bar = output::progress_bar(pairs.len());
        let report = evaluate::evaluate(&engine, &pairs, |row| {
            bar.set_message(row.set.clone());
            bar.inc(1);
        });
        bar.finish_and_clear();
        self.print(&report)?;
        match report.failures().count() {
            0 => Ok(Outcome::Done),
            failed => Err(anyhow::anyhow!("{failed} of {} pairs could not be registered", pairs.len())),
        }
    }

    fn print(&self, report: &Report) -> anyhow::Result<()> {
        if let Some(destination) = &self.json {
            destination.write_json(report)?;
        }
        if self.json != Some(Destination::StandardOutput) {
            output::print(table(report))?;
        }
        Ok(())
    }
}

fn table(report: &Report) -> String {
    let width = report.sets.iter().map(|summary| summary.set.len()).max().unwrap_or(0).max(8);
    let mut text = format!(
        "{:width$} {:>4} {:>8} {:>8} {:>9} {:>12} {:>7} {:>8} {:>8} {:>6}\n",
        "set", "n", "recall%", "strict%", "accepted%", "false-acc%", "RRE deg", "RTE", "median s", "p90 s"
    );
    for summary in &report.sets {
        let _ = writeln!(text, "{:width$} {}", summary.set, figures(summary));
    }
    if let Some(error) = report.calibration_error {
        let _ = writeln!(text, "calibration error of the confidence: {error:.3}");
    }
    for summary in &report.sets {
        let _ = writeln!(text, "{:width$} {}", summary.set, yardstick(summary));
    }
    for row in report.failures() {
        let _ = writeln!(text, "failed: {} {}: {}", row.set, row.name, row.reason);
    }
    text
}

fn figures(summary: &Summary) -> String {
    let percent = |share: Option<f64>| number(share.map(|share| 100.0 * share), 1);
    format!(
        "{:4} {:>8} {:>8} {:>9} {:>12} {:>7} {:>8} {:8.3} {:6.3}",
        summary.pairs,
        percent(summary.recall),
        percent(summary.strict_recall),
        percent(Some(summary.accepted)),
        percent(summary.false_accepts),
        number(summary.median_rre, 3),
        number(summary.median_rte, 4),
        summary.median_seconds,
        summary.p90_seconds,
    )
}

fn number(value: Option<f64>, decimals: usize) -> String {
    value.map_or_else(|| "-".to_owned(), |value| format!("{value:.decimals$}"))
}

/// What counts as right in a set.
fn yardstick(summary: &Summary) -> String {
    if summary.set.ends_with("-none") {
        return "has no right answers: every acceptance is false".to_owned();
    }
    match summary.thresholds {
        Some(Thresholds { angle, distance, strict_angle, strict_distance }) => format!(
            "is right below {angle} deg and {distance}, strictly below {strict_angle} deg and {strict_distance}"
        ),
        None => "has no thresholds of its own: right below 5 deg and 5 % of the target's extent, \
                 strictly below 2 deg and 2 %"
            .to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn summary(set: &str) -> Summary {
        Summary {
            set: set.into(),
            pairs: 12,
            recall: Some(0.75),
            strict_recall: Some(0.5),
            accepted: 0.25,
            false_accepts: None,
            median_rre: Some(1.5),
            median_rte: Some(0.02),
            median_seconds: 0.4,
            p90_seconds: 0.9,
            thresholds: Thresholds::of_set(set),
        }
    }

    #[test]
    fn a_table_has_a_line_per_set_and_a_dash_where_there_is_no_figure() {
        let report =
            Report { sets: vec![summary("frame-hi")], calibration_error: Some(0.1), rows: Vec::new() };
        let text = table(&report);
        let line: Vec<_> = text.lines().nth(1).unwrap().split_whitespace().collect();
        let expected = ["frame-hi", "12", "75.0", "50.0", "25.0", "-", "1.500", "0.0200", "0.400", "0.900"];
        assert_eq!(line, expected);
        assert!(text.contains("confidence: 0.100"), "{text}");
    }

    #[test]
    fn every_set_says_what_counts_as_right() {
        assert!(yardstick(&summary("lidar-yaw")).contains("5 deg and 2, strictly below 1.5 deg and 0.6"));
        assert!(yardstick(&summary("frame-none")).contains("no right answers"));
        assert!(yardstick(&summary("mine")).contains("of the target's extent"));
    }
}
