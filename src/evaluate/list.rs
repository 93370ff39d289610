//! Lists of pairs: a CSV file with a header. Columns: `src` and `tgt` (paths, relative to the list); where known also
//! `name`, `set`, `overlap` and `T` (16 numbers, row-major, source to target).
//!
//! The part of a set's name before the first `-` picks the [`Thresholds`]. Of pairs of sets that end in `-none` no
//! answer is expected (their clouds do not overlap, or hardly): to accept one is a false accept, but for that of `T`, if
//! there is one.

use std::path::Path;

use serde::Deserialize;

use crate::error::{Error, Result};
use crate::transform::RigidTransform;

use super::pair::{Pair, Truth};
use super::thresholds::Thresholds;

/// What a row of the list holds, as text.
#[derive(Deserialize)]
struct Record {
    src: String,
    tgt: String,
    name: Option<String>,
    set: Option<String>,
    overlap: Option<String>,
    #[serde(rename = "T")]
    transform: Option<String>,
}

/// Reads a list of pairs; see the module for its columns.
pub fn read_pairs(path: &Path) -> Result<Vec<Pair>> {
    let bytes = std::fs::read(path).map_err(|source| Error::file("read", path, source))?;
    let mut reader = csv::ReaderBuilder::new().trim(csv::Trim::All).from_reader(bytes.as_slice());
    let malformed = |error: csv::Error| Error::format(path, error.to_string());
    let header = reader.headers().map_err(malformed)?.clone();
    if let Some(missing) = ["src", "tgt"].iter().find(|wanted| !header.iter().any(|name| name == **wanted)) {
        return Err(Error::format(path, format!("the header has no column `{missing}`")));
    }
    let folder = path.parent().unwrap_or(Path::new(""));
    let pairs = reader.records().enumerate().map(|(index, record)| {
        let record = record.map_err(malformed)?.deserialize(Some(&header)).map_err(malformed)?;
        let wrong = |reason| Error::format(path, format!("pair {}: {reason}", index + 1));
        pair_from_record(record, folder).map_err(wrong)
    });
    let pairs = pairs.collect::<Result<Vec<_>>>()?;
    if pairs.is_empty() {
        return Err(Error::format(path, "the list has a header but names no pair"));
    }
    Ok(pairs)
}

fn pair_from_record(record: Record, folder: &Path) -> Result<Pair, String> {
    let set = record.set.filter(|set| !set.is_empty()).unwrap_or_else(|| "pairs".to_owned());
    let name = record.name.filter(|name| !name.is_empty());
    Ok(Pair {
        name: name.unwrap_or_else(|| format!("{} onto {}", record.src, record.tgt)),
        source: folder.join(&record.src),
        target: folder.join(&record.tgt),
        overlap: overlap(record.overlap.as_deref().unwrap_or_default())?,
        truth: truth(&set, record.transform.as_deref().unwrap_or_default())?,
        thresholds: Thresholds::of_set(&set),
        information: None,
        fragments: None,
        set,
    })
}

fn overlap(text: &str) -> Result<Option<f64>, String> {
    if text.is_empty() {
        return Ok(None);
    }
    text.parse().map(Some).map_err(|_| format!("column `overlap` holds `{text}`, which is no number"))
}

fn truth(set: &str, text: &str) -> Result<Truth, String> {
    let transform = transform(text);
    if set.ends_with("-none") {
        return Ok(transform.map_or(Truth::NoAnswer, Truth::NotExpected));
    }
    if text.is_empty() {
        return Ok(Truth::Unknown);
    }
    transform.map(Truth::Transform).ok_or_else(|| {
        "column `T` must hold 16 numbers, row by row, of a rotation and a translation with last row 0 0 0 1"
            .to_owned()
    })
}

fn transform(text: &str) -> Option<RigidTransform> {
    let numbers: Option<Vec<f64>> = text.split_whitespace().map(|number| number.parse().ok()).collect();
    RigidTransform::from_row_major(&<[f64; 16]>::try_from(numbers?).ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use nalgebra::Vector3;

    fn read(text: &str) -> Result<Vec<Pair>> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("pairs.csv");
        std::fs::write(&path, text).unwrap();
        read_pairs(&path)
    }

    #[test]
    fn a_full_list_is_read_with_paths_relative_to_it() {
        let text =
            "set,name,src,tgt,overlap,T\nframe-hi,a,x/s.ply,x/t.ply,0.25,1 0 0 5 0 1 0 6 0 0 1 7 0 0 0 1\n";
        let pairs = read(text).unwrap();
        assert_eq!((pairs[0].set.as_str(), pairs[0].name.as_str()), ("frame-hi", "a"));
        assert_eq!(pairs[0].overlap, Some(0.25));
        assert!(pairs[0].source.is_absolute() && pairs[0].source.ends_with("x/s.ply"));
        let Truth::Transform(truth) = pairs[0].truth else { panic!("{:?}", pairs[0].truth) };
        assert_eq!(truth.translation, Vector3::new(5.0, 6.0, 7.0));
    }

    #[test]
    fn two_columns_are_enough_and_their_order_is_free() {
        let pairs = read("\u{feff}tgt, src\r\nt.ply, s.ply\r\n").unwrap();
        assert_eq!((pairs[0].set.as_str(), pairs[0].name.as_str()), ("pairs", "s.ply onto t.ply"));
        assert_eq!((pairs[0].overlap, pairs[0].truth), (None, Truth::Unknown));
    }

    #[test]
    fn wrong_lists_are_refused_with_the_place() {
        for (text, expected) in [
            ("src,T\na.ply,\n", "no column `tgt`"),
            ("src,tgt\n", "names no pair"),
            ("", "no column `src`"),
            ("src,tgt,T\na,b,\na,b,1 2 3\n", "pair 2: column `T`"),
            ("src,tgt,T\na,b,2 0 0 0 0 2 0 0 0 0 2 0 0 0 0 1\n", "pair 1: column `T`"),
            ("src,tgt,overlap\na,b,half\n", "pair 1: column `overlap` holds `half`"),
            ("src,tgt\na,b,c\n", "3 fields"),
        ] {
            let message = read(text).unwrap_err().to_string();
            assert!(message.contains("pairs.csv") && message.contains(expected), "{message}");
        }
    }

    #[test]
    fn a_set_without_answer_needs_no_transform() {
        let text = "src,tgt,set,T\na,b,x-none,\na,b,x-none,-\na,b,x-none,1 0 0 5 0 1 0 6 0 0 1 7 0 0 0 1\n";
        let pairs = read(text).unwrap();
        assert_eq!((pairs[0].truth, pairs[1].truth), (Truth::NoAnswer, Truth::NoAnswer));
        let Truth::NotExpected(truth) = pairs[2].truth else { panic!("{:?}", pairs[2].truth) };
        assert_eq!(truth.translation, Vector3::new(5.0, 6.0, 7.0));
    }
}
