//! Files of every format: written by hand, by other libraries and by this one; cut short, lying and damaged.

use std::fs;
use std::path::Path;

use coregister::cloud::{Cloud, Point};
use coregister::error::Result;
use coregister::io::{kitti, npy, pcd, ply, read_cloud, text, write_cloud};
use proptest::prelude::*;

type Reader = fn(&Path, &[u8]) -> Result<Cloud>;

const POINTS: [Point; 3] = [[1.5, -2.25, 3.125], [0.1, 1e-7, -4e8], [-0.5, 0.3, 7.0]];

/// Easting, northing, height, in millimetres.
const UTM: [[f64; 3]; 3] = [
    [448_262.123, 5_411_932.678, 115.071],
    [448_263.124, 5_411_933.679, 115.072],
    [448_259.001, 5_411_930.002, 116.5],
];

fn named(extension: &str) -> String {
    format!("a.{extension}")
}

fn read(reader: Reader, bytes: &[u8]) -> Cloud {
    reader(Path::new("a"), bytes).unwrap()
}

fn error(reader: Reader, bytes: &[u8]) -> String {
    let error = reader(Path::new("a.file"), bytes).unwrap_err().to_string();
    assert!(error.starts_with("a.file: "), "the file is not named: {error}");
    error
}

#[track_caller]
fn assert_names(error: &str, parts: &[&str]) {
    for part in parts {
        assert!(error.contains(part), "{part:?} is missing in: {error}");
    }
}

#[track_caller]
fn assert_near(cloud: &Cloud, expected: &[[f64; 3]], tolerance: f64) {
    assert_eq!(cloud.len(), expected.len());
    for (i, expected) in expected.iter().enumerate() {
        let found = cloud.point(i);
        let near = (0..3).all(|k| (found[k] - expected[k]).abs() <= tolerance);
        assert!(near, "point {i} is {found:?} instead of {expected:?}");
    }
}

/// The numbers' bytes in the order that `bytes_of` gives.
fn pack<T: Copy, const SIZE: usize>(numbers: &[T], bytes_of: fn(T) -> [u8; SIZE]) -> Vec<u8> {
    numbers.iter().flat_map(|number| bytes_of(*number)).collect()
}

fn ply_file(format: &str, header: &str, body: &[u8]) -> Vec<u8> {
    [format!("ply\nformat {format} 1.0\n{header}end_header\n").as_bytes(), body].concat()
}

const XYZ: &str = "property float x\nproperty float y\nproperty float z\n";

// PLY

#[test]
fn ply_binary_keeps_f32_bits_in_both_byte_orders() {
    let odd = [[f32::NAN, f32::INFINITY, -0.0], [f32::MIN_POSITIVE / 2.0, f32::MAX, 1.0]];
    let points = [POINTS.as_slice(), &odd].concat();
    let header = format!("element vertex {}\n{XYZ}", points.len());
    let numbers = points.concat();
    let bits = |points: &[Point]| points.concat().iter().map(|x| x.to_bits()).collect::<Vec<_>>();
    let little = ply_file("binary_little_endian", &header, &pack(&numbers, f32::to_le_bytes));
    let big = ply_file("binary_big_endian", &header, &pack(&numbers, f32::to_be_bytes));
    for file in [little, big] {
        let cloud = read(ply::read, &file);
        assert_eq!(bits(&cloud.points), bits(&points));
        assert_eq!(cloud.origin, [0.0; 3]);
    }
}

#[test]
fn ply_reads_every_scalar_type_in_every_encoding() {
    let points = [[1, 2, 3], [4, 5, 6], [100, 0, 127]];
    type BytesOf = fn(i32) -> Vec<u8>;
    let little: [(&[&str], BytesOf); 8] = [
        (&["char", "int8"], |x| (x as i8).to_le_bytes().to_vec()),
        (&["uchar", "uint8"], |x| (x as u8).to_le_bytes().to_vec()),
        (&["short", "int16"], |x| (x as i16).to_le_bytes().to_vec()),
        (&["ushort", "uint16"], |x| (x as u16).to_le_bytes().to_vec()),
        (&["int", "int32"], |x| x.to_le_bytes().to_vec()),
        (&["uint", "uint32"], |x| (x as u32).to_le_bytes().to_vec()),
        (&["float", "float32"], |x| (x as f32).to_le_bytes().to_vec()),
        (&["double", "float64"], |x| f64::from(x).to_le_bytes().to_vec()),
    ];
    let expected = points.map(|point| point.map(f64::from));
    for (names, little) in little {
        let big = |x| little(x).into_iter().rev().collect::<Vec<_>>();
        for name in names {
            let header =
                format!("element vertex 3\nproperty {name} x\nproperty {name} y\nproperty {name} z\n");
            let body: Vec<u8> = points.iter().flatten().flat_map(|x| little(*x)).collect();
            assert_near(&read(ply::read, &ply_file("binary_little_endian", &header, &body)), &expected, 0.0);
            let body: Vec<u8> = points.iter().flatten().flat_map(|x| big(*x)).collect();
            assert_near(&read(ply::read, &ply_file("binary_big_endian", &header, &body)), &expected, 0.0);
            let body = "1 2 3\n4 5 6\n100 0 127\n".as_bytes();
            assert_near(&read(ply::read, &ply_file("ascii", &header, body)), &expected, 0.0);
        }
    }
}

