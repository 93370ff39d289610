//! How good the answers are, on pairs whose answer is known.
//!
//! A list of pairs is a CSV file with a header. Columns: `src` and `tgt` (paths, relative to the list); where
//! known also `name`, `set`, `overlap` and `T` (16 numbers, row-major, source to target).
//!
//! **Errors.** RRE is the angle of `R_gtᵀ R_est`, in degrees; RTE is `‖t_est − t_gt‖`, in the clouds' unit. A
//! pair is a success when both are below the thresholds of its set, accepted or not: recall says how often the
//! best guess is right, the share of false accepts says how far an acceptance can be trusted.
//!
//! **Sets.** The part of a set's name before the first `-` picks the [`Thresholds`]. Pairs of sets that end in
//! `-none` have no right answer (their clouds do not overlap): to accept one is a false accept.

use std::path::{Path, PathBuf};
use std::time::Instant;

use serde::{Deserialize, Serialize};

use crate::cloud::Cloud;
use crate::engine::Engine;
use crate::error::{Error, Result};
use crate::io::read_cloud;
use crate::registration::{Registration, Status};
use crate::transform::RigidTransform;

/// Bins of the confidence in [`Report::calibration_error`].
const CALIBRATION_BINS: usize = 10;

/// A pair to register, and what is known about it.
#[derive(Debug, Clone, PartialEq)]
pub struct Pair {
    /// Unique within its set, by convention.
    pub name: String,
    /// The set whose thresholds and summary it belongs to.
    pub set: String,
    /// File of the source cloud.
    pub source: PathBuf,
    /// File of the target cloud.
    pub target: PathBuf,
    /// Share of the source that lies on the target, 0..1, where known.
    pub overlap: Option<f64>,
    /// The right answer.
    pub truth: Truth,
}

/// What the right answer of a pair is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Truth {
    /// This transform, source to target.
    Transform(RigidTransform),
    /// There is none: the clouds do not overlap.
    NoAnswer,
    /// Nobody knows; such a pair counts in times and acceptance only.
    Unknown,
}

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
        set,
    })
}

fn overlap(text: &str) -> Result<Option<f64>, String> {
    if text.is_empty() {
        return Ok(None);
    }
    text.parse().map(Some).map_err(|_| format!("column `overlap` holds `{text}`, which is no number"))
}

fn truth(set: &str, transform: &str) -> Result<Truth, String> {
    if set.ends_with("-none") {
        return Ok(Truth::NoAnswer);
    }
    if transform.is_empty() {
        return Ok(Truth::Unknown);
    }
    let numbers: Option<Vec<f64>> = transform.split_whitespace().map(|number| number.parse().ok()).collect();
    let numbers = numbers.and_then(|numbers| <[f64; 16]>::try_from(numbers).ok());
    let transform = numbers.as_ref().and_then(RigidTransform::from_row_major);
    transform.map(Truth::Transform).ok_or_else(|| {
        "column `T` must hold 16 numbers, row by row, of a rotation and a translation with last row 0 0 0 1"
            .to_owned()
    })
}

/// When an answer counts as right.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Thresholds {
    /// RRE must be below this, in degrees.
    pub angle: f64,
    /// RTE must be below this, in the clouds' unit.
    pub distance: f64,
    /// The same for a strict success.
    pub strict_angle: f64,
    /// The same for a strict success.
    pub strict_distance: f64,
}

impl Thresholds {
    const fn new(angle: f64, distance: f64, strict_angle: f64, strict_distance: f64) -> Self {
        Self { angle, distance, strict_angle, strict_distance }
    }

    /// The thresholds that a set's name stands for; `None` where they follow from the size of the clouds.
    pub fn of_set(set: &str) -> Option<Self> {
        match set.split('-').next().unwrap_or_default() {
            "indoor" | "frame" | "fragment" => Some(Self::new(15.0, 0.30, 5.0, 0.10)),
            "bunny" => Some(Self::new(5.0, 0.01, 2.0, 0.003)),
            "lidar" => Some(Self::new(5.0, 2.0, 1.5, 0.6)),
            _ => None,
        }
    }

