//! `coregister devices`, and the check of `--device` before any file is read.

use coregister::config::DeviceChoice;
use coregister::{Error, Result};

use super::{Outcome, output};

/// Prints one line per device.
pub fn run() -> anyhow::Result<Outcome> {
    output::print(format!("{}\n{}\n", cpu_line(), cuda_lines()))?;
    Ok(Outcome::Done)
}

/// Refuses a device that this version cannot compute on, and says why.
pub fn check(choice: DeviceChoice) -> Result<()> {
    match choice {
        DeviceChoice::Auto | DeviceChoice::Cpu => Ok(()),
        DeviceChoice::Cuda(number) => Err(Error::Device(refusal(number, &cuda::state()))),
    }
}

fn cpu_line() -> String {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    format!("cpu     {threads} threads")
}

fn cuda_lines() -> String {
    match cuda::state() {
        Cuda::NotBuilt => "no CUDA: this program was built without the feature `cuda`".to_owned(),
        Cuda::NoDriver => "no CUDA: there is no NVIDIA driver on this machine".to_owned(),
        Cuda::Failed(reason) => format!("no CUDA: there is an NVIDIA driver, but it reports: {reason}"),
        Cuda::Ready { driver, devices } => {
            let mut lines: Vec<String> = devices.iter().enumerate().map(describe).collect();
            lines.push(format!("CUDA driver {driver}; this version of coregister computes on the CPU only"));
            lines.join("\n")
        }
    }
}

fn describe((number, device): (usize, &CudaDevice)) -> String {
    let gibibytes = device.memory as f64 / f64::from(1 << 30);
    let (major, minor) = device.capability;
    format!("cuda:{number}  {}, {gibibytes:.1} GiB, compute capability {major}.{minor}", device.name)
}

/// Why `cuda:number` cannot be used.
fn refusal(number: usize, state: &Cuda) -> String {
    let remedy = "use --device cpu";
    match state {
        Cuda::NotBuilt => format!("this program was built without CUDA support; {remedy}"),
        Cuda::NoDriver => format!("there is no NVIDIA driver on this machine; {remedy}"),
        Cuda::Failed(reason) => format!("the NVIDIA driver does not work ({reason}); {remedy}"),
        Cuda::Ready { devices, .. } if number >= devices.len() => {
            format!("there is no device cuda:{number}, only {} CUDA device(s); {remedy}", devices.len())
        }
        Cuda::Ready { .. } => format!("this version computes on the CPU only, not on CUDA devices; {remedy}"),
    }
}

/// What is known about CUDA on this machine.
#[cfg_attr(not(feature = "cuda"), allow(dead_code, reason = "without the feature only `NotBuilt` is made"))]
#[cfg_attr(feature = "cuda", allow(dead_code, reason = "with the feature `NotBuilt` is never made"))]
enum Cuda {
    NotBuilt,
    NoDriver,
    Failed(String),
    Ready { driver: String, devices: Vec<CudaDevice> },
}

struct CudaDevice {
    name: String,
    /// In bytes.
    memory: usize,
    /// Major and minor number.
    capability: (i32, i32),
}

#[cfg(not(feature = "cuda"))]
mod cuda {
    pub fn state() -> super::Cuda {
        super::Cuda::NotBuilt
    }
}

#[cfg(feature = "cuda")]
mod cuda {
    use std::ffi::c_int;

    use cudarc::driver::result::{self, DriverError};
    use cudarc::driver::sys::{self, CUdevice_attribute};

    use super::{Cuda, CudaDevice};

    /// Asks the driver. Makes no context, so it costs little and takes no device memory.
    pub fn state() -> Cuda {
        // SAFETY: loads the driver's library and lets go of it again; its initialisers are NVIDIA's own.
        if !unsafe { sys::is_culib_present() } {
            return Cuda::NoDriver;
        }
        match query() {
            Ok(ready) => ready,
            Err(error) => Cuda::Failed(reason(error)),
        }
    }

    fn query() -> Result<Cuda, DriverError> {
        result::init()?;
        let driver = driver_version()?;
        let devices = (0..result::device::get_count()?).map(query_device).collect::<Result<_, _>>()?;
        Ok(Cuda::Ready { driver, devices })
    }

    fn query_device(number: c_int) -> Result<CudaDevice, DriverError> {
        let device = result::device::get(number)?;
        // SAFETY: `device` was returned by `get`, as both calls ask.
        let attribute = |which| unsafe { result::device::get_attribute(device, which) };
        let major = attribute(CUdevice_attribute::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR)?;
        let minor = attribute(CUdevice_attribute::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR)?;
        // SAFETY: as above.
        let memory = unsafe { result::device::total_mem(device) }?;
        Ok(CudaDevice { name: result::device::get_name(device)?, memory, capability: (major, minor) })
    }

    /// The newest CUDA version that the driver supports, such as "13.0".
    fn driver_version() -> Result<String, DriverError> {
        let mut version: c_int = 0;
        // SAFETY: the driver writes one integer to the address of one.
        unsafe { sys::cuDriverGetVersion(&mut version) }.result()?;
        Ok(format!("{}.{}", version / 1000, version % 1000 / 10))
    }

    fn reason(error: DriverError) -> String {
        error.error_string().map_or_else(|_| format!("{error:?}"), |text| text.to_string_lossy().into_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cpu_is_always_there() {
        assert!(check(DeviceChoice::Auto).is_ok());
        assert!(check(DeviceChoice::Cpu).is_ok());
        assert!(cpu_line().starts_with("cpu"));
    }

    #[test]
    fn cuda_is_refused_in_one_sentence_whatever_the_machine() {
        let device = CudaDevice { name: "Example".into(), memory: 8 << 30, capability: (9, 0) };
        let ready = Cuda::Ready { driver: "13.0".into(), devices: vec![device] };
        let states = [Cuda::NotBuilt, Cuda::NoDriver, Cuda::Failed("unknown error".into()), ready];
        for state in &states {
            let text = refusal(0, state);
            assert!(text.ends_with("use --device cpu") && !text.contains('\n'), "{text}");
        }
        assert!(refusal(4, &states[3]).contains("cuda:4"));
        assert!(check(DeviceChoice::Cuda(0)).is_err());
    }

    #[test]
    fn a_device_line_names_memory_and_capability() {
        let device = CudaDevice { name: "Example".into(), memory: 3 << 29, capability: (8, 6) };
        assert_eq!(describe((1, &device)), "cuda:1  Example, 1.5 GiB, compute capability 8.6");
    }
}
