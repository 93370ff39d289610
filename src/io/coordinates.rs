//! Where coordinates lie among the bytes of a file, and how they are taken from there.

use std::io::{self, Write};
use std::path::Path;

use crate::cloud::{Cloud, Point};
use crate::error::{Error, Result};

/// The type of a number in a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Scalar {
    I8,
    U8,
    I16,
    U16,
    I32,
    U32,
    I64,
    U64,
    F32,
    F64,
}

impl Scalar {
    /// In bytes.
    pub(super) fn size(self) -> usize {
        match self {
            Self::I8 | Self::U8 => 1,
            Self::I16 | Self::U16 => 2,
            Self::I32 | Self::U32 | Self::F32 => 4,
            Self::I64 | Self::U64 | Self::F64 => 8,
        }
    }

    /// Whether every value of this type is an f32 as well.
    pub(super) fn fits_f32(self) -> bool {
        matches!(self, Self::I8 | Self::U8 | Self::I16 | Self::U16 | Self::F32)
    }

    /// The value in the first bytes of `bytes`; NaN where they are too few.
    pub(super) fn value(self, bytes: &[u8], order: ByteOrder) -> f64 {
        let mut value = [[f64::NAN; 3]];
        fill(&mut value, 0, bytes, Column { start: 0, step: self.size(), scalar: self }, order);
        value[0][0]
    }
}

/// Which byte of a number comes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ByteOrder {
    Little,
    Big,
}

impl ByteOrder {
    fn little<const SIZE: usize>(self, mut number: [u8; SIZE]) -> [u8; SIZE] {
        if self == Self::Big {
            number.reverse();
        }
        number
    }
}

/// One coordinate of all points: the first at `start`, each next one `step` bytes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Column {
    pub(super) start: usize,
    pub(super) step: usize,
    pub(super) scalar: Scalar,
}

/// `count` points whose x, y and z are columns of `bytes`, which the caller has found long enough.
#[derive(Debug, Clone, Copy)]
pub(super) struct Coordinates<'a> {
    pub(super) bytes: &'a [u8],
    pub(super) count: usize,
    pub(super) columns: [Column; 3],
    pub(super) order: ByteOrder,
}

impl Coordinates<'_> {
    pub(super) fn read(&self) -> Cloud {
        if self.columns.iter().all(|column| column.scalar == Scalar::F32) {
            Cloud::from_f32(self.f32_points())
        } else if self.columns.iter().all(|column| column.scalar.fits_f32()) {
            Cloud::from_f32(narrowed(&self.f64_points()))
        } else {
            Cloud::from_f64(&self.f64_points())
        }
    }

    fn f32_points(&self) -> Vec<Point> {
        const SIZE: usize = size_of::<Point>();
        if !self.x_y_z_adjoin() {
            return narrowed(&self.f64_points());
        }
        let [Column { start, step, .. }, ..] = self.columns;
        let bytes = self.bytes.get(start..).unwrap_or_default();
        if step == SIZE
            && let Some(whole) = bytes.get(..self.count * SIZE)
        {
            let mut points = vec![[0.0; 3]; self.count];
            bytemuck::cast_slice_mut(&mut points).copy_from_slice(whole);
            return points;
        }
        if step < SIZE || bytes.len() < (self.count.max(1) - 1) * step + SIZE {
            // Columns of one record that happen to adjoin.
            return narrowed(&self.f64_points());
        }
        let point = |record: &[u8]| bytemuck::pod_read_unaligned(&record[..SIZE]);
        bytes.chunks(step).take(self.count).map(point).collect()
    }

    /// Whether x, y and z of a point lie side by side as they do in memory.
    fn x_y_z_adjoin(&self) -> bool {
        let [x, y, z] = self.columns;
        let native = self.order == ByteOrder::Little && cfg!(target_endian = "little");
        native && [x.start + 4, x.start + 8] == [y.start, z.start] && [x.step; 2] == [y.step, z.step]
    }

    fn f64_points(&self) -> Vec<[f64; 3]> {
        let mut points = vec![[0.0; 3]; self.count];
        for (k, column) in self.columns.iter().enumerate() {
            fill(&mut points, k, self.bytes, *column, self.order);
        }
        points
    }
}

