//! What must hold for any bytes: the readers and the C interface give an answer or a sentence, and never panic.
//!
//! `run.sh` looks for bytes that break it. What it found worth keeping lies in `corpus/`, which the tests replay.

mod c_interface;

use std::path::Path;

use coregister::{Cloud, Error, Result};

pub use c_interface::c_interface;

/// Reads `bytes` as a PLY file.
pub fn ply(bytes: &[u8]) {
    let path = Path::new("cloud.ply");
    check(coregister::io::ply::read(path, bytes), bytes.len(), |cloud| {
        let mut written = Vec::new();
        coregister::io::ply::write(cloud, &mut written).expect("memory takes everything");
        coregister::io::ply::read(path, &written)
    });
}

/// Reads `bytes` as a PCD file.
pub fn pcd(bytes: &[u8]) {
    let path = Path::new("cloud.pcd");
    check(coregister::io::pcd::read(path, bytes), bytes.len(), |cloud| {
        let mut written = Vec::new();
        coregister::io::pcd::write(cloud, &mut written).expect("memory takes everything");
        coregister::io::pcd::read(path, &written)
    });
}

/// A cloud has no more points than the file has bytes, and survives being written; an error names the file.
fn check(result: Result<Cloud>, length: usize, write_and_read: impl FnOnce(&Cloud) -> Result<Cloud>) {
    match result {
        Ok(cloud) => {
            assert!(cloud.len() <= length, "{} points in {length} bytes", cloud.len());
            let again = write_and_read(&cloud).expect("what was written can be read");
            assert_eq!(again.len(), cloud.len());
            if cloud.origin == [0.0; 3] {
                assert!(bits(&again).eq(bits(&cloud)), "coordinates in f32 survive to the bit");
            }
        }
        Err(Error::Format { reason, .. }) => assert!(!reason.is_empty()),
        Err(error) => panic!("not an error of a format: {error}"),
    }
}

/// All coordinates; NaN is equal to itself.
fn bits(cloud: &Cloud) -> impl Iterator<Item = u32> {
    cloud.points.iter().flatten().map(|x| x.to_bits())
}
