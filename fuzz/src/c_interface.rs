//! Bytes as a program that calls the C interface in any order, with any numbers and null wherever it can be, but with
//! handles and memory that are there.

use std::ffi::{CStr, CString, c_char};
use std::ptr::{null, null_mut};

use arbitrary::{Result, Unstructured};
use coregister_c::*;

/// More calls than this only take time.
const MOST_CALLS: usize = 16;

/// One program in so many registers anything, once: that takes a thousand times as long as all else.
const REGISTERING: u8 = 16;

/// More points than this only take time.
const MOST_POINTS: usize = 400;

/// Calls what `bytes` say.
pub fn c_interface(bytes: &[u8]) {
    let mut caller = Caller::new();
    let mut program = Unstructured::new(bytes);
    caller.may_register = program.ratio(1, REGISTERING).unwrap_or(false);
    for _ in 0..MOST_CALLS {
        if program.is_empty() || caller.call(&mut program).is_err() {
            break;
        }
    }
}

/// The handles of one program. Each is null until something is put there.
struct Caller {
    config: *mut Configuration,
    engine: *mut Engine,
    clouds: [*mut CloudHandle; 2],
    prepared: [*mut Prepared; 2],
    result: *mut Answer,
    may_register: bool,
}

impl Caller {
    fn new() -> Self {
        let mut caller = Self {
            config: null_mut(),
            engine: null_mut(),
            clouds: [null_mut(); 2],
            prepared: [null_mut(); 2],
            result: null_mut(),
            may_register: false,
        };
        // SAFETY: fresh handles. One thread on the processor, so that runs are quick and repeat themselves.
        unsafe {
            check(coregister_config_create(&mut caller.config));
            check(coregister_config_set_device(caller.config, COREGISTER_DEVICE_CPU));
            check(coregister_config_set_threads(caller.config, 1));
            check(coregister_config_set_descriptor(caller.config, CoregisterDescriptor::Classic as i32));
        }
        caller
    }

    fn call(&mut self, program: &mut Unstructured) -> Result<()> {
        match program.int_in_range(0..=9)? {
            0 => self.set(program),
            1 => self.make_engine(program),
            2 => self.make_cloud(program),
            3 => self.read_cloud(program),
            4 => self.copy_cloud(program),
            5 => self.prepare(program),
            6..=8 if self.may_register => self.register_somehow(program),
            _ => self.read_result(program),
        }
    }

    fn register_somehow(&mut self, program: &mut Unstructured) -> Result<()> {
        match program.int_in_range(0..=2)? {
            0 => self.register(program),
            1 => self.register_points(program),
            _ => self.register_prepared(program),
        }?;
        self.may_register = self.result.is_null();
        Ok(())
    }

    fn set(&mut self, program: &mut Unstructured) -> Result<()> {
        let config = if program.ratio(1, 8)? { null_mut() } else { self.config };
        // SAFETY: null or a handle; strings that end in a NUL byte.
        unsafe {
            check(match program.int_in_range(0..=7)? {
                0 => coregister_config_set_descriptor(config, program.arbitrary()?),
                1 => coregister_config_set_azimuth(config, program.arbitrary()?),
                2 => coregister_config_set_gravity(config, program.arbitrary()?),
                3 => {
                    let [x, y, z] = program.arbitrary()?;
                    coregister_config_set_gravity_axis(config, x, y, z)
                }
                4 => coregister_config_set_voxel(config, program.arbitrary()?),
                5 => coregister_config_set_seed(config, program.arbitrary()?),
                6 => coregister_config_set_refine(config, program.arbitrary()?),
                _ => {
                    let path: Vec<u8> = program.arbitrary()?;
                    let path = CString::new(path).unwrap_or_default();
                    coregister_config_set_weights(config, path.as_ptr())
                }
            });
        }
        Ok(())
    }

    fn make_engine(&mut self, program: &mut Unstructured) -> Result<()> {
        // SAFETY: the old engine is not used any more; null or a handle.
        unsafe {
            coregister_engine_destroy(self.engine);
            if program.ratio(1, 16)? {
                // Its threads are as many as the machine has, so that it is not kept: runs would not repeat themselves.
                check(coregister_engine_create(null(), &mut self.engine));
                coregister_engine_destroy(self.engine);
            }
            check(coregister_engine_create(self.config, &mut self.engine));
        }
        Ok(())
    }

