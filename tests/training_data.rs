//! Patches for training: do pairs show the same place, as their fields say, and are files reproducible?

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use bytemuck::pod_collect_to_vec;
use coregister::cloud::Point;
use coregister::geometry::{Pose, apply, distance};
use coregister::training_data::{Content, Options, Summary, write_scenes};
use safetensors::{Dtype, SafeTensors};

mod common;

use common::one_and_two_threads;

/// Quick to make: coarse scans of what takes few rays.
fn quick(content: Content, seed: u64) -> Options {
    let mix = "object=1,frame=2,lidar=1".parse().unwrap();
    Options { content, mix, detail: 0.3, overlap: 0.3..0.8, seed }
}

const PAIRS: Content = Content::Pairs { radii: 3, pairs: 60 };

fn write(folder: &Path, count: u64, options: &Options) -> Summary {
    let [backend, _] = one_and_two_threads();
    write_scenes(folder, count, options, &backend, || ()).unwrap()
}

/// The scenes in a folder by file name, as bytes.
fn scenes(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let files = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let scenes = files.filter(|path| path.extension().is_some_and(|e| e == "safetensors"));
    scenes
        .map(|path| (path.file_name().unwrap().to_str().unwrap().to_owned(), fs::read(&path).unwrap()))
        .collect()
}

/// A file's fields.
struct Fields<'a>(SafeTensors<'a>);

impl<'a> Fields<'a> {
    fn of(bytes: &'a [u8]) -> Self {
        Self(SafeTensors::deserialize(bytes).unwrap())
    }

    fn get<T: bytemuck::AnyBitPattern + bytemuck::NoUninit>(&self, name: &str) -> Vec<T> {
        pod_collect_to_vec(self.0.tensor(name).unwrap().data())
    }

    /// The patches of a side, in the unit ball.
    fn patches(&self, side: &str) -> Vec<Vec<Point>> {
        let offsets: Vec<[i16; 3]> = self.get(&format!("{side}_offsets"));
        let mut rest = offsets.iter().map(|d| d.map(|x| f32::from(x) / 32_767.0));
        let counts: Vec<i32> = self.get(&format!("{side}_count"));
        let patches = counts.iter().map(|&count| rest.by_ref().take(count as usize).collect()).collect();
        assert_eq!(rest.count(), 0, "the counts cover the offsets");
        patches
    }
}

/// The metadata of a file.
fn scene_of(bytes: &[u8]) -> serde_json::Value {
    let (_, header) = SafeTensors::read_metadata(bytes).unwrap();
    serde_json::from_str(&header.metadata().as_ref().unwrap()["scene"]).unwrap()
}

fn turned(patch: &[Point], azimuth: f32) -> Vec<Point> {
    let (sin, cos) = azimuth.sin_cos();
    patch.iter().map(|[x, y, z]| [cos * x - sin * y, sin * x + cos * y, *z]).collect()
}

/// The middle one of the distances from points well inside the ball to the other patch.
fn gap(from: &[Point], to: &[Point]) -> f32 {
    let inside = from.iter().filter(|p| distance(p, &[0.0; 3]) < 0.7);
    median(inside.map(|p| nearest(p, to)).collect())
}

fn nearest(p: &Point, points: &[Point]) -> f32 {
    points.iter().map(|q| distance(p, q)).fold(f32::INFINITY, f32::min)
}

fn median(mut values: Vec<f32>) -> f32 {
    values.sort_by(f32::total_cmp);
    values[values.len() / 2]
}

#[test]
fn the_patches_of_a_pair_lie_on_each_other() {
    let folder = tempfile::tempdir().unwrap();
    let summary = write(folder.path(), 6, &quick(PAIRS, 3));
    assert!(summary.written >= 5 && summary.rows > 300, "{summary:?}");
    let (mut right, mut wrong) = (Vec::new(), Vec::new());
    for bytes in scenes(folder.path()).values() {
        let fields = Fields::of(bytes);
        let spacing = scene_of(bytes)["spacing"].as_f64().unwrap() as f32;
        let (azimuth, group) = (fields.get::<f32>("azimuth"), fields.get::<i32>("group"));
        let radius: Vec<f32> = fields.get("radius");
        let (source, target) = (fields.patches("source"), fields.patches("target"));
        for i in 0..azimuth.len() {
            let voxels = radius[group[i] as usize] / spacing;
            right.push(voxels * gap(&turned(&source[i], azimuth[i]), &target[i]));
            wrong.push(voxels * gap(&turned(&source[i], azimuth[i] + 1.5), &target[i]));
        }
    }
    let (worst, right) = (right.iter().filter(|&&gap| gap > 3.0).count(), median(right));
    assert!(worst < wrong.len() / 50, "{worst} of {} pairs are far apart", wrong.len());
    // In voxels. A patch of a plane looks the same from every azimuth, so the second is not large either.
    assert!(right < 0.8 && median(wrong) > 1.2 * right, "{right}");
}

