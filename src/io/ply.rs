//! PLY: ASCII and binary of either byte order, with any other properties and elements around the vertices.
//!
//! `ply-rs-bw` reads the header and writes files, one vertex at a time. What follows a header is taken by own
//! code: vertices of a fixed size straight from the mapped bytes, those that contain lists one by one, ASCII row
//! by row. The crate has no integers of eight bytes; it loops as often as a header says over elements without
//! properties, copies lists that nobody needs, and does not say which vertex is damaged; and in ASCII it refuses
//! `nan` and hides how many digits are printed, which decides between f32 and f64.

use std::io::{self, BufRead, ErrorKind, Read, Write};
use std::path::Path;

use ply_rs_bw::parser::{Parser, Reader};
use ply_rs_bw::ply::{self, Addable, DefaultElement, ElementDef, Encoding, PropertyAccess, PropertyDef};
use ply_rs_bw::ply::{PropertyType, ScalarType};
use ply_rs_bw::writer::Writer;

use crate::cloud::Cloud;
use crate::error::{Error, Result};

use super::coordinates::{ByteOrder, Column, Coordinates, Scalar, keep_promise, narrowed, written_scalar};
use super::decimal::{PrintedPoints, lines, number, words};
use super::excerpt;

/// The cloud in `bytes`; `path` is named in errors.
pub fn read(path: &Path, bytes: &[u8]) -> Result<Cloud> {
    let header = Header::parse(path, bytes)?;
    let vertex = Vertex::find(path, &header)?;
    let order = match header.encoding {
        Encoding::Ascii => return read_ascii(path, &header, &vertex),
        Encoding::BinaryLittleEndian => ByteOrder::Little,
        Encoding::BinaryBigEndian => ByteOrder::Big,
    };
    let mut walk = Walk { path, rest: header.body, order };
    vertex.before.iter().try_for_each(|element| walk.skip(element))?;
    match vertex.element.size() {
        Some(size) => read_records(path, walk.rest, &vertex, size, order),
        None => walk.read(&vertex),
    }
}

/// Writes `cloud` in binary, little-endian.
pub fn write(cloud: &Cloud, out: &mut impl Write) -> io::Result<()> {
    let kind = if written_scalar(cloud) == Scalar::F32 { ScalarType::Float } else { ScalarType::Double };
    let mut vertex = ElementDef::new("vertex".to_owned());
    vertex.count = cloud.len();
    for name in ["x", "y", "z"] {
        vertex.properties.add(PropertyDef::new(name.to_owned(), PropertyType::Scalar(kind.clone())));
    }
    let mut header = ply::Header::new();
    header.encoding = Encoding::BinaryLittleEndian;
    header.elements.add(vertex);
    let writer = Writer::new();
    writer.write_header(out, &header)?;
    let vertex = &header.elements["vertex"];
    for index in 0..cloud.len() {
        writer.write_little_endian_element(out, &WrittenVertex { cloud: Some(cloud), index }, vertex)?;
    }
    Ok(())
}

/// A point as the writer asks for it.
struct WrittenVertex<'a> {
    /// `None` only in what the trait calls an empty vertex.
    cloud: Option<&'a Cloud>,
    index: usize,
}

impl PropertyAccess for WrittenVertex<'_> {
    fn new() -> Self {
        Self { cloud: None, index: 0 }
    }

    fn get_float(&self, name: &str) -> Option<f32> {
        Some(self.cloud?.points[self.index][coordinate_named(name)?])
    }

    fn get_double(&self, name: &str) -> Option<f64> {
        Some(self.cloud?.point(self.index)[coordinate_named(name)?])
    }
}

fn coordinate_named(name: &str) -> Option<usize> {
    ["x", "y", "z"].iter().position(|coordinate| *coordinate == name)
}

// Header

struct Header<'a> {
    encoding: Encoding,
    elements: Vec<Element>,
    /// What follows the header.
    body: &'a [u8],
    /// Number of the body's first line.
    body_line: usize,
}

