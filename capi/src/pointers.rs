//! From pointers of the caller to references, and back.

use std::ffi::{CStr, c_char};
use std::path::PathBuf;

use crate::status::Failure;

/// What `pointer` points to; `name` is the parameter's.
///
/// # Safety
/// `pointer` is null, or points to a `T` that nobody changes or destroys for as long as the reference is used.
pub(crate) unsafe fn borrow<'a, T>(pointer: *const T, name: &str) -> Result<&'a T, Failure> {
    // SAFETY: the caller's word.
    unsafe { pointer.as_ref() }.ok_or_else(|| null(name))
}

/// As [`borrow`], to change it.
///
/// # Safety
/// `pointer` is null, or points to a `T` that nobody else uses for as long as the reference is used.
pub(crate) unsafe fn borrow_mut<'a, T>(pointer: *mut T, name: &str) -> Result<&'a mut T, Failure> {
    // SAFETY: the caller's word.
    unsafe { pointer.as_mut() }.ok_or_else(|| null(name))
}

/// Puts a handle of what `make` gives where `place` points to; null where that fails.
///
/// # Safety
/// `place` is null, or points to a pointer that may be overwritten.
pub(crate) unsafe fn hand_out<T>(
    place: *mut *mut T,
    name: &str,
    make: impl FnOnce() -> Result<T, Failure>,
) -> Result<(), Failure> {
    // SAFETY: the caller's word; what was there before is not looked at.
    let place = unsafe { borrow_mut(place, name) }?;
    *place = std::ptr::null_mut();
    *place = Box::into_raw(Box::new(make()?));
    Ok(())
}

/// Takes a handle back and ends it.
///
/// # Safety
/// `handle` is null, or came from [`hand_out`] and is not used any more.
pub(crate) unsafe fn take_back<T>(handle: *mut T) {
    if !handle.is_null() {
        // SAFETY: it was made by `Box::into_raw`, and the caller gives it up.
        drop(unsafe { Box::from_raw(handle) });
    }
}

/// Writes `numbers` where `place` points to.
///
/// # Safety
/// `place` is null, or points to as many numbers that may be overwritten.
pub(crate) unsafe fn write_numbers(place: *mut f64, name: &str, numbers: &[f64]) -> Result<(), Failure> {
    if place.is_null() {
        return Err(null(name));
    }
    // SAFETY: the caller's word; the numbers are the library's own, so that the two do not overlap.
    unsafe { std::ptr::copy_nonoverlapping(numbers.as_ptr(), place, numbers.len()) };
    Ok(())
}

/// The path that `text` spells.
///
/// # Safety
/// `text` is null, or ends in a NUL byte.
pub(crate) unsafe fn path(text: *const c_char, name: &str) -> Result<PathBuf, Failure> {
    // SAFETY: the caller's word.
    let text = (!text.is_null()).then(|| unsafe { CStr::from_ptr(text) }).ok_or_else(|| null(name))?;
    #[cfg(unix)]
    {
        use std::os::unix::ffi::OsStrExt;
        Ok(PathBuf::from(std::ffi::OsStr::from_bytes(text.to_bytes())))
    }
    #[cfg(not(unix))]
    match text.to_str() {
        Ok(text) => Ok(PathBuf::from(text)),
        Err(_) => Err(Failure::argument(format!("`{name}` is no UTF-8 text; convert the path"))),
    }
}

fn null(name: &str) -> Failure {
    Failure::argument(format!("`{name}` is null; give a valid pointer"))
}
