//! PCD: ASCII, binary and compressed binary, fields of any type, count and order.
//!
//! By hand: `pcd-rs` believes the header's counts and sizes before it has seen the data, and gives every
//! point its own vectors when the fields are not known in advance. The sensor's VIEWPOINT is not used.

use std::io::{self, Write};
use std::path::Path;

use crate::cloud::Cloud;
use crate::error::{Error, Result};

use super::coordinates::{
    ByteOrder, Column, Coordinates, Scalar, keep_promise, write_points, written_scalar,
};
use super::decimal::{PrintedPoints, lines, words};
use super::{excerpt, lzf};

/// The cloud in `bytes`; `path` is named in errors.
pub fn read(path: &Path, bytes: &[u8]) -> Result<Cloud> {
    let header = Header::parse(path, bytes)?;
    let layout = Layout::of(path, &header)?;
    let (data, body) = (header.one("DATA").unwrap_or_default(), header.body);
    match data {
        "ascii" => read_ascii(path, &header, &layout),
        "binary" => {
            let count = keep_promise(path, layout.count, "points of", layout.point_size, body.len())?;
            Ok(layout.records(body, count).read())
        }
        "binary_compressed" => read_compressed(path, body, &layout),
        _ => {
            let reason = format!("DATA is \"{data}\" instead of ascii, binary or binary_compressed");
            Err(Error::format(path, format!("{reason}; the header is damaged")))
        }
    }
}

/// Writes `cloud` in binary.
pub fn write(cloud: &Cloud, out: &mut impl Write) -> io::Result<()> {
    let (count, size) = (cloud.len(), written_scalar(cloud).size());
    writeln!(out, "# .PCD v0.7 - Point Cloud Data file format\nVERSION 0.7\nFIELDS x y z")?;
    writeln!(out, "SIZE {size} {size} {size}\nTYPE F F F\nCOUNT 1 1 1\nWIDTH {count}\nHEIGHT 1")?;
    writeln!(out, "VIEWPOINT 0 0 0 1 0 0 0\nPOINTS {count}\nDATA binary")?;
    write_points(cloud, out)
}

/// The header's lines as they are, up to the one that starts with DATA.
struct Header<'a> {
    entries: Vec<(&'a str, Vec<&'a str>)>,
    /// What follows the header.
    body: &'a [u8],
    /// Number of the body's first line.
    body_line: usize,
}

impl<'a> Header<'a> {
    fn parse(path: &Path, bytes: &'a [u8]) -> Result<Self> {
        // The longest header holds the names of some dozen fields.
        const LONGEST: usize = 1 << 16;
        let mut entries = Vec::new();
        let mut start = 0;
        for (line, number) in
            bytes[..bytes.len().min(LONGEST)].split_inclusive(|byte| *byte == b'\n').zip(1..)
        {
            start += line.len();
            // Comments may be in any encoding, entries are ASCII.
            let entry = line.split(|byte| *byte == b'#').next().unwrap_or_default();
            let Ok(entry) = std::str::from_utf8(entry) else { break };
            let mut words = entry.split_ascii_whitespace();
            let Some(keyword) = words.next() else { continue };
            entries.push((keyword, words.collect()));
            if keyword == "DATA" {
                return Ok(Self { entries, body: &bytes[start..], body_line: number + 1 });
            }
        }
        let reason = format!("the PCD header, which starts with {}, has no DATA line", excerpt(bytes));
        Err(Error::format(path, format!("{reason}; the file is truncated or no PCD file")))
    }

    fn all(&self, keyword: &str) -> Option<&[&'a str]> {
        self.entries.iter().find(|(found, _)| *found == keyword).map(|(_, words)| words.as_slice())
    }

    /// The only word of the entry `keyword`.
    fn one(&self, keyword: &str) -> Option<&'a str> {
        match self.all(keyword)? {
            [word] => Some(*word),
            _ => None,
        }
    }

    /// The whole numbers of the entry `keyword`.
    fn numbers(&self, path: &Path, keyword: &str) -> Result<Option<Vec<u64>>> {
        let Some(words) = self.all(keyword) else { return Ok(None) };
        let numbers: Option<Vec<u64>> = words.iter().map(|word| word.parse().ok()).collect();
        let wrong = || {
            format!("{keyword} is \"{}\" instead of whole numbers; the header is damaged", words.join(" "))
        };
        numbers.map(Some).ok_or_else(|| Error::format(path, wrong()))
    }
}

