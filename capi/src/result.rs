//! What a registration gave, read out value by value, so that new ones break no program.

use std::ffi::{CString, c_char};

use coregister::{Registration, Status};

use crate::pointers::{borrow, take_back, write_numbers};
use crate::status::{CoregisterStatus, c_string, guard, guard_value};

/// Whether a result can be relied on.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CoregisterVerdict {
    /// No confident answer; the transform is the best guess.
    Rejected = 0,
    /// The clouds agree under this transform, and under no other.
    Accepted = 1,
}

/// What registering a pair gave.
pub struct Answer {
    registration: Registration,
    reason: CString,
    unobserved: Vec<CString>,
    warnings: Vec<CString>,
    stages: Vec<CString>,
    device: CString,
}

impl Answer {
    pub(crate) fn new(registration: Registration) -> Self {
        Self {
            reason: c_string(&registration.reason),
            unobserved: registration.unobserved.iter().map(|motion| c_string(motion)).collect(),
            warnings: registration.warnings.iter().map(|warning| c_string(warning)).collect(),
            stages: registration.timings.stages.iter().map(|(name, _)| c_string(name)).collect(),
            device: c_string(&registration.device),
            registration,
        }
    }
}

/// `read` of the result, or `otherwise` if it is null.
///
/// # Safety
/// `result` is null or a handle.
unsafe fn value<T: Copy>(result: *const Answer, otherwise: T, read: impl FnOnce(&Answer) -> T) -> T {
    // SAFETY: the caller's word.
    guard_value(otherwise, || unsafe { result.as_ref() }.map_or(otherwise, read))
}

fn pointer_to(text: Option<&CString>) -> *const c_char {
    text.map_or(c"".as_ptr(), |text| text.as_ptr())
}

/// Whether the result can be relied on. COREGISTER_VERDICT_REJECTED for NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coregister_result_verdict(result: *const Answer) -> CoregisterVerdict {
    let read = |answer: &Answer| match answer.registration.status {
        Status::Accepted => CoregisterVerdict::Accepted,
        Status::Rejected => CoregisterVerdict::Rejected,
    };
    // SAFETY: the caller keeps the rules of the header.
    unsafe { value(result, CoregisterVerdict::Rejected, read) }
}

/// Why it was rejected, one sentence; "" when accepted. Valid as long as the result.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coregister_result_reason(result: *const Answer) -> *const c_char {
    // SAFETY: the caller keeps the rules of the header.
    unsafe { value(result, c"".as_ptr(), |answer| answer.reason.as_ptr()) }
}

/// Writes T_target_source to `matrix`: 16 numbers, row by row; p_target = T_target_source * p_source.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coregister_result_transform(
    result: *const Answer,
    matrix: *mut f64,
) -> CoregisterStatus {
    // SAFETY: the caller keeps the rules of the header.
    guard(|| unsafe {
        let transform = borrow(result, "result")?.registration.target_from_source;
        write_numbers(matrix, "matrix", &transform.to_row_major())
    })
}

/// Probability that the transform is right, 0 to 1.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coregister_result_confidence(result: *const Answer) -> f64 {
    // SAFETY: the caller keeps the rules of the header.
    unsafe { value(result, 0.0, |answer| answer.registration.confidence) }
}

/// Share of the source's surface that lies on the target's, 0 to 1.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coregister_result_overlap(result: *const Answer) -> f64 {
    // SAFETY: the caller keeps the rules of the header.
    unsafe { value(result, 0.0, |answer| answer.registration.overlap) }
}

/// Matches that agree with the transform.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coregister_result_inliers(result: *const Answer) -> usize {
    // SAFETY: the caller keeps the rules of the header.
    unsafe { value(result, 0, |answer| answer.registration.inliers) }
}

/// Root mean square distance of overlapping surfaces along the target's normal.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coregister_result_inlier_rmse(result: *const Answer) -> f64 {
    // SAFETY: the caller keeps the rules of the header.
    unsafe { value(result, 0.0, |answer| answer.registration.inlier_rmse) }
}

