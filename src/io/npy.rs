//! NumPy arrays: N×3 or N×4 (a fourth column is ignored), f32 or f64, of either byte and element order.
//!
//! `ndarray-npy` reads the header; the array itself is taken straight from the mapped bytes, since the
//! crate's reader would allocate what the header promises.

use std::path::Path;

use ndarray_npy::npy::header::{Header, Layout};

use crate::cloud::Cloud;
use crate::error::{Error, Result};

use super::coordinates::{ByteOrder, Column, Coordinates, Scalar, keep_promise};

/// The cloud in `bytes`; `path` is named in errors.
pub fn read(path: &Path, bytes: &[u8]) -> Result<Cloud> {
    let (header, body) = read_header(path, bytes)?;
    let (scalar, order) = element_type(path, &header)?;
    let (count, width) = points_by_columns(path, &header.shape)?;
    let size = scalar.size();
    let count = keep_promise(path, count as u64, "points of", width * size, body.len())?;
    let column = |k: usize| match header.layout {
        Layout::Standard => Column { start: k * size, step: width * size, scalar },
        Layout::Fortran => Column { start: k * size * count, step: size, scalar },
    };
    Ok(Coordinates { bytes: body, count, columns: [0, 1, 2].map(column), order }.read())
}

/// The 4×4 matrix in `path`, row by row.
pub(crate) fn read_4x4(path: &Path) -> Result<[f64; 16]> {
    let file = super::map(path)?;
    let (header, body) = read_header(path, &file)?;
    let (scalar, order) = element_type(path, &header)?;
    if header.shape != [4, 4] {
        return Err(Error::format(path, format!("the array is {}, not 4×4", shape_in_words(&header.shape))));
    }
    keep_promise(path, 16, "numbers of", scalar.size(), body.len())?;
    let place = |i: usize| match header.layout {
        Layout::Standard => i,
        Layout::Fortran => i % 4 * 4 + i / 4,
    };
    Ok(std::array::from_fn(|i| scalar.value(&body[place(i) * scalar.size()..], order)))
}

/// The header, and the bytes after it.
fn read_header<'a>(path: &Path, bytes: &'a [u8]) -> Result<(Header, &'a [u8])> {
    let wrong = |reason: &str| {
        Error::format(
            path,
            format!("the NumPy header is damaged: {reason}; write the file again with numpy.save"),
        )
    };
    let description = description(bytes).ok_or_else(|| wrong("it does not end within the file"))?;
    if !is_modest(description) {
        return Err(wrong("it is longer or more deeply nested than that of any array of points"));
    }
    let mut body = bytes;
    let header = Header::from_reader(&mut body).map_err(|error| wrong(&error.to_string()))?;
    Ok((header, body))
}

/// The text in the header that describes the array.
///
/// Format: 6 bytes of signature, 2 of version, then the text's length in 2 bytes for version 1, else in 4.
fn description(bytes: &[u8]) -> Option<&[u8]> {
    let (length, rest) = match bytes.get(6)? {
        1 => bytes
            .get(8..)?
            .split_first_chunk()
            .map(|(n, rest)| (usize::from(u16::from_le_bytes(*n)), rest))?,
        _ => bytes.get(8..)?.split_first_chunk().map(|(n, rest)| (u32::from_le_bytes(*n) as usize, rest))?,
    };
    rest.get(..length)
}

/// Whether the header's parser may be given `text`: it tries every bracket several times, so that its time
/// doubles with each level of nesting. The length is the one at which NumPy itself stops.
fn is_modest(text: &[u8]) -> bool {
    const LONGEST: usize = 10_000;
    const DEEPEST: usize = 4;
    let deepest = text.iter().scan(0_usize, |depth, byte| {
        match byte {
            b'(' | b'[' | b'{' => *depth += 1,
            b')' | b']' | b'}' => *depth = depth.saturating_sub(1),
            _ => {}
        }
        Some(*depth)
    });
    text.len() <= LONGEST && deepest.max().unwrap_or(0) <= DEEPEST
}

fn element_type(path: &Path, header: &Header) -> Result<(Scalar, ByteOrder)> {
    match header.type_descriptor.as_string().map(String::as_str) {
        Some("<f4") => Ok((Scalar::F32, ByteOrder::Little)),
        Some(">f4") => Ok((Scalar::F32, ByteOrder::Big)),
        Some("<f8") => Ok((Scalar::F64, ByteOrder::Little)),
        Some(">f8") => Ok((Scalar::F64, ByteOrder::Big)),
        _ => {
            let found = &header.type_descriptor;
            let reason =
                format!("the array is of type {found}; save it as array.astype(numpy.float32) or float64");
            Err(Error::format(path, reason))
        }
    }
}

/// Number of points and of values per point.
fn points_by_columns(path: &Path, shape: &[usize]) -> Result<(usize, usize)> {
    let remedy = match shape {
        [count, width @ (3 | 4)] => return Ok((*count, *width)),
        [3 | 4, _] => "transpose it: numpy.save(path, array.T)",
        [_, width] if *width > 4 => "keep the columns x, y and z: numpy.save(path, array[:, :3])",
        _ => "reshape it to one row of x, y and z per point: array.reshape(-1, 3)",
    };
    let shape = shape_in_words(shape);
    Err(Error::format(path, format!("the array is {shape}, but a cloud is N×3 or N×4; {remedy}")))
}

fn shape_in_words(shape: &[usize]) -> String {
    shape.iter().map(usize::to_string).collect::<Vec<_>>().join("×")
}
