//! The `.log` and `.info` files of 3DMatch, which are those of the Redwood data sets.
//!
//! An entry begins with three whole numbers: the target's, the source's, and how many fragments the scene has. In a
//! `.log` the 4×4 matrix follows that maps the second fragment to the first, `T_target_source`; in a `.info` the 6×6
//! information matrix of that transform, translation before rotation. Any white space may stand between numbers.

use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::path::Path;

use nalgebra::Matrix6;

use crate::error::{Error, Result};
use crate::io::replace;
use crate::transform::RigidTransform;

use super::pair::Fragments;
use super::row::Row;

/// Reads a `.log`.
///
/// # Errors
/// [`Error::File`] when it cannot be read; [`Error::Format`] when it has no entry, ends within one, or one of its
/// matrices is no rigid transform.
pub fn read_log(path: &Path) -> Result<Vec<(Fragments, RigidTransform)>> {
    let transform = |numbers: &[f64; 16]| {
        let reason = "its matrix is not that of a rotation and a translation with last row 0 0 0 1";
        RigidTransform::from_row_major(numbers).ok_or_else(|| reason.to_owned())
    };
    read_entries(path, transform)
}

/// Reads a `.info`.
///
/// # Errors
/// [`Error::File`] when it cannot be read; [`Error::Format`] when it has no entry, ends within one, or one of its
/// matrices is not finite or does not begin with the number of its points.
pub fn read_info(path: &Path) -> Result<Vec<(Fragments, Matrix6<f64>)>> {
    let information = |numbers: &[f64; 36]| match numbers {
        [points, ..] if *points > 0.0 && numbers.iter().all(|x| x.is_finite()) => {
            Ok(Matrix6::from_row_slice(numbers))
        }
        _ => Err("its matrix is not finite, or does not begin with a positive number of points".to_owned()),
    };
    read_entries(path, information)
}

/// Reads entries of three whole numbers and `N` others, from which `value` makes what the entry says.
fn read_entries<const N: usize, T>(
    path: &Path,
    value: impl Fn(&[f64; N]) -> Result<T, String>,
) -> Result<Vec<(Fragments, T)>> {
    let text = fs::read_to_string(path).map_err(|source| Error::file("read", path, source))?;
    let words: Vec<&str> = text.split_whitespace().collect();
    if words.is_empty() {
        return Err(Error::format(path, "there is no entry in it; was it written to the end?"));
    }
    let entries = words.chunks(3 + N).enumerate().map(|(index, words)| {
        let wrong = |reason| Error::format(path, format!("entry {}: {reason}", index + 1));
        read_entry(words, &value).map_err(wrong)
    });
    entries.collect()
}

fn read_entry<const N: usize, T>(
    words: &[&str],
    value: impl Fn(&[f64; N]) -> Result<T, String>,
) -> Result<(Fragments, T), String> {
    let numbers: Option<Vec<f64>> = words.iter().skip(3).map(|word| word.parse().ok()).collect();
    let numbers = numbers.and_then(|numbers| <[f64; N]>::try_from(numbers).ok());
    let ids: Option<Vec<usize>> = words.iter().take(3).map(|word| word.parse().ok()).collect();
    match (ids.as_deref(), numbers) {
        (Some(&[target, source, count]), Some(numbers)) => {
            Ok((Fragments { target, source, count }, value(&numbers)?))
        }
        _ => Err(format!(
            "expected three whole numbers and {N} others, found {} words from `{}` on",
            words.len(),
            words[0]
        )),
    }
}

/// Writes the answers of all rows that come from a scene to `FOLDER/SCENE/est.log`, in the order of the rows; returns
/// how many there are.
///
/// Rejected answers are written as well, since the recall counts them; what failed has none. The official evaluation
/// takes the file as it takes `gt.log`.
pub fn write_logs(folder: &Path, rows: &[Row]) -> Result<usize> {
    let mut scenes: Vec<(&str, String)> = Vec::new();
    let mut written = 0;
    for row in rows {
        let (Some(fragments), Some(numbers)) = (row.fragments, row.target_from_source) else { continue };
        if !scenes.iter().any(|(scene, _)| *scene == row.set) {
            scenes.push((&row.set, String::new()));
        }
        let scene = scenes.iter_mut().find(|(scene, _)| *scene == row.set);
        scene.expect("it was put there").1.push_str(&entry(fragments, &numbers));
        written += 1;
    }
    for (scene, text) in scenes {
        let folder = folder.join(scene);
        fs::create_dir_all(&folder).map_err(|source| Error::file("create", &folder, source))?;
        replace(&folder.join("est.log"), |out| out.write_all(text.as_bytes()))?;
    }
    Ok(written)
}