    /// For single objects and everything else: 5° and 5 % of the extent, strictly 2° and 2 %.
    pub fn of_extent(extent: f64) -> Self {
        Self::new(5.0, 0.05 * extent, 2.0, 0.02 * extent)
    }
}

/// The diagonal of the box around the finite points; 0 without any.
pub fn extent(cloud: &Cloud) -> f64 {
    let finite = || cloud.points.iter().filter(|point| point.iter().all(|x| x.is_finite()));
    let side = |axis: usize| {
        let values = || finite().map(|point| f64::from(point[axis]));
        (values().fold(f64::MIN, f64::max) - values().fold(f64::MAX, f64::min)).max(0.0)
    };
    [0, 1, 2].map(side).iter().map(|side| side * side).sum::<f64>().sqrt()
}

/// What became of one pair.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Row {
    /// The pair's set.
    pub set: String,
    /// The pair's name.
    pub name: String,
    /// The pair's overlap, where the list gives one.
    pub overlap: Option<f64>,
    /// "accepted", "rejected" or "error".
    pub status: &'static str,
    /// Why it was rejected or failed; empty when accepted.
    pub reason: String,
    /// The engine's own confidence.
    pub confidence: Option<f64>,
    /// Rotation error in degrees, where the right answer is known.
    pub rre: Option<f64>,
    /// Translation error, where the right answer is known.
    pub rte: Option<f64>,
    /// Whether the transform is right; `None` where nobody knows.
    pub success: Option<bool>,
    /// Whether it is right by the strict thresholds.
    pub strict_success: Option<bool>,
    /// Reading both files and registering them.
    pub seconds: f64,
    /// The answer, row-major.
    #[serde(rename = "T_target_source")]
    pub target_from_source: Option<[f64; 16]>,
    /// What the errors were compared with.
    pub thresholds: Option<Thresholds>,
}

/// Registers all pairs, one after another (the engine uses all threads for each). A pair that fails is a row
/// with its error, and the run goes on. `done` is called after each pair.
pub fn evaluate(engine: &Engine, pairs: &[Pair], mut done: impl FnMut(&Row)) -> Report {
    let mut rows = Vec::with_capacity(pairs.len());
    for pair in pairs {
        let row = evaluate_pair(engine, pair);
        done(&row);
        rows.push(row);
    }
    Report::new(rows)
}

fn evaluate_pair(engine: &Engine, pair: &Pair) -> Row {
    let start = Instant::now();
    let answer = register_files(engine, pair);
    let seconds = start.elapsed().as_secs_f64();
    match answer {
        Ok((registration, extent)) => judge(pair, &registration, extent, seconds),
        Err(error) => failure(pair, &error, seconds),
    }
}

/// The answer, and the extent of the target.
fn register_files(engine: &Engine, pair: &Pair) -> Result<(Registration, f64)> {
    let source = read_cloud(&pair.source)?;
    let target = read_cloud(&pair.target)?;
    Ok((engine.register(&source, &target)?, extent(&target)))
}

fn judge(pair: &Pair, registration: &Registration, extent: f64, seconds: f64) -> Row {
    let thresholds = Thresholds::of_set(&pair.set).unwrap_or_else(|| Thresholds::of_extent(extent));
    let answer = &registration.target_from_source;
    let errors = match pair.truth {
        Truth::Transform(truth) => Some((truth.angle_to(answer).to_degrees(), truth.distance_to(answer))),
        Truth::NoAnswer | Truth::Unknown => None,
    };
    let within = |angle: f64, distance: f64| match pair.truth {
        Truth::Transform(_) => errors.map(|(rre, rte)| rre < angle && rte < distance),
        Truth::NoAnswer => Some(false),
        Truth::Unknown => None,
    };
    let success = within(thresholds.angle, thresholds.distance);
    let strict = within(thresholds.strict_angle, thresholds.strict_distance);
    Row {
        set: pair.set.clone(),
        name: pair.name.clone(),
        overlap: pair.overlap,
        status: registration.status.as_str(),
        reason: registration.reason.clone(),
        confidence: Some(registration.confidence),
        rre: errors.map(|(rre, _)| rre),
        rte: errors.map(|(_, rte)| rte),
        success,
        strict_success: success.zip(strict).map(|(success, strict)| success && strict),
        seconds,
        target_from_source: Some(answer.to_row_major()),
        thresholds: Some(thresholds),
    }
}

