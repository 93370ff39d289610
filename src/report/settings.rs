//! The settings in words.

use super::Subject;
use crate::config::{Azimuth, Config, Descriptor, DeviceChoice, Gravity, Voxel};

/// Name and value of every setting; what was left open comes with what it became.
pub fn settings(subject: &Subject) -> Vec<(&'static str, String)> {
    let Config {
        device,
        max_gpu_memory,
        descriptor,
        weights,
        azimuth,
        voxel,
        gravity,
        seed,
        threads,
        refine,
    } = subject.config;
    let memory =
        max_gpu_memory.map_or("all that is free".into(), |bytes| format!("at most {} MiB", bytes >> 20));
    let weights = weights.as_ref().map_or("built in".into(), |path| path.display().to_string());
    let voxel = match voxel {
        Voxel::Auto => format!("auto: {:.4}", subject.details.voxel),
        Voxel::Size(size) => size.to_string(),
    };
    vec![
        ("device", device_in_words(*device, &subject.registration.device)),
        ("device memory", memory),
        ("threads", if *threads == 0 { "one per core".into() } else { threads.to_string() }),
        ("descriptor", descriptor_in_words(*descriptor).into()),
        ("weights", weights),
        ("azimuth", azimuth_in_words(*azimuth).into()),
        ("voxel", voxel),
        ("gravity", gravity_in_words(*gravity)),
        ("refine", if *refine { "yes" } else { "no" }.into()),
        ("seed", seed.to_string()),
        ("program", format!("coregister {}", env!("CARGO_PKG_VERSION"))),
    ]
}

fn device_in_words(choice: DeviceChoice, used: &str) -> String {
    match choice {
        DeviceChoice::Auto => format!("auto: {used}"),
        DeviceChoice::Cpu | DeviceChoice::Cuda(_) => used.into(),
    }
}

fn descriptor_in_words(descriptor: Descriptor) -> &'static str {
    match descriptor {
        Descriptor::Auto => "auto: classic first, learned in doubt",
        Descriptor::Learned => "learned",
        Descriptor::Classic => "classic",
    }
}

fn azimuth_in_words(azimuth: Azimuth) -> &'static str {
    match azimuth {
        Azimuth::Correlation => "correlation",
        Azimuth::CostVolume => "cost volume",
    }
}

fn gravity_in_words(gravity: Gravity) -> String {
    match gravity {
        Gravity::Auto => "auto".into(),
        Gravity::None => "none".into(),
        Gravity::Axis([x, y, z]) => format!("({x}, {y}, {z})"),
    }
}
