//! The C interface as a C program would use it, and as it should not.

use std::ffi::{CStr, CString, c_char, c_void};
use std::ptr::{null, null_mut};

use coregister_c::*;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

const OK: CoregisterStatus = CoregisterStatus::Ok;
const INVALID: CoregisterStatus = CoregisterStatus::InvalidArgument;

type Point<T> = [T; 3];

fn text(pointer: *const c_char) -> String {
    assert!(!pointer.is_null());
    // SAFETY: strings of the library end in a NUL byte.
    unsafe { CStr::from_ptr(pointer) }.to_str().unwrap().to_owned()
}

/// That `status` is the expected one, and its message names `word`.
#[track_caller]
fn assert_fails(status: CoregisterStatus, expected: CoregisterStatus, word: &str) {
    let message = text(coregister_last_error());
    assert_eq!(status, expected, "{message}");
    assert!(message.contains(word), "\"{message}\" does not speak of \"{word}\"");
}

fn with_message(status: CoregisterStatus) -> (CoregisterStatus, String) {
    (status, text(coregister_last_error()))
}

/// Points without gaps.
fn view<T>(points: &[Point<T>]) -> Points {
    let size = size_of::<T>();
    Points {
        data: points.as_ptr().cast(),
        count: points.len(),
        stride: 3 * size,
        x_offset: 0,
        y_offset: size,
        z_offset: 2 * size,
        scalar: if size == 4 { CoregisterScalar::Float32 } else { CoregisterScalar::Float64 } as i32,
        byte_order: 0,
    }
}

fn cloud_of(points: &Points) -> Result<Vec<Point<f64>>, CoregisterStatus> {
    let mut cloud = null_mut();
    // SAFETY: the tests describe memory that is there.
    unsafe {
        let status = coregister_cloud_create(points, &mut cloud);
        if status != OK {
            assert!(cloud.is_null(), "a handle in spite of {status:?}");
            return Err(status);
        }
        let mut copy = vec![[f64::NAN; 3]; coregister_cloud_count(cloud)];
        assert_eq!(coregister_cloud_copy(cloud, copy.as_mut_ptr().cast(), copy.len()), OK);
        coregister_cloud_destroy(cloud);
        Ok(copy)
    }
}

/// `count` points on the walls and the furniture of a room of 6 × 4 × 2.5.
fn room(count: usize, seed: u64) -> Vec<Point<f32>> {
    const BOXES: [(Point<f32>, Point<f32>); 4] = [
        ([0.0, 0.0, 0.0], [6.0, 4.0, 2.5]),
        ([1.0, 1.0, 0.0], [2.2, 1.8, 0.75]),
        ([4.0, 0.2, 0.0], [5.5, 0.9, 1.9]),
        ([3.0, 2.5, 0.0], [3.6, 3.4, 0.5]),
    ];
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let on_a_surface = |_| {
        let (low, high) = BOXES[[0, 0, 0, 1, 2, 3][random.random_range(0..6)]];
        let mut point = [0, 1, 2].map(|k| random.random_range(low[k]..high[k]));
        let axis = random.random_range(0..3);
        point[axis] = if random.random() { low[axis] } else { high[axis] };
        point.map(|x| x + random.random_range(-0.005..0.005))
    };
    (0..count).map(on_a_surface).collect()
}

/// A quarter turn about the vertical, and a shift: `p_target = T · p_source`, row-major.
const TARGET_FROM_SOURCE: [f64; 16] =
    [0.0, -1.0, 0.0, 2.0, 1.0, 0.0, 0.0, -3.0, 0.0, 0.0, 1.0, 0.5, 0.0, 0.0, 0.0, 1.0];

fn moved_back(points: &[Point<f32>]) -> Vec<Point<f32>> {
    points.iter().map(|[x, y, z]| [y + 3.0, -(x - 2.0), z - 0.5]).collect()
}

/// Two scans of a room, source and target.
fn pair() -> [Vec<Point<f32>>; 2] {
    [moved_back(&room(8_000, 2)), room(8_000, 1)]
}