struct Element {
    name: String,
    count: u64,
    properties: Vec<Property>,
}

struct Property {
    name: String,
    kind: Kind,
}

#[derive(Clone, Copy)]
enum Kind {
    Scalar(Scalar),
    /// As many items as the number before them says.
    List {
        length: Scalar,
        item: Scalar,
    },
}

impl<'a> Header<'a> {
    fn parse(path: &Path, bytes: &'a [u8]) -> Result<Self> {
        let lines = HeaderLines { rest: bytes, number: 0, line: b"", prepared: Vec::new(), said: Vec::new() };
        let mut reader = Reader::new(lines);
        let header = Parser::<DefaultElement>::new().read_header(&mut reader);
        let lines = reader.into_inner();
        let header = header.map_err(|wrong| lines.refused(path, wrong.kind()))?;
        let mut said = lines.said.into_iter();
        let element = |definition: &ElementDef| Element {
            name: said.next().and_then(|mut words| words.pop()).unwrap_or_default(),
            count: definition.count as u64,
            properties: definition.properties.values().zip(said.by_ref()).map(Property::restored).collect(),
        };
        Ok(Self {
            encoding: header.encoding,
            elements: header.elements.values().map(element).collect(),
            body: lines.rest,
            body_line: lines.number + 1,
        })
    }
}

/// Hands the lines of a header to `ply-rs-bw` one by one, in words that it knows.
///
/// Comments and blank lines are left out, and runs of blanks made one. Names give way to placeholders, because the
/// crate refuses those with dots or brackets and takes equal ones for one; integers of eight bytes, which it does
/// not know, to another type of that size.
struct HeaderLines<'a> {
    /// What follows the latest line.
    rest: &'a [u8],
    /// Of the latest line.
    number: usize,
    line: &'a [u8],
    /// What the crate has not read yet of the latest line.
    prepared: Vec<u8>,
    /// The words that were replaced, of every element and property in their order: types, then the name.
    said: Vec<Vec<String>>,
}

impl Read for HeaderLines<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let count = self.fill_buf()?.read(into)?;
        self.consume(count);
        Ok(count)
    }
}

impl BufRead for HeaderLines<'_> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        while self.prepared.is_empty() && self.take_line() {
            self.prepared = self.prepare().into_bytes();
        }
        Ok(&self.prepared)
    }

    fn consume(&mut self, count: usize) {
        self.prepared.drain(..count);
    }
}

impl HeaderLines<'_> {
    const LONGEST: usize = 1 << 16;

    /// Goes to the next line, where there is one that ends.
    fn take_line(&mut self) -> bool {
        let searched = &self.rest[..self.rest.len().min(Self::LONGEST)];
        let end = match searched.iter().position(|byte| *byte == b'\n') {
            Some(end) => end + 1,
            None if searched.len() == self.rest.len() => self.rest.len(),
            None => return false,
        };
        let taken = self.rest.split_off(..end).filter(|line| !line.is_empty());
        self.line = taken.map_or(self.line, <[u8]>::trim_ascii);
        self.number += usize::from(taken.is_some());
        taken.is_some()
    }

    /// The latest line as the crate reads it; empty where the crate need not see it.
    fn prepare(&mut self) -> String {
        let line = String::from_utf8_lossy(self.line);
        let words: Vec<&str> = line.split_ascii_whitespace().collect();
        let placeholder = format!("_{}", self.said.len());
        match *words.as_slice() {
            [] | ["comment" | "obj_info", ..] if self.number > 1 => String::new(),
            ["format", encoding, ..] => format!("format {encoding} 1.0\n"),
            ["element", name, count] => {
                self.said.push(vec![name.to_owned()]);
                format!("element {placeholder} {count}\n")
            }
            // The length is no whole number, which the crate would notice only in the first list.
            ["property", "list", "float" | "float32" | "double" | "float64", ..] => "\n".to_owned(),
            ["property", ref types @ .., _] => {
                let stand_ins: Vec<&str> = types.iter().map(|name| stand_in(name)).collect();
                self.said.push(words[1..].iter().map(|word| (*word).to_owned()).collect());
                format!("property {} {placeholder}\n", stand_ins.join(" "))
            }
            _ => words.join(" ") + "\n",
        }
    }

    /// Why the crate refused the latest line, or found none.
    fn refused(&self, path: &Path, wrong: ErrorKind) -> Error {
        let Self { number, .. } = self;
        let reason = match (wrong, self.rest) {
            (ErrorKind::UnexpectedEof, []) => {
                format!("the PLY header ends after {number} lines without end_header; the file is truncated")
            }
            (ErrorKind::UnexpectedEof, _) => {
                let (line, longest) = (number + 1, Self::LONGEST);
                format!(
                    "line {line} of the PLY header does not end within {longest} bytes; the file is damaged"
                )
            }
            _ => format!("line {number} of the PLY header, {}, {}", excerpt(self.line), self.complaint()),
        };
        Error::format(path, reason)
    }

    fn complaint(&self) -> &'static str {
        match words(self.line).next() {
            _ if self.number == 1 => "should be \"ply\"; this is no PLY file",
            Some(b"format") => {
                "names no encoding of PLY (ascii, binary_little_endian, binary_big_endian) or another than before"
            }
            Some(b"element") => "has no name or no whole number as its count",
            Some(b"property") => {
                "is no property of a known type (char to double, int8 to float64) or belongs to no element"
            }
            Some(b"end_header") => "comes before any format line",
            _ => "is none that PLY knows (format, element, property, comment, obj_info, end_header)",
        }
    }
}

