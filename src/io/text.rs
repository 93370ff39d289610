//! Rows of numbers: `.xyz`, `.txt`, `.csv`.
//!
//! Values are separated by semicolons, else commas, else white space; the first row decides. `#` and `//`
//! start comments. A first line that is not a row of numbers names the columns, and so may the last comment
//! before the first row; without names, x y z are the first three columns. By hand, because the `csv` crate
//! does not split at runs of blanks, and numbers need none of its quoting.

use std::path::Path;

use crate::cloud::Cloud;
use crate::error::{Error, Result};

use super::decimal::{PrintedPoints, lines, number, words};
use super::excerpt;

/// The cloud in `bytes`; `path` is named in errors.
pub fn read(path: &Path, bytes: &[u8]) -> Result<Cloud> {
    let mut points = PrintedPoints::new(0, false);
    let mut table: Option<Table> = None;
    let mut comment: &[u8] = b"";
    for (line_number, line) in lines(without_mark(bytes), 1) {
        let (line, remark) = split_comment(line);
        if line.is_empty() {
            comment = remark;
            continue;
        }
        match &table {
            None => {
                let first = Table::from_first_line(path, line, comment)?;
                if !first.line_is_names {
                    first.read_row(path, line_number, line, &mut points)?;
                }
                table = Some(first);
            }
            Some(table) => table.read_row(path, line_number, line, &mut points)?,
        }
    }
    Ok(points.into_cloud())
}

/// How a row is split and which of its values are x, y and z.
struct Table {
    separator: Separator,
    columns: [usize; 3],
    line_is_names: bool,
}

impl Table {
    fn from_first_line(path: &Path, line: &[u8], comment: &[u8]) -> Result<Self> {
        let separator = Separator::of(line);
        let values = separator.split(line);
        let line_is_names = values.iter().all(|value| number(value).is_none());
        let columns = if line_is_names {
            named_columns(&values).ok_or_else(|| no_columns(path, line))?
        } else {
            let names = Separator::of(comment).split(comment);
            named_columns(&names).filter(|_| names.len() == values.len()).unwrap_or([0, 1, 2])
        };
        Ok(Self { separator, columns, line_is_names })
    }

    fn read_row(&self, path: &Path, number: usize, line: &[u8], points: &mut PrintedPoints) -> Result<()> {
        let values = self.separator.pick(line, self.columns).ok_or_else(|| {
            let needed = self.columns.iter().max().map_or(3, |last| last + 1);
            let reason = format!("line {number}, {}, has fewer than {needed} values", excerpt(line));
            Error::format(path, format!("{reason}; every row needs x, y and z"))
        })?;
        points.push(values).map_err(|word| {
            let reason = format!("line {number}: {} is not a number", excerpt(word));
            Error::format(path, format!("{reason}; write numbers with a decimal point and remarks after #"))
        })
    }
}

/// Where the names x, y and z stand, in either case.
fn named_columns(names: &[&[u8]]) -> Option<[usize; 3]> {
    let place = |wanted: &[u8]| names.iter().position(|name| unquoted(name).eq_ignore_ascii_case(wanted));
    Some([place(b"x")?, place(b"y")?, place(b"z")?])
}

fn unquoted(name: &[u8]) -> &[u8] {
    name.strip_prefix(b"\"").and_then(|name| name.strip_suffix(b"\"")).unwrap_or(name)
}

fn no_columns(path: &Path, line: &[u8]) -> Error {
    let reason =
        format!("the first line, {}, is neither a row of numbers nor names x, y and z", excerpt(line));
    Error::format(path, format!("{reason}; name these columns so, or remove the line"))
}

#[derive(Clone, Copy)]
enum Separator {
    Byte(u8),
    Blanks,
}

impl Separator {
    fn of(line: &[u8]) -> Self {
        let found = [b';', b','].into_iter().find(|separator| line.contains(separator));
        found.map_or(Self::Blanks, Self::Byte)
    }

    /// The values of `line`, of which a sane file has few: a file that is one endless line is cut short here.
    fn split(self, line: &[u8]) -> Vec<&[u8]> {
        const MOST: usize = 10_000;
        match self {
            Self::Byte(separator) => {
                line.split(|byte| *byte == separator).map(<[u8]>::trim_ascii).take(MOST).collect()
            }
            Self::Blanks => words(line).take(MOST).collect(),
        }
    }

    /// The values at three places of `line`.
    fn pick(self, line: &[u8], places: [usize; 3]) -> Option<[&[u8]; 3]> {
        match self {
            Self::Byte(separator) => {
                pick(line.split(|byte| *byte == separator).map(<[u8]>::trim_ascii), places)
            }
            Self::Blanks => pick(words(line), places),
        }
    }
}

fn pick<'a>(values: impl Iterator<Item = &'a [u8]>, places: [usize; 3]) -> Option<[&'a [u8]; 3]> {
    let last = *places.iter().max()?;
    let mut picked: [Option<&[u8]>; 3] = [None; 3];
    for (place, value) in values.enumerate().take(last + 1) {
        if let Some(k) = places.iter().position(|wanted| *wanted == place) {
            picked[k] = Some(value);
        }
    }
    let [x, y, z] = picked;
    Some([x?, y?, z?])
}

/// The line before its comment, and the comment without its mark.
fn split_comment(line: &[u8]) -> (&[u8], &[u8]) {
    let start = (0..line.len()).find(|&i| line[i] == b'#' || line[i..].starts_with(b"//"));
    // "1.#QNAN" is a number that some C libraries print, and no comment.
    let start = start.filter(|&i| i == 0 || line[i - 1] != b'.');
    let Some(start) = start else { return (line, b"") };
    let (before, comment) = line.split_at(start);
    let is_mark = |byte: &u8| matches!(byte, b'#' | b'/');
    let text = comment.iter().position(|byte| !is_mark(byte)).map_or(&comment[..0], |i| &comment[i..]);
    (before.trim_ascii(), text.trim_ascii())
}

/// `bytes` without the byte order mark that some editors put in front of UTF-8.
fn without_mark(bytes: &[u8]) -> &[u8] {
    bytes.strip_prefix("\u{feff}".as_bytes()).unwrap_or(bytes)
}
