//! Where results go: the standard output, or a file.

use std::io::{self, ErrorKind, Write as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use std::{fmt, fs};

use coregister::Error;
use indicatif::{HumanDuration, ProgressBar, ProgressStyle};
use serde::Serialize;

/// A place for machine-readable results.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Destination {
    StandardOutput,
    File(PathBuf),
}

impl From<&str> for Destination {
    fn from(text: &str) -> Self {
        match text {
            "-" => Self::StandardOutput,
            path => Self::File(path.into()),
        }
    }
}

impl Destination {
    /// Reports an unwritable file before hours of work instead of after them. Keeps what the file holds.
    pub fn check(&self) -> coregister::Result<()> {
        let Self::File(path) = self else { return Ok(()) };
        let opened = fs::OpenOptions::new().append(true).create(true).open(path);
        opened.map(drop).map_err(|source| Error::file("write", path, source))
    }

    /// Writes one JSON value and a line end.
    pub fn write_json(&self, value: &impl Serialize) -> anyhow::Result<()> {
        self.write(serde_json::to_string(value)? + "\n")
    }

    /// Writes all of `text`. A regular file is replaced as a whole, so that it never holds half of it.
    pub fn write(&self, text: String) -> anyhow::Result<()> {
        let Self::File(path) = self else { return print(text) };
        let is_special = fs::metadata(path).is_ok_and(|metadata| !metadata.is_file());
        let replaced = if is_special { None } else { replace(path, &text).ok() };
        // Where nothing may be put beside it, the file itself is written.
        let written = replaced.map_or_else(|| fs::write(path, text), Ok);
        Ok(written.map_err(|source| Error::file("write", path, source))?)
    }
}

/// Puts `text` in the place of the file that `path` leads to.
fn replace(path: &Path, text: &str) -> io::Result<()> {
    let path = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let mut beside = path.clone().into_os_string();
    beside.push(".part");
    fs::write(&beside, text).and_then(|()| fs::rename(&beside, &path))
}

/// Prints to the standard output. A reader that has gone (`coregister … | head -1`) is no error: what it
/// wanted to see, it saw.
pub fn print(text: impl fmt::Display) -> anyhow::Result<()> {
    let mut output = std::io::stdout().lock();
    match write!(output, "{text}").and_then(|()| output.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            Err(anyhow::Error::new(error).context("cannot write to the standard output"))
        }
        _ => Ok(()),
    }
}

/// A bar on the standard error; indicatif hides it where that is no terminal.
pub fn progress_bar(length: usize) -> ProgressBar {
    let style = ProgressStyle::with_template("{bar:30} {pos}/{len} {msg} ({per_sec}, {eta} left)");
    ProgressBar::new(length as u64).with_style(style.expect("the template is valid"))
}

/// Time between two lines of [`Progress`].
const LINE_INTERVAL: Duration = Duration::from_secs(30);

/// Tells how far a run over many pairs has come: by a bar on a terminal, elsewhere, such as in the log of a cluster's job,
/// by a line from time to time.
pub struct Progress {
    bar: ProgressBar,
    already: usize,
    start: Instant,
    last_line: Instant,
}

impl Progress {
    /// Of `length` pairs, the first `already` of which an earlier run has done.
    pub fn new(length: usize, already: usize) -> Self {
        let bar = progress_bar(length);
        bar.set_position(already as u64);
        bar.reset_eta();
        let start = Instant::now();
        Self { bar, already, start, last_line: start }
    }

    /// One more is done, of this set.
    pub fn step(&mut self, set: &str) {
        self.bar.set_message(set.to_owned());
        self.bar.inc(1);
        if self.bar.is_hidden() && self.last_line.elapsed() >= LINE_INTERVAL {
            self.last_line = Instant::now();
            // Nobody may be listening any more; the results are what counts.
            let _ = writeln!(io::stderr(), "{}", self.line(self.start.elapsed()));
        }
    }

    /// What to say after `spent`.
    fn line(&self, spent: Duration) -> String {
        let (done, all) = (self.bar.position() as usize, self.bar.length().unwrap_or_default() as usize);
        let rate = (done - self.already) as f64 / spent.as_secs_f64().max(f64::MIN_POSITIVE);
        let left = Duration::from_secs_f64(((all - done) as f64 / rate).min(1e9).round());
        format!("{done}/{all} ({rate:.2}/s, {} left)", HumanDuration(left))
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dash_is_the_standard_output() {
        assert_eq!(Destination::from("-"), Destination::StandardOutput);
        assert_eq!(Destination::from("-.json"), Destination::File("-.json".into()));
    }

    #[test]
    fn an_unwritable_file_is_found_at_once() {
        let folder = tempfile::tempdir().unwrap();
        let inside_nothing = folder.path().join("missing").join("report.json");
        assert!(Destination::File(inside_nothing).check().is_err());
        assert!(Destination::File(folder.path().join("report.json")).check().is_ok());
    }

    #[test]
    fn progress_counts_the_rate_of_this_run_only() {
        let mut progress = Progress::new(1000, 400);
        (0..20).for_each(|_| progress.step("rooms"));
        assert_eq!(progress.line(Duration::from_secs(10)), "420/1000 (2.00/s, 5 minutes left)");
        let nothing = Progress::new(2, 0).line(Duration::from_secs(40));
        assert!(nothing.starts_with("0/2 (0.00/s"), "{nothing}");
    }

    #[test]
    fn the_bar_has_a_valid_template() {
        assert_eq!(progress_bar(3).length(), Some(3));
    }
}
