//! Engines, and what they do.

use coregister::Config;

use crate::cloud::CloudHandle;
use crate::config::Configuration;
use crate::pointers::{borrow, hand_out, take_back};
use crate::points::Points;
use crate::result::Answer;
use crate::status::{CoregisterStatus, guard, guard_value};

/// A device that is ready to register pairs. Make one, use it for many pairs, from as many threads as you like.
pub struct Engine {
    engine: coregister::Engine,
}

/// Checks the settings and opens the device. `config` is copied; NULL stands for the default settings.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coregister_engine_create(
    config: *const Configuration,
    engine: *mut *mut Engine,
) -> CoregisterStatus {
    // SAFETY: the caller keeps the rules of the header.
    guard(|| unsafe {
        hand_out(engine, "engine", || {
            let config = config.as_ref().map_or_else(Config::default, |handle| handle.config.clone());
            Ok(Engine { engine: coregister::Engine::new(config)? })
        })
    })
}

/// Finds the transform that lays the source onto the target. A pair without a confident answer is no error: its result
/// has the verdict COREGISTER_VERDICT_REJECTED.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coregister_register(
    engine: *const Engine,
    source: *const CloudHandle,
    target: *const CloudHandle,
    result: *mut *mut Answer,
) -> CoregisterStatus {
    // SAFETY: the caller keeps the rules of the header.
    guard(|| unsafe {
        hand_out(result, "result", || {
            let engine = &borrow(engine, "engine")?.engine;
            let (source, target) = (borrow(source, "source")?, borrow(target, "target")?);
            Ok(Answer::new(engine.register(&source.cloud, &target.cloud)?))
        })
    })
}

/// As coregister_register(), of points in the caller's memory.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coregister_register_points(
    engine: *const Engine,
    source: *const Points,
    target: *const Points,
    result: *mut *mut Answer,
) -> CoregisterStatus {
    // SAFETY: the caller keeps the rules of the header.
    guard(|| unsafe {
        hand_out(result, "result", || {
            let engine = &borrow(engine, "engine")?.engine;
            let (source, target) = (borrow(source, "source")?, borrow(target, "target")?);
            let (source, target) = (source.to_cloud("source")?, target.to_cloud("target")?);
            Ok(Answer::new(engine.register(&source, &target)?))
        })
    })
}

/// Frees an engine and closes its device.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coregister_engine_destroy(engine: *mut Engine) {
    // SAFETY: the caller keeps the rules of the header.
    guard_value((), || unsafe { take_back(engine) });
}
