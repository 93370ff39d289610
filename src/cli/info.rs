//! `coregister info`: what is in a file.

use std::fmt::Write as _;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use clap::Args;
use coregister::{Cloud, Error};

use super::{Outcome, output};

/// Points whose nearest neighbour is looked for.
const SAMPLE: usize = 1000;

/// Print what a cloud file holds: points, bounding box, spacing, format
#[derive(Debug, Args)]
pub struct Arguments {
    /// The file
    cloud: PathBuf,
}

impl Arguments {
    /// Reads the file and prints its facts.
    pub fn run(&self) -> anyhow::Result<Outcome> {
        let cloud = coregister::io::read_cloud(&self.cloud)?;
        let format = format_facts(&self.cloud)?;
        output::print(format!("{format}{}", cloud_facts(&cloud)))?;
        Ok(Outcome::Done)
    }
}

fn cloud_facts(cloud: &Cloud) -> String {
    let finite: Vec<[f64; 3]> = (0..cloud.len())
        .map(|i| cloud.point(i))
        .filter(|point| point.iter().all(|x| x.is_finite()))
        .collect();
    let mut text = format!("points      {}\n", cloud.len());
    let _ = writeln!(text, "not finite  {}", cloud.len() - finite.len());
    if finite.is_empty() {
        return text;
    }
    let corner = |choose: fn(f64, f64) -> f64| {
        finite.iter().copied().reduce(|a, b| [0, 1, 2].map(|k| choose(a[k], b[k]))).unwrap_or_default()
    };
    let (low, high) = (corner(f64::min), corner(f64::max));
    let _ = writeln!(text, "box from    {}", triple(low));
    let _ = writeln!(text, "box to      {}", triple(high));
    let _ = writeln!(text, "extent      {}", triple([0, 1, 2].map(|k| high[k] - low[k])));
    if let Some(spacing) = mean_spacing(finite) {
        let _ = writeln!(
            text,
            "spacing     {spacing:.4} (mean distance to the nearest neighbour, from a sample)"
        );
    }
    text
}

fn triple(values: [f64; 3]) -> String {
    format!("{:.4} {:.4} {:.4}", values[0], values[1], values[2])
}

/// Mean distance from a sampled point to its nearest neighbour; points in the same place are one point.
/// `None` with fewer than two places.
fn mean_spacing(mut points: Vec<[f64; 3]>) -> Option<f64> {
    let by_coordinates = |a: &[f64; 3], b: &[f64; 3]| a.partial_cmp(b).expect("finite points are ordered");
    points.sort_unstable_by(by_coordinates);
    points.dedup();
    if points.len() < 2 {
        return None;
    }
    let sampled = points.len().min(SAMPLE);
    // Multiplied first, so that the samples spread evenly over the sorted points.
    let distances = (0..sampled).map(|i| nearest_distance(&points, i * points.len() / sampled));
    Some(distances.sum::<f64>() / sampled as f64)
}

/// Distance from point `i` to its nearest neighbour, in points sorted by x: looks up and down along x until
/// x alone is further away than the best.
fn nearest_distance(points: &[[f64; 3]], i: usize) -> f64 {
    let here = points[i];
    let mut best = f64::INFINITY;
    let mut look = |there: &[f64; 3]| {
        let step = there[0] - here[0];
        let squared: f64 = (0..3).map(|k| (there[k] - here[k]).powi(2)).sum();
        best = best.min(squared);
        step * step <= best
    };
    let _ = points[..i].iter().rev().all(&mut look);
    let _ = points[i + 1..].iter().all(&mut look);
    best.sqrt()
}

/// The name of the file's format, its size, and what its header says.
fn format_facts(path: &Path) -> coregister::Result<String> {
    let unreadable = |source| Error::file("read", path, source);
    let file = std::fs::File::open(path).map_err(unreadable)?;
    let bytes = file.metadata().map_err(unreadable)?.len();
    let mut start = Vec::new();
    file.take(16 * 1024).read_to_end(&mut start).map_err(unreadable)?;
    let (format, header) = header_facts(path, &start);
    let mut text = format!("file        {}\nformat      {format}, {bytes} bytes\n", path.display());
    for line in header {
        let _ = writeln!(text, "header      {line}");
    }
    Ok(text)
}