/// An engine for one thread on the processor, which looks once.
fn engine() -> *mut Engine {
    let (mut config, mut engine) = (null_mut(), null_mut());
    // SAFETY: all handles are fresh.
    unsafe {
        assert_eq!(coregister_config_create(&mut config), OK);
        assert_eq!(coregister_config_set_device(config, COREGISTER_DEVICE_CPU), OK);
        let classic = CoregisterDescriptor::Classic as i32;
        assert_eq!(coregister_config_set_descriptor(config, classic), OK);
        assert_eq!(coregister_config_set_threads(config, 1), OK);
        assert_eq!(coregister_config_set_seed(config, 42), OK);
        assert_eq!(coregister_engine_create(config, &mut engine), OK);
        coregister_config_destroy(config);
    }
    engine
}

#[track_caller]
fn assert_right(result: *const Answer) {
    let mut matrix = [f64::NAN; 16];
    // SAFETY: a result, and room for 16 numbers.
    unsafe {
        assert_eq!(coregister_result_transform(result, matrix.as_mut_ptr()), OK);
        let reason = text(coregister_result_reason(result));
        assert_eq!(coregister_result_verdict(result), CoregisterVerdict::Accepted, "{reason}");
    }
    for (given, right) in matrix.iter().zip(&TARGET_FROM_SOURCE) {
        assert!((given - right).abs() < 0.02, "{matrix:?}");
    }
}

// The right way

#[test]
fn points_are_registered_and_everything_is_in_the_result() {
    let [source, target] = pair();
    let engine = engine();
    let mut result = null_mut();
    // SAFETY: handles of this test, memory that is there.
    unsafe {
        assert_eq!(coregister_register_points(engine, &view(&source), &view(&target), &mut result), OK);
        coregister_engine_destroy(engine);
        assert_right(result);
        assert_eq!(text(coregister_result_reason(result)), "");
        assert!((0.9..=1.0).contains(&coregister_result_confidence(result)));
        assert!((0.5..=1.0).contains(&coregister_result_overlap(result)));
        assert!(coregister_result_inliers(result) > 10);
        assert!((0.0..0.05).contains(&coregister_result_inlier_rmse(result)));
        let mut information = [f64::NAN; 36];
        assert_eq!(coregister_result_information(result, information.as_mut_ptr()), OK);
        assert!((0..6).all(|k| information[7 * k] > 0.0), "{information:?}");
        let mut centre = [f64::NAN; 3];
        assert_eq!(coregister_result_information_centre(result, centre.as_mut_ptr()), OK);
        assert!(centre.iter().all(|x| *x != 0.0 && x.abs() < 10.0), "{centre:?}");
        assert_eq!(coregister_result_unobserved_count(result), 0);
        assert_eq!(text(coregister_result_unobserved(result, 0)), "");
        assert_eq!(coregister_result_warning_count(result), 0);
        assert_eq!(text(coregister_result_warning(result, 0)), "");
        let stages = coregister_result_stage_count(result);
        let names: Vec<_> = (0..stages).map(|i| text(coregister_result_stage_name(result, i))).collect();
        assert!(names.contains(&"clean".to_owned()) && !names.contains(&String::new()), "{names:?}");
        assert!((0..stages).map(|i| coregister_result_stage_seconds(result, i)).sum::<f64>() > 0.0);
        assert_eq!(text(coregister_result_stage_name(result, stages)), "");
        assert_eq!(coregister_result_stage_seconds(result, stages), 0.0);
        assert_eq!(text(coregister_result_device(result)), "cpu");
        assert_eq!(coregister_result_seed(result), 42);
        coregister_result_destroy(result);
    }
}

/// A prepared cloud of some points.
fn prepared(engine: *const Engine, points: &[Point<f32>]) -> *mut Prepared {
    let (mut cloud, mut prepared) = (null_mut(), null_mut());
    // SAFETY: an engine, and memory that is there.
    unsafe {
        assert_eq!(coregister_cloud_create(&view(points), &mut cloud), OK);
        assert_eq!(coregister_prepare(engine, cloud, &mut prepared), OK);
        coregister_cloud_destroy(cloud);
    }
    prepared
}

