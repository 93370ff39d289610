//! Clouds, from memory and from files.

use std::ffi::c_char;

use coregister::Cloud;
use coregister::io::read_cloud;

use crate::pointers::{borrow, hand_out, path, take_back};
use crate::points::Points;
use crate::status::{CoregisterStatus, Failure, guard, guard_value};

/// A cloud of points that the library owns.
pub struct CloudHandle {
    pub(crate) cloud: Cloud,
}

/// Copies points into a cloud. What was passed may be freed afterwards.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coregister_cloud_create(
    points: *const Points,
    cloud: *mut *mut CloudHandle,
) -> CoregisterStatus {
    // SAFETY: the caller keeps the rules of the header.
    guard(|| unsafe {
        hand_out(cloud, "cloud", || Ok(CloudHandle { cloud: borrow(points, "points")?.to_cloud("points")? }))
    })
}

/// Reads a cloud from a file: .ply, .pcd, .bin (KITTI), .npy, .xyz, .csv or .txt.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coregister_cloud_read(
    path_utf8: *const c_char,
    cloud: *mut *mut CloudHandle,
) -> CoregisterStatus {
    // SAFETY: the caller keeps the rules of the header.
    guard(|| unsafe {
        hand_out(cloud, "cloud", || Ok(CloudHandle { cloud: read_cloud(&path(path_utf8, "path_utf8")?)? }))
    })
}

/// Number of points, finite or not.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coregister_cloud_count(cloud: *const CloudHandle) -> usize {
    // SAFETY: the caller keeps the rules of the header.
    guard_value(0, || unsafe { cloud.as_ref() }.map_or(0, |handle| handle.cloud.len()))
}

/// Writes x, y and z of the first points to `xyz`, which has room for 3 * `count` numbers. `count` may not be more than
/// coregister_cloud_count().
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coregister_cloud_copy(
    cloud: *const CloudHandle,
    xyz: *mut f64,
    count: usize,
) -> CoregisterStatus {
    // SAFETY: the caller keeps the rules of the header.
    guard(|| unsafe { copy(cloud, xyz, count) })
}

/// # Safety
/// As of [`coregister_cloud_copy`].
unsafe fn copy(cloud: *const CloudHandle, xyz: *mut f64, count: usize) -> Result<(), Failure> {
    // SAFETY: the caller's word.
    let cloud = &unsafe { borrow(cloud, "cloud") }?.cloud;
    if count > cloud.len() {
        let reason = format!("`count` is {count}, but the cloud has {} points; ask for as many", cloud.len());
        return Err(Failure::argument(reason));
    }
    if xyz.is_null() && count > 0 {
        return Err(Failure::argument("`xyz` is null; give room for three numbers a point"));
    }
    for i in 0..count {
        for (k, coordinate) in cloud.point(i).into_iter().enumerate() {
            // SAFETY: there is room for 3 · count numbers.
            unsafe { xyz.add(3 * i + k).write_unaligned(coordinate) };
        }
    }
    Ok(())
}

/// Frees a cloud.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coregister_cloud_destroy(cloud: *mut CloudHandle) {
    // SAFETY: the caller keeps the rules of the header.
    guard_value((), || unsafe { take_back(cloud) });
}
