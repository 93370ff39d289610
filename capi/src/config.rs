//! Settings. There is a setter for each field of [`Config`], so that new ones break no program.

use std::ffi::c_char;

use coregister::Config;
use coregister::config::{Azimuth, Descriptor, DeviceChoice, Gravity, MOST_THREADS, Voxel};

use crate::pointers::{borrow_mut, hand_out, path, take_back};
use crate::status::{CoregisterStatus, Failure, guard, guard_value};

/// The best device that works, for coregister_config_set_device().
pub const COREGISTER_DEVICE_AUTO: i32 = -2;

/// The processor, for coregister_config_set_device().
pub const COREGISTER_DEVICE_CPU: i32 = -1;

/// What describes the surroundings of a point, for coregister_config_set_descriptor().
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CoregisterDescriptor {
    /// The classic one for a first look, the learned one where that leaves a doubt.
    Auto = 0,
    /// A small network.
    Learned = 1,
    /// Hand-made, without weights.
    Classic = 2,
}

/// How the angle between two matched patches is found, for coregister_config_set_azimuth().
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CoregisterAzimuth {
    /// Where the circular correlation of their maps peaks.
    Correlation = 0,
    /// By the cost volume of a converted checkpoint.
    CostVolume = 1,
}

/// What is known about the vertical, for coregister_config_set_gravity().
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CoregisterGravity {
    /// Found in the data where both clouds show it, and used where nothing else gives a sure answer.
    Auto = 0,
    /// Unknown; any rotation is searched.
    None = 1,
}

/// Settings of an engine.
pub struct Configuration {
    pub(crate) config: Config,
}

/// Makes settings that are right for almost everybody.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coregister_config_create(config: *mut *mut Configuration) -> CoregisterStatus {
    // SAFETY: the caller keeps the rules of the header.
    guard(|| unsafe { hand_out(config, "config", || Ok(Configuration { config: Config::default() })) })
}

/// Where to compute: COREGISTER_DEVICE_AUTO, COREGISTER_DEVICE_CPU, or the number of a CUDA device, from 0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coregister_config_set_device(
    config: *mut Configuration,
    device: i32,
) -> CoregisterStatus {
    // SAFETY: the caller keeps the rules of the header.
    unsafe {
        set(config, |config| {
            config.device = match device {
                COREGISTER_DEVICE_AUTO => DeviceChoice::Auto,
                COREGISTER_DEVICE_CPU => DeviceChoice::Cpu,
                number => DeviceChoice::Cuda(usize::try_from(number).map_err(|_| unknown("device", number))?),
            };
            Ok(())
        })
    }
}

/// What describes the surroundings of a point: a coregister_descriptor.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coregister_config_set_descriptor(
    config: *mut Configuration,
    descriptor: i32,
) -> CoregisterStatus {
    const AUTO: i32 = CoregisterDescriptor::Auto as i32;
    const LEARNED: i32 = CoregisterDescriptor::Learned as i32;
    const CLASSIC: i32 = CoregisterDescriptor::Classic as i32;
    // SAFETY: the caller keeps the rules of the header.
    unsafe {
        set(config, |config| {
            config.descriptor = match descriptor {
                AUTO => Descriptor::Auto,
                LEARNED => Descriptor::Learned,
                CLASSIC => Descriptor::Classic,
                other => return Err(unknown("descriptor", other)),
            };
            Ok(())
        })
    }
}

/// File with the weights of the learned descriptor; NULL takes those built in.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coregister_config_set_weights(
    config: *mut Configuration,
    path_utf8: *const c_char,
) -> CoregisterStatus {
    // SAFETY: the caller keeps the rules of the header.
    unsafe {
        set(config, |config| {
            config.weights = if path_utf8.is_null() { None } else { Some(path(path_utf8, "path_utf8")?) };
            Ok(())
        })
    }
}

/// How the angle between two matched patches is found: a coregister_azimuth.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coregister_config_set_azimuth(
    config: *mut Configuration,
    azimuth: i32,
) -> CoregisterStatus {
    const CORRELATION: i32 = CoregisterAzimuth::Correlation as i32;
    const COST_VOLUME: i32 = CoregisterAzimuth::CostVolume as i32;
    // SAFETY: the caller keeps the rules of the header.
    unsafe {
        set(config, |config| {
            config.azimuth = match azimuth {
                CORRELATION => Azimuth::Correlation,
                COST_VOLUME => Azimuth::CostVolume,
                other => return Err(unknown("azimuth", other)),
            };
            Ok(())
        })
    }
}