#[test]
fn prepared_clouds_give_the_same_answer() {
    let [source, target] = pair();
    let engine = engine();
    let [prepared_source, prepared_target] = [&source, &target].map(|points| prepared(engine, points));
    let mut results = [null_mut(); 3];
    let [direct, first, second] = &mut results;
    let mut matrices = [[f64::NAN; 16]; 3];
    // SAFETY: handles of this test, memory that is there.
    unsafe {
        assert_eq!(coregister_prepared_count(prepared_source), source.len());
        assert_eq!(coregister_register_points(engine, &view(&source), &view(&target), direct), OK);
        for result in [first, second] {
            assert_eq!(coregister_register_prepared(engine, prepared_source, prepared_target, result), OK);
        }
        coregister_prepared_destroy(prepared_source);
        coregister_prepared_destroy(prepared_target);
        coregister_engine_destroy(engine);
        for (result, matrix) in results.into_iter().zip(&mut matrices) {
            assert_right(result);
            assert_eq!(coregister_result_transform(result, matrix.as_mut_ptr()), OK);
            coregister_result_destroy(result);
        }
    }
    assert_eq!(matrices[0], matrices[1]);
    assert_eq!(matrices[1], matrices[2]);
}

#[test]
fn clouds_prepared_with_other_settings_are_refused() {
    let [first, mut second] = [engine(), null_mut()];
    let (mut config, mut result) = (null_mut(), null_mut());
    // SAFETY: handles of this test.
    unsafe {
        assert_eq!(coregister_config_create(&mut config), OK);
        assert_eq!(coregister_config_set_device(config, COREGISTER_DEVICE_CPU), OK);
        assert_eq!(coregister_config_set_voxel(config, 0.5), OK);
        assert_eq!(coregister_engine_create(config, &mut second), OK);
        let cloud = prepared(first, &room(1000, 1));
        let status = coregister_register_prepared(second, cloud, cloud, &mut result);
        assert_fails(status, CoregisterStatus::Config, "prepared");
        coregister_prepared_destroy(cloud);
        coregister_config_destroy(config);
        coregister_engine_destroy(first);
        coregister_engine_destroy(second);
    }
}

#[test]
fn one_engine_serves_several_threads() {
    struct Shared(*mut Engine);
    // SAFETY: the header allows engines to be used by several threads at once; that is what is tested.
    unsafe impl Sync for Shared {}
    let shared = Shared(engine());
    let register = |thread: usize| {
        let Shared(engine) = &shared;
        let [source, target] = pair();
        let mut result = null_mut();
        // SAFETY: the engine outlives the threads; the rest is this thread's.
        unsafe {
            let wrong = Points { stride: thread, ..view(&source) };
            let status = coregister_register_points(*engine, &wrong, &view(&target), &mut result);
            assert_fails(status, INVALID, &format!("stride {thread}"));
            let status = coregister_register_points(*engine, &view(&source), &view(&target), &mut result);
            assert_eq!(status, OK);
            assert_right(result);
            let message = text(coregister_last_error());
            assert!(message.contains(&format!("stride {thread}")), "{message}: another thread's");
            coregister_result_destroy(result);
        }
    };
    std::thread::scope(|scope| {
        for thread in 1..4 {
            scope.spawn(move || register(thread));
        }
    });
    // SAFETY: the threads are done.
    unsafe { coregister_engine_destroy(shared.0) };
}

#[test]
fn files_are_read() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../data/demo_source.ply");
    let path = CString::new(path).unwrap();
    let mut cloud = null_mut();
    // SAFETY: a path and a fresh handle.
    unsafe {
        assert_eq!(coregister_cloud_read(path.as_ptr(), &mut cloud), OK);
        assert!(coregister_cloud_count(cloud) > 1000);
        coregister_cloud_destroy(cloud);
        assert_fails(
            coregister_cloud_read(c"no such.ply".as_ptr(), &mut cloud),
            CoregisterStatus::File,
            "no such.ply",
        );
        assert!(cloud.is_null());
        let text = c"Cargo.toml".as_ptr();
        assert_fails(coregister_cloud_read(text, &mut cloud), CoregisterStatus::Format, "toml");
    }
}

#[test]
fn version() {
    assert_eq!(text(coregister_version()), env!("CARGO_PKG_VERSION"));
}

// Layouts