    fn make_cloud(&mut self, program: &mut Unstructured) -> Result<()> {
        let cloud = program.choose_index(2)?;
        let (points, _memory) = points(program)?;
        // SAFETY: the view lies in its memory, or cannot be; the old cloud is not used any more.
        unsafe {
            coregister_cloud_destroy(self.clouds[cloud]);
            check(coregister_cloud_create(&points, &mut self.clouds[cloud]));
        }
        Ok(())
    }

    fn read_cloud(&mut self, program: &mut Unstructured) -> Result<()> {
        let cloud = program.choose_index(2)?;
        // Names of nothing: what may lie there on some machine must not be read.
        let name: Vec<u8> = program.arbitrary()?;
        let path = CString::new([b"no such folder/", &name[..]].concat()).unwrap_or_default();
        // SAFETY: a string that ends in a NUL byte; the old cloud is not used any more.
        unsafe {
            coregister_cloud_destroy(self.clouds[cloud]);
            check(coregister_cloud_read(path.as_ptr(), &mut self.clouds[cloud]));
        }
        Ok(())
    }

    fn copy_cloud(&mut self, program: &mut Unstructured) -> Result<()> {
        let cloud = self.clouds[program.choose_index(2)?];
        // SAFETY: there is room for as many points as the cloud has; more are refused.
        unsafe {
            let mut numbers = vec![0.0; 3 * coregister_cloud_count(cloud)];
            check(coregister_cloud_copy(cloud, numbers.as_mut_ptr(), program.arbitrary()?));
            check(coregister_cloud_copy(cloud, numbers.as_mut_ptr(), numbers.len() / 3));
        }
        Ok(())
    }

    fn prepare(&mut self, program: &mut Unstructured) -> Result<()> {
        let (cloud, prepared) = (program.choose_index(2)?, program.choose_index(2)?);
        // SAFETY: null or handles; the old one is not used any more.
        unsafe {
            coregister_prepared_destroy(self.prepared[prepared]);
            check(coregister_prepare(self.engine, self.clouds[cloud], &mut self.prepared[prepared]));
            coregister_prepared_count(self.prepared[prepared]);
        }
        Ok(())
    }

    fn register(&mut self, program: &mut Unstructured) -> Result<()> {
        let (source, target) = (self.clouds[program.choose_index(2)?], self.clouds[program.choose_index(2)?]);
        // SAFETY: null or handles; the old result is not used any more.
        unsafe {
            coregister_result_destroy(self.result);
            check(coregister_register(self.engine, source, target, &mut self.result));
        }
        Ok(())
    }

    fn register_points(&mut self, program: &mut Unstructured) -> Result<()> {
        let (source, _source_memory) = points(program)?;
        let (target, _target_memory) = points(program)?;
        // SAFETY: as above.
        unsafe {
            coregister_result_destroy(self.result);
            check(coregister_register_points(self.engine, &source, &target, &mut self.result));
        }
        Ok(())
    }

    fn register_prepared(&mut self, program: &mut Unstructured) -> Result<()> {
        let (source, target) =
            (self.prepared[program.choose_index(2)?], self.prepared[program.choose_index(2)?]);
        // SAFETY: as above.
        unsafe {
            coregister_result_destroy(self.result);
            check(coregister_register_prepared(self.engine, source, target, &mut self.result));
        }
        Ok(())
    }

    fn read_result(&self, program: &mut Unstructured) -> Result<()> {
        let result = self.result;
        let mut numbers = [0.0; 36];
        // SAFETY: null or a handle, and room for 36 numbers.
        unsafe {
            check(coregister_result_transform(result, numbers.as_mut_ptr()));
            assert!(numbers.iter().all(|x| f64::is_finite(*x)), "{numbers:?}");
            check(coregister_result_information(result, numbers.as_mut_ptr()));
            let shares = [coregister_result_confidence(result), coregister_result_overlap(result)];
            assert!(shares.iter().all(|share| (0.0..=1.0).contains(share)), "{shares:?}");
            coregister_result_inliers(result);
            coregister_result_inlier_rmse(result);
            coregister_result_seed(result);
            let index = program.int_in_range(0..=20)?;
            coregister_result_stage_seconds(result, index);
            coregister_result_warning_count(result);
            for text in [
                coregister_result_reason(result),
                coregister_result_device(result),
                coregister_result_unobserved(result, index),
                coregister_result_warning(result, index),
                coregister_result_stage_name(result, index),
            ] {
                sentence(text);
            }
        }
        Ok(())
    }
}