/// Edge of the voxels that clouds are thinned to, in their unit; 0 derives it from the data.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coregister_config_set_voxel(
    config: *mut Configuration,
    size: f64,
) -> CoregisterStatus {
    // SAFETY: the caller keeps the rules of the header.
    unsafe {
        set(config, |config| {
            config.voxel = if size == 0.0 { Voxel::Auto } else { Voxel::Size(size) };
            Ok(())
        })
    }
}

/// What is known about the vertical: a coregister_gravity.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coregister_config_set_gravity(
    config: *mut Configuration,
    gravity: i32,
) -> CoregisterStatus {
    const AUTO: i32 = CoregisterGravity::Auto as i32;
    const NONE: i32 = CoregisterGravity::None as i32;
    // SAFETY: the caller keeps the rules of the header.
    unsafe {
        set(config, |config| {
            config.gravity = match gravity {
                AUTO => Gravity::Auto,
                NONE => Gravity::None,
                other => return Err(unknown("gravity", other)),
            };
            Ok(())
        })
    }
}

/// The axis x, y, z, of any length, points up in both clouds.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coregister_config_set_gravity_axis(
    config: *mut Configuration,
    x: f64,
    y: f64,
    z: f64,
) -> CoregisterStatus {
    // SAFETY: the caller keeps the rules of the header.
    unsafe {
        set(config, |config| {
            config.gravity = Gravity::Axis([x, y, z]);
            Ok(())
        })
    }
}

/// Repeated in results. Nothing in the method is random, so it changes nothing.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coregister_config_set_seed(
    config: *mut Configuration,
    seed: u64,
) -> CoregisterStatus {
    // SAFETY: the caller keeps the rules of the header.
    unsafe {
        set(config, |config| {
            config.seed = seed;
            Ok(())
        })
    }
}

/// Worker threads; 0 means one per core. Does not change results.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coregister_config_set_threads(
    config: *mut Configuration,
    threads: usize,
) -> CoregisterStatus {
    // SAFETY: the caller keeps the rules of the header.
    unsafe {
        set(config, |config| {
            if threads > MOST_THREADS {
                let reason =
                    format!("`threads` is {threads}; give {MOST_THREADS} at most, or 0 for one per core");
                return Err(Failure::argument(reason));
            }
            config.threads = threads;
            Ok(())
        })
    }
}

/// Whether the estimate is refined on the clouds at the end, as it is unless this says otherwise.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coregister_config_set_refine(
    config: *mut Configuration,
    refine: bool,
) -> CoregisterStatus {
    // SAFETY: the caller keeps the rules of the header.
    unsafe {
        set(config, |config| {
            config.refine = refine;
            Ok(())
        })
    }
}

/// Most memory of a CUDA device that may be taken, in bytes; 0 stands for all of it.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coregister_config_set_max_gpu_memory(
    config: *mut Configuration,
    bytes: usize,
) -> CoregisterStatus {
    // SAFETY: the caller keeps the rules of the header.
    unsafe {
        set(config, |config| {
            config.max_gpu_memory = (bytes > 0).then_some(bytes);
            Ok(())
        })
    }
}

/// Frees settings. Engines that were made of them stay as they are.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coregister_config_destroy(config: *mut Configuration) {
    // SAFETY: the caller keeps the rules of the header.
    guard_value((), || unsafe { take_back(config) });
}

/// # Safety
/// `config` is null, or a handle that nobody else uses meanwhile.
unsafe fn set(
    config: *mut Configuration,
    assign: impl FnOnce(&mut Config) -> Result<(), Failure>,
) -> CoregisterStatus {
    // SAFETY: the caller's word.
    guard(|| assign(&mut unsafe { borrow_mut(config, "config") }?.config))
}

fn unknown(parameter: &str, number: i32) -> Failure {
    Failure::argument(format!("`{parameter}` is {number}, which has no meaning; see coregister.h"))
}
