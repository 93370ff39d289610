//! Folders of scenes whose pairs are named by a `gt.log`: what 3DMatch and ETH have in common.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

use nalgebra::Matrix6;

use crate::error::{Error, Result};
use crate::transform::RigidTransform;

use super::pair::{Fragments, Pair, Truth};
use super::pose_log::{read_info, read_log};
use super::thresholds::Thresholds;

/// The file that makes a folder a scene.
const LOG: &str = "gt.log";
/// What the official download appends to the name of a scene, for the folder with its truth.
const EVALUATION: &str = "-evaluation";

/// How a benchmark names and judges what is in its scenes.
pub struct Layout {
    /// Clouds are called so, then their number, then `.ply`.
    pub cloud_prefix: &'static str,
    /// When an answer counts as right.
    pub thresholds: Thresholds,
}

/// Whether `root` is a scene or holds some.
pub fn has_scenes(root: &Path) -> bool {
    scene_folders(root).is_ok_and(|folders| !folders.is_empty())
}

/// Whether a cloud of this prefix lies in a scene of `root`.
pub fn has_clouds(root: &Path, prefix: &str) -> bool {
    let folders = scene_folders(root).unwrap_or_default();
    folders.iter().any(|folder| holds_clouds(folder, prefix))
}

/// The pairs of all scenes of `root`, scene after scene in the order of their names, in the order of their logs.
///
/// `clouds` is where the folders of clouds lie, if not beside those of the scenes or in them.
pub fn read_scenes(root: &Path, clouds: Option<&Path>, layout: &Layout) -> Result<Vec<Pair>> {
    let folders = scene_folders(root)?;
    if folders.is_empty() {
        let reason =
            format!("there is no {LOG} in this folder, nor in the folders in it; give that of the scenes");
        return Err(Error::format(root, reason));
    }
    let mut pairs = Vec::new();
    for folder in folders {
        pairs.extend(read_scene(&folder, clouds, layout)?);
    }
    Ok(pairs)
}

/// `root` if it is a scene, or the scenes in it by name. Of a scene with two logs, beside its clouds and in a folder
/// of its own, the first is taken.
fn scene_folders(root: &Path) -> Result<Vec<PathBuf>> {
    if root.join(LOG).is_file() {
        return Ok(vec![resolved(root)]);
    }
    let failed = |source| Error::file("read", root, source);
    let entries = fs::read_dir(root).map_err(failed)?;
    let paths = entries.map(|entry| entry.map(|entry| entry.path())).collect::<std::io::Result<Vec<_>>>();
    let mut folders: Vec<_> =
        paths.map_err(failed)?.into_iter().filter(|path| path.join(LOG).is_file()).collect();
    folders.sort_by_key(|folder| (scene_name(folder), folder.clone()));
    folders.dedup_by_key(|folder| scene_name(folder));
    Ok(folders)
}

/// The folder without dots in its path, where those would hide its name or what lies beside it.
fn resolved(folder: &Path) -> PathBuf {
    let ends_in_name =
        folder.file_name().is_some() && folder.parent().is_some_and(|beside| beside != Path::new(""));
    let resolved = if ends_in_name { None } else { fs::canonicalize(folder).ok() };
    resolved.unwrap_or_else(|| folder.to_owned())
}

fn scene_name(folder: &Path) -> String {
    let name = folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
    name.strip_suffix(EVALUATION).map(str::to_owned).unwrap_or(name)
}

fn read_scene(folder: &Path, clouds: Option<&Path>, layout: &Layout) -> Result<Vec<Pair>> {
    let entries = read_log(&folder.join(LOG))?;
    let information = read_information(&folder.join("gt.info"), &entries)?;
    let scene = scene_name(folder);
    let clouds = cloud_folder(folder, &scene, clouds, layout.cloud_prefix)?;
    let file = |number: usize| clouds.join(format!("{}{number}.ply", layout.cloud_prefix));
    let pair = |(fragments, transform): &(Fragments, RigidTransform)| Pair {
        name: format!("{}_{}", fragments.target, fragments.source),
        set: scene.clone(),
        source: file(fragments.source),
        target: file(fragments.target),
        overlap: None,
        truth: Truth::Transform(*transform),
        thresholds: Some(layout.thresholds),
        information: information.get(&(fragments.target, fragments.source)).copied(),
        fragments: Some(*fragments),
    };
    Ok(entries.iter().map(pair).collect())
}

/// The information matrices by target and source, without those of consecutive fragments, which the official evaluation
/// leaves out: they are neighbours in the sequence that the fragments were made of. Nothing where there is no file.
fn read_information(
    path: &Path,
    entries: &[(Fragments, RigidTransform)],
) -> Result<HashMap<(usize, usize), Matrix6<f64>>> {
    if !path.exists() {
        return Ok(HashMap::new());
    }
    let key = |fragments: &Fragments| (fragments.target, fragments.source);
    let mut all: HashMap<_, _> =
        read_info(path)?.iter().map(|(fragments, matrix)| (key(fragments), *matrix)).collect();
    if let Some((target, source)) = entries.iter().map(|(f, _)| key(f)).find(|key| !all.contains_key(key)) {
        let reason =
            format!("the pair {target} {source} of {LOG} is missing; both files must come from one download");
        return Err(Error::format(path, reason));
    }
    all.retain(|(target, source), _| *source > target.saturating_add(1));
    Ok(all)
}