#[test]
fn ply_finds_mixed_types_between_other_properties() {
    let header = "comment caf\u{e9}\nobj_info any\nelement vertex 2\nproperty uchar red\nproperty double z\n\
                  property float scalar_C2C[<0.1].x\nproperty short x\nproperty float y\nproperty uchar blue\n";
    let mut body = Vec::new();
    for (x, y, z) in [(-7_i16, 0.5_f32, 1e10_f64), (300, -1.25, 1e10 + 0.25)] {
        body.push(9);
        body.extend(z.to_le_bytes());
        body.extend(99_f32.to_le_bytes());
        body.extend(x.to_le_bytes());
        body.extend(y.to_le_bytes());
        body.push(9);
    }
    let expected = [[-7.0, 0.5, 1e10], [300.0, -1.25, 1e10 + 0.25]];
    let file = ply_file("binary_little_endian", header, &body);
    assert_near(&read(ply::read, &file), &expected, 0.0);
    let rows = b"9 10000000000 99 -7 0.5 9\n9 10000000000.25 99 300 -1.25 9\n";
    assert_near(&read(ply::read, &ply_file("ascii", header, rows)), &expected, 0.0);
}

#[test]
fn ply_walks_through_lists_and_elements_before_the_vertices() {
    let header = "element empty 1000000000000\nelement camera 2\nproperty int id\nelement face 2\n\
                  property list uchar short vertex_index\nproperty char flag\n\
                  element vertex 2\nproperty float x\nproperty list ushort double extra\nproperty float y\n\
                  property float z\nelement tail 1\nproperty int missing\n";
    let build = |order: fn(&[u8]) -> Vec<u8>| {
        let mut body = Vec::new();
        let mut put = |bytes: &[u8]| body.extend(order(bytes));
        [1_i32, 2].iter().for_each(|id| put(&id.to_le_bytes()));
        for indices in [vec![0_i16, 1, 0], vec![]] {
            put(&[indices.len() as u8]);
            indices.iter().for_each(|index| put(&index.to_le_bytes()));
            put(&[7]);
        }
        for (point, extra) in POINTS.iter().zip([vec![], vec![5.0_f64, 6.0]]) {
            put(&point[0].to_le_bytes());
            put(&(extra.len() as u16).to_le_bytes());
            extra.iter().for_each(|x| put(&x.to_le_bytes()));
            put(&point[1].to_le_bytes());
            put(&point[2].to_le_bytes());
        }
        body
    };
    let little = build(<[u8]>::to_vec);
    let big = build(|bytes| bytes.iter().rev().copied().collect());
    let ascii = b"1\n2\n3 0 1 0 7\n0 7\n\n1.5 0 -2.25 3.125\n0.1 2 5 6 1e-7 -4e8\n";
    let files = [("binary_little_endian", little), ("binary_big_endian", big), ("ascii", ascii.to_vec())];
    for (format, body) in files {
        let cloud = read(ply::read, &ply_file(format, header, &body));
        assert_eq!(cloud, Cloud::from_f32(POINTS[..2].to_vec()), "{format}");
    }
}

#[test]
fn ply_reads_windows_line_ends_and_values_that_are_no_numbers() {
    let file = b"ply\r\nformat ascii 1.0\r\nelement vertex 2\r\nproperty float x\r\nproperty float y\r\n\
                 property float z\r\nend_header\r\nnan -nan(ind) inf\r\n  1.5\t-2.25 3.125 \r\n";
    let cloud = read(ply::read, file);
    assert!(
        cloud.points[0][0].is_nan() && cloud.points[0][1].is_nan() && cloud.points[0][2] == f32::INFINITY
    );
    assert_eq!(cloud.points[1], POINTS[0]);
    let mut binary = b"ply\r\nformat binary_little_endian 1.0\r\nelement vertex 3\r\nproperty float x\r\n\
                       property float y\r\nproperty float z\r\nend_header\r\n"
        .to_vec();
    binary.extend(pack(&POINTS.concat(), f32::to_le_bytes));
    assert_eq!(read(ply::read, &binary).points, POINTS);
}

#[test]
fn ply_headers_may_have_oddities_that_real_files_have() {
    let header = "ply \r\n\n  format\tascii   1.00  \ncomment\ncomment \u{1} caf\u{e9} {x}\n\tobj_info num_cols 512\n\
                  comment end_header\n element  vertex\t1 \nproperty float nx[0].y\nproperty int 2nd\n\
                  property  float  x\nproperty float nx[0].y\nproperty list int64 uint64 \u{fc}\nobj_info\n\
                  property\tfloat y\nproperty float z\t\nelement vertex 7\nproperty int64 _0\nend_header \n";
    let file = [header.as_bytes(), b"9 8 1.5 7 2 5 6 -2.25 3.125\n"].concat();
    assert_eq!(read(ply::read, &file).points, POINTS[..1]);
    let latin =
        [b"ply\ncomment caf\xe9\nformat ascii 1.0\nelement caf\xe9 0\n".as_slice(), &file[5..]].concat();
    assert_eq!(read(ply::read, &latin).points, POINTS[..1]);
    assert_names(
        &error(ply::read, &[header.as_bytes(), b"9 8 1.5 7 2 5 6 -2.25\n"].concat()),
        &["line 20", "9 8 1.5 7", "7 properties"],
    );
}

#[test]
fn ply_reads_integers_of_eight_bytes() {
    let header = "element vertex 1\nproperty uint64 y\nproperty int64 x\nproperty list uint64 int64 l\n\
                  property double z\n";
    let body = [1 << 40, (-5_i64) as u64, 1, 9, 0.5_f64.to_bits()];
    let expected = [[-5.0, (1_u64 << 40) as f64, 0.5]];
    let little = ply_file("binary_little_endian", header, &pack(&body, u64::to_le_bytes));
    assert_near(&read(ply::read, &little), &expected, 0.0);
    let big = ply_file("binary_big_endian", header, &pack(&body, u64::to_be_bytes));
    assert_near(&read(ply::read, &big), &expected, 0.0);
}

