//! Many pairs as files: `pairs.csv` and one PLY file a cloud.

use std::fs::{self, File};
use std::io::Write;
use std::path::Path;

use rayon::prelude::*;

use crate::error::{Error, Result};
use crate::io::write_cloud;

use super::dice::derive_seed;
use super::pair::{PairOptions, SimulatedPair, simulate_pair};

/// Pairs between two additions to `pairs.csv`.
const CHUNK: u64 = 32;

/// Writes `count` pairs into `folder`: clouds as binary PLY (f32, metres) under `clouds/`, and `pairs.csv` with
/// the columns `set,name,src,tgt,overlap,T`, where T is sixteen numbers, row-major, source to target, or
/// nothing for scans of two scenes. Pair `i` is that of the seed `derive_seed(seed, i)`, so any of them can be made
/// alone. `progress` is called once a pair, with the number of pairs done.
pub fn write_pairs(
    folder: &Path,
    seed: u64,
    count: u64,
    options: &PairOptions,
    progress: impl Fn(u64) + Sync,
) -> Result<()> {
    let clouds = folder.join("clouds");
    fs::create_dir_all(&clouds).map_err(|source| Error::file("create", &clouds, source))?;
    let table = folder.join("pairs.csv");
    let failed = |source| Error::file("write", &table, source);
    let mut csv = File::create(&table).map_err(|source| Error::file("create", &table, source))?;
    writeln!(csv, "set,name,src,tgt,overlap,T").map_err(failed)?;
    let done = std::sync::atomic::AtomicU64::new(0);
    for start in (0..count).step_by(CHUNK as usize) {
        let rows: Vec<String> = (start..count.min(start + CHUNK))
            .into_par_iter()
            .map(|index| {
                let pair = simulate_pair(derive_seed(seed, index), options)?;
                let row = write_pair(folder, index, &pair)?;
                progress(1 + done.fetch_add(1, std::sync::atomic::Ordering::Relaxed));
                Ok(row)
            })
            .collect::<Result<_>>()?;
        csv.write_all(rows.concat().as_bytes()).map_err(failed)?;
    }
    Ok(())
}

/// Writes both clouds; returns the pair's row of `pairs.csv`.
fn write_pair(folder: &Path, index: u64, pair: &SimulatedPair) -> Result<String> {
    let name = format!("{}-{index:05}", pair.kind);
    let files = ["src", "tgt"].map(|role| format!("clouds/{name}_{role}.ply"));
    write_cloud(&folder.join(&files[0]), &pair.source)?;
    write_cloud(&folder.join(&files[1]), &pair.target)?;
    let pose = || pair.target_from_source.to_row_major().map(|x| x.to_string()).join(" ");
    let numbers = if pair.one_scene { pose() } else { String::new() };
    let (set, [source, target]) = (pair.set(), files);
    Ok(format!("{set},{name},{source},{target},{:.4},{numbers}\n", pair.overlap))
}