/// What the header says about a point.
struct Layout {
    count: u64,
    /// In bytes.
    point_size: usize,
    /// Values in a row of ASCII data.
    row_length: usize,
    coordinates: [Coordinate; 3],
}

/// Where x, y or z is.
#[derive(Clone, Copy)]
struct Coordinate {
    scalar: Scalar,
    /// Bytes of a point before this field.
    offset: usize,
    /// Bytes of this field in a point.
    size: usize,
    /// Values of a row before this field.
    place: usize,
}

impl Layout {
    fn of(path: &Path, header: &Header) -> Result<Self> {
        let wrong = |reason: String| Error::format(path, reason);
        let names = header.all("FIELDS").or_else(|| header.all("COLUMNS"));
        let names = names.ok_or_else(|| wrong("the PCD header has no FIELDS line; it is damaged".into()))?;
        let missing = |what: &str| wrong(format!("the PCD header has no {what} line; it is damaged"));
        let sizes = header.numbers(path, "SIZE")?.ok_or_else(|| missing("SIZE"))?;
        let types = header.all("TYPE").ok_or_else(|| missing("TYPE"))?;
        let counts = header.numbers(path, "COUNT")?.unwrap_or_else(|| vec![1; names.len()]);
        if [sizes.len(), types.len(), counts.len()] != [names.len(); 3] {
            let (n, s, t, c) = (names.len(), sizes.len(), types.len(), counts.len());
            let reason = format!("FIELDS names {n} fields but SIZE has {s} values, TYPE {t} and COUNT {c}");
            return Err(wrong(format!("{reason}; they must be as many")));
        }
        let mut found: [Option<Coordinate>; 3] = [None; 3];
        let (mut offset, mut place) = (0_usize, 0_usize);
        for (i, name) in names.iter().enumerate() {
            let too_large = || {
                wrong(format!(
                    "the field {name} has COUNT {} and SIZE {}; the header is damaged",
                    counts[i], sizes[i]
                ))
            };
            let [size, count] = [sizes[i], counts[i]].map(usize::try_from);
            let (Ok(size), Ok(count @ 1..)) = (size, count) else { return Err(too_large()) };
            let field_size = size.checked_mul(count).ok_or_else(too_large)?;
            if let Some(k) = ["x", "y", "z"].iter().position(|wanted| wanted == name) {
                let scalar = scalar(types[i], size).ok_or_else(|| {
                    let reason = format!("the field {name} is of TYPE {} and SIZE {size}", types[i]);
                    wrong(format!("{reason}; coordinates are F of 4 or 8 bytes, or I or U of 1, 2, 4 or 8"))
                })?;
                if found[k].replace(Coordinate { scalar, offset, size: field_size, place }).is_some() {
                    return Err(wrong(format!("the field {name} appears more than once; rename one")));
                }
            }
            offset = offset.checked_add(field_size).ok_or_else(too_large)?;
            place = place.checked_add(count).ok_or_else(too_large)?;
        }
        let [Some(x), Some(y), Some(z)] = found else {
            let reason = format!("the fields are [{}]", names.join(", "));
            return Err(wrong(format!("{reason}; a cloud needs x, y and z")));
        };
        let count = point_count(path, header)?;
        Ok(Self { count, point_size: offset, row_length: place, coordinates: [x, y, z] })
    }

    /// Points one after the other.
    fn records<'a>(&self, bytes: &'a [u8], count: usize) -> Coordinates<'a> {
        let columns =
            self.coordinates.map(|c| Column { start: c.offset, step: self.point_size, scalar: c.scalar });
        Coordinates { bytes, count, columns, order: ByteOrder::Little }
    }

    /// Fields one after the other, each of all points.
    fn fields<'a>(&self, bytes: &'a [u8], count: usize) -> Coordinates<'a> {
        let columns =
            self.coordinates.map(|c| Column { start: c.offset * count, step: c.size, scalar: c.scalar });
        Coordinates { bytes, count, columns, order: ByteOrder::Little }
    }
}

