//! `coregister devices`.

#[cfg(feature = "cuda")]
use coregister::backend::cuda::{DeviceDescription, Installation, OLDEST_CAPABILITY, installation};

use super::{Outcome, output};

/// Prints one line per device.
pub fn run() -> anyhow::Result<Outcome> {
    output::print(format!("{}\n{}\n", cpu_line(), cuda_lines()))?;
    Ok(Outcome::Done)
}

fn cpu_line() -> String {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    format!("cpu     {threads} threads")
}

#[cfg(not(feature = "cuda"))]
fn cuda_lines() -> String {
    "no CUDA: this program was built without the feature `cuda`".to_owned()
}

#[cfg(feature = "cuda")]
fn cuda_lines() -> String {
    describe_all(&installation())
}

#[cfg(feature = "cuda")]
fn describe_all(installation: &Installation) -> String {
    match installation {
        Installation::NoDriver => "no CUDA: there is no NVIDIA driver on this machine".to_owned(),
        Installation::Failed(reason) => {
            format!("no CUDA: there is an NVIDIA driver, but it reports: {reason}")
        }
        Installation::Ready { driver, devices } => {
            let mut lines: Vec<String> = devices.iter().enumerate().map(describe).collect();
            lines.push(format!("CUDA driver {driver}, {} device(s)", devices.len()));
            lines.join("\n")
        }
    }
}

#[cfg(feature = "cuda")]
fn describe((number, device): (usize, &DeviceDescription)) -> String {
    let gibibytes = device.memory as f64 / f64::from(1 << 30);
    let (major, minor) = device.capability;
    let verdict = if device.is_supported() {
        "the kernels fit".to_owned()
    } else {
        format!("too old: {}.{} is needed", OLDEST_CAPABILITY.0, OLDEST_CAPABILITY.1)
    };
    format!(
        "cuda:{number}  {}, {gibibytes:.1} GiB, compute capability {major}.{minor}, {verdict}",
        device.name
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cpu_is_always_there() {
        assert!(cpu_line().starts_with("cpu"));
        assert!(!cuda_lines().is_empty());
    }

    #[test]
    #[cfg(feature = "cuda")]
    fn devices_say_whether_the_kernels_fit() {
        let device = |capability| DeviceDescription { name: "Example".into(), memory: 8 << 30, capability };
        let ready =
            Installation::Ready { driver: "13.0".into(), devices: vec![device((9, 0)), device((7, 5))] };
        let lines = describe_all(&ready);
        assert!(
            lines.contains("cuda:0  Example, 8.0 GiB, compute capability 9.0, the kernels fit"),
            "{lines}"
        );
        assert!(lines.contains("compute capability 7.5, too old: 8.0 is needed"), "{lines}");
        assert!(lines.contains("CUDA driver 13.0"), "{lines}");
    }
}
