//! KITTI odometry (Geiger et al., CVPR 2012): pairs of LiDAR scans some 10 m apart.
//!
//! The folder is the one that holds `sequences/NN/velodyne/NNNNNN.bin`, `sequences/NN/calib.txt` and `poses/NN.txt`, or
//! the one around it that calls it `dataset`. Poses are those of the left camera; `Tr` of the calibration maps the scanner
//! to it.
//!
//! **Pairs** are chosen as everybody does since 3DFeat-Net and FCGF (Choy et al., ICCV 2019). From the first scan on: the
//! source is the scan, the target the last one before the vehicle is more than 10 m away, looked for within 100 scans;
//! the next source is the one after the target. Sequences 8, 9 and 10 give 555 pairs, without [`LEFT_OUT`].
//!
//! **Truth.** The poses come from GPS and an inertial unit, and are wrong by some centimetres, at times by more. Many
//! publications refine them by ICP first. Here they are taken as they are: a truth that was found by registration favours
//! what registers alike, and the thresholds ([`Thresholds::KITTI`]) are wide enough. Refined transforms can be given
//! instead, in the form in which FCGF and its successors keep them ([`Options::refined`]).

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use nalgebra::Vector3;

use crate::error::{Error, Result};
use crate::io::npy;
use crate::transform::RigidTransform;

use super::pair::{Pair, Truth};
use super::thresholds::Thresholds;

/// The sequences that are evaluated by default: those that nobody trains on.
pub const SEQUENCES: [u32; 3] = [8, 9, 10];
/// Sequence, source and target of the pair that is left out, as everywhere: its poses are wrong.
pub const LEFT_OUT: (u32, usize, usize) = (8, 15, 58);
/// How far the target may be away, in metres.
const FARTHEST: f64 = 10.0;
/// Scans within which the target is looked for.
const WINDOW: usize = 100;

/// What to evaluate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// Numbers of the sequences.
    pub sequences: Vec<u32>,
    /// A folder with refined transforms, source to target: `SEQUENCE_SOURCE_TARGET.npy`, numbers without leading zeros,
    /// each a 4×4 array.
    pub refined: Option<PathBuf>,
}

impl Default for Options {
    fn default() -> Self {
        Self { sequences: SEQUENCES.to_vec(), refined: None }
    }
}

/// Whether `root` is laid out as KITTI odometry is.
pub fn is_kitti(root: &Path) -> bool {
    let base = base(root);
    base.join("sequences").is_dir() && base.join("poses").is_dir()
}

/// The pairs of the sequences, in their order.
///
/// # Errors
/// [`Error::File`] and [`Error::Format`] when scans, poses, calibrations or refined transforms are missing or malformed.
pub fn read_pairs(root: &Path, options: &Options) -> Result<Vec<Pair>> {
    let base = base(root);
    let mut pairs = Vec::new();
    for &number in &options.sequences {
        let sequence = Sequence::read(&base, number)?;
        for (source, target) in sequence.pairs() {
            let truth = match &options.refined {
                None => sequence.target_from_source(source, target),
                Some(folder) => read_refined(&folder.join(format!("{number}_{source}_{target}.npy")))?,
            };
            pairs.push(sequence.pair(source, target, truth));
        }
    }
    if pairs.is_empty() {
        return Err(Error::format(root, "its sequences are too short for a pair; choose longer ones"));
    }
    Ok(pairs)
}

fn base(root: &Path) -> PathBuf {
    let inner = root.join("dataset");
    if inner.is_dir() { inner } else { root.to_owned() }
}

fn read_refined(path: &Path) -> Result<RigidTransform> {
    RigidTransform::from_row_major(&npy::read_4x4(path)?)
        .ok_or_else(|| Error::format(path, "the array is not the matrix of a rotation and a translation"))
}

/// One drive.
struct Sequence {
    number: u32,
    /// The folder of its scans.
    velodyne: PathBuf,
    /// Numbers of the scans that are there.
    scans: BTreeSet<usize>,
    /// `T_world_camera` of every scan.
    world_from_camera: Vec<RigidTransform>,
    /// `Tr` of the calibration.
    camera_from_scanner: RigidTransform,
}

impl Sequence {
    fn read(base: &Path, number: u32) -> Result<Self> {
        let folder = base.join("sequences").join(format!("{number:02}"));
        let velodyne = folder.join("velodyne");
        let scans = list_scans(&velodyne)?;
        let poses = base.join("poses").join(format!("{number:02}.txt"));
        let world_from_camera = read_poses(&poses)?;
        if let Some(last) = scans.last().filter(|last| **last >= world_from_camera.len()) {
            let found = world_from_camera.len();
            let reason = format!("{found} poses are too few for scan {last}; was it written to the end?");
            return Err(Error::format(poses, reason));
        }
        let camera_from_scanner = read_calibration(&folder.join("calib.txt"))?;
        Ok(Self { number, velodyne, scans, world_from_camera, camera_from_scanner })
    }

