//! Clouds from and to files: bytes to points, no compute.
//!
//! | extension | content | read | written |
//! |---|---|---|---|
//! | `.ply` | ASCII, binary of either byte order | yes | binary little-endian |
//! | `.pcd` | ASCII, binary, compressed binary | yes | binary |
//! | `.bin` | KITTI: x y z intensity in f32 | yes | |
//! | `.xyz` `.txt` `.csv` | rows of numbers | yes | |
//! | `.npy` | an N×3 or N×4 array of f32 or f64 | yes | |
//!
//! Coordinates that a file holds in f32 arrive bit for bit. Those it holds in f64, or prints with more digits
//! than an f32 can stand for, go through [`Cloud::from_f64`]. Points that are NaN or infinite are kept.
//!
//! Headers are not believed: what they promise is compared with the length of the file before memory is
//! reserved for it.

pub mod kitti;
pub mod npy;
pub mod pcd;
pub mod ply;
pub mod text;

mod coordinates;
mod decimal;
mod lzf;

use std::fs::{self, File, OpenOptions};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use memmap2::Mmap;
use tracing::debug;

use crate::cloud::Cloud;
use crate::error::{Error, Result};

/// Reads the cloud in `path`; the extension says the format, and the content has to agree.
pub fn read_cloud(path: &Path) -> Result<Cloud> {
    let format = Format::of(path)?;
    let file = map(path)?;
    let bytes: &[u8] = &file;
    if bytes.is_empty() {
        return Err(Error::format(path, "the file is empty (0 bytes); was it written to the end?"));
    }
    if let Some(found) = Format::signed(bytes).filter(|found| *found != format) {
        let [named, is] = [format, found].map(Format::extension);
        let reason = format!("the name ends in .{named} but the content is {is}; rename it to end in .{is}");
        return Err(Error::format(path, reason));
    }
    let cloud = match format {
        Format::Ply => ply::read(path, bytes),
        Format::Pcd => pcd::read(path, bytes),
        Format::Kitti => kitti::read(path, bytes),
        Format::Text => text::read(path, bytes),
        Format::Npy => npy::read(path, bytes),
    }?;
    debug!(points = cloud.len(), origin = ?cloud.origin, "read {}", path.display());
    Ok(cloud)
}

/// Writes `cloud` to `path`, as PLY or PCD by its extension.
///
/// The coordinates are f32, or f64 when the cloud's origin is not zero. The file appears under its name only
/// once it is complete: it is written beside it and then renamed.
pub fn write_cloud(path: &Path, cloud: &Cloud) -> Result<()> {
    match Format::of(path)? {
        Format::Ply => replace(path, |out| ply::write(cloud, out)),
        Format::Pcd => replace(path, |out| pcd::write(cloud, out)),
        _ => Err(Error::format(path, "clouds are written as PLY or PCD; end the name in .ply or .pcd")),
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Format {
    Ply,
    Pcd,
    Kitti,
    Text,
    Npy,
}

impl Format {
    /// By the extension of `path`.
    fn of(path: &Path) -> Result<Self> {
        let extension = path.extension().unwrap_or_default().to_string_lossy().to_ascii_lowercase();
        match extension.as_str() {
            "ply" => Ok(Self::Ply),
            "pcd" => Ok(Self::Pcd),
            "bin" => Ok(Self::Kitti),
            "xyz" | "txt" | "csv" => Ok(Self::Text),
            "npy" => Ok(Self::Npy),
            _ => Err(Error::format(
                path,
                format!(
                    "the extension \"{extension}\" names no known format; convert the cloud to .ply, .pcd, \
                     .bin (KITTI), .xyz, .txt, .csv or .npy"
                ),
            )),
        }
    }

    /// By the first bytes, for the formats that sign their files.
    fn signed(bytes: &[u8]) -> Option<Self> {
        let starts = |signature: &[u8]| bytes.starts_with(signature);
        if starts(b"ply\n") || starts(b"ply\r") {
            Some(Self::Ply)
        } else if starts(b"# .PCD") || starts(b"VERSION 0.7") || starts(b"VERSION .7") {
            Some(Self::Pcd)
        } else if starts(b"\x93NUMPY") {
            Some(Self::Npy)
        } else {
            None
        }
    }

    fn extension(self) -> &'static str {
        match self {
            Self::Ply => "ply",
            Self::Pcd => "pcd",
            Self::Kitti => "bin",
            Self::Text => "txt",
            Self::Npy => "npy",
        }
    }
}

/// The content of `path`, mapped into memory.
///
/// Only regular files: opening a pipe without a writer would wait for ever.
fn map(path: &Path) -> Result<Mmap> {
    let failed = |source| Error::file("read", path, source);
    let kind = fs::metadata(path).map_err(failed)?;
    if kind.is_dir() {
        return Err(Error::format(path, "this is a folder; give the file of one cloud"));
    }
    if !kind.is_file() {
        return Err(Error::format(path, "this is not a regular file; copy its content to one first"));
    }
    let file = File::open(path).map_err(failed)?;
    // SAFETY: the map is private and read-only, covers the length the file has now, lives only within
    // `read_cloud`, and is read as plain bytes, for which every value is valid. It holds as long as no other
    // program shortens or rewrites the file while it is being read, which `replace` below never does: it
    // renames a new file into place and leaves the mapped one as it is.
    unsafe { Mmap::map(&file) }.map_err(failed)
}

/// Puts what `write` writes in the place of `path`, whole or not at all.
pub(crate) fn replace(
    path: &Path,
    write: impl FnOnce(&mut BufWriter<File>) -> std::io::Result<()>,
) -> Result<()> {
    let failed = |source| Error::file("write", path, source);
    let temporary = temporary_beside(path);
    let file = OpenOptions::new().write(true).create_new(true).open(&temporary).map_err(failed)?;
    let mut out = BufWriter::with_capacity(1 << 16, file);
    let written = write(&mut out).and_then(|()| out.flush()).and_then(|()| fs::rename(&temporary, path));
    if written.is_err() {
        // The first error is the one to report; a temporary file that cannot be removed either adds nothing.
        let _ = fs::remove_file(&temporary);
    }
    written.map_err(failed)
}

/// A name in the folder of `path` that no other writer uses.
fn temporary_beside(path: &Path) -> PathBuf {
    static WRITES: AtomicU64 = AtomicU64::new(0);
    let write = WRITES.fetch_add(1, Ordering::Relaxed);
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    path.with_file_name(format!(".{name}.{}-{write}.part", std::process::id()))
}

/// The start of `bytes`, printable, for error messages.
fn excerpt(bytes: &[u8]) -> String {
    const LONGEST: usize = 60;
    let shown = String::from_utf8_lossy(&bytes[..bytes.len().min(LONGEST)]).escape_debug().to_string();
    if bytes.len() > LONGEST { format!("\"{shown}…\"") } else { format!("\"{shown}\"") }
}