/// Format and header lines. The extension says the format, as it does for reading.
fn header_facts(path: &Path, start: &[u8]) -> (&'static str, Vec<String>) {
    let extension = path.extension().unwrap_or_default().to_ascii_lowercase();
    match extension.to_str() {
        Some("ply") => ("PLY", lines_of_interest(start, &["format", "element", "property"], "end_header")),
        Some("pcd") => (
            "PCD",
            lines_of_interest(
                start,
                &["VERSION", "FIELDS", "SIZE", "TYPE", "WIDTH", "HEIGHT", "DATA"],
                "DATA",
            ),
        ),
        Some("npy") => ("NumPy array", npy_header(start).into_iter().collect()),
        Some("bin") => ("KITTI binary (x, y, z, intensity as f32)", Vec::new()),
        _ => ("text", Vec::new()),
    }
}

/// The lines of a text header that begin with one of `words`, up to the line that begins with `last`.
fn lines_of_interest(start: &[u8], words: &[&str], last: &str) -> Vec<String> {
    let mut found = Vec::new();
    for line in start.split(|byte| *byte == b'\n') {
        let line = String::from_utf8_lossy(line).trim().to_owned();
        let first = line.split_whitespace().next().unwrap_or_default();
        let is_last = first == last;
        if words.contains(&first) {
            found.push(line);
        }
        if is_last {
            break;
        }
    }
    found
}

/// The dictionary in braces that describes a NumPy array.
fn npy_header(start: &[u8]) -> Option<String> {
    let open = start.iter().position(|byte| *byte == b'{')?;
    let close = start.iter().position(|byte| *byte == b'}')?;
    start.get(open..=close).map(|text| String::from_utf8_lossy(text).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn facts_leave_out_what_is_not_finite() {
        let cloud = Cloud::from_f32(vec![[0.0, 0.0, 1.0], [f32::NAN; 3], [2.0, -1.0, 1.0]]);
        let text = cloud_facts(&cloud);
        assert!(text.contains("points      3\nnot finite  1\n"), "{text}");
        assert!(text.contains("extent      2.0000 1.0000 0.0000"), "{text}");
    }

    #[test]
    fn a_cloud_without_finite_points_has_no_box() {
        let text = cloud_facts(&Cloud::from_f32(vec![[f32::INFINITY; 3]]));
        assert_eq!(text, "points      1\nnot finite  1\n");
    }

    #[test]
    fn spacing_of_a_grid_is_its_step() {
        let grid = |i: usize| [f64::from(i as u32 % 40) * 0.5, f64::from(i as u32 / 40) * 0.5, 7.0];
        let mut points: Vec<_> = (0..1600).map(grid).collect();
        points.extend_from_within(..800);
        assert!((mean_spacing(points).unwrap() - 0.5).abs() < 1e-12);
        assert_eq!(mean_spacing(vec![[1.0; 3]; 5]), None);
    }

    #[test]
    fn headers_are_recognised() {
        let ply =
            b"ply\nformat ascii 1.0\ncomment no\nelement vertex 2\nproperty float x\nend_header\nelement";
        let (format, lines) = header_facts(Path::new("a.ply"), ply);
        assert_eq!((format, lines.len()), ("PLY", 3));
        let pcd = b"# .PCD v0.7\nVERSION 0.7\nFIELDS x y z\nPOINTS 1\nDATA ascii\nFIELDS";
        let (format, lines) = header_facts(Path::new("a.pcd"), pcd);
        assert_eq!((format, lines.len()), ("PCD", 3));
        let npy = b"\x93NUMPY\x01\x00v\x00{'descr': '<f4', 'shape': (2, 3), }\n";
        assert_eq!(header_facts(Path::new("a.npy"), npy).1, ["{'descr': '<f4', 'shape': (2, 3), }"]);
        assert_eq!(header_facts(Path::new("a.bin"), b"\0\0").0, "KITTI binary (x, y, z, intensity as f32)");
        assert_eq!(header_facts(Path::new("a.xyz"), b"1 2 3\n"), ("text", Vec::new()));
    }
}