fn failure(pair: &Pair, error: &Error, seconds: f64) -> Row {
    let success = (pair.truth != Truth::Unknown).then_some(false);
    Row {
        set: pair.set.clone(),
        name: pair.name.clone(),
        overlap: pair.overlap,
        status: "error",
        reason: error.to_string(),
        confidence: None,
        rre: None,
        rte: None,
        success,
        strict_success: success,
        seconds,
        target_from_source: None,
        thresholds: None,
    }
}

/// All rows and what they come to.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Report {
    /// One summary per set, in the order in which the sets first appear.
    pub sets: Vec<Summary>,
    /// Expected calibration error of the confidence, over ten equal bins of it: the mean distance between the
    /// confidence and the share of right answers, each bin weighted by its number of pairs. `None` when no pair
    /// has both a confidence and a known answer.
    pub calibration_error: Option<f64>,
    /// One row per pair, in the order of the list.
    pub rows: Vec<Row>,
}

impl Report {
    fn new(rows: Vec<Row>) -> Self {
        let mut names: Vec<&str> = Vec::new();
        for row in &rows {
            if !names.contains(&row.set.as_str()) {
                names.push(&row.set);
            }
        }
        let of_set = |name| rows.iter().filter(move |row| row.set == name).collect::<Vec<_>>();
        let sets = names.into_iter().map(|name| Summary::new(name, &of_set(name))).collect();
        Self { sets, calibration_error: calibration_error(&rows), rows }
    }

    /// Rows of pairs that could not be registered at all.
    pub fn failures(&self) -> impl Iterator<Item = &Row> {
        self.rows.iter().filter(|row| row.status == "error")
    }
}

/// What the rows of one set come to. Shares are 0..1; `None` stands where there is nothing to take a share of.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Summary {
    /// The set's name.
    pub set: String,
    /// Number of pairs.
    pub pairs: usize,
    /// Share of right answers among the pairs that have one. A pair that fails is not right.
    pub recall: Option<f64>,
    /// The same by the strict thresholds.
    pub strict_recall: Option<f64>,
    /// Share of pairs that were accepted.
    pub accepted: f64,
    /// Share of wrong answers among the accepted ones.
    pub false_accepts: Option<f64>,
    /// Median rotation error of the right answers, in degrees.
    pub median_rre: Option<f64>,
    /// Median translation error of the right answers.
    pub median_rte: Option<f64>,
    /// Median time of a pair.
    pub median_seconds: f64,
    /// Time that nine of ten pairs stay below.
    pub p90_seconds: f64,
    /// The thresholds that the set's name stands for; `None` where each pair's follow from its target's extent.
    pub thresholds: Option<Thresholds>,
}

impl Summary {
    fn new(set: &str, rows: &[&Row]) -> Self {
        let answerable = |row: &&&Row| !set.ends_with("-none") && row.success.is_some();
        let answerable: Vec<_> = rows.iter().filter(answerable).collect();
        let right: Vec<_> = answerable.iter().filter(|row| row.success == Some(true)).collect();
        let strictly_right = answerable.iter().filter(|row| row.strict_success == Some(true)).count();
        let accepted: Vec<_> = rows.iter().filter(|row| row.status == Status::Accepted.as_str()).collect();
        let judged = accepted.iter().filter(|row| row.success.is_some()).count();
        let wrong = accepted.iter().filter(|row| row.success == Some(false)).count();
        let seconds = || rows.iter().map(|row| row.seconds).collect();
        Self {
            set: set.to_owned(),
            pairs: rows.len(),
            recall: share(right.len(), answerable.len()),
            strict_recall: share(strictly_right, answerable.len()),
            accepted: share(accepted.len(), rows.len()).unwrap_or(0.0),
            false_accepts: share(wrong, judged),
            median_rre: quantile(right.iter().filter_map(|row| row.rre).collect(), 0.5),
            median_rte: quantile(right.iter().filter_map(|row| row.rte).collect(), 0.5),
            median_seconds: quantile(seconds(), 0.5).unwrap_or(0.0),
            p90_seconds: quantile(seconds(), 0.9).unwrap_or(0.0),
            thresholds: Thresholds::of_set(set),
        }
    }
}