#[test]
fn ply_agrees_with_an_independent_writer() {
    use ply_rs_bw::ply::{
        Addable, DefaultElement, ElementDef, Encoding, Ply, Property, PropertyDef, PropertyType, ScalarType,
    };
    for encoding in [Encoding::Ascii, Encoding::BinaryLittleEndian, Encoding::BinaryBigEndian] {
        let mut file = Ply::<DefaultElement>::new();
        file.header.encoding = encoding;
        file.header.comments.push("made elsewhere".to_owned());
        let mut vertex = ElementDef::new("vertex".to_owned());
        for name in ["z", "y", "x"] {
            vertex.properties.add(PropertyDef::new(name.to_owned(), PropertyType::Scalar(ScalarType::Float)));
        }
        let list = PropertyType::List(ScalarType::UChar, ScalarType::Int);
        vertex.properties.add(PropertyDef::new("neighbours".to_owned(), list));
        file.header.elements.add(vertex);
        let vertices = POINTS.iter().enumerate().map(|(i, [x, y, z])| {
            let mut vertex = DefaultElement::new();
            vertex.insert("x".to_owned(), Property::Float(*x));
            vertex.insert("y".to_owned(), Property::Float(*y));
            vertex.insert("z".to_owned(), Property::Float(*z));
            vertex.insert("neighbours".to_owned(), Property::ListInt(vec![1; i]));
            vertex
        });
        file.payload.insert("vertex".to_owned(), vertices.collect());
        let mut bytes = Vec::new();
        ply_rs_bw::writer::Writer::new().write_ply(&mut bytes, &mut file).unwrap();
        assert_eq!(read(ply::read, &bytes).points, POINTS, "{encoding:?}");
    }
}

#[test]
fn ply_headers_that_lie_are_refused_with_their_numbers() {
    let trillion = format!("element vertex 1000000000000\n{XYZ}");
    let lying = ply_file("binary_little_endian", &trillion, &[0; 480]);
    assert_eq!(
        error(ply::read, &lying),
        "a.file: the header promises 1000000000000 vertices of 12 bytes but only 480 bytes follow; the file is \
         truncated or its header is wrong"
    );
    assert_names(
        &error(ply::read, &ply_file("ascii", &trillion, b"1 2 3\n")),
        &["1000000000000", "only 6 bytes"],
    );
    let overflowing = format!("element vertex {}\n{XYZ}", u64::MAX);
    assert_names(
        &error(ply::read, &ply_file("binary_big_endian", &overflowing, b"")),
        &["18446744073709551615"],
    );
    let lists = format!("element vertex 1000000000000\nproperty list int int l\n{XYZ}");
    assert_names(
        &error(ply::read, &ply_file("binary_little_endian", &lists, &[0; 32])),
        &["1000000000000 vertices of at least 16 bytes", "only 32 bytes"],
    );
    let faces = format!("element face 1000000000000\nproperty list uchar int l\nelement vertex 1\n{XYZ}");
    assert_names(
        &error(ply::read, &ply_file("binary_little_endian", &faces, &[0; 32])),
        &["1000000000000 elements \"face\" of at least 1 bytes", "only 32 bytes"],
    );
    assert_names(&error(ply::read, &ply_file("ascii", &faces, b"0\n0\n")), &["1000000000000", "only 2 rows"]);
}

#[test]
fn ply_list_lengths_that_lie_are_refused() {
    let header = format!("element vertex 1\nproperty list int double l\n{XYZ}");
    let with_length =
        |length: i32| ply_file("binary_little_endian", &header, &pack(&[length, 0, 0, 0], i32::to_le_bytes));
    assert_names(&error(ply::read, &with_length(-5)), &["vertex 0", "property l", "negative length -5"]);
    assert_names(
        &error(ply::read, &with_length(i32::MAX)),
        &["2147483647 items of 8 bytes", "only 12 bytes"],
    );
    assert_names(&error(ply::read, &ply_file("ascii", &header, b"-1 1 2 3\n")), &["line 9", "fewer values"]);
    assert_names(
        &error(ply::read, &ply_file("ascii", &header, b"99999999999 1 2 3\n")),
        &["line 9", "fewer values"],
    );
}

#[test]
fn ply_headers_that_make_no_sense_are_refused_with_the_line() {
    let refused = |header: &str| error(ply::read, &ply_file("ascii", header, b""));
    assert_names(&refused(""), &["no element \"vertex\""]);
    assert_names(
        &refused("element vertex 1\nproperty float x\nproperty float y\n"),
        &["no property z", "x, y"],
    );
    assert_names(
        &refused(&format!("element vertex 0\n{XYZ}property float x\n")),
        &["x appears more than once"],
    );
    let list = "element vertex 0\nproperty list char char x\nproperty char y\nproperty char z\n";
    assert_names(&refused(list), &["x is a list"]);
    assert_names(&refused("element vertex -1\n"), &["line 3", "vertex -1", "no whole number"]);
    assert_names(&refused("element vertex 99999999999999999999\n"), &["line 3", "no whole number"]);
    assert_names(&refused("property float x\n"), &["line 3", "belongs to no element"]);
    assert_names(&refused("element vertex 1\nproperty half x\n"), &["line 4", "half", "known type"]);
    assert_names(&refused("element vertex 1\nproperty list float int x\n"), &["line 4", "known type"]);
    assert_names(&refused("nonsense\n"), &["line 3", "nonsense"]);
    assert_names(&refused("comment a\n\nelement vertex 1 2\n"), &["line 5", "element"]);
    assert_names(&refused("element vertex 1\nproperty\n"), &["line 4", "property"]);
    assert_names(&refused("element vertex 1\nproperty list int x\n"), &["line 4", "known type"]);
    assert_names(&refused("format binary_big_endian 1.0\n"), &["line 3", "another than before"]);
    assert_names(&refused("ply\n"), &["line 3", "none that PLY knows"]);
    assert_names(&error(ply::read, b"ply\nformat morse 1.0\n"), &["line 2", "morse"]);
    assert_names(&error(ply::read, b"ply\nend_header\n"), &["line 2", "format"]);
    assert_names(&error(ply::read, b"ply\nformat ascii 1.0\n"), &["after 2 lines", "end_header"]);
    assert_names(&error(ply::read, b"solid cube\n"), &["solid cube", "no PLY file"]);
    assert_names(
        &error(ply::read, &[b"ply\n".as_slice(), &[b'c'; 100_000]].concat()),
        &["line 2", "65536 bytes"],
    );
}

