//! What functions return, and the message that goes with it.

use std::any::Any;
use std::cell::RefCell;
use std::ffi::{CString, c_char};
use std::panic::{AssertUnwindSafe, catch_unwind};

use coregister::Error;

/// How a call ended.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CoregisterStatus {
    /// It did what was asked for.
    Ok = 0,
    /// An argument cannot be meant: null, an unknown number, points that overlap each other.
    InvalidArgument = 1,
    /// A setting is out of its range, or does not go with another.
    Config = 2,
    /// A cloud cannot be registered: too few usable points, or no extent.
    Cloud = 3,
    /// A file could not be opened or read.
    File = 4,
    /// A file's content is not what its format promises.
    Format = 5,
    /// The device is missing or failed.
    Device = 6,
    /// The operating system gave no threads.
    Threads = 7,
    /// There is not enough memory for the points.
    Memory = 8,
    /// A fault of the library itself; please report the message.
    Internal = 9,
}

/// Why a call cannot be done.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) status: CoregisterStatus,
    pub(crate) message: String,
}

impl Failure {
    pub(crate) fn new(status: CoregisterStatus, message: impl Into<String>) -> Self {
        Self { status, message: message.into() }
    }

    pub(crate) fn argument(message: impl Into<String>) -> Self {
        Self::new(CoregisterStatus::InvalidArgument, message)
    }

    fn of_panic(payload: &(dyn Any + Send)) -> Self {
        let text = payload.downcast_ref::<&str>().copied();
        let text = text.or_else(|| payload.downcast_ref::<String>().map(String::as_str));
        let text = text.unwrap_or("no further message");
        Self::new(
            CoregisterStatus::Internal,
            format!("a fault of the library itself, please report it: {text}"),
        )
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let status = match &error {
            Error::File { .. } => CoregisterStatus::File,
            Error::Format { .. } => CoregisterStatus::Format,
            Error::Cloud { .. } => CoregisterStatus::Cloud,
            Error::Config(_) => CoregisterStatus::Config,
            Error::Device(_) | Error::OutOfMemory(_) => CoregisterStatus::Device,
            Error::Threads { .. } => CoregisterStatus::Threads,
            _ => CoregisterStatus::Internal,
        };
        Self::new(status, error.to_string())
    }
}

thread_local! {
    static LAST_ERROR: RefCell<CString> = RefCell::default();
}

/// Why the last failed call on this thread failed, in one sentence; "" if none did. Valid until the next call on this
/// thread that fails.
#[unsafe(no_mangle)]
pub extern "C" fn coregister_last_error() -> *const c_char {
    // The thread may be ending, and its message gone.
    LAST_ERROR.try_with(|message| message.borrow().as_ptr()).unwrap_or(c"".as_ptr())
}

/// Does `work`, of a function that can fail. Its failure, or its panic, becomes the status and the message.
pub(crate) fn guard(work: impl FnOnce() -> Result<(), Failure>) -> CoregisterStatus {
    match caught(work).and_then(|done| done) {
        Ok(()) => CoregisterStatus::Ok,
        Err(failure) => {
            let message = c_string(&failure.message);
            // The message of a thread that is ending is lost; the status is not.
            let _ = LAST_ERROR.try_with(|last| last.replace(message));
            failure.status
        }
    }
}

/// Does `work`, of a function that cannot fail but for a fault of its own.
pub(crate) fn guard_value<T>(otherwise: T, work: impl FnOnce() -> T) -> T {
    caught(work).unwrap_or(otherwise)
}

/// What a panic leaves half done is not seen again: setters assign whole values, and the other handles only read, or keep
/// what is finished.
fn caught<T>(work: impl FnOnce() -> T) -> Result<T, Failure> {
    catch_unwind(AssertUnwindSafe(work)).map_err(|payload| {
        let failure = Failure::of_panic(payload.as_ref());
        // Dropping what was thrown could panic again.
        std::mem::forget(payload);
        failure
    })
}

/// `text` up to its first NUL byte.
pub(crate) fn c_string(text: &str) -> CString {
    let until_nul = text.split('\0').next().unwrap_or_default();
    CString::new(until_nul).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::ffi::CStr;

    use super::*;

    fn last_error() -> String {
        // SAFETY: the message lives until the next failure on this thread.
        unsafe { CStr::from_ptr(coregister_last_error()) }.to_str().unwrap().to_owned()
    }

    extern "C" fn poisoned(index: usize) -> CoregisterStatus {
        guard(|| {
            assert!([1, 2, 3][index] > 0);
            Ok(())
        })
    }

    #[test]
    fn a_panic_becomes_a_status_and_a_message() {
        assert_eq!(poisoned(1), CoregisterStatus::Ok);
        assert_eq!(poisoned(3), CoregisterStatus::Internal);
        assert!(last_error().contains("please report it: index out of bounds"), "{}", last_error());
        assert_eq!(guard_value(7, || panic!("in a function without a status")), 7);
        assert_eq!(poisoned(0), CoregisterStatus::Ok, "and the next call works");
    }

    #[test]
    fn what_is_thrown_may_be_anything() {
        struct Bomb;
        impl Drop for Bomb {
            fn drop(&mut self) {
                panic!("again");
            }
        }
        assert_eq!(guard(|| std::panic::panic_any(Bomb)), CoregisterStatus::Internal);
        assert!(last_error().contains("no further message"));
    }

    #[test]
    fn messages_belong_to_their_threads_and_end_at_a_nul() {
        assert_eq!(guard(|| Err(Failure::argument("one\0two"))), CoregisterStatus::InvalidArgument);
        assert_eq!(last_error(), "one");
        assert_eq!(std::thread::spawn(last_error).join().unwrap(), "");
    }
}
