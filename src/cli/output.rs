//! Where results go: the standard output, or a file.

use std::io::{self, ErrorKind, Write as _};
use std::path::{Path, PathBuf};
use std::{fmt, fs};

use coregister::Error;
use indicatif::{ProgressBar, ProgressStyle};
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
    let style = ProgressStyle::with_template("{bar:30} {pos}/{len} {msg} ({eta} left)");
    ProgressBar::new(length as u64).with_style(style.expect("the template is valid"))
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
    fn the_bar_has_a_valid_template() {
        assert_eq!(progress_bar(3).length(), Some(3));
    }
}