// PCD

const PCD_VALUES: [[f64; 3]; 3] = [[1.5, -2.0, 3.0], [4.0, 5.5, -6.0], [7.25, 8.0, 9.0]];

/// Fields out of order, of different types and counts, around x y z.
const PCD_FIELDS: &str = "VERSION .7\nFIELDS normal z _ x rgb y\nSIZE 4 8 1 4 4 2\nTYPE F F U F U I\nCOUNT 3 1 5 1 1 1\n\
                          WIDTH 3\nHEIGHT 1\nVIEWPOINT 0 0 0 1 0 0 0\nPOINTS 3\n";

/// The values of field `field` of [`PCD_FIELDS`] for a point.
fn pcd_field(field: usize, [x, y, z]: [f64; 3]) -> Vec<u8> {
    match field {
        0 => vec![1; 12],
        1 => z.to_le_bytes().to_vec(),
        2 => vec![2; 5],
        3 => (x as f32).to_le_bytes().to_vec(),
        4 => vec![3; 4],
        _ => (y as i16).to_le_bytes().to_vec(),
    }
}

fn pcd_file(fields: &str, data: &str, body: &[u8]) -> Vec<u8> {
    [b"# .PCD v.7 \xe9\n", fields.as_bytes(), b"DATA ", data.as_bytes(), b"\n", body].concat()
}

fn pcd_compressed(plain: &[u8]) -> Vec<u8> {
    let packed = lzf::compress(plain).unwrap();
    [&(packed.len() as u32).to_le_bytes(), &(plain.len() as u32).to_le_bytes(), packed.as_slice()].concat()
}

#[test]
fn pcd_reads_every_encoding_of_odd_fields() {
    // y is an integer here.
    let values = PCD_VALUES.map(|[x, y, z]| [x, y.trunc(), z]);
    let records: Vec<u8> =
        values.iter().flat_map(|p| (0..6).flat_map(|field| pcd_field(field, *p))).collect();
    let columns: Vec<u8> =
        (0..6).flat_map(|field| values.iter().flat_map(move |p| pcd_field(field, *p))).collect();
    let rows: String =
        values.iter().map(|[x, y, z]| format!("0 nan 0 {z} 1 2 3 4 5 {x} 4278190080 {y}\n")).collect();
    for (data, body) in
        [("binary", records), ("binary_compressed", pcd_compressed(&columns)), ("ascii", rows.into_bytes())]
    {
        assert_near(&read(pcd::read, &pcd_file(PCD_FIELDS, data, &body)), &values, 0.0);
    }
}

const PCD_XYZ: &str = "FIELDS x y z\nSIZE 4 4 4\nTYPE F F F\n";

#[test]
fn pcd_takes_the_count_from_width_and_height_or_from_points() {
    let body = pack(&POINTS.concat(), f32::to_le_bytes);
    for count in ["WIDTH 3\nHEIGHT 1\n", "WIDTH 1\nHEIGHT 3\nPOINTS 3\n", "POINTS 3\n", "WIDTH 3\nPOINTS 3\n"]
    {
        let cloud = read(pcd::read, &pcd_file(&format!("{PCD_XYZ}{count}"), "binary", &body));
        assert_eq!(cloud, Cloud::from_f32(POINTS.to_vec()), "{count}");
    }
}

#[test]
fn pcd_organised_clouds_keep_their_holes() {
    let header = format!("{PCD_XYZ}WIDTH 2\nHEIGHT 1\nPOINTS 2\n");
    let cloud = read(pcd::read, &pcd_file(&header, "ascii", b"nan nan nan\r\n1.5 -2.25 3.125\r\n"));
    assert!(cloud.points[0].iter().all(|x| x.is_nan()));
    assert_eq!(cloud.points[1], POINTS[0]);
}

#[test]
fn pcd_headers_that_lie_are_refused_with_their_numbers() {
    let refused = |rest: &str, data: &str, body: &[u8]| {
        error(pcd::read, &pcd_file(&format!("{PCD_XYZ}{rest}"), data, body))
    };
    let trillion = "POINTS 1000000000000\n";
    assert_names(
        &refused(trillion, "binary", &[0; 36]),
        &["1000000000000 points of 12 bytes", "only 36 bytes"],
    );
    assert_names(&refused(trillion, "ascii", b"1 2 3\n"), &["1000000000000", "only 6 bytes"]);
    assert_names(&refused("POINTS 3\n", "ascii", b"1 2 3\n4 5 6      \n"), &["3 points", "only 2 rows"]);
    assert_names(
        &refused("WIDTH 4294967296\nHEIGHT 4294967296\n", "binary", b""),
        &["4294967296 × 4294967296"],
    );
    assert_names(&refused("WIDTH 3\nHEIGHT 2\nPOINTS 5\n", "binary", &[0; 99]), &["POINTS is 5", "3 × 2"]);
    assert_names(&refused("POINTS -3\n", "binary", b""), &["POINTS is \"-3\""]);
    assert_names(&refused("POINTS 3 3\n", "binary", b""), &["POINTS has 2 values"]);
    assert_names(&refused("", "binary", b""), &["neither POINTS nor WIDTH"]);
    assert_names(&refused("POINTS 3\n", "morse", b""), &["morse"]);
    assert_names(&refused("POINTS 3\nCOUNT 1 1\n", "binary", b""), &["3 fields", "COUNT 2"]);
    assert_names(&refused("POINTS 3\nCOUNT 1 1 0\n", "binary", b""), &["field z", "COUNT 0"]);
    let enormous = format!("POINTS 3\nCOUNT 1 1 {}\n", u64::MAX);
    assert_names(&refused(&enormous, "binary", b""), &["field z", "18446744073709551615"]);
}

