//! Results of a batch in a file: CSV, or one JSON object a line.
//!
//! A row holds nothing that differs from run to run, so a run that was stopped and resumed leaves the file that an
//! undisturbed one does, to the byte.

use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::evaluate::Pair;
use crate::registration::{Registration, Status};

/// How a pair ended; the first is the worst.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PairStatus {
    /// Without an answer, for example because a file could not be read.
    #[default]
    Failed,
    /// With a best guess that is not to be relied on.
    Rejected,
    /// With an answer.
    Accepted,
}

impl From<Status> for PairStatus {
    fn from(status: Status) -> Self {
        match status {
            Status::Accepted => Self::Accepted,
            Status::Rejected => Self::Rejected,
        }
    }
}

/// What came of one pair. Numbers are missing where it failed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// The pair's name.
    pub name: String,
    /// The set it belongs to.
    pub set: String,
    /// How it ended.
    pub status: PairStatus,
    /// Probability that the transform is right.
    pub confidence: Option<f64>,
    /// Share of the source's surface that lies on the target's.
    pub overlap: Option<f64>,
    /// Matches that agree with the transform.
    pub inliers: Option<usize>,
    /// Distance of the overlapping surfaces, root mean square.
    pub inlier_rmse: Option<f64>,
    /// The transform, row-major, separated by spaces.
    #[serde(rename = "T_target_source")]
    pub target_from_source: Option<String>,
    /// Fisher information, row-major, separated by spaces; see [`Registration::information`].
    pub information: Option<String>,
    /// What computed it.
    pub device: Option<String>,
    /// Why it was rejected or failed; empty when accepted.
    pub reason: String,
    /// See [`Registration::warnings`]; separated by semicolons.
    pub warnings: String,
}

impl Row {
    /// The row of an answer.
    pub fn new(pair: &Pair, answer: &Result<Registration>) -> Self {
        let found = answer.as_ref().ok();
        let numbers = |values: &[f64]| values.iter().map(f64::to_string).collect::<Vec<_>>().join(" ");
        Self {
            name: one_line(&pair.name),
            set: one_line(&pair.set),
            status: found.map_or(PairStatus::Failed, |found| found.status.into()),
            confidence: found.map(|found| found.confidence),
            overlap: found.map(|found| found.overlap),
            inliers: found.map(|found| found.inliers),
            inlier_rmse: found.map(|found| found.inlier_rmse),
            target_from_source: found.map(|found| numbers(&found.target_from_source.to_row_major())),
            information: found.map(|found| numbers(found.information.as_flattened())),
            device: found.map(|found| found.device.clone()),
            reason: match answer {
                Ok(found) => one_line(&found.reason),
                Err(error) => one_line(&error.to_string()),
            },
            warnings: found.map_or_else(String::new, |found| one_line(&found.warnings.join("; "))),
        }
    }
}

/// A line end tells where a row does, so there is none in it.
fn one_line(text: &str) -> String {
    text.replace(['\n', '\r'], " ")
}

/// How rows are written, by the file's extension.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Layout {
    Csv,
    JsonLines,
}

impl Layout {
    fn of(path: &Path) -> Result<Self> {
        match path.extension().and_then(|extension| extension.to_str()) {
            Some("csv") => Ok(Self::Csv),
            Some("jsonl" | "ndjson") => Ok(Self::JsonLines),
            _ => Err(Error::Config(format!(
                "{}: results are written as .csv or .jsonl; choose one by the file's extension",
                path.display()
            ))),
        }
    }

    /// One row, with its line end; before the first one of a file what its layout begins with.
    fn text(self, row: &Row, is_first: bool) -> Vec<u8> {
        match self {
            Self::Csv => {
                let mut writer = csv::WriterBuilder::new().has_headers(is_first).from_writer(Vec::new());
                let written = writer.serialize(row).is_ok();
                assert!(written, "a row is flat, and memory takes all that is written");
                writer.into_inner().unwrap_or_default()
            }
            Self::JsonLines => {
                let mut text = serde_json::to_vec(row).unwrap_or_default();
                text.push(b'\n');
                text
            }
        }
    }

    /// The whole rows at the beginning of a file's content, each with the place where it ends.
    fn rows(self, content: &[u8]) -> Vec<(Row, usize)> {
        let lines_end = content.iter().rposition(|byte| *byte == b'\n').map_or(0, |last| last + 1);
        let content = &content[..lines_end];
        match self {
            Self::Csv => {
                let mut reader = csv::Reader::from_reader(content);
                let header = reader.headers().cloned().unwrap_or_default();
                let (mut rows, mut record) = (Vec::new(), csv::StringRecord::new());
                while let Ok(true) = reader.read_record(&mut record) {
                    let Ok(row) = record.deserialize(Some(&header)) else { break };
                    rows.push((row, reader.position().byte() as usize));
                }
                rows
            }
            Self::JsonLines => {
                let mut end = 0;
                let row = |line: &[u8]| {
                    end += line.len();
                    serde_json::from_slice(line).ok().map(|row| (row, end))
                };
                content.split_inclusive(|byte| *byte == b'\n').map_while(row).collect()
            }
        }
    }
}

/// A file that rows are appended to. Each one is handed to the operating system before the next is begun, so a process
/// that is killed loses none of them.
pub struct Table {
    path: PathBuf,
    file: File,
    layout: Layout,
    is_empty: bool,
}