#[test]
fn any_layout_gives_the_same_points() {
    let points: Vec<Point<f32>> = room(100, 1);
    let wanted: Vec<Point<f64>> = points.iter().map(|p| p.map(f64::from)).collect();
    assert_eq!(cloud_of(&view(&points)).unwrap(), wanted);

    // As a PointCloud2: 1 byte into the buffer, so that nothing is aligned; z, gap, y, x; either byte order.
    for (order, big) in [(CoregisterByteOrder::Little, false), (CoregisterByteOrder::Big, true)] {
        let bytes = |x: f32| if big { x.to_be_bytes() } else { x.to_le_bytes() };
        let mut buffer = vec![0xff_u8];
        for [x, y, z] in &points {
            buffer.extend([bytes(*z), [0xff; 4], bytes(*y), bytes(*x)].as_flattened());
            buffer.push(0xff);
        }
        let strided = Points {
            data: buffer[1..].as_ptr().cast(),
            stride: 17,
            x_offset: 12,
            y_offset: 8,
            z_offset: 0,
            byte_order: order as i32,
            ..view(&points)
        };
        assert_eq!(cloud_of(&strided).unwrap(), wanted);
    }

    let columns: Vec<f32> = (0..3).flat_map(|k| points.iter().map(move |p| p[k])).collect();
    let data = columns.as_ptr().cast();
    let columns = Points { data, stride: 4, y_offset: 400, z_offset: 800, ..view(&points) };
    assert_eq!(cloud_of(&columns).unwrap(), wanted);
}

#[test]
fn doubles_keep_what_floats_would_lose() {
    let points: Vec<Point<f64>> = (0..60).map(|i| [4.5e6 + f64::from(i) * 0.01, 5.5e6, 100.0]).collect();
    for (copy, point) in cloud_of(&view(&points)).unwrap().iter().zip(&points) {
        assert!((0..3).all(|k| (copy[k] - point[k]).abs() < 1e-6), "{copy:?} is not {point:?}");
    }
    let swapped: Vec<Point<f64>> =
        points.iter().map(|p| p.map(|x| f64::from_bits(x.to_bits().swap_bytes()))).collect();
    let other =
        if cfg!(target_endian = "little") { CoregisterByteOrder::Big } else { CoregisterByteOrder::Little };
    let swapped = Points { byte_order: other as i32, ..view(&swapped) };
    assert_eq!(cloud_of(&swapped), cloud_of(&view(&points)));
}

#[test]
fn no_point_and_one_point() {
    let empty = Points { data: null(), count: 0, ..view::<f32>(&[]) };
    assert_eq!(cloud_of(&empty), Ok(vec![]));
    assert_eq!(cloud_of(&Points { stride: 0, scalar: 1, ..empty }), Ok(vec![]));
    let one = [[1.0_f32, 2.0, 3.0]];
    assert_eq!(cloud_of(&view(&one)), Ok(vec![[1.0, 2.0, 3.0]]));
    assert_eq!(cloud_of(&Points { stride: 0, ..view(&one) }), Ok(vec![[1.0, 2.0, 3.0]]));
}

// The wrong way

#[test]
fn layouts_that_cannot_be_are_refused() {
    let points = room(100, 1);
    let good = view(&points);
    let refused = |what: &str, wrong: Points, word: &str| {
        let status = cloud_of(&wrong).expect_err(what);
        assert_fails(status, INVALID, word);
    };
    refused("no stride", Points { stride: 0, ..good }, "stride 0");
    refused("a stride in floats", Points { stride: 3, ..good }, "stride 3");
    refused("a stride of one float", Points { stride: 4, ..good }, "overlap");
    refused("offsets in floats", Points { y_offset: 1, z_offset: 2, ..good }, "offsets 0, 1, 2");
    refused("one coordinate twice", Points { z_offset: 4, ..good }, "overlap");
    refused("an offset in the next point", Points { z_offset: 20, ..good }, "overlap");
    refused("floats as doubles", Points { scalar: 1, ..good }, "8 bytes overlap");
    refused("no data", Points { data: null(), ..good }, "data is null");
    refused("an unknown type", Points { scalar: 2, ..good }, "scalar is 2");
    refused("an unknown order", Points { byte_order: -1, ..good }, "byte_order is -1");
    for count in [usize::MAX, usize::MAX / 12, isize::MAX as usize] {
        refused("too many points", Points { count, ..good }, "do not fit");
    }
    refused("too far apart", Points { stride: usize::MAX, ..good }, "do not fit");
    refused("too far in", Points { z_offset: usize::MAX, ..good }, "do not fit");
    refused("too far in for an isize", Points { z_offset: isize::MAX as usize, ..good }, "do not fit");
    let last = usize::MAX as *const c_void;
    refused("at the end of the memory", Points { data: last, ..good }, "do not fit");
}