#[test]
fn pcd_compressed_sizes_that_lie_are_refused_with_their_numbers() {
    let header = format!("{PCD_XYZ}POINTS 3\n");
    let refused = |body: &[u8]| error(pcd::read, &pcd_file(&header, "binary_compressed", body));
    assert_names(&refused(&[1, 2, 3]), &["8 bytes of sizes", "only 3"]);
    assert_names(&refused(&pack(&[1000_u32, 36, 0], u32::to_le_bytes)), &["1000 compressed bytes", "only 4"]);
    assert_names(&refused(&pack(&[4_u32, 24, 0], u32::to_le_bytes)), &["3 points of 12 bytes", "only 24"]);
    assert_names(
        &refused(&pack(&[4_u32, u32::MAX, 0], u32::to_le_bytes)),
        &["4 compressed bytes", "4294967295"],
    );
}

#[test]
fn pcd_fields_that_make_no_sense_are_refused() {
    let refused = |fields: &str| error(pcd::read, &pcd_file(fields, "ascii", b""));
    assert_names(&refused(""), &["no FIELDS"]);
    assert_names(&refused("FIELDS x y z\nTYPE F F F\n"), &["no SIZE"]);
    assert_names(&refused("FIELDS x y z\nSIZE 4 4 4\n"), &["no TYPE"]);
    assert_names(&refused("FIELDS x y i\nSIZE 4 4 4\nTYPE F F F\nPOINTS 0\n"), &["x, y, i"]);
    assert_names(&refused("FIELDS x y z\nSIZE 4 4 2\nTYPE F F F\n"), &["field z", "SIZE 2"]);
    assert_names(&refused("FIELDS x y z z\nSIZE 4 4 4 4\nTYPE F F F F\n"), &["field z", "more than once"]);
    assert_names(&error(pcd::read, b"VERSION .7\nFIELDS x y z\n"), &["no DATA line"]);
}

// KITTI

#[test]
fn kitti_skips_the_intensity_and_refuses_part_of_a_point() {
    let file: Vec<u8> =
        POINTS.iter().flat_map(|[x, y, z]| pack(&[*x, *y, *z, 0.9], f32::to_le_bytes)).collect();
    assert_eq!(read(kitti::read, &file), Cloud::from_f32(POINTS.to_vec()));
    assert_names(&error(kitti::read, &file[..47]), &["47 bytes", "16-byte"]);
}

// Text

#[test]
fn text_reads_every_separator_header_and_comment() {
    let expected = Cloud::from_f32(vec![[1.0, 2.0, 3.5], [4.0, 5.0, -6.0]]);
    for file in [
        "1 2 3.5\n4 5 -6\n",
        "1 2 3.5\n4 5 -6",
        "\u{feff}1 2 3.5\r\n\r\n4\t 5   -6 255 0 0\r\n",
        "1,2,3.5\n4, 5 ,-6\n",
        "1;2;3.5;red\n4; 5;-6;\n",
        "x y z\n1 2 3.5\n4 5 -6\n",
        "X,Y,Z,Intensity\n1,2,3.5,9\n4,5,-6,9\n",
        "\"t\",\"z\",\"y\",\"x\"\n0,3.5,2,1\n0,-6,5,4\n",
        "# made by hand\n1 2 3.5 # first\n// nothing\n4 5 -6 // second\n",
        "//X Y Z\n1 2 3.5\n4 5 -6\n",
        "# time x y z\n0 1 2 3.5\n0 4 5 -6\n",
        "# about x y z and more\n1 2 3.5\n4 5 -6\n",
    ] {
        assert_eq!(read(text::read, file.as_bytes()), expected, "{file:?}");
    }
}

#[test]
fn text_keeps_points_that_are_no_numbers() {
    let cloud = read(text::read, b"nan 1.#QNAN inf\n1 2 3\n");
    assert!(cloud.points[0][0].is_nan() && cloud.points[0][1].is_nan());
    assert_eq!(cloud.points[0][2], f32::INFINITY);
    assert_eq!(cloud.points[1], [1.0, 2.0, 3.0]);
}

#[test]
fn text_uses_f64_only_where_the_digits_ask_for_it() {
    let short = read(text::read, b"500000 0.1 3\n1.1 2.2 3.3\n");
    assert_eq!(short.points, [[500_000.0, 0.1, 3.0], [1.1, 2.2, 3.3]]);
    assert_eq!(short.origin, [0.0; 3]);
    let rows: String = UTM.iter().map(|[x, y, z]| format!("{x} {y} {z}\n")).collect();
    let long = read(text::read, rows.as_bytes());
    assert_ne!(long.origin, [0.0; 3]);
    assert_near(&long, &UTM, 1e-6);
}