/// Writes the Fisher information to `matrix`: 36 numbers, row by row, of rotation about x, y, z and translation along
/// x, y, z, in target coordinates, about the centre of `coregister_result_information_centre`. Units: 1/rad^2 and 1/length^2.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coregister_result_information(
    result: *const Answer,
    matrix: *mut f64,
) -> CoregisterStatus {
    // SAFETY: the caller keeps the rules of the header.
    guard(|| unsafe {
        let information = borrow(result, "result")?.registration.information;
        write_numbers(matrix, "matrix", information.as_flattened())
    })
}

/// Writes the centre of the overlap, x, y, z in target coordinates, to `point`: with (w, v) the small error that the
/// information is about, the right transform maps p to q + w x (q - centre) + v, where q is what the answer maps p to.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coregister_result_information_centre(
    result: *const Answer,
    point: *mut f64,
) -> CoregisterStatus {
    // SAFETY: the caller keeps the rules of the header.
    guard(|| unsafe {
        let centre = borrow(result, "result")?.registration.information_centre;
        write_numbers(point, "point", &centre)
    })
}

/// Number of motions that the overlap does not determine.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coregister_result_unobserved_count(result: *const Answer) -> usize {
    // SAFETY: the caller keeps the rules of the header.
    unsafe { value(result, 0, |answer| answer.unobserved.len()) }
}

/// Such a motion in words, such as "translation along (0.00, 1.00, 0.00)"; "" beyond the last. Valid as long as the
/// result.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coregister_result_unobserved(result: *const Answer, index: usize) -> *const c_char {
    // SAFETY: the caller keeps the rules of the header.
    unsafe { value(result, c"".as_ptr(), |answer| pointer_to(answer.unobserved.get(index))) }
}

/// Number of warnings: what should be known although there is a result, such as points that were left out.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coregister_result_warning_count(result: *const Answer) -> usize {
    // SAFETY: the caller keeps the rules of the header.
    unsafe { value(result, 0, |answer| answer.warnings.len()) }
}

/// Such a warning, one sentence; "" beyond the last. Valid as long as the result.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coregister_result_warning(result: *const Answer, index: usize) -> *const c_char {
    // SAFETY: the caller keeps the rules of the header.
    unsafe { value(result, c"".as_ptr(), |answer| pointer_to(answer.warnings.get(index))) }
}

/// Number of stages that were timed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coregister_result_stage_count(result: *const Answer) -> usize {
    // SAFETY: the caller keeps the rules of the header.
    unsafe { value(result, 0, |answer| answer.stages.len()) }
}

/// Name of a stage, in the order of execution; "" beyond the last. Valid as long as the result.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coregister_result_stage_name(result: *const Answer, index: usize) -> *const c_char {
    // SAFETY: the caller keeps the rules of the header.
    unsafe { value(result, c"".as_ptr(), |answer| pointer_to(answer.stages.get(index))) }
}

/// Time spent in a stage; 0 beyond the last.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coregister_result_stage_seconds(result: *const Answer, index: usize) -> f64 {
    let read = |answer: &Answer| {
        answer.registration.timings.stages.get(index).map_or(0.0, |(_, spent)| spent.as_secs_f64())
    };
    // SAFETY: the caller keeps the rules of the header.
    unsafe { value(result, 0.0, read) }
}

/// What computed it: "cpu", "cuda:0". Valid as long as the result.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coregister_result_device(result: *const Answer) -> *const c_char {
    // SAFETY: the caller keeps the rules of the header.
    unsafe { value(result, c"".as_ptr(), |answer| answer.device.as_ptr()) }
}

/// The seed of the settings.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coregister_result_seed(result: *const Answer) -> u64 {
    // SAFETY: the caller keeps the rules of the header.
    unsafe { value(result, 0, |answer| answer.registration.seed) }
}

/// Frees a result, and the strings read out of it.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coregister_result_destroy(result: *mut Answer) {
    // SAFETY: the caller keeps the rules of the header.
    guard_value((), || unsafe { take_back(result) });
}