/// The folder that holds the clouds of a scene.
fn cloud_folder(folder: &Path, scene: &str, clouds: Option<&Path>, prefix: &str) -> Result<PathBuf> {
    let candidates = match clouds {
        Some(clouds) => vec![clouds.join(scene), clouds.join(scene).join("fragments"), clouds.to_owned()],
        None => {
            let beside = folder.parent().unwrap_or(Path::new("")).join(scene);
            vec![folder.to_owned(), folder.join("fragments"), beside.clone(), beside.join("fragments")]
        }
    };
    let found = candidates.iter().find(|candidate| holds_clouds(candidate, prefix)).cloned();
    found.ok_or_else(|| {
        let tried: Vec<_> = candidates.iter().map(|path| path.display().to_string()).collect();
        let reason = format!(
            "no {prefix}N.ply of this scene was found in {}; say where the clouds are (`clouds`)",
            tried.join(", nor in ")
        );
        Error::format(folder, reason)
    })
}

fn holds_clouds(folder: &Path, prefix: &str) -> bool {
    let is_cloud = |name: &str| name.starts_with(prefix) && name.ends_with(".ply");
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries.into_iter().any(|entry| entry.file_name().to_str().is_some_and(is_cloud))
}

#[cfg(test)]
mod tests {
    use super::*;

    const LAYOUT: Layout = Layout { cloud_prefix: "c", thresholds: Thresholds::INDOOR };
    const ENTRY: &str = "0 1 2  1 0 0 0  0 1 0 0  0 0 1 0  0 0 0 1";

    fn files(files: &[&str]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for file in files {
            let path = folder.path().join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, ENTRY).unwrap();
        }
        folder
    }

    /// Where the source of the only pair of the scene in `scene` is looked for, relative to the folder of `files`.
    fn source(given: &[&str], scene: &str, clouds: Option<&str>) -> PathBuf {
        let folder = files(given);
        let clouds = clouds.map(|clouds| folder.path().join(clouds));
        let pairs = read_scenes(&folder.path().join(scene), clouds.as_deref(), &LAYOUT).unwrap();
        assert_eq!((pairs.len(), pairs[0].set.as_str()), (1, "a"), "{given:?}");
        let root = fs::canonicalize(folder.path()).unwrap();
        let found = fs::canonicalize(pairs[0].source.parent().unwrap()).unwrap();
        found.strip_prefix(root).unwrap().join(pairs[0].source.file_name().unwrap())
    }

    #[test]
    fn clouds_are_found_where_people_have_them() {
        let found = |given, scene, clouds| source(given, scene, clouds).to_str().unwrap().to_owned();
        assert_eq!(found(&["a/gt.log", "a/c0.ply"], "", None), "a/c1.ply");
        assert_eq!(found(&["a/gt.log", "a/c0.ply"], "a", None), "a/c1.ply");
        assert_eq!(found(&["a/gt.log", "a/fragments/c0.ply"], "a/../a/.", None), "a/fragments/c1.ply");
        assert_eq!(found(&["a-evaluation/gt.log", "a/c0.ply"], "", None), "a/c1.ply");
        assert_eq!(
            found(&["a-evaluation/gt.log", "a/fragments/c0.ply"], "a-evaluation", None),
            "a/fragments/c1.ply"
        );
        assert_eq!(found(&["truth/a/gt.log", "clouds/a/c0.ply"], "truth", Some("clouds")), "clouds/a/c1.ply");
        assert_eq!(found(&["truth/a/gt.log", "clouds/c0.ply"], "truth", Some("clouds")), "clouds/c1.ply");
    }

    #[test]
    fn a_scene_with_two_logs_counts_once() {
        let given = ["a/gt.log", "a/c0.ply", "a-evaluation/gt.log"];
        assert_eq!(source(&given, "", None), Path::new("a/c1.ply"));
    }

    #[test]
    fn scenes_come_by_name() {
        let folder = files(&["b/gt.log", "b/c0.ply", "a-evaluation/gt.log", "a/c0.ply", "c/c0.ply"]);
        let pairs = read_scenes(folder.path(), None, &LAYOUT).unwrap();
        assert_eq!(pairs.iter().map(|pair| pair.set.as_str()).collect::<Vec<_>>(), ["a", "b"]);
    }

    #[test]
    fn clouds_elsewhere_have_to_be_named() {
        let folder = files(&["a/gt.log", "a/other.ply", "a/c0.pcd"]);
        let message = read_scenes(folder.path(), None, &LAYOUT).err().unwrap().to_string();
        assert!(message.contains("no cN.ply") && message.contains("say where the clouds are"), "{message}");
    }
}