    /// Sources and targets.
    fn pairs(&self) -> Vec<(usize, usize)> {
        let places: Vec<Vector3<f64>> = self.world_from_camera.iter().map(|pose| pose.translation).collect();
        let mut chosen = choose_pairs(&places, &self.scans);
        chosen.retain(|(source, target)| (self.number, *source, *target) != LEFT_OUT);
        chosen
    }

    /// By the poses, from scanner to scanner.
    fn target_from_source(&self, source: usize, target: usize) -> RigidTransform {
        let world_from_scanner =
            |scan: usize| self.world_from_camera[scan].compose(&self.camera_from_scanner);
        world_from_scanner(target).inverse().compose(&world_from_scanner(source))
    }

    fn pair(&self, source: usize, target: usize, truth: RigidTransform) -> Pair {
        let file = |scan: usize| self.velodyne.join(format!("{scan:06}.bin"));
        Pair {
            name: format!("{source}_{target}"),
            set: format!("sequence {:02}", self.number),
            source: file(source),
            target: file(target),
            overlap: None,
            truth: Truth::Transform(truth),
            thresholds: Some(Thresholds::KITTI),
            information: None,
            fragments: None,
        }
    }
}

/// Pairs of scans at these places; both scans must be there.
fn choose_pairs(places: &[Vector3<f64>], scans: &BTreeSet<usize>) -> Vec<(usize, usize)> {
    let mut pairs = Vec::new();
    let mut source = scans.first().copied().unwrap_or(0);
    while source < places.len() {
        let window = &places[source..places.len().min(source + WINDOW)];
        let far = window.iter().position(|place| (place - places[source]).norm() > FARTHEST);
        // The one before the first that is too far; where that is the source itself, the vehicle has jumped.
        match far.map(|far| source + far - 1).filter(|target| *target > source) {
            Some(target) => {
                if scans.contains(&source) && scans.contains(&target) {
                    pairs.push((source, target));
                }
                source = target + 1;
            }
            None => source += 1,
        }
    }
    pairs
}

/// Numbers of the scans in a folder.
fn list_scans(folder: &Path) -> Result<BTreeSet<usize>> {
    let failed = |source| Error::file("read", folder, source);
    let mut scans = BTreeSet::new();
    for entry in fs::read_dir(folder).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        let stem = path.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
        if path.extension().is_some_and(|extension| extension == "bin") {
            scans.extend(stem.parse::<usize>().ok());
        }
    }
    if scans.is_empty() {
        return Err(Error::format(folder, "there is no scan in it, such as 000000.bin"));
    }
    Ok(scans)
}

/// `T_world_camera`, one a line.
fn read_poses(path: &Path) -> Result<Vec<RigidTransform>> {
    let text = fs::read_to_string(path).map_err(|source| Error::file("read", path, source))?;
    let poses = text.trim_end().lines().enumerate().map(|(index, line)| {
        let wrong = |reason| Error::format(path, format!("line {}: {reason}", index + 1));
        parse_pose(line).map_err(wrong)
    });
    poses.collect()
}

fn read_calibration(path: &Path) -> Result<RigidTransform> {
    let text = fs::read_to_string(path).map_err(|source| Error::file("read", path, source))?;
    let numbers = text.lines().find_map(|line| line.strip_prefix("Tr:")).ok_or_else(|| {
        Error::format(
            path,
            "there is no line `Tr:`, which maps the scanner to the camera; take KITTI's calib.txt",
        )
    })?;
    parse_pose(numbers).map_err(|reason| Error::format(path, format!("Tr: {reason}")))
}