#[test]
fn text_that_is_no_table_is_refused_with_the_line() {
    assert_names(&error(text::read, b"1 2 3\n4 5\n"), &["line 2", "4 5", "fewer than 3"]);
    assert_names(&error(text::read, b"1 2 3\n4 5 six\n"), &["line 2", "six", "not a number"]);
    assert_names(&error(text::read, b"1,5;2,5;3,5\n"), &["neither a row", "x, y and z"]);
    assert_names(&error(text::read, b"1;2;3\n1,5;2;3\n"), &["line 2", "1,5", "decimal point"]);
    assert_names(&error(text::read, b"east north up\n1 2 3\n"), &["east north up", "x, y and z"]);
    assert!(read(text::read, b"# nothing here\n").is_empty());
}

// NumPy

/// An array file by hand, as NumPy's format description has it.
fn npy_file(description: &str, body: &[u8]) -> Vec<u8> {
    let length = ((description.len() + 1) as u16).to_le_bytes();
    [b"\x93NUMPY\x01\x00", length.as_slice(), description.as_bytes(), b"\n", body].concat()
}

fn npy_description(kind: &str, fortran: &str, shape: &str) -> String {
    format!("{{'descr': '{kind}', 'fortran_order': {fortran}, 'shape': {shape}, }}")
}

#[test]
fn npy_reads_what_an_independent_writer_writes() {
    use ndarray::{Array2, ShapeBuilder};
    use ndarray_npy::WriteNpyExt;
    fn written<T: ndarray_npy::WritableElement>(array: &Array2<T>) -> Vec<u8> {
        let mut bytes = Vec::new();
        array.write_npy(&mut bytes).unwrap();
        bytes
    }
    for width in [3, 4] {
        let value = |(i, k): (usize, usize)| POINTS[i].get(k).copied().unwrap_or(9.0);
        let rows = Array2::from_shape_fn((3, width), value);
        let columns = Array2::from_shape_fn((3, width).f(), value);
        assert_eq!(read(npy::read, &written(&rows)), Cloud::from_f32(POINTS.to_vec()));
        assert_eq!(read(npy::read, &written(&columns)), Cloud::from_f32(POINTS.to_vec()));
        let value = |(i, k): (usize, usize)| UTM[i].get(k).copied().unwrap_or(9.0);
        let rows = Array2::from_shape_fn((3, width), value);
        let columns = Array2::from_shape_fn((3, width).f(), value);
        assert_near(&read(npy::read, &written(&rows)), &UTM, 1e-6);
        assert_near(&read(npy::read, &written(&columns)), &UTM, 1e-6);
    }
}

#[test]
fn npy_reads_big_endian_arrays() {
    let file =
        npy_file(&npy_description(">f4", "False", "(3, 3)"), &pack(&POINTS.concat(), f32::to_be_bytes));
    assert_eq!(read(npy::read, &file), Cloud::from_f32(POINTS.to_vec()));
    let file = npy_file(&npy_description(">f8", "False", "(3, 3)"), &pack(&UTM.concat(), f64::to_be_bytes));
    assert_near(&read(npy::read, &file), &UTM, 1e-6);
}

#[test]
fn npy_arrays_that_are_no_clouds_are_refused_with_the_remedy() {
    let refused = |kind: &str, shape: &str| {
        error(npy::read, &npy_file(&npy_description(kind, "False", shape), &[0; 480]))
    };
    assert_names(&refused("<f4", "(3, 40)"), &["3×40", "array.T"]);
    assert_names(&refused("<f4", "(5, 6)"), &["5×6", "array[:, :3]"]);
    assert_names(&refused("<f4", "(120,)"), &["120", "reshape(-1, 3)"]);
    assert_names(&refused("<f4", "(2, 5, 3)"), &["2×5×3", "reshape(-1, 3)"]);
    assert_names(&refused("<i4", "(5, 3)"), &["<i4", "astype(numpy.float32)"]);
    assert_names(
        &refused("<f4", "(1000000000000, 3)"),
        &["1000000000000 points of 12 bytes", "only 480 bytes"],
    );
    assert_names(&refused("<f4", "(18446744073709551615, 3)"), &["18446744073709551615"]);
    assert_names(&refused("<f4", "(99999999999999999999, 3)"), &["damaged"]);
    assert_names(&refused("<f4", "(-1, 3)"), &["damaged"]);
}

#[test]
fn npy_headers_that_would_exhaust_their_parser_are_refused() {
    assert_names(&error(npy::read, &npy_file(&"[".repeat(5000), b"")), &["nested"]);
    assert_names(&error(npy::read, &npy_file(&"{".repeat(40), b"")), &["nested"]);
    assert_names(&error(npy::read, &npy_file(&"9".repeat(60_000), b"")), &["longer"]);
    let endless = [b"\x93NUMPY\x02\x00".as_slice(), &u32::MAX.to_le_bytes(), b"{}"].concat();
    assert_names(&error(npy::read, &endless), &["does not end within the file"]);
}

// Files

#[test]
fn written_clouds_are_read_back() {
    let folder = tempfile::tempdir().unwrap();
    for extension in ["ply", "PCD"] {
        let path = folder.path().join(named(extension));
        for cloud in [Cloud::from_f32(POINTS.to_vec()), Cloud::default()] {
            write_cloud(&path, &cloud).unwrap();
            assert_eq!(read_cloud(&path).unwrap(), cloud);
        }
        let utm = Cloud::from_f64(&UTM);
        write_cloud(&path, &utm).unwrap();
        let back = read_cloud(&path).unwrap();
        assert_eq!(back, utm);
        assert_near(&back, &UTM, 1e-6);
    }
    let left = fs::read_dir(folder.path()).unwrap().count();
    assert_eq!(left, 2, "temporary files are left behind");
}