/// Separated by tabs, one row of the matrix a line: readers there are split at those.
fn entry(fragments: Fragments, numbers: &[f64; 16]) -> String {
    let Fragments { target, source, count } = fragments;
    let mut text = format!("{target}\t{source}\t{count}\n");
    for row in numbers.chunks(4) {
        let _ = writeln!(text, "{:.12}\t{:.12}\t{:.12}\t{:.12}", row[0], row[1], row[2], row[3]);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::super::pair::{Pair, Truth};
    use super::super::row::tests::{failed_row, pair, row, transform};
    use super::*;
    use crate::registration::Status;

    fn write(name: &str, text: &str) -> (tempfile::TempDir, std::path::PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(name);
        fs::write(&path, text).unwrap();
        (folder, path)
    }

    #[test]
    fn answers_survive_a_round_trip() {
        let of = |scene: &str, target, source| {
            let fragments = Some(Fragments { target, source, count: 57 });
            Pair { fragments, ..pair(scene, Truth::Unknown) }
        };
        let answers = [transform(33.0, -1.25), transform(-170.0, 1e-9), transform(0.0, 4000.0)];
        let rows = [
            row(&of("kitchen", 0, 1), Status::Accepted, 0.9, answers[0]),
            row(&of("hotel", 3, 9), Status::Rejected, 0.1, answers[1]),
            failed_row(&of("hotel", 4, 9)),
            row(&of("kitchen", 10, 56), Status::Accepted, 0.9, answers[2]),
            row(&pair("a list", Truth::Unknown), Status::Accepted, 0.9, answers[2]),
        ];
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(write_logs(folder.path(), &rows).unwrap(), 3);
        let kitchen = read_log(&folder.path().join("kitchen/est.log")).unwrap();
        let hotel = read_log(&folder.path().join("hotel/est.log")).unwrap();
        assert_eq!(kitchen[1].0, Fragments { target: 10, source: 56, count: 57 });
        assert_eq!((kitchen.len(), hotel.len()), (2, 1));
        for (read, written) in [kitchen[0].1, hotel[0].1, kitchen[1].1].iter().zip(&answers) {
            assert!(read.angle_to(written) < 1e-9 && read.distance_to(written) < 1e-9);
        }
        assert!(!folder.path().join("a list").exists());
    }

    #[test]
    fn lines_are_as_the_python_evaluations_split_them() {
        let folder = tempfile::tempdir().unwrap();
        let fragments = Some(Fragments { target: 2, source: 5, count: 7 });
        let pair = Pair { fragments, ..pair("kitchen", Truth::Unknown) };
        let answer = row(&pair, Status::Accepted, 0.9, transform(0.0, 0.5));
        write_logs(folder.path(), &[answer.clone(), answer]).unwrap();
        let text = fs::read_to_string(folder.path().join("kitchen/est.log")).unwrap();
        let lines: Vec<Vec<&str>> = text.lines().map(|line| line.split('\t').collect()).collect();
        assert_eq!(lines.iter().map(Vec::len).collect::<Vec<_>>(), [3, 4, 4, 4, 4, 3, 4, 4, 4, 4]);
        assert_eq!(lines[0], ["2", "5", "7"]);
        assert_eq!(lines[1][3].parse::<f64>().unwrap(), 0.5);
    }

    #[test]
    fn the_files_of_the_official_download_are_read() {
        // With spaces after tabs and a tab at the end of a line, as they come.
        let (_folder, path) = write(
            "gt.log",
            "0\t 1\t 60\n 1.00000000e+00\t 0\t 0\t -2.5\t\n0 1 0 0\n0 0 1 0\n0.00000000e+00 0 0 1.00000000e+00\n",
        );
        let entries = read_log(&path).unwrap();
        assert_eq!(entries[0].0, Fragments { target: 0, source: 1, count: 60 });
        assert_eq!(entries[0].1.translation.x, -2.5);
        let rows: Vec<String> = (0..6).map(|i| format!("{}\t2\t3\t4\t5\t{i}", 10 * i + 1)).collect();
        let (_folder, path) = write("gt.info", &format!("0\t1\t60\n{}\n", rows.join("\n")));
        let (fragments, matrix) = read_info(&path).unwrap()[0];
        assert_eq!((fragments.source, matrix[(0, 0)], matrix[(2, 5)], matrix[(5, 0)]), (1, 1.0, 2.0, 51.0));
    }

    #[test]
    fn malformed_files_are_refused_with_the_entry() {
        let good = "0 1 2\n1 0 0 0\n0 1 0 0\n0 0 1 0\n0 0 0 1\n";
        let mirrored = good.replace("1 0 0 0", "-1 0 0 0");
        for (text, expected) in [
            (String::new(), "no entry"),
            (
                format!("{good}0 2 2\n1 0 0 0\n"),
                "entry 2: expected three whole numbers and 16 others, found 7",
            ),
            (good.replace("0 1 2", "0 -1 2"), "entry 1: expected three whole numbers"),
            (good.replace("0 1 2", "0 1.5 2"), "entry 1: expected three whole numbers"),
            (good.replace("0 1 0 0", "0 one 0 0"), "entry 1: expected three whole numbers"),
            (mirrored, "entry 1: its matrix"),
            (good.replace("0 0 1 0", "0 0 nan 0"), "entry 1: its matrix"),
        ] {
            let (_folder, path) = write("gt.log", &text);
            let message = read_log(&path).unwrap_err().to_string();
            assert!(message.contains("gt.log") && message.contains(expected), "{message}");
        }
        let (folder, path) = write("gt.info", &format!("0 1 2 {}", "0 ".repeat(36)));
        assert!(read_info(&path).unwrap_err().to_string().contains("positive number of points"));
        assert!(
            read_log(&folder.path().join("missing.log")).unwrap_err().to_string().contains("missing.log")
        );
        fs::write(&path, [0xff, 0xfe, 0x00]).unwrap();
        assert!(read_info(&path).unwrap_err().to_string().contains("gt.info"));
    }
}