/// A type of the same size that the crate knows.
fn stand_in(name: &str) -> &str {
    match name {
        "int64" | "uint64" => "double",
        known => known,
    }
}

impl Property {
    /// From the crate's definition and what the file says in its place.
    fn restored((definition, mut said): (&PropertyDef, Vec<String>)) -> Self {
        let scalar = |place: usize, read: &ScalarType| match said.get(place).map(String::as_str) {
            Some("int64") => Scalar::I64,
            Some("uint64") => Scalar::U64,
            _ => scalar(read),
        };
        let kind = match &definition.data_type {
            PropertyType::Scalar(read) => Kind::Scalar(scalar(0, read)),
            PropertyType::List(length, item) => {
                Kind::List { length: scalar(1, length), item: scalar(2, item) }
            }
        };
        Self { name: said.pop().unwrap_or_default(), kind }
    }

    /// Bytes that it takes at least.
    fn least_size(&self) -> usize {
        match self.kind {
            Kind::Scalar(scalar) | Kind::List { length: scalar, .. } => scalar.size(),
        }
    }
}

fn scalar(read: &ScalarType) -> Scalar {
    match read {
        ScalarType::Char => Scalar::I8,
        ScalarType::UChar => Scalar::U8,
        ScalarType::Short => Scalar::I16,
        ScalarType::UShort => Scalar::U16,
        ScalarType::Int => Scalar::I32,
        ScalarType::UInt => Scalar::U32,
        ScalarType::Float => Scalar::F32,
        ScalarType::Double => Scalar::F64,
    }
}

impl Element {
    /// In bytes, where no list makes it vary.
    fn size(&self) -> Option<usize> {
        let fixed = |property: &Property| matches!(property.kind, Kind::Scalar(_));
        self.properties.iter().all(fixed).then(|| self.least_size())
    }

    fn least_size(&self) -> usize {
        self.properties.iter().map(Property::least_size).sum()
    }

    fn things(&self) -> String {
        match self.name.as_str() {
            "vertex" => "vertices".to_owned(),
            name => format!("elements \"{name}\""),
        }
    }
}

// Vertices

/// The vertex element among the others.
struct Vertex<'a> {
    /// Elements whose data comes first.
    before: &'a [Element],
    element: &'a Element,
    /// Which properties are x, y and z.
    places: [usize; 3],
    scalars: [Scalar; 3],
}