#[test]
fn written_files_are_what_the_formats_prescribe() {
    let cloud = Cloud::from_f32(vec![[1.0, 2.0, 3.0]]);
    let body = pack(&[1.0_f32, 2.0, 3.0], f32::to_le_bytes);
    let mut file = Vec::new();
    ply::write(&cloud, &mut file).unwrap();
    assert_eq!(file, ply_file("binary_little_endian", &format!("element vertex 1\n{XYZ}"), &body));
    let mut file = Vec::new();
    pcd::write(&cloud, &mut file).unwrap();
    let header = "# .PCD v0.7 - Point Cloud Data file format\nVERSION 0.7\nFIELDS x y z\nSIZE 4 4 4\nTYPE F F F\n\
                  COUNT 1 1 1\nWIDTH 1\nHEIGHT 1\nVIEWPOINT 0 0 0 1 0 0 0\nPOINTS 1\nDATA binary\n";
    assert_eq!(file, [header.as_bytes(), &body].concat());
    let parser = ply_rs_bw::parser::Parser::<ply_rs_bw::ply::DefaultElement>::new();
    let mut file = Vec::new();
    ply::write(&Cloud::from_f64(&UTM), &mut file).unwrap();
    let elsewhere = parser.read_ply(&mut file.as_slice()).unwrap();
    let y = elsewhere.payload["vertex"][1]["y"].clone();
    assert!(matches!(y, ply_rs_bw::ply::Property::Double(y) if (y - UTM[1][1]).abs() < 1e-6));
}

#[test]
fn a_write_that_fails_leaves_the_folder_as_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let occupied = folder.path().join("a.ply");
    fs::create_dir(&occupied).unwrap();
    let cloud = Cloud::from_f32(POINTS.to_vec());
    assert_names(&write_cloud(&occupied, &cloud).unwrap_err().to_string(), &["cannot write", "a.ply"]);
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    let missing = folder.path().join("no/a.ply");
    assert_names(&write_cloud(&missing, &cloud).unwrap_err().to_string(), &["cannot write", "no/a.ply"]);
    assert_names(
        &write_cloud(Path::new("a.npy"), &cloud).unwrap_err().to_string(),
        &["a.npy", ".ply or .pcd"],
    );
}

#[test]
fn files_that_cannot_be_read_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let refused = |path: &Path| read_cloud(path).unwrap_err().to_string();
    for extension in ["ply", "pcd", "bin", "xyz", "txt", "csv", "npy"] {
        let path = folder.path().join(named(extension));
        assert_names(&refused(&path), &["cannot read", &named(extension)]);
        fs::write(&path, b"").unwrap();
        assert_names(&refused(&path), &[&named(extension), "empty", "0 bytes"]);
        fs::remove_file(&path).unwrap();
        fs::create_dir(&path).unwrap();
        assert_names(&refused(&path), &[&named(extension), "folder"]);
    }
    assert_names(&refused(Path::new("a.las")), &["a.las", "\"las\"", ".ply"]);
    assert_names(&refused(Path::new("a")), &["a:", ".ply"]);
}

#[test]
fn extensions_are_read_in_either_case_and_checked_against_the_content() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.XyZ");
    fs::write(&path, "1 2 3\n").unwrap();
    assert_eq!(read_cloud(&path).unwrap().points, [[1.0, 2.0, 3.0]]);
    let path = folder.path().join("a.bin");
    let contents = [
        (ply_file("ascii", &format!("element vertex 0\n{XYZ}"), b""), "rename it to end in .ply"),
        (pcd_file(PCD_FIELDS, "ascii", b""), "rename it to end in .pcd"),
        (npy_file(&npy_description("<f4", "False", "(0, 3)"), b""), "rename it to end in .npy"),
    ];
    for (content, remedy) in contents {
        fs::write(&path, content).unwrap();
        assert_names(&read_cloud(&path).unwrap_err().to_string(), &["a.bin", remedy]);
    }
}

#[cfg(unix)]
#[test]
fn devices_are_refused_instead_of_waited_for() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.txt");
    std::os::unix::fs::symlink("/dev/zero", &path).unwrap();
    assert_names(&read_cloud(&path).unwrap_err().to_string(), &["a.txt", "not a regular file"]);
}

// Damage

/// A small valid file of every variant, with its reader.
fn specimens() -> Vec<(&'static str, Reader, Vec<u8>)> {
    let vertex = format!("element vertex 3\n{XYZ}");
    let lists = format!(
        "element face 1\nproperty list char int l\nelement vertex 3\nproperty list char short m\n{XYZ}"
    );
    let floats = pack(&POINTS.concat(), f32::to_le_bytes);
    let listed: Vec<u8> = POINTS
        .iter()
        .flat_map(|point| [[2, 0, 0, 0, 0].as_slice(), &pack(point, f32::to_le_bytes)].concat())
        .collect();
    let listed = [[1, 0, 0, 0, 0].as_slice(), &listed].concat();
    let pcd_header = format!("{PCD_XYZ}COUNT 1 1 1\nWIDTH 3\nHEIGHT 1\nPOINTS 3\n");
    let flat = [0_u8; 36];
    let intensities: Vec<u8> =
        POINTS.iter().flat_map(|p| pack(&[p[0], p[1], p[2], 1.0], f32::to_le_bytes)).collect();
    let rows = b"1.5 -2.25 3.125\n0.1 1e-7 -4e8\n-0.5 0.3 7\n";
    vec![
        ("ply little", ply::read, ply_file("binary_little_endian", &vertex, &floats)),
        ("ply big", ply::read, ply_file("binary_big_endian", &vertex, &floats)),
        ("ply lists", ply::read, ply_file("binary_little_endian", &lists, &listed)),
        ("ply ascii", ply::read, ply_file("ascii", &vertex, rows)),
        ("ply ascii lists", ply::read, ply_file("ascii", &lists, b"1 0\n0 1 2 3\n2 9 9 4 5 6\n1 9 7 8 9\n")),
        ("pcd binary", pcd::read, pcd_file(&pcd_header, "binary", &floats)),
        ("pcd compressed", pcd::read, pcd_file(&pcd_header, "binary_compressed", &pcd_compressed(&flat))),
        ("pcd ascii", pcd::read, pcd_file(&pcd_header, "ascii", rows)),
        ("kitti", kitti::read, intensities),
        ("text", text::read, rows.to_vec()),
        ("text with header", text::read, b"i;x;y;z\n1;2;3;4\n5;6;7;8\n".to_vec()),
        ("npy", npy::read, npy_file(&npy_description("<f4", "False", "(3, 3)"), &floats)),
        ("npy columns", npy::read, npy_file(&npy_description("<f8", "True", "(1, 4)"), &[0; 32])),
    ]
}