impl Table {
    /// A new file.
    ///
    /// # Errors
    /// [`Error::Config`] for an unknown extension or a file that holds something, [`Error::File`] for one that cannot be
    /// written.
    pub fn create(path: &Path) -> Result<Self> {
        let layout = Layout::of(path)?;
        let file = open(path)?;
        let length = file.metadata().map_err(|source| Error::file("read", path, source))?.len();
        if length > 0 {
            return Err(Error::Config(format!(
                "{} holds {length} bytes already; resume it, name another file, or remove it",
                path.display()
            )));
        }
        Ok(Self { path: path.to_owned(), file, layout, is_empty: true })
    }

    /// Goes on with a file that holds the results of the first of these pairs, and gives these results. What was written
    /// of a row when the process was killed is cut off. A missing file is created.
    ///
    /// # Errors
    /// As [`Table::create`]; [`Error::Format`] for a file whose rows are those of other pairs.
    pub fn resume(path: &Path, pairs: &[Pair]) -> Result<(Self, Vec<Row>)> {
        let layout = Layout::of(path)?;
        let file = open(path)?;
        let content = std::fs::read(path).map_err(|source| Error::file("read", path, source))?;
        let rows = layout.rows(&content);
        let kept = rows.last().map_or(0, |(_, end)| *end);
        let rows: Vec<Row> = rows.into_iter().map(|(row, _)| row).collect();
        check_rows(path, &content, &rows, pairs)?;
        file.set_len(kept as u64).map_err(|source| Error::file("write", path, source))?;
        Ok((Self { path: path.to_owned(), file, layout, is_empty: kept == 0 }, rows))
    }

    /// Appends a row.
    ///
    /// # Errors
    /// [`Error::File`] when the file cannot be written.
    pub fn append(&mut self, row: &Row) -> Result<()> {
        let text = self.layout.text(row, self.is_empty);
        self.is_empty = false;
        self.file.write_all(&text).map_err(|source| Error::file("write", &self.path, source))
    }
}

fn open(path: &Path) -> Result<File> {
    let opened = OpenOptions::new().append(true).create(true).open(path);
    opened.map_err(|source| Error::file("write", path, source))
}

/// Whether the rows are those of the first pairs, and the file one of results.
fn check_rows(path: &Path, content: &[u8], rows: &[Row], pairs: &[Pair]) -> Result<()> {
    let refuse = |reason: String| Err(Error::format(path, reason));
    if rows.len() > pairs.len() {
        return refuse(format!("holds {} results, but there are {} pairs", rows.len(), pairs.len()));
    }
    if let Some((number, (row, pair))) = (1..)
        .zip(rows.iter().zip(pairs))
        .find(|(_, (row, pair))| row.name != one_line(&pair.name) || row.set != one_line(&pair.set))
    {
        return refuse(format!(
            "row {number} is that of the pair `{}`, but pair {number} is `{}`; resume with the list and the shard that \
             the file was begun with",
            row.name, pair.name
        ));
    }
    let lines = content.iter().filter(|byte| **byte == b'\n').count();
    if rows.is_empty() && lines > 1 {
        return refuse("is no file of results; name another one".into());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evaluate::Truth;

    fn pair(name: &str) -> Pair {
        Pair {
            name: name.into(),
            set: "all".into(),
            source: "a.ply".into(),
            target: "b.ply".into(),
            overlap: None,
            truth: Truth::Unknown,
            thresholds: None,
            information: None,
            fragments: None,
        }
    }

    fn failed(pair: &Pair) -> Row {
        Row::new(pair, &Err(Error::Config("it said \"no\",\nand no more".into())))
    }

    /// Pairs, and the bytes of the file of their rows.
    fn whole(path: &Path) -> (Vec<Pair>, Vec<u8>) {
        let pairs: Vec<_> = ["one", "two, with a comma", "three \"quoted\"", "four"].map(pair).into();
        let mut table = Table::create(path).unwrap();
        pairs.iter().for_each(|pair| table.append(&failed(pair)).unwrap());
        (pairs, std::fs::read(path).unwrap())
    }

    #[test]
    fn a_file_that_is_cut_anywhere_is_resumed_to_the_same_bytes() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["rows.csv", "rows.jsonl"] {
            let path = folder.path().join(name);
            let (pairs, expected) = whole(&path);
            for cut in 0..=expected.len() {
                std::fs::write(&path, &expected[..cut]).unwrap();
                let (mut table, rows) = Table::resume(&path, &pairs).unwrap();
                assert_eq!(rows, pairs[..rows.len()].iter().map(failed).collect::<Vec<_>>());
                pairs[rows.len()..].iter().for_each(|pair| table.append(&failed(pair)).unwrap());
                assert_eq!(std::fs::read(&path).unwrap(), expected, "{name} cut at {cut}");
            }
        }
    }

    #[test]
    fn results_are_not_written_over() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("rows.csv");
        let (_, before) = whole(&path);
        let refused = Table::create(&path).err().unwrap().to_string();
        assert!(refused.contains("resume it"), "{refused}");
        assert_eq!(std::fs::read(&path).unwrap(), before);
    }

    #[test]
    fn other_pairs_and_other_files_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("rows.csv");
        let (mut pairs, before) = whole(&path);
        pairs[2].name = "other".into();
        let said = |pairs: &[Pair]| Table::resume(&path, pairs).err().unwrap().to_string();
        assert!(said(&pairs).contains("row 3 is that of the pair `three"), "{}", said(&pairs));
        assert!(said(&pairs[..2]).contains("holds 4 results, but there are 2 pairs"));
        assert_eq!(std::fs::read(&path).unwrap(), before);
        std::fs::write(&path, "a poem\nof two lines\n").unwrap();
        assert!(said(&pairs).contains("no file of results"), "{}", said(&pairs));
        assert!(Table::create(&folder.path().join("rows.txt")).is_err());
    }
}
