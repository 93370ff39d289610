//! Patches of simulated scans with known answers: what descriptors are trained and judged on.
//!
//! What is trained on should look like what is met later, so the run-time stages make it: each simulated pair is
//! cleaned, thinned, sampled and looked at by [`Pipeline`](crate::pipeline::Pipeline) itself, and patches and frames come from the stages that it
//! calls. Viewpoints and verticals are those that the pipeline finds, with their errors.
//!
//! # Files
#![doc = include_str!("fields.md")]

mod file;
mod mix;
mod pairs;
mod patches;
mod scene;
mod whole;

use std::fs;
use std::ops::Range;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use rayon::prelude::*;
use serde_json::json;

use crate::backend::Cpu;
use crate::error::{Error, Result};
use crate::io::replace;
use crate::simulate::derive_seed;

pub use mix::Mix;

use scene::Scene;

/// What to make.
#[derive(Debug, Clone, PartialEq)]
pub struct Options {
    /// What is written of each scene.
    pub content: Content,
    /// How often each kind of scan comes.
    pub mix: Mix,
    /// Overlaps of the clouds, drawn evenly from this range.
    pub overlap: Range<f64>,
    /// Resolution of the sensors as a share of the usual one. The pipeline thins clouds to far fewer points than
    /// sensors give, so a coarser sensor costs little and saves most of the time.
    pub detail: f64,
    /// Seed of everything.
    pub seed: u64,
}

impl Default for Options {
    fn default() -> Self {
        let content = Content::Pairs { radii: 6, pairs: 200 };
        Self { content, mix: Mix::default(), overlap: 0.1..0.9, detail: 0.6, seed: 0 }
    }
}

/// What is written of each scene.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Content {
    /// Pairs of patches of the same place, for training.
    Pairs {
        /// Number of patch radii.
        radii: usize,
        /// Most pairs of one radius.
        pairs: usize,
    },
    /// All patches of both clouds, for validation by matching.
    Whole,
}

/// What became of the scenes that were asked for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Summary {
    /// Scenes made.
    pub written: u64,
    /// Scenes that were there already.
    pub present: u64,
    /// Scenes that gave nothing usable, such as pairs that hardly touch.
    pub skipped: u64,
    /// Pairs, or keypoints of whole scenes, in the scenes made.
    pub rows: u64,
}

/// Writes scenes `0..count` into `folder`, a file each, with `README.md` on their fields and `options.json`. Scene `i`
/// is that of `derive_seed(options.seed, i)`: its bytes depend neither on the others nor on the number of threads.
/// Scenes that are there stay as they are, so that a run that was stopped goes on. `progress` is called once a scene.
///
/// # Errors
/// When the folder cannot be written or holds scenes of other options, or when not one scene gave anything.
pub fn write_scenes(
    folder: &Path,
    count: u64,
    options: &Options,
    backend: &Cpu,
    progress: impl Fn() + Sync,
) -> Result<Summary> {
    prepare_folder(folder, options)?;
    let [written, present, skipped, rows] = [const { AtomicU64::new(0) }; 4];
    let add = |counter: &AtomicU64, n: u64| counter.fetch_add(n, Ordering::Relaxed);
    let write = |index: u64| {
        let path = folder.join(format!("scene-{index:06}.safetensors"));
        if path.exists() {
            add(&present, 1);
        } else {
            match tensors(index, options, backend) {
                Ok(Some(content)) => {
                    file::write(&path, &content)?;
                    add(&written, 1);
                    add(&rows, content.rows);
                }
                Ok(None) => _ = add(&skipped, 1),
                Err(reason) => {
                    tracing::warn!("scene {index}: {reason}");
                    add(&skipped, 1);
                }
            }
        }
        progress();
        Ok(())
    };
    backend.run(|| (0..count).into_par_iter().try_for_each(write))?;
    let [written, present, skipped, rows] = [written, present, skipped, rows].map(AtomicU64::into_inner);
    if count > 0 && written + present == 0 {
        let reason = format!("none of {count} scenes gave patches; widen the overlaps or raise the detail");
        return Err(Error::Config(reason));
    }
    Ok(Summary { written, present, skipped, rows })
}

/// What the file of scene `index` holds; `None` when that is too little.
fn tensors(index: u64, options: &Options, backend: &Cpu) -> Result<Option<file::Content>> {
    let seed = derive_seed(options.seed, index);
    match options.content {
        Content::Pairs { radii, pairs } => {
            let mut scene = Scene::new(seed, options, backend, pairs::VOXEL_FACTORS)?;
            pairs::tensors(&mut scene, radii, pairs)
        }
        Content::Whole => whole::tensors(&Scene::new(seed, options, backend, 1.0..=1.0)?).map(Some),
    }
}

/// Makes the folder and its two notes. A folder of other options is refused: mixed scenes would pass unnoticed.
fn prepare_folder(folder: &Path, options: &Options) -> Result<()> {
    fs::create_dir_all(folder).map_err(|source| Error::file("create", folder, source))?;
    let path = folder.join("options.json");
    let text = options.to_json();
    match fs::read_to_string(&path) {
        Ok(before) if before == text => {}
        Ok(_) => {
            let reason = "its scenes were made with other options; choose another folder or delete this one";
            return Err(Error::format(folder, reason));
        }
        Err(_) => replace(&path, |out| std::io::Write::write_all(out, text.as_bytes()))?,
    }
    let readme = format!("# Patches of simulated scans\n\n{}", include_str!("fields.md"));
    replace(&folder.join("README.md"), |out| std::io::Write::write_all(out, readme.as_bytes()))
}

impl Options {
    fn to_json(&self) -> String {
        let content = match self.content {
            Content::Pairs { radii, pairs } => json!({ "radii": radii, "pairs": pairs }),
            Content::Whole => json!("whole"),
        };
        let options = json!({
            "content": content,
            "mix": self.mix.to_string(),
            "overlap": [self.overlap.start, self.overlap.end],
            "detail": self.detail,
            "seed": self.seed,
            "version": env!("CARGO_PKG_VERSION"),
        });
        format!("{options:#}\n")
    }
}