impl Drop for Caller {
    fn drop(&mut self) {
        // SAFETY: the last use of all of them.
        unsafe {
            coregister_result_destroy(self.result);
            for (prepared, cloud) in self.prepared.into_iter().zip(self.clouds) {
                coregister_prepared_destroy(prepared);
                coregister_cloud_destroy(cloud);
            }
            coregister_engine_destroy(self.engine);
            coregister_config_destroy(self.config);
        }
    }
}

/// Any call may fail, with a sentence, but not by a fault of the library.
fn check(status: CoregisterStatus) {
    if status != CoregisterStatus::Ok {
        let message = sentence(coregister_last_error());
        assert!(!message.is_empty(), "{status:?} without a message");
        assert!(status != CoregisterStatus::Internal, "{message}");
    }
}

fn sentence(text: *const c_char) -> String {
    assert!(!text.is_null());
    // SAFETY: strings of the library end in a NUL byte.
    unsafe { CStr::from_ptr(text) }.to_str().expect("UTF-8").to_owned()
}

/// A view, and the memory that it lies in. Views that would leave it are cut, unless no memory could hold them.
fn points(program: &mut Unstructured) -> Result<(Points, Vec<u8>)> {
    if program.ratio(1, 2)? {
        return scan(program);
    }
    let [stride, x_offset, y_offset, z_offset] =
        [size(program)?, size(program)?, size(program)?, size(program)?];
    let (count, scalar, byte_order) = (size(program)?, number(program)?, number(program)?);
    let memory: Vec<u8> = program.arbitrary()?;
    let mut view = Points {
        data: memory.as_ptr().cast(),
        count,
        stride,
        x_offset,
        y_offset,
        z_offset,
        scalar,
        byte_order,
    };
    if program.ratio(1, 16)? {
        view.data = null();
    } else if end(&view) < isize::MAX as u128 {
        while end(&view) > memory.len() as u128 {
            view.count /= 2;
        }
    }
    Ok((view, memory))
}

/// A view that is as it should be, of points on a few planes, which is more of a scan than noise is.
fn scan(program: &mut Unstructured) -> Result<(Points, Vec<u8>)> {
    let count = program.int_in_range(0..=MOST_POINTS)?;
    let planes: [[i8; 3]; 3] = program.arbitrary()?;
    let scale = f32::from_bits(program.arbitrary()?);
    let mut state: u32 = program.arbitrary()?;
    let mut random = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) as f32 / (1 << 24) as f32
    };
    let mut memory: Vec<u8> = Vec::new();
    for i in 0..count {
        let plane = planes[i % 3].map(f32::from);
        let place = [random(), random(), random() * 0.01];
        let point = [0, 1, 2].map(|k| scale * (plane[k] * 0.02 + place[(k + i) % 3]));
        memory.extend(point.map(f32::to_ne_bytes).as_flattened());
    }
    let view = Points {
        data: memory.as_ptr().cast(),
        count,
        stride: 12,
        x_offset: 0,
        y_offset: 4,
        z_offset: 8,
        scalar: CoregisterScalar::Float32 as i32,
        byte_order: CoregisterByteOrder::Native as i32,
    };
    Ok((view, memory))
}

/// Beyond the last byte that the view touches, from its start.
fn end(view: &Points) -> u128 {
    let offset = view.x_offset.max(view.y_offset).max(view.z_offset);
    match view.count {
        0 => 0,
        count => (count as u128 - 1) * view.stride as u128 + offset as u128 + 8,
    }
}

/// Mostly a sensible size, sometimes any.
fn size(program: &mut Unstructured) -> Result<usize> {
    if program.ratio(1, 8)? { program.arbitrary() } else { program.int_in_range(0..=64) }
}

/// Mostly a number that means something, sometimes any.
fn number(program: &mut Unstructured) -> Result<i32> {
    if program.ratio(1, 8)? { program.arbitrary() } else { program.int_in_range(0..=2) }
}