impl<'a> Vertex<'a> {
    fn find(path: &Path, header: &'a Header) -> Result<Self> {
        let elements = &header.elements;
        let Some(index) = elements.iter().position(|element| element.name == "vertex") else {
            let names: Vec<&str> = elements.iter().map(|element| element.name.as_str()).collect();
            let reason = format!("the PLY header has no element \"vertex\", only [{}]", names.join(", "));
            return Err(Error::format(path, format!("{reason}; a cloud needs one with x, y and z")));
        };
        let element = &elements[index];
        let [x, y, z] = [find(path, element, "x")?, find(path, element, "y")?, find(path, element, "z")?];
        Ok(Self { before: &elements[..index], element, places: [x.0, y.0, z.0], scalars: [x.1, y.1, z.1] })
    }

    /// Which of x, y and z the property at `place` is.
    fn coordinate(&self, place: usize) -> Option<usize> {
        self.places.iter().position(|wanted| *wanted == place)
    }
}

/// Place and type of the coordinate `name`.
fn find(path: &Path, vertex: &Element, name: &str) -> Result<(usize, Scalar)> {
    let mut named = vertex.properties.iter().enumerate().filter(|(_, property)| property.name == name);
    let wrong = match (named.next().map(|(place, property)| (place, property.kind)), named.next()) {
        (Some((place, Kind::Scalar(scalar))), None) => return Ok((place, scalar)),
        (Some((_, Kind::List { .. })), None) => format!("the vertex property {name} is a list, not a number"),
        (Some(_), Some(_)) => format!("the vertex property {name} appears more than once"),
        (None, _) => {
            let names: Vec<&str> = vertex.properties.iter().map(|property| property.name.as_str()).collect();
            format!("the vertices have no property {name}, only [{}]", names.join(", "))
        }
    };
    Err(Error::format(path, format!("{wrong}; a cloud needs one number each of x, y and z")))
}

/// Vertices of a fixed size at the start of `body`.
fn read_records(path: &Path, body: &[u8], vertex: &Vertex, size: usize, order: ByteOrder) -> Result<Cloud> {
    let count = keep_promise(path, vertex.element.count, "vertices of", size, body.len())?;
    let columns = [0, 1, 2].map(|k| {
        let start = vertex.element.properties[..vertex.places[k]].iter().map(Property::least_size).sum();
        Column { start, step: size, scalar: vertex.scalars[k] }
    });
    Ok(Coordinates { bytes: body, count, columns, order }.read())
}

/// Goes through binary elements one by one, because their lists make them differ in size.
struct Walk<'a> {
    path: &'a Path,
    rest: &'a [u8],
    order: ByteOrder,
}

impl<'a> Walk<'a> {
    fn skip(&mut self, element: &Element) -> Result<()> {
        let count = self.keep_promise(element)?;
        if let Some(size) = element.size() {
            self.rest = &self.rest[count * size..];
            return Ok(());
        }
        (0..count).try_for_each(|i| self.properties(element, i, |_, _| {}))
    }

    fn keep_promise(&self, element: &Element) -> Result<usize> {
        let things = format!("{} of at least", element.things());
        keep_promise(self.path, element.count, &things, element.least_size(), self.rest.len())
    }

    fn read(mut self, vertex: &Vertex) -> Result<Cloud> {
        let element = vertex.element;
        let count = self.keep_promise(element)?;
        let mut points = vec![[0.0; 3]; count];
        for (i, point) in points.iter_mut().enumerate() {
            let keep = |place, value| {
                if let Some(k) = vertex.coordinate(place) {
                    point[k] = value;
                }
            };
            self.properties(element, i, keep)?;
        }
        let fits_f32 = vertex.scalars.iter().all(|scalar| scalar.fits_f32());
        Ok(if fits_f32 { Cloud::from_f32(narrowed(&points)) } else { Cloud::from_f64(&points) })
    }

