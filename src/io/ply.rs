//! PLY: ASCII and binary of either byte order, with any other properties and elements around the vertices.
//!
//! Reading is by hand: vertices of a fixed size are taken straight from the mapped bytes; those that contain
//! lists are walked through. Writing is `ply-rs-bw`'s, one vertex at a time. That crate's parser is not used: it
//! refuses `nan` in ASCII rows and property names with brackets or dots, overlooks doubled property names (and
//! then reads shifted records), and loops as often as a header says over elements without properties.

use std::io::{self, Write};
use std::path::Path;

use ply_rs_bw::ply::{self, Addable, ElementDef, Encoding as WrittenEncoding, PropertyAccess, PropertyDef};
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
    match header.encoding {
        Encoding::Ascii => read_ascii(path, &header, &vertex),
        Encoding::Binary(order) => {
            let mut walk = Walk { path, rest: header.body, order };
            vertex.before.iter().try_for_each(|element| walk.skip(element))?;
            match vertex.element.size() {
                Some(size) => read_records(path, walk.rest, &vertex, size, order),
                None => walk.read(&vertex),
            }
        }
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
    header.encoding = WrittenEncoding::BinaryLittleEndian;
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

#[derive(Clone, Copy)]
enum Encoding {
    Ascii,
    Binary(ByteOrder),
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
        let mut encoding = None;
        let mut elements: Vec<Element> = Vec::new();
        let mut rest = bytes;
        let mut number = 0;
        loop {
            number += 1;
            let line = take_line(path, &mut rest, number)?;
            let wrong = |what: &str| {
                let line = excerpt(line.trim_ascii());
                Error::format(path, format!("line {number} of the PLY header, {line}, {what}"))
            };
            let text = String::from_utf8_lossy(line);
            let words: Vec<&str> = text.split_ascii_whitespace().collect();
            match *words.as_slice() {
                ["ply"] if number == 1 => {}
                _ if number == 1 => return Err(wrong("should be \"ply\"; this is no PLY file")),
                [] | ["comment" | "obj_info", ..] => {}
                ["format", name, ..] => {
                    let unknown = "names no encoding of PLY (ascii, binary_little_endian, binary_big_endian)";
                    encoding = Some(Encoding::named(name).ok_or_else(|| wrong(unknown))?);
                }
                ["element", name, count] => {
                    let count = count.parse().map_err(|_| wrong("has a count that is no whole number"))?;
                    elements.push(Element { name: name.to_owned(), count, properties: Vec::new() });
                }
                ["property", ref definition @ ..] => {
                    let property = Property::parse(definition).ok_or_else(|| {
                        wrong("is no property of a known type (char to double, int8 to float64)")
                    })?;
                    let element = elements.last_mut().ok_or_else(|| wrong("belongs to no element"))?;
                    element.properties.push(property);
                }
                ["end_header"] => {
                    let encoding = encoding.ok_or_else(|| wrong("comes before any format line"))?;
                    return Ok(Self { encoding, elements, body: rest, body_line: number + 1 });
                }
                _ => return Err(wrong("is none that PLY knows")),
            }
        }
    }
}

/// The next line of the header, without its end.
fn take_line<'a>(path: &Path, rest: &mut &'a [u8], number: usize) -> Result<&'a [u8]> {
    const LONGEST: usize = 1 << 16;
    if rest.is_empty() {
        let reason = format!(
            "the PLY header ends after {} lines without end_header; the file is truncated",
            number - 1
        );
        return Err(Error::format(path, reason));
    }
    let searched = &rest[..rest.len().min(LONGEST)];
    match searched.iter().position(|byte| *byte == b'\n') {
        Some(end) => {
            let line = &rest[..end];
            *rest = &rest[end + 1..];
            Ok(line)
        }
        None if searched.len() == rest.len() => Ok(std::mem::take(rest)),
        None => {
            let reason = format!(
                "line {number} of the PLY header does not end within {LONGEST} bytes; the file is damaged"
            );
            Err(Error::format(path, reason))
        }
    }
}

impl Encoding {
    fn named(name: &str) -> Option<Self> {
        match name {
            "ascii" => Some(Self::Ascii),
            "binary_little_endian" => Some(Self::Binary(ByteOrder::Little)),
            "binary_big_endian" => Some(Self::Binary(ByteOrder::Big)),
            _ => None,
        }
    }
}

impl Property {
    /// From the words after "property".
    fn parse(words: &[&str]) -> Option<Self> {
        match words {
            ["list", length, item, name] => {
                let length = scalar(length).filter(|length| !matches!(length, Scalar::F32 | Scalar::F64))?;
                Some(Self { name: (*name).to_owned(), kind: Kind::List { length, item: scalar(item)? } })
            }
            [kind, name] => Some(Self { name: (*name).to_owned(), kind: Kind::Scalar(scalar(kind)?) }),
            _ => None,
        }
    }

    /// Bytes that it takes at least.
    fn least_size(&self) -> usize {
        match self.kind {
            Kind::Scalar(scalar) | Kind::List { length: scalar, .. } => scalar.size(),
        }
    }
}

fn scalar(name: &str) -> Option<Scalar> {
    match name {
        "char" | "int8" => Some(Scalar::I8),
        "uchar" | "uint8" => Some(Scalar::U8),
        "short" | "int16" => Some(Scalar::I16),
        "ushort" | "uint16" => Some(Scalar::U16),
        "int" | "int32" => Some(Scalar::I32),
        "uint" | "uint32" => Some(Scalar::U32),
        "int64" => Some(Scalar::I64),
        "uint64" => Some(Scalar::U64),
        "float" | "float32" => Some(Scalar::F32),
        "double" | "float64" => Some(Scalar::F64),
        _ => None,
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
