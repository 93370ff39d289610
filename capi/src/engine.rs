//! Engines, and what they do.

use coregister::Config;
use coregister::engine::PreparedCloud;

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

/// A cloud that is ready to take part in many pairs: what is computed of it is computed once, and kept.
pub struct Prepared {
    cloud: PreparedCloud,
}

/// Makes a cloud ready to take part in many pairs of engines with these settings. It may be freed afterwards.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coregister_prepare(
    engine: *const Engine,
    cloud: *const CloudHandle,
    prepared: *mut *mut Prepared,
) -> CoregisterStatus {
    // SAFETY: the caller keeps the rules of the header.
    guard(|| unsafe {
        hand_out(prepared, "prepared", || {
            let engine = &borrow(engine, "engine")?.engine;
            Ok(Prepared { cloud: engine.prepare(&borrow(cloud, "cloud")?.cloud)? })
        })
    })
}

/// As coregister_register(), of clouds that this engine, or one with the same settings, has prepared.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coregister_register_prepared(
    engine: *const Engine,
    source: *const Prepared,
    target: *const Prepared,
    result: *mut *mut Answer,
) -> CoregisterStatus {
    // SAFETY: the caller keeps the rules of the header.
    guard(|| unsafe {
        hand_out(result, "result", || {
            let engine = &borrow(engine, "engine")?.engine;
            let (source, target) = (borrow(source, "source")?, borrow(target, "target")?);
            Ok(Answer::new(engine.register_prepared(&source.cloud, &target.cloud)?))
        })
    })
}

/// Number of usable points: without those that are not finite or far from all others.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coregister_prepared_count(prepared: *const Prepared) -> usize {
    // SAFETY: the caller keeps the rules of the header.
    guard_value(0, || unsafe { prepared.as_ref() }.map_or(0, |handle| handle.cloud.len()))
}

/// Frees a prepared cloud.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coregister_prepared_destroy(prepared: *mut Prepared) {
    // SAFETY: the caller keeps the rules of the header.
    guard_value((), || unsafe { take_back(prepared) });
}

/// Frees an engine and closes its device.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coregister_engine_destroy(engine: *mut Engine) {
    // SAFETY: the caller keeps the rules of the header.
    guard_value((), || unsafe { take_back(engine) });
}

/// What the header promises of threads.
const _: () = {
    const fn is_shared<T: Send + Sync>() {}
    is_shared::<Engine>();
    is_shared::<Prepared>();
    is_shared::<CloudHandle>();
    is_shared::<Answer>();
};