    /// Takes the `i`-th `element` and hands every number in it, with its place, to `keep`.
    fn properties(&mut self, element: &Element, i: usize, mut keep: impl FnMut(usize, f64)) -> Result<()> {
        for (place, property) in element.properties.iter().enumerate() {
            let taken = match property.kind {
                Kind::Scalar(scalar) => self.number(scalar).map(|value| keep(place, value)),
                Kind::List { length, item } => self.skip_list(length, item),
            };
            taken.map_err(|wrong| {
                let Element { name, count, .. } = element;
                let reason = format!("{name} {i} of {count}, property {}: {wrong}", property.name);
                Error::format(self.path, format!("{reason}; the file is truncated or its header is wrong"))
            })?;
        }
        Ok(())
    }

    fn number(&mut self, scalar: Scalar) -> Result<f64, String> {
        let raw = self.take(scalar.size()).ok_or("the file ends here")?;
        Ok(scalar.value(raw, self.order))
    }

    fn skip_list(&mut self, length: Scalar, item: Scalar) -> Result<(), String> {
        let (length, size) = (self.number(length)?, item.size());
        if length < 0.0 {
            return Err(format!("the list has the negative length {length}"));
        }
        let left = self.rest.len();
        let skipped = self.take((length as usize).saturating_mul(size));
        skipped.map(drop).ok_or_else(|| {
            format!("the list has {length} items of {size} bytes but only {left} bytes follow")
        })
    }

    fn take(&mut self, size: usize) -> Option<&'a [u8]> {
        self.rest.split_off(..size)
    }
}

// ASCII

fn read_ascii(path: &Path, header: &Header, vertex: &Vertex) -> Result<Cloud> {
    let mut rows = lines(header.body, header.body_line);
    for element in vertex.before.iter().filter(|element| !element.properties.is_empty()) {
        skip_rows(path, &mut rows, element)?;
    }
    let Element { count, properties, .. } = vertex.element;
    // Every value takes a digit and a blank.
    let promised =
        keep_promise(path, *count, "vertices of at least", 2 * properties.len() - 1, header.body.len())?;
    let mut points = PrintedPoints::new(promised, vertex.scalars.contains(&Scalar::F64));
    for (line_number, row) in rows.take(promised) {
        let wrong = |what: String| {
            let reason = format!("line {line_number}, {}, {what}", excerpt(row));
            Error::format(path, format!("{reason}; the file is damaged or its header is wrong"))
        };
        let values = coordinates_in(row, vertex).ok_or_else(|| {
            wrong(format!("holds fewer values than the {} properties of a vertex", properties.len()))
        })?;
        points
            .push(values)
            .map_err(|word| wrong(format!("has {} where a number should be", excerpt(word))))?;
    }
    if points.len() < promised {
        return Err(too_few_rows(path, vertex.element, points.len()));
    }
    Ok(points.into_cloud())
}

fn skip_rows<'a>(
    path: &Path,
    rows: &mut impl Iterator<Item = (usize, &'a [u8])>,
    element: &Element,
) -> Result<()> {
    for i in 0..element.count {
        rows.next().ok_or_else(|| too_few_rows(path, element, i as usize))?;
    }
    Ok(())
}

fn too_few_rows(path: &Path, element: &Element, found: usize) -> Error {
    let reason =
        format!("the header promises {} {} but only {found} rows follow", element.count, element.things());
    Error::format(path, format!("{reason}; the file is truncated or its header is wrong"))
}

/// The words in `row` that print x, y and z; `None` where the row is too short.
fn coordinates_in<'a>(row: &'a [u8], vertex: &Vertex) -> Option<[&'a [u8]; 3]> {
    let mut words = words(row);
    let mut found: [&[u8]; 3] = [b""; 3];
    for (place, property) in vertex.element.properties.iter().enumerate() {
        let word = words.next()?;
        match property.kind {
            Kind::Scalar(_) => {
                if let Some(k) = vertex.coordinate(place) {
                    found[k] = word;
                }
            }
            Kind::List { .. } => {
                let items = number(word).filter(|items| *items >= 0.0)? as usize;
                if items > 0 {
                    words.nth(items - 1)?;
                }
            }
        }
    }
    Some(found)
}
