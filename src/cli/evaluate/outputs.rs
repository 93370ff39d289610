//! Where the results of an evaluation go, and when.

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use clap::Args;
use coregister::Error;
use coregister::evaluate::pose_log::write_logs;
use coregister::evaluate::{Pair, Report};
use coregister::report::{BatchRow, batch_page};

use super::super::output::{self, Destination};
use super::table;

/// Time between two savings.
const INTERVAL: Duration = Duration::from_secs(10);

/// The flags that say where results go.
#[derive(Debug, Args)]
pub struct Outputs {
    /// Write the summary and one row per pair as JSON to FILE, or to the standard output (-) in place of the table
    #[arg(long, value_name = "FILE|-", value_parser = |text: &str| Ok::<_, String>(Destination::from(text)))]
    pub json: Option<Destination>,

    /// Write the table as Markdown to FILE, or to the standard output (-) in place of the plain one
    #[arg(long, value_name = "FILE|-", value_parser = |text: &str| Ok::<_, String>(Destination::from(text)))]
    pub markdown: Option<Destination>,

    /// Write a table of all pairs to this file: one web page, with wrong and failed ones first
    #[arg(long, value_name = "FILE.html")]
    pub report: Option<PathBuf>,

    /// 3DMatch and ETH: write the answers to FOLDER/SCENE/est.log, for the official evaluation
    #[arg(long, value_name = "FOLDER")]
    pub log: Option<PathBuf>,
}

impl Outputs {
    /// Finds out before hours of work what cannot be written after them.
    pub fn check(&self, pairs: &[Pair]) -> anyhow::Result<()> {
        if self.json == Some(Destination::StandardOutput)
            && self.markdown == Some(Destination::StandardOutput)
        {
            anyhow::bail!(
                "--json and --markdown cannot both go to the standard output; give one of them a file"
            );
        }
        for destination in self.json.iter().chain(&self.markdown).chain(&self.page()) {
            destination.check()?;
        }
        if let Some(folder) = &self.log {
            for scene in pairs.iter().map(|pair| folder.join(&pair.set)) {
                fs::create_dir_all(&scene).map_err(|source| Error::file("create", &scene, source))?;
            }
        }
        Ok(())
    }

    /// Writes what goes to files.
    pub fn save(&self, report: &Report) -> anyhow::Result<()> {
        let is_file = |destination: &&Destination| matches!(destination, Destination::File(_));
        if let Some(file) = self.json.as_ref().filter(is_file) {
            file.write_json(report)?;
        }
        if let Some(file) = self.markdown.as_ref().filter(is_file) {
            file.write(table::markdown(report))?;
        }
        if let Some(file) = self.page() {
            let rows: Vec<BatchRow> = report.rows.iter().map(BatchRow::from).collect();
            file.write(batch_page("Evaluated pairs", &rows))?;
        }
        if let Some(folder) = &self.log {
            write_logs(folder, &report.rows)?;
        }
        Ok(())
    }

    fn page(&self) -> Option<Destination> {
        self.report.clone().map(Destination::File)
    }

    /// Writes everything. The standard output comes last, so that no file is missing when its reader is gone.
    pub fn finish(&self, report: &Report) -> anyhow::Result<()> {
        self.save(report)?;
        if self.json == Some(Destination::StandardOutput) {
            Destination::StandardOutput.write_json(report)
        } else if self.markdown == Some(Destination::StandardOutput) {
            output::print(table::markdown(report))
        } else {
            output::print(table::plain(report))
        }
    }
}

/// Tells when to save: after the first pair, then from time to time.
#[derive(Debug, Default)]
pub struct Autosave {
    last: Option<Instant>,
}

impl Autosave {
    /// Whether it is time; if so, the next time is counted from now.
    pub fn is_due(&mut self) -> bool {
        let due = self.last.is_none_or(|last| last.elapsed() >= INTERVAL);
        if due {
            self.last = Some(Instant::now());
        }
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_pair_is_saved_and_then_one_each_interval() {
        let mut autosave = Autosave::default();
        assert!(autosave.is_due() && !autosave.is_due());
        autosave.last = Instant::now().checked_sub(INTERVAL);
        assert!(autosave.is_due() && !autosave.is_due());
    }

    #[test]
    fn only_one_result_can_go_to_the_standard_output() {
        let both = Some(Destination::StandardOutput);
        let outputs = Outputs { json: both.clone(), markdown: both, report: None, log: None };
        assert!(outputs.check(&[]).unwrap_err().to_string().contains("cannot both"));
    }

    #[test]
    fn what_is_saved_is_a_whole_report_on_the_pairs_so_far() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("report.json");
        let json = Some(Destination::File(path.clone()));
        let outputs = Outputs { json, markdown: None, report: None, log: None };
        outputs.check(&[]).unwrap();
        outputs.save(&Report::new(7, Vec::new())).unwrap();
        let report: serde_json::Value = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
        assert_eq!((&report["pairs"], &report["rows"]), (&7.into(), &serde_json::json!([])));
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "nothing but the report stays");
    }
}