fn share(part: usize, whole: usize) -> Option<f64> {
    (whole > 0).then(|| part as f64 / whole as f64)
}

/// The `at` quantile (0..1), linear between neighbours.
fn quantile(mut values: Vec<f64>, at: f64) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let position = at * values.len().checked_sub(1)? as f64;
    let (below, above) = (values[position.floor() as usize], values[position.ceil() as usize]);
    Some(below + (above - below) * position.fract())
}

fn calibration_error(rows: &[Row]) -> Option<f64> {
    let mut surplus = [0.0; CALIBRATION_BINS];
    let mut judged = 0;
    for row in rows {
        let (Some(confidence), Some(success)) = (row.confidence, row.success) else { continue };
        let bin = (confidence * CALIBRATION_BINS as f64) as usize;
        surplus[bin.min(CALIBRATION_BINS - 1)] += confidence - f64::from(u8::from(success));
        judged += 1;
    }
    // A bin's weight times its mean distance is the sum of its distances over all rows.
    (judged > 0).then(|| surplus.iter().map(|bin| bin.abs()).sum::<f64>() / f64::from(judged))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registration::Timings;
    use nalgebra::{Rotation3, Vector3};

    fn transform(degrees: f64, shift: f64) -> RigidTransform {
        let rotation = Rotation3::from_axis_angle(&Vector3::y_axis(), degrees.to_radians());
        RigidTransform::new(*rotation.matrix(), Vector3::new(shift, 0.0, 0.0))
    }

    fn pair(set: &str, truth: Truth) -> Pair {
        let file = PathBuf::from("cloud.ply");
        Pair { name: "one".into(), set: set.into(), source: file.clone(), target: file, overlap: None, truth }
    }

    fn answer(status: Status, confidence: f64, transform: RigidTransform) -> Registration {
        Registration {
            target_from_source: transform,
            status,
            reason: String::new(),
            confidence,
            overlap: 0.5,
            inliers: 10,
            matches: Vec::new(),
            inlier_rmse: 0.01,
            information: [[0.0; 6]; 6],
            unobserved: Vec::new(),
            timings: Timings::default(),
            device: "cpu".into(),
            seed: 0,
        }
    }

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
        let pairs = read("src,tgt,set,T\na,b,frame-none,\n").unwrap();
        assert_eq!(pairs[0].truth, Truth::NoAnswer);
    }

    #[test]
    fn the_name_of_a_set_picks_its_thresholds() {
        assert_eq!(Thresholds::of_set("fragment-lo"), Thresholds::of_set("indoor"));
        assert_eq!(Thresholds::of_set("bunny-hi").unwrap().strict_distance, 0.003);
        assert_eq!(Thresholds::of_set("lidar-so3").unwrap().distance, 2.0);
        assert_eq!(Thresholds::of_set("object-hi"), None);
        assert_eq!(Thresholds::of_set("lidarish"), None);
    }

    #[test]
    fn extent_ignores_points_that_are_not_finite() {
        let cloud =
            Cloud::from_f32(vec![[0.0; 3], [f32::NAN; 3], [3.0, 4.0, 0.0], [f32::INFINITY, 0.0, 0.0]]);
        assert_eq!(extent(&cloud), 5.0);
        assert_eq!(extent(&Cloud::default()), 0.0);
    }

    #[test]
    fn errors_are_measured_against_the_truth() {
        let truth = Truth::Transform(transform(30.0, 1.0));
        let near = answer(Status::Accepted, 0.9, transform(37.0, 1.05));
        let row = judge(&pair("frame-hi", truth), &near, 4.0, 0.1);
        assert!((row.rre.unwrap() - 7.0).abs() < 1e-9 && (row.rte.unwrap() - 0.05).abs() < 1e-12);
        assert_eq!((row.success, row.strict_success), (Some(true), Some(false)));
        let row = judge(&pair("object-hi", truth), &near, 4.0, 0.1);
        assert_eq!((row.success, row.thresholds), (Some(false), Some(Thresholds::of_extent(4.0))));
    }

    #[test]
    fn pairs_without_answer_can_only_be_wrong_and_unknown_ones_are_not_judged() {
        let any = answer(Status::Rejected, 0.1, transform(0.0, 0.0));
        assert_eq!(judge(&pair("frame-none", Truth::NoAnswer), &any, 1.0, 0.1).success, Some(false));
        assert_eq!(judge(&pair("frame", Truth::Unknown), &any, 1.0, 0.1).success, None);
    }

    #[test]
    fn a_summary_counts_as_defined() {
        let pair = pair("frame-hi", Truth::Transform(transform(0.0, 0.0)));
        let right = answer(Status::Accepted, 0.95, transform(1.0, 0.02));
        let wrong = answer(Status::Accepted, 0.85, transform(90.0, 0.0));
        let timid = answer(Status::Rejected, 0.25, transform(3.0, 0.04));
        let mut rows: Vec<_> = [right, wrong, timid].iter().map(|a| judge(&pair, a, 1.0, 0.5)).collect();
        rows.push(failure(&pair, &Error::Device("gone".into()), 2.0));
        let report = Report::new(rows);
        let summary = &report.sets[0];
        assert_eq!((summary.pairs, summary.recall, summary.strict_recall), (4, Some(0.5), Some(0.5)));
        assert_eq!((summary.accepted, summary.false_accepts), (0.5, Some(0.5)));
        assert!((summary.median_rre.unwrap() - 2.0).abs() < 1e-9);
        assert!((summary.median_seconds - 0.5).abs() < 1e-12 && (summary.p90_seconds - 1.55).abs() < 1e-12);
        assert_eq!(report.failures().count(), 1);
        // Distances in their bins: 0.95 → 1, 0.85 → 0, 0.25 → 1.
        assert!((report.calibration_error.unwrap() - (0.05 + 0.85 + 0.75) / 3.0).abs() < 1e-12);
    }

    #[test]
    fn sets_without_answer_have_false_accepts_but_no_recall() {
        let pair = pair("frame-none", Truth::NoAnswer);
        let rows = [Status::Accepted, Status::Rejected]
            .map(|status| judge(&pair, &answer(status, 0.5, transform(0.0, 0.0)), 1.0, 0.1));
        let report = Report::new(rows.to_vec());
        assert_eq!((report.sets[0].recall, report.sets[0].false_accepts), (None, Some(1.0)));
    }

    #[test]
    fn opposite_errors_in_one_bin_cancel() {
        let pair = pair("frame", Truth::Transform(transform(0.0, 0.0)));
        let rows = [transform(0.0, 0.0), transform(90.0, 0.0)]
            .map(|guess| judge(&pair, &answer(Status::Rejected, 0.5, guess), 1.0, 0.1));
        assert_eq!(Report::new(rows.to_vec()).calibration_error, Some(0.0));
        assert_eq!(Report::new(Vec::new()).calibration_error, None);
    }

    #[test]
    fn quantiles_lie_between_neighbours() {
        assert_eq!(quantile(vec![3.0, 1.0, 2.0], 0.5), Some(2.0));
        assert_eq!(quantile(vec![1.0, 2.0], 0.9), Some(1.9));
        assert_eq!(quantile(Vec::new(), 0.5), None);
    }
}
