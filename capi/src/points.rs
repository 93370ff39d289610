//! Points in the caller's memory, as they lie there.

use coregister::Cloud;

use crate::status::{CoregisterStatus, Failure};

/// The type of coordinates, for coregister_points.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CoregisterScalar {
    /// float
    Float32 = 0,
    /// double
    Float64 = 1,
}

/// The order of the bytes of a coordinate, for coregister_points.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CoregisterByteOrder {
    /// That of this machine.
    Native = 0,
    /// The lowest first.
    Little = 1,
    /// The highest first.
    Big = 2,
}

/// Points in the caller's memory. They are read during the call and not kept.
///
/// The x of point i lies at `data + i * stride + x_offset`, its y and z likewise; no address needs to be aligned.
/// So an array of any struct can be given as it is, and a ROS PointCloud2 (its data, width * height, point_step and the
/// offsets of its fields), and three arrays for x, y and z within one buffer (`stride` 4, `y_offset` 4 * count).
/// NaN and infinite points are passed over.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct Points {
    /// The first point; may be NULL if there are none.
    pub data: *const std::ffi::c_void,
    /// Number of points.
    pub count: usize,
    /// Bytes from one point to the next.
    pub stride: usize,
    /// Bytes from a point's start to its x.
    pub x_offset: usize,
    /// Bytes from a point's start to its y.
    pub y_offset: usize,
    /// Bytes from a point's start to its z.
    pub z_offset: usize,
    /// A coregister_scalar; 0 is float.
    pub scalar: i32,
    /// A coregister_byte_order; 0 is that of this machine.
    pub byte_order: i32,
}

impl Points {
    /// A copy of the points; `name` is the parameter's.
    ///
    /// # Safety
    /// All coordinates that the view describes can be read.
    pub(crate) unsafe fn to_cloud(self, name: &str) -> Result<Cloud, Failure> {
        let wrong = |reason: String| Failure::argument(format!("`{name}`: {reason}"));
        let swapped = self.is_swapped().map_err(wrong)?;
        let size = self.scalar_size().map_err(wrong)?;
        self.check_layout(size).map_err(wrong)?;
        let from_bytes_f32 = |bytes| {
            if swapped {
                f32::from_bits(u32::from_ne_bytes(bytes).swap_bytes())
            } else {
                f32::from_ne_bytes(bytes)
            }
        };
        let from_bytes_f64 = |bytes| {
            if swapped {
                f64::from_bits(u64::from_ne_bytes(bytes).swap_bytes())
            } else {
                f64::from_ne_bytes(bytes)
            }
        };
        // SAFETY: the caller's word, and the layout is checked for scalars of this size.
        unsafe {
            Ok(match size {
                4 => Cloud::from_f32(self.read(from_bytes_f32)?),
                _ => Cloud::from_f64(&self.read(from_bytes_f64)?),
            })
        }
    }

    fn is_swapped(&self) -> Result<bool, String> {
        const NATIVE: i32 = CoregisterByteOrder::Native as i32;
        const LITTLE: i32 = CoregisterByteOrder::Little as i32;
        const BIG: i32 = CoregisterByteOrder::Big as i32;
        match self.byte_order {
            NATIVE => Ok(false),
            LITTLE => Ok(cfg!(target_endian = "big")),
            BIG => Ok(cfg!(target_endian = "little")),
            other => Err(format!("byte_order is {other}; give one of coregister_byte_order")),
        }
    }

    fn scalar_size(&self) -> Result<usize, String> {
        const FLOAT32: i32 = CoregisterScalar::Float32 as i32;
        const FLOAT64: i32 = CoregisterScalar::Float64 as i32;
        match self.scalar {
            FLOAT32 => Ok(size_of::<f32>()),
            FLOAT64 => Ok(size_of::<f64>()),
            other => Err(format!("scalar is {other}; give one of coregister_scalar")),
        }
    }

    /// Whether all addresses exist, and no two coordinates share bytes.
    fn check_layout(&self, size: usize) -> Result<(), String> {
        if self.count == 0 {
            return Ok(());
        }
        if self.data.is_null() {
            return Err(format!("data is null, but count is {}; give the points", self.count));
        }
        let Self { count, stride, .. } = *self;
        let mut offsets = [self.x_offset, self.y_offset, self.z_offset];
        offsets.sort_unstable();
        let column = (count - 1).checked_mul(stride).and_then(|last| last.checked_add(size));
        let end = column.and_then(|column| column.checked_add(offsets[2]));
        let (Some(column), Some(end)) = (column, end) else {
            return Err(too_large(count, stride));
        };
        let last_address = (self.data as usize).checked_add(end);
        if isize::try_from(end).is_err() || last_address.is_none() {
            return Err(too_large(count, stride));
        }
        let apart = |gap: usize| offsets[1] - offsets[0] >= gap && offsets[2] - offsets[1] >= gap;
        let side_by_side = apart(size) && (count == 1 || offsets[2] - offsets[0] + size <= stride);
        let one_after_the_other = apart(column) && (count == 1 || stride >= size);
        if !side_by_side && !one_after_the_other {
            let [x, y, z] = [self.x_offset, self.y_offset, self.z_offset];
            return Err(format!(
                "with stride {stride} and offsets {x}, {y}, {z}, coordinates of {size} bytes overlap; \
                 stride and offsets are in bytes"
            ));
        }
        Ok(())
    }

    /// # Safety
    /// All coordinates can be read, and [`Self::check_layout`] found nothing wrong for scalars of `SIZE` bytes.
    unsafe fn read<T, const SIZE: usize>(
        &self,
        from_bytes: impl Fn([u8; SIZE]) -> T,
    ) -> Result<Vec<[T; 3]>, Failure> {
        let mut points = Vec::new();
        points.try_reserve_exact(self.count).map_err(|_| {
            let reason = format!("there is no memory for a copy of {} points; give fewer", self.count);
            Failure::new(CoregisterStatus::Memory, reason)
        })?;
        let data: *const u8 = self.data.cast();
        points.extend((0..self.count).map(|i| {
            [self.x_offset, self.y_offset, self.z_offset].map(|offset| {
                // SAFETY: the offset of the last coordinate's end was computed without overflow, and the caller says
                // that all are there. Arrays of bytes need no alignment.
                from_bytes(unsafe { data.add(i * self.stride + offset).cast::<[u8; SIZE]>().read() })
            })
        }));
        Ok(points)
    }
}

fn too_large(count: usize, stride: usize) -> String {
    format!(
        "{count} points of {stride} bytes do not fit into memory; count is the number of points, stride in bytes"
    )
}