#[test]
fn more_points_than_memory_is_an_error() {
    // Nothing is read: the copy is refused first.
    let huge = Points { count: 1 << 58, stride: 12, ..view(&room(1, 1)) };
    let status = cloud_of(&huge).expect_err("no machine has that much");
    assert_fails(status, CoregisterStatus::Memory, "memory");
}

#[test]
fn clouds_that_cannot_be_registered_are_errors() {
    let (few, target) = (room(10, 1), room(1000, 1));
    let engine = engine();
    let not_finite = [[f32::NAN; 3]; 200];
    for source in [&few[..], &[], &not_finite, &[[1.0; 3]; 200]] {
        let mut result = null_mut();
        // SAFETY: handles of this test, memory that is there.
        let [first, second] = unsafe {
            [
                coregister_register_points(engine, &view(source), &view(&target), &mut result),
                coregister_register_points(engine, &view(&target), &view(source), &mut result),
            ]
        };
        assert_fails(first, CoregisterStatus::Cloud, "the target cloud");
        assert_eq!(second, CoregisterStatus::Cloud);
        assert!(result.is_null());
    }
    // SAFETY: the last use.
    unsafe { coregister_engine_destroy(engine) };
}

#[test]
fn points_that_were_left_out_are_told() {
    let [mut source, target] = pair();
    source.extend([[f32::NAN; 3]; 2]);
    let engine = engine();
    let mut result = null_mut();
    // SAFETY: handles of this test, memory that is there.
    unsafe {
        assert_eq!(coregister_register_points(engine, &view(&source), &view(&target), &mut result), OK);
        coregister_engine_destroy(engine);
        assert_eq!(coregister_result_warning_count(result), 1);
        let warning = text(coregister_result_warning(result, 0));
        assert!(warning.starts_with("ignoring 2 of 8002 points of the source cloud"), "{warning}");
        coregister_result_destroy(result);
    }
}

#[test]
fn every_setting_takes_what_it_should_and_nothing_else() {
    let mut config = null_mut();
    // SAFETY: one handle, one thread.
    unsafe {
        assert_eq!(coregister_config_create(&mut config), OK);
        for device in [COREGISTER_DEVICE_AUTO, COREGISTER_DEVICE_CPU, 0, 7] {
            assert_eq!(coregister_config_set_device(config, device), OK);
        }
        assert_fails(coregister_config_set_device(config, -3), INVALID, "`device` is -3");
        for descriptor in 0..3 {
            assert_eq!(coregister_config_set_descriptor(config, descriptor), OK);
        }
        assert_fails(coregister_config_set_descriptor(config, 3), INVALID, "`descriptor` is 3");
        assert_eq!(coregister_config_set_azimuth(config, 1), OK);
        assert_eq!(coregister_config_set_azimuth(config, 0), OK);
        assert_fails(coregister_config_set_azimuth(config, 2), INVALID, "`azimuth` is 2");
        assert_eq!(coregister_config_set_gravity_axis(config, 0.0, 0.0, 1.0), OK);
        assert_eq!(coregister_config_set_gravity(config, 1), OK);
        assert_eq!(coregister_config_set_gravity(config, 0), OK);
        assert_fails(coregister_config_set_gravity(config, 2), INVALID, "`gravity` is 2");
        assert_eq!(coregister_config_set_refine(config, false), OK);
        assert_eq!(coregister_config_set_threads(config, 1024), OK);
        assert_fails(coregister_config_set_threads(config, 1025), INVALID, "1024 at most");
        assert_eq!(coregister_config_set_max_gpu_memory(config, 1 << 30), OK);
        assert_eq!(coregister_config_set_max_gpu_memory(config, 0), OK);
        coregister_config_destroy(config);
    }
}