#[test]
fn files_cut_at_any_byte_are_refused_or_shorter() {
    for (name, reader, file) in specimens() {
        let whole = read(reader, &file).len();
        assert!(whole > 0, "{name}");
        for end in 0..file.len() {
            match reader(Path::new("a.file"), &file[..end]) {
                Ok(cloud) => assert!(cloud.len() <= whole, "{name} cut at {end}"),
                Err(error) => {
                    assert!(error.to_string().starts_with("a.file: "), "{name} cut at {end}: {error}")
                }
            }
        }
    }
}

#[test]
fn binary_files_cut_at_any_byte_of_their_points_are_refused() {
    for (name, reader, file) in specimens() {
        if name.contains("text") || name.contains("ascii") || name == "kitti" {
            // A shorter number or fewer rows may be a legal file.
            continue;
        }
        for end in 0..file.len() {
            assert!(reader(Path::new("a"), &file[..end]).is_err(), "{name} cut at {end}");
        }
    }
}

fn any_specimen() -> impl Strategy<Value = (&'static str, Reader, Vec<u8>)> {
    prop::sample::select(specimens())
}

proptest! {
    #[test]
    fn random_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        for reader in [ply::read, pcd::read, kitti::read, text::read, npy::read] as [Reader; 5] {
            let _ = reader(Path::new("a"), &bytes);
        }
    }

    #[test]
    fn random_bytes_after_a_signature_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        for (_, reader, file) in specimens() {
            let _ = reader(Path::new("a"), &[&file[..file.len() / 2], &bytes].concat());
        }
    }

    #[test]
    fn mutated_files_never_panic_and_never_grow(
        (name, reader, mut file) in any_specimen(),
        mutations in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
    ) {
        for (at, byte) in mutations {
            let at = at.index(file.len());
            file[at] = byte;
        }
        if let Ok(cloud) = reader(Path::new("a"), &file) {
            prop_assert!(cloud.len() <= file.len(), "{} has {} points", name, cloud.len());
        }
    }

    /// Digits in the headers become other digits, so that counts, sizes and shapes lie.
    #[test]
    fn lying_numbers_never_panic((name, reader, file) in any_specimen(), lie in "[0-9]{1,20}", at in any::<prop::sample::Index>()) {
        let digits: Vec<usize> = (0..file.len()).filter(|i| file[*i].is_ascii_digit()).collect();
        prop_assume!(!digits.is_empty());
        let at = digits[at.index(digits.len())];
        let lying = [&file[..at], lie.as_bytes(), &file[at + 1..]].concat();
        if let Ok(cloud) = reader(Path::new("a"), &lying) {
            prop_assert!(cloud.len() <= lying.len(), "{} has {} points", name, cloud.len());
        }
    }

    #[test]
    fn f32_clouds_survive_a_round_trip(points in prop::collection::vec(any::<[f32; 3]>(), 0..50)) {
        let cloud = Cloud::from_f32(points);
        for (write, reader) in [(ply::write as fn(&Cloud, &mut Vec<u8>) -> _, ply::read as Reader), (pcd::write, pcd::read)] {
            let mut file = Vec::new();
            write(&cloud, &mut file)?;
            let back = reader(Path::new("a"), &file).unwrap();
            let bits = |cloud: &Cloud| cloud.points.concat().iter().map(|x| x.to_bits()).collect::<Vec<_>>();
            prop_assert_eq!(bits(&back), bits(&cloud));
        }
    }

    #[test]
    fn f32_clouds_survive_as_text(points in prop::collection::vec([-1e6_f32..1e6, -1.0..1.0, -1e-3..1e-3], 1..50)) {
        let rows: String = points.iter().map(|[x, y, z]| format!("{x:e} {y} {z}\n")).collect();
        let cloud = text::read(Path::new("a"), rows.as_bytes()).unwrap();
        prop_assert_eq!(cloud, Cloud::from_f32(points));
    }

    #[test]
    fn f64_clouds_keep_tenths_of_millimetres(
        corner in [-9e6_f64..9e6, -9e6..9e6, -9e3..9e3],
        offsets in prop::collection::vec([-500.0_f64..500.0, -500.0..500.0, -50.0..50.0], 1..30),
    ) {
        let points: Vec<[f64; 3]> = offsets.iter().map(|o| [0, 1, 2].map(|k| corner[k] + o[k])).collect();
        let header = "element vertex {}\nproperty double x\nproperty double y\nproperty double z\n"
            .replace("{}", &points.len().to_string());
        let rows: String = points.iter().map(|[x, y, z]| format!("{x:.6} {y:.6} {z:.6}\n")).collect();
        let clouds = [
            read(ply::read, &ply_file("binary_little_endian", &header, &pack(&points.concat(), f64::to_le_bytes))),
            read(ply::read, &ply_file("ascii", &header, rows.as_bytes())),
            read(text::read, rows.as_bytes()),
        ];
        for cloud in clouds {
            assert_near(&cloud, &points, 1e-4);
        }
    }
}