/// Exact for the values that [`Scalar::fits_f32`] admits.
pub(super) fn narrowed(points: &[[f64; 3]]) -> Vec<Point> {
    points.iter().map(|point| point.map(|x| x as f32)).collect()
}

/// Coordinate `k` of all `points`, from `column`.
fn fill(points: &mut [[f64; 3]], k: usize, bytes: &[u8], column: Column, order: ByteOrder) {
    match column.scalar {
        Scalar::I8 => fill_by(points, k, bytes, column, |raw| i8::from_le_bytes(raw).into()),
        Scalar::U8 => fill_by(points, k, bytes, column, |raw| u8::from_le_bytes(raw).into()),
        Scalar::I16 => fill_by(points, k, bytes, column, |raw| i16::from_le_bytes(order.little(raw)).into()),
        Scalar::U16 => fill_by(points, k, bytes, column, |raw| u16::from_le_bytes(order.little(raw)).into()),
        Scalar::I32 => fill_by(points, k, bytes, column, |raw| i32::from_le_bytes(order.little(raw)).into()),
        Scalar::U32 => fill_by(points, k, bytes, column, |raw| u32::from_le_bytes(order.little(raw)).into()),
        Scalar::I64 => fill_by(points, k, bytes, column, |raw| i64::from_le_bytes(order.little(raw)) as f64),
        Scalar::U64 => fill_by(points, k, bytes, column, |raw| u64::from_le_bytes(order.little(raw)) as f64),
        Scalar::F32 => fill_by(points, k, bytes, column, |raw| f32::from_le_bytes(order.little(raw)).into()),
        Scalar::F64 => fill_by(points, k, bytes, column, |raw| f64::from_le_bytes(order.little(raw))),
    }
}

fn fill_by<const SIZE: usize>(
    points: &mut [[f64; 3]],
    k: usize,
    bytes: &[u8],
    column: Column,
    value: impl Fn([u8; SIZE]) -> f64,
) {
    let records = bytes.get(column.start..).unwrap_or_default().chunks(column.step);
    for (point, record) in points.iter_mut().zip(records) {
        let Some(raw) = record.first_chunk() else { break };
        point[k] = value(*raw);
    }
}

/// The header's promise of `count` things of `size` bytes, held against the `available` bytes that follow it.
/// `things` ends in "of" or "of at least".
pub(super) fn keep_promise(
    path: &Path,
    count: u64,
    things: &str,
    size: usize,
    available: usize,
) -> Result<usize> {
    let needed = usize::try_from(count).ok().and_then(|count| count.checked_mul(size));
    if needed.is_some_and(|needed| needed <= available) {
        return Ok(count as usize);
    }
    let reason = format!(
        "the header promises {count} {things} {size} bytes but only {available} bytes follow; the file is \
         truncated or its header is wrong"
    );
    Err(Error::format(path, reason))
}

/// The type that [`write_points`] writes: f64 where an origin has to be added, else f32.
pub(super) fn written_scalar(cloud: &Cloud) -> Scalar {
    if cloud.origin == [0.0; 3] { Scalar::F32 } else { Scalar::F64 }
}

/// x y z of every point, little-endian, without gaps.
pub(super) fn write_points(cloud: &Cloud, out: &mut impl Write) -> io::Result<()> {
    match written_scalar(cloud) {
        Scalar::F32 => cloud.points.iter().flatten().try_for_each(|x| out.write_all(&x.to_le_bytes())),
        _ => (0..cloud.len()).flat_map(|i| cloud.point(i)).try_for_each(|x| out.write_all(&x.to_le_bytes())),
    }
}