#[test]
fn settings_reach_the_engine() {
    type Setter = fn(*mut Configuration) -> CoregisterStatus;
    // SAFETY: one handle, one thread.
    let cases: [(Setter, CoregisterStatus, &str); 5] = unsafe {
        [
            (|c| coregister_config_set_voxel(c, -1.0), CoregisterStatus::Config, "voxel size"),
            (|c| coregister_config_set_voxel(c, f64::NAN), CoregisterStatus::Config, "NaN"),
            (|c| coregister_config_set_gravity_axis(c, 0.0, 0.0, 0.0), CoregisterStatus::Config, "gravity"),
            (|c| coregister_config_set_azimuth(c, 1), CoregisterStatus::Config, "cost volume"),
            (
                |c| coregister_config_set_weights(c, c"no.safetensors".as_ptr()),
                CoregisterStatus::File,
                "no.safe",
            ),
        ]
    };
    for (set, status, word) in cases {
        let (mut config, mut engine) = (null_mut(), null_mut());
        // SAFETY: fresh handles.
        unsafe {
            coregister_config_create(&mut config);
            coregister_config_set_device(config, COREGISTER_DEVICE_CPU);
            assert_eq!(set(config), OK);
            assert_fails(coregister_engine_create(config, &mut engine), status, word);
            assert!(engine.is_null());
            assert_eq!(coregister_config_set_weights(config, null()), OK, "back to those built in");
            coregister_config_destroy(config);
        }
    }
}

#[test]
fn null_is_an_error_in_every_place() {
    let points = room(200, 1);
    let engine = engine();
    let ready = prepared(engine, &points);
    let points = view(&points);
    let mut room_for_numbers = [0.0; 36];
    let numbers = room_for_numbers.as_mut_ptr();
    let (mut result, mut cloud, mut config) = (null_mut::<Answer>(), null_mut(), null_mut());
    // SAFETY: what is not null is there.
    unsafe {
        assert_eq!(coregister_cloud_create(&points, &mut cloud), OK);
        assert_eq!(coregister_config_create(&mut config), OK);
        let nulls = [
            (with_message(coregister_config_create(null_mut())), "`config`"),
            (with_message(coregister_config_set_device(null_mut(), 0)), "`config`"),
            (with_message(coregister_config_set_descriptor(null_mut(), 0)), "`config`"),
            (with_message(coregister_config_set_weights(null_mut(), c"".as_ptr())), "`config`"),
            (with_message(coregister_config_set_azimuth(null_mut(), 0)), "`config`"),
            (with_message(coregister_config_set_voxel(null_mut(), 0.0)), "`config`"),
            (with_message(coregister_config_set_gravity(null_mut(), 0)), "`config`"),
            (with_message(coregister_config_set_gravity_axis(null_mut(), 0.0, 0.0, 1.0)), "`config`"),
            (with_message(coregister_config_set_seed(null_mut(), 0)), "`config`"),
            (with_message(coregister_config_set_threads(null_mut(), 0)), "`config`"),
            (with_message(coregister_config_set_refine(null_mut(), true)), "`config`"),
            (with_message(coregister_config_set_max_gpu_memory(null_mut(), 0)), "`config`"),
            (with_message(coregister_engine_create(config, null_mut())), "`engine`"),
            (with_message(coregister_engine_create(null(), null_mut())), "`engine`"),
            (with_message(coregister_cloud_create(null(), &mut cloud.cast())), "`points`"),
            (with_message(coregister_cloud_create(&points, null_mut())), "`cloud`"),
            (with_message(coregister_cloud_read(null(), &mut cloud.cast())), "`path_utf8`"),
            (with_message(coregister_cloud_read(c"a.ply".as_ptr(), null_mut())), "`cloud`"),
            (with_message(coregister_cloud_copy(null(), numbers, 1)), "`cloud`"),
            (with_message(coregister_cloud_copy(cloud, null_mut(), 1)), "`xyz`"),
            (with_message(coregister_cloud_copy(cloud, numbers, 201)), "`count`"),
            (with_message(coregister_register(null(), cloud, cloud, &mut result)), "`engine`"),
            (with_message(coregister_register(engine, null(), cloud, &mut result)), "`source`"),
            (with_message(coregister_register(engine, cloud, null(), &mut result)), "`target`"),
            (with_message(coregister_register(engine, cloud, cloud, null_mut())), "`result`"),
            (with_message(coregister_register_points(null(), &points, &points, &mut result)), "`engine`"),
            (with_message(coregister_register_points(engine, null(), &points, &mut result)), "`source`"),
            (with_message(coregister_register_points(engine, &points, null(), &mut result)), "`target`"),
            (with_message(coregister_register_points(engine, &points, &points, null_mut())), "`result`"),
            (with_message(coregister_prepare(null(), cloud, &mut null_mut())), "`engine`"),
            (with_message(coregister_prepare(engine, null(), &mut null_mut())), "`cloud`"),
            (with_message(coregister_prepare(engine, cloud, null_mut())), "`prepared`"),
            (with_message(coregister_register_prepared(null(), ready, ready, &mut result)), "`engine`"),
            (with_message(coregister_register_prepared(engine, null(), ready, &mut result)), "`source`"),
            (with_message(coregister_register_prepared(engine, ready, null(), &mut result)), "`target`"),
            (with_message(coregister_register_prepared(engine, ready, ready, null_mut())), "`result`"),
            (with_message(coregister_result_transform(null(), numbers)), "`result`"),
            (with_message(coregister_result_information(null(), numbers)), "`result`"),
            (with_message(coregister_result_information_centre(null(), numbers)), "`result`"),
        ];
        for ((status, message), name) in nulls {
            assert_eq!(status, INVALID);
            assert!(message.starts_with(name), "\"{message}\" does not name {name}");
        }
        assert!(result.is_null());
        assert_eq!(coregister_cloud_copy(cloud, null_mut(), 0), OK, "nothing asked for, nothing written");
        coregister_prepared_destroy(ready);
        coregister_cloud_destroy(cloud);
        coregister_config_destroy(config);
        coregister_engine_destroy(engine);
    }
}