#[test]
fn fields_are_as_described() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), 3, &quick(PAIRS, 4));
    for bytes in scenes(folder.path()).values() {
        let fields = Fields::of(bytes);
        let (groups, azimuth) = (fields.get::<i32>("group"), fields.get::<f32>("azimuth"));
        let (n, radius) = (groups.len(), fields.get::<f32>("radius"));
        for (name, dtype, shape) in [
            ("source_count", Dtype::I32, vec![n]),
            ("target_count", Dtype::I32, vec![n]),
            ("azimuth", Dtype::F32, vec![n]),
            ("tilt", Dtype::F32, vec![n]),
            ("overlap", Dtype::F32, vec![n]),
            ("keypoint", Dtype::F32, vec![n, 3]),
            ("miss", Dtype::F32, vec![n]),
            ("group", Dtype::I32, vec![n]),
            ("radius", Dtype::F32, vec![radius.len()]),
        ] {
            let tensor = fields.0.tensor(name).unwrap();
            assert_eq!((tensor.dtype(), tensor.shape()), (dtype, &shape[..]), "{name}");
        }
        assert_eq!(fields.0.len(), 11);
        assert!(groups.is_sorted() && groups[n - 1] as usize == radius.len() - 1);
        assert!(azimuth.iter().all(|a| a.abs() <= 3.15));
        assert!(fields.get::<f32>("tilt").iter().all(|tilt| (0.0..0.6).contains(tilt)));
        assert!(fields.get::<f32>("overlap").iter().all(|share| (0.25..=1.0).contains(share)));
        for side in ["source", "target"] {
            for patch in fields.patches(side) {
                assert!((12..=512).contains(&patch.len()));
                // Rounding may leave the ball by a step.
                assert!(patch.iter().all(|p| distance(p, &[0.0; 3]) < 1.0001));
            }
        }
        let scene = scene_of(bytes);
        assert!(["object", "frame", "lidar"].contains(&scene["kind"].as_str().unwrap()));
        assert!((0.25..0.85).contains(&scene["overlap"].as_f64().unwrap()), "{scene}");
    }
    assert!(fs::read_to_string(folder.path().join("README.md")).unwrap().contains("azimuth"));
}

#[test]
fn files_do_not_depend_on_threads_or_on_each_other() {
    let folders = [(); 2].map(|()| tempfile::tempdir().unwrap());
    let options = quick(PAIRS, 5);
    for ((folder, backend), count) in folders.iter().zip(one_and_two_threads()).zip([2, 4]) {
        write_scenes(folder.path(), count, &options, &backend, || ()).unwrap();
    }
    let [few, many] = folders.map(|folder| scenes(folder.path()));
    assert!(!few.is_empty() && few.iter().all(|(name, bytes)| many[name] == *bytes));
}

#[test]
fn a_stopped_run_goes_on_and_other_options_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let options = quick(Content::Pairs { radii: 1, pairs: 60 }, 6);
    let first = write(folder.path(), 1, &options);
    let before = scenes(folder.path());
    let second = write(folder.path(), 2, &options);
    assert_eq!((first.written, first.present, second.written, second.present), (1, 0, 1, 1));
    assert!(before.iter().all(|(name, bytes)| scenes(folder.path())[name] == *bytes));
    let other = Options { seed: 7, ..options };
    let [backend, _] = one_and_two_threads();
    let refusal = write_scenes(folder.path(), 2, &other, &backend, || ()).unwrap_err();
    assert!(refusal.to_string().contains("other options"), "{refusal}");
}

#[test]
fn overlaps_that_cannot_be_had_are_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let options = Options { overlap: 0.5..0.2, ..quick(PAIRS, 8) };
    let [backend, _] = one_and_two_threads();
    let refusal = write_scenes(folder.path(), 2, &options, &backend, || ()).unwrap_err();
    assert!(refusal.to_string().contains("overlap"), "{refusal}");
}

#[test]
fn whole_scenes_fit_together_under_their_pose() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), 3, &quick(Content::Whole, 9));
    for bytes in scenes(folder.path()).values() {
        let fields = Fields::of(bytes);
        let scene = scene_of(bytes);
        let spacing = scene["spacing"].as_f64().unwrap() as f32;
        let [source, target] = ["source", "target"].map(|side| cloud_of_patches(&fields, side));
        let pose: Vec<f32> = fields.get("target_from_source");
        let pose: Pose = pose.try_into().unwrap();
        let close = source.iter().filter(|p| nearest(&apply(&pose, p), &target) < 2.0 * spacing).count();
        let share = close as f32 / source.len() as f32;
        let overlap = scene["overlap"].as_f64().unwrap() as f32;
        assert!(share > overlap - 0.15, "{share} of the points fit, the overlap is {overlap}");
    }
}

/// Some points of the cloud, put together from the patches of the middle radius by their frames.
fn cloud_of_patches(fields: &Fields, side: &str) -> Vec<Point> {
    let keypoints: Vec<Point> = fields.get(&format!("{side}_keypoint"));
    let frames: Vec<[f32; 9]> = fields.get(&format!("{side}_frame"));
    let radii: Vec<f32> = fields.get("radius");
    assert!(radii.is_sorted_by(|a, b| a > b) && radii.len() == 3);
    let n = keypoints.len();
    assert_eq!((frames.len(), n), (3 * n, 500));
    let patches = fields.patches(side);
    let place = |i: usize, d: &Point| -> Point {
        let r = &frames[n + i];
        [0, 1, 2].map(|k| {
            keypoints[i][k] + radii[1] * (r[3 * k] * d[0] + r[3 * k + 1] * d[1] + r[3 * k + 2] * d[2])
        })
    };
    (0..n).flat_map(|i| patches[n + i].iter().take(8).map(move |d| place(i, d))).collect()
}
