//! The CUDA device of this machine, where there is one.

#[cfg(not(feature = "cuda"))]
use super::emulated::Emulated;
use coregister::backend::cuda::Cuda;
#[cfg(feature = "cuda")]
use {
    coregister::backend::cuda::{Installation, Nvidia, installation},
    std::io::Write,
    std::sync::OnceLock,
};

/// The first device, or none. A note on the standard error tells of its absence, once per file of tests.
///
/// A device that is there but cannot be opened is a failure: nothing would be tested.
#[cfg(feature = "cuda")]
pub fn found() -> &'static [Cuda<Nvidia>] {
    static FOUND: OnceLock<Vec<Cuda<Nvidia>>> = OnceLock::new();
    FOUND.get_or_init(|| match absence() {
        // Not `eprintln!`, which the tests' harness would keep to itself.
        Some(reason) => {
            let note = "note: the kernels run on emulated devices only";
            writeln!(std::io::stderr(), "{note}: {reason}").expect("the standard error");
            Vec::new()
        }
        None => vec![Cuda::new(Nvidia::open(0, None).expect("the device that the driver tells of"))],
    })
}

/// Why there is no device to test.
#[cfg(feature = "cuda")]
fn absence() -> Option<String> {
    match installation() {
        Installation::NoDriver => Some("there is no NVIDIA driver".into()),
        Installation::Failed(reason) => Some(format!("the NVIDIA driver does not work ({reason})")),
        Installation::Ready { devices, .. } => match devices.first() {
            None => Some("there is no CUDA device".into()),
            Some(device) if !device.is_supported() => Some(format!("{} is too old", device.name)),
            Some(_) => None,
        },
    }
}

/// None: built without CUDA.
#[cfg(not(feature = "cuda"))]
pub fn found() -> &'static [Cuda<Emulated>] {
    &[]
}

/// Runs a test body on the CPU and on every CUDA device; see [`on_every_device`]. The body takes a reference to a backend
/// of any type: a generic function, or a closure that is compiled once for each type.
macro_rules! on_every_backend {
    ($body:expr) => {{
        $crate::common::one_and_two_threads().iter().for_each($body);
        $crate::common::found::on_every_device!($body);
    }};
}

/// Runs a test body on the emulated devices, and on a real one where it is found.
macro_rules! on_every_device {
    ($body:expr) => {{
        $crate::common::emulated::emulated().iter().for_each($body);
        $crate::common::found::found().iter().for_each($body);
    }};
}

/// The same on a single emulated device, the fastest, for bodies that take long.
macro_rules! on_one_device {
    ($body:expr) => {{
        $crate::common::emulated::emulated()[2..].iter().for_each($body);
        $crate::common::found::found().iter().for_each($body);
    }};
}

#[allow(unused_imports)] // As with functions, every file of tests uses a part.
pub(crate) use {on_every_backend, on_every_device, on_one_device};