/// The upper three rows of a rigid transform, as KITTI writes them.
fn parse_pose(text: &str) -> Result<RigidTransform, String> {
    let numbers: Vec<f64> = text.split_whitespace().map_while(|number| number.parse().ok()).collect();
    let count = text.split_whitespace().count();
    if count != 12 || numbers.len() != 12 {
        return Err(format!(
            "expected the 12 numbers of a 3x4 matrix, found {} of {count} words",
            numbers.len()
        ));
    }
    let last_row = [0.0, 0.0, 0.0, 1.0];
    let all: [f64; 16] = std::array::from_fn(|i| if i < 12 { numbers[i] } else { last_row[i - 12] });
    RigidTransform::from_row_major(&all)
        .ok_or_else(|| "its matrix is not that of a rotation and a translation".into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use nalgebra::Rotation3;

    fn along_x(places: &[f64]) -> Vec<Vector3<f64>> {
        places.iter().map(|x| Vector3::new(*x, 0.0, 0.0)).collect()
    }

    fn all(count: usize) -> BTreeSet<usize> {
        (0..count).collect()
    }

    #[test]
    fn the_target_is_the_last_scan_within_ten_metres() {
        // 4 m a scan: 8 m after two scans, 12 m after three.
        let places: Vec<f64> = (0..10).map(|i| 4.0 * f64::from(i)).collect();
        assert_eq!(choose_pairs(&along_x(&places), &all(10)), [(0, 2), (3, 5), (6, 8)]);
    }

    #[test]
    fn exactly_ten_metres_are_not_too_far() {
        assert_eq!(choose_pairs(&along_x(&[0.0, 10.0, 10.1]), &all(3)), [(0, 1)]);
    }

    #[test]
    fn a_vehicle_that_stands_or_jumps_is_waited_for() {
        // It stands longer than the window, then goes on.
        let places: Vec<f64> = (0..150).map(|i| 6.0 * f64::from(i - 120).max(0.0)).collect();
        // From scan 22 on, scan 122, at 12 m, is within a hundred scans.
        assert_eq!(choose_pairs(&along_x(&places), &all(150))[0], (23, 121));
        assert_eq!(choose_pairs(&along_x(&[0.0, 50.0, 55.0, 65.0]), &all(4)), [(1, 2)]);
        assert_eq!(choose_pairs(&[], &BTreeSet::new()), []);
    }

    #[test]
    fn pairs_whose_scans_are_missing_are_left_out() {
        let places: Vec<f64> = (0..10).map(|i| 4.0 * f64::from(i)).collect();
        let scans = all(10).into_iter().filter(|scan| *scan != 5).collect();
        assert_eq!(choose_pairs(&along_x(&places), &scans), [(0, 2), (6, 8)]);
    }

    #[test]
    fn the_pair_with_wrong_poses_is_left_out() {
        // Every scan up to the fifteenth jumps by 20 m, then the vehicle creeps until it jumps again.
        let place = |scan: usize| 20.0 * scan.min(15) as f64 + if scan > 58 { 20.0 } else { 0.0 };
        let pose =
            |scan| RigidTransform { translation: Vector3::x() * place(scan), ..RigidTransform::identity() };
        let sequence = |number| Sequence {
            number,
            velodyne: PathBuf::new(),
            scans: all(60),
            world_from_camera: (0..60).map(pose).collect(),
            camera_from_scanner: RigidTransform::identity(),
        };
        assert_eq!(sequence(9).pairs(), [(15, 58)]);
        assert_eq!(sequence(8).pairs(), []);
    }

    #[test]
    fn the_truth_goes_from_scanner_to_scanner() {
        // The camera looks along the scanner's x, and the vehicle drives 3 m that way and turns to its left.
        let camera_from_scanner = parse_pose("0 -1 0 0  0 0 -1 0  1 0 0 -0.5").unwrap();
        let turn = Rotation3::from_axis_angle(&Vector3::y_axis(), -std::f64::consts::FRAC_PI_2);
        let sequence = Sequence {
            number: 8,
            velodyne: PathBuf::new(),
            scans: all(2),
            world_from_camera: vec![
                RigidTransform::identity(),
                RigidTransform::new(*turn.matrix(), Vector3::new(0.0, 0.0, 3.0)),
            ],
            camera_from_scanner,
        };
        // 10 m ahead of the first camera is 10.5 m ahead of the first scanner; after the turn it lies 7 m to the right
        // of the camera, which is half a metre in front of the scanner.
        let seen = sequence.target_from_source(0, 1).apply(&Vector3::new(10.5, 0.0, 0.0));
        assert!((seen - Vector3::new(0.5, -7.0, 0.0)).norm() < 1e-12, "{seen}");
    }

    #[test]
    fn malformed_poses_are_refused_with_their_line() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("08.txt");
        let good = "1 0 0 0 0 1 0 0 0 0 1 0\n";
        for (text, expected) in [
            (
                format!("{good}1 0 0\n"),
                "08.txt: line 2: expected the 12 numbers of a 3x4 matrix, found 3 of 3",
            ),
            (format!("{good}1 0 0 x 0 1 0 0 0 0 1 0\n"), "line 2: expected the 12 numbers"),
            (good.replace("1 0 0 0 0", "1 0 0 nan 0"), "line 1: its matrix"),
            (good.replace('1', "2"), "line 1: its matrix"),
        ] {
            fs::write(&path, text).unwrap();
            let message = read_poses(&path).unwrap_err().to_string();
            assert!(message.contains(expected), "{message}");
        }
        fs::write(&path, "P0: 1 2 3\nTr: 1 0 0\n").unwrap();
        assert!(read_calibration(&path).unwrap_err().to_string().contains("Tr: expected the 12 numbers"));
        fs::write(&path, "P0: 1 2 3\n").unwrap();
        assert!(read_calibration(&path).unwrap_err().to_string().contains("no line `Tr:`"));
    }
}