fn scalar(kind: &str, size: usize) -> Option<Scalar> {
    match (kind, size) {
        ("I", 1) => Some(Scalar::I8),
        ("I", 2) => Some(Scalar::I16),
        ("I", 4) => Some(Scalar::I32),
        ("I", 8) => Some(Scalar::I64),
        ("U", 1) => Some(Scalar::U8),
        ("U", 2) => Some(Scalar::U16),
        ("U", 4) => Some(Scalar::U32),
        ("U", 8) => Some(Scalar::U64),
        ("F", 4) => Some(Scalar::F32),
        ("F", 8) => Some(Scalar::F64),
        _ => None,
    }
}

/// From POINTS, or WIDTH × HEIGHT, which have to agree where both are given.
fn point_count(path: &Path, header: &Header) -> Result<u64> {
    let number = |keyword| match header.numbers(path, keyword)?.as_deref() {
        None => Ok(None),
        Some(&[number]) => Ok(Some(number)),
        Some(numbers) => {
            let reason =
                format!("{keyword} has {} values instead of one; the header is damaged", numbers.len());
            Err(Error::format(path, reason))
        }
    };
    let (points, width, height) = (number("POINTS")?, number("WIDTH")?, number("HEIGHT")?);
    let Some(width) = width else {
        let missing = || Error::format(path, "the PCD header has neither POINTS nor WIDTH; it is damaged");
        return points.ok_or_else(missing);
    };
    let height = height.unwrap_or(1);
    match width.checked_mul(height) {
        Some(area) if points.is_none_or(|points| points == area) => Ok(area),
        _ => {
            let points = points.map_or("absent".to_owned(), |points| points.to_string());
            let reason = format!("POINTS is {points} but WIDTH × HEIGHT is {width} × {height}");
            Err(Error::format(path, format!("{reason}; correct the header")))
        }
    }
}

fn read_compressed(path: &Path, body: &[u8], layout: &Layout) -> Result<Cloud> {
    let damaged = |what: String| Error::format(path, format!("{what}; the file is truncated or damaged"));
    let sizes = body.split_first_chunk::<4>().and_then(|(packed, rest)| {
        let (plain, rest) = rest.split_first_chunk::<4>()?;
        Some((u32::from_le_bytes(*packed), u32::from_le_bytes(*plain), rest))
    });
    let (packed_size, plain_size, rest) = sizes.ok_or_else(|| {
        damaged(format!("8 bytes of sizes should follow the header, but only {} do", body.len()))
    })?;
    let packed = rest.get(..packed_size as usize).ok_or_else(|| {
        damaged(format!("{packed_size} compressed bytes are promised but only {} follow", rest.len()))
    })?;
    let count = keep_promise(path, layout.count, "points of", layout.point_size, plain_size as usize)?;
    let plain = lzf::decompress(packed, plain_size as usize).ok_or_else(|| {
        damaged(format!("the {packed_size} compressed bytes do not decompress to the {plain_size} promised"))
    })?;
    Ok(layout.fields(&plain, count).read())
}

fn read_ascii(path: &Path, header: &Header, layout: &Layout) -> Result<Cloud> {
    // Every value takes a digit and a blank.
    let row_size = layout.row_length.saturating_mul(2) - 1;
    let count = keep_promise(path, layout.count, "points of at least", row_size, header.body.len())?;
    let places = layout.coordinates.map(|coordinate| coordinate.place);
    let declared_f64 = layout.coordinates.iter().any(|coordinate| coordinate.scalar == Scalar::F64);
    let mut points = PrintedPoints::new(count, declared_f64);
    for (line_number, row) in lines(header.body, header.body_line).take(count) {
        let wrong = |what: String| {
            let reason = format!("line {line_number}, {}, {what}", excerpt(row));
            Error::format(path, format!("{reason}; the file is damaged or its header is wrong"))
        };
        let mut found: [&[u8]; 3] = [b""; 3];
        let mut length = 0;
        for word in words(row) {
            if let Some(k) = places.iter().position(|place| *place == length) {
                found[k] = word;
            }
            length += 1;
        }
        if length < layout.row_length {
            return Err(wrong(format!(
                "holds {length} values where FIELDS and COUNT say {}",
                layout.row_length
            )));
        }
        points
            .push(found)
            .map_err(|word| wrong(format!("has {} where a number should be", excerpt(word))))?;
    }
    if points.len() < count {
        let reason = format!("the header promises {count} points but only {} rows follow", points.len());
        return Err(Error::format(path, format!("{reason}; the file is truncated or its header is wrong")));
    }
    Ok(points.into_cloud())
}
