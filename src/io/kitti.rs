//! KITTI scans: x y z intensity as little-endian f32, record after record, without a header.

use std::path::Path;

use crate::cloud::Cloud;
use crate::error::{Error, Result};

use super::coordinates::{ByteOrder, Column, Coordinates, Scalar};

/// x y z intensity.
const RECORD: usize = 16;

/// The cloud in `bytes`; `path` is named in errors.
pub fn read(path: &Path, bytes: &[u8]) -> Result<Cloud> {
    if !bytes.len().is_multiple_of(RECORD) {
        let reason = format!(
            "{} bytes are not a whole number of {RECORD}-byte points (x y z intensity in f32, as in KITTI); the \
             file is truncated or of another kind, to be converted to .ply first",
            bytes.len()
        );
        return Err(Error::format(path, reason));
    }
    let columns = [0, 4, 8].map(|start| Column { start, step: RECORD, scalar: Scalar::F32 });
    Ok(Coordinates { bytes, count: bytes.len() / RECORD, columns, order: ByteOrder::Little }.read())
}