#[test]
fn reading_and_destroying_null_does_nothing() {
    let nothing = null::<Answer>();
    // SAFETY: null is allowed.
    unsafe {
        assert_eq!(coregister_cloud_count(null()), 0);
        assert_eq!(coregister_prepared_count(null()), 0);
        assert_eq!(coregister_result_verdict(nothing), CoregisterVerdict::Rejected);
        let numbers = [
            coregister_result_confidence(nothing),
            coregister_result_overlap(nothing),
            coregister_result_inlier_rmse(nothing),
            coregister_result_stage_seconds(nothing, 0),
        ];
        assert_eq!(numbers, [0.0; 4]);
        let counts = [
            coregister_result_inliers(nothing),
            coregister_result_unobserved_count(nothing),
            coregister_result_warning_count(nothing),
            coregister_result_stage_count(nothing),
        ];
        assert_eq!(counts, [0; 4]);
        assert_eq!(coregister_result_seed(nothing), 0);
        let texts = [
            coregister_result_reason(nothing),
            coregister_result_unobserved(nothing, 0),
            coregister_result_warning(nothing, 0),
            coregister_result_stage_name(nothing, 0),
            coregister_result_device(nothing),
        ];
        assert_eq!(texts.map(text), [const { String::new() }; 5]);
        coregister_config_destroy(null_mut());
        coregister_cloud_destroy(null_mut());
        coregister_prepared_destroy(null_mut());
        coregister_engine_destroy(null_mut());
        coregister_result_destroy(null_mut());
    }
}

#[test]
fn every_function_catches_panics() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut functions = 0;
    for file in std::fs::read_dir(folder).unwrap() {
        let code = std::fs::read_to_string(file.unwrap().path()).unwrap();
        for function in code.split("#[unsafe(no_mangle)]").skip(1) {
            let body = function.split("\n}\n").next().unwrap();
            let caught = ["guard(", "guard_value(", "set(config, ", "value(result, "];
            // Neither of these can panic.
            let constant = ["coregister_version", "coregister_last_error"];
            assert!(caught.iter().chain(&constant).any(|word| body.contains(word)), "{body}");
            functions += 1;
        }
    }
    assert!(functions > 30, "only {functions} functions found");
}
