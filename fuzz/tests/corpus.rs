//! Replays the inputs that were kept: those that together reach all that was reached, and those that once broke something.

use std::fs;
use std::path::Path;

fn replay(target: &str, check: fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(target);
    let mut files: Vec<_> = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert!(files.len() >= 10, "only {} files in {}", files.len(), folder.display());
    for file in files {
        println!("{}", file.display());
        check(&fs::read(&file).unwrap());
    }
}

#[test]
fn ply() {
    replay("ply", coregister_fuzz::ply);
}

#[test]
fn pcd() {
    replay("pcd", coregister_fuzz::pcd);
}

#[test]
fn c_interface() {
    replay("c_interface", coregister_fuzz::c_interface);
}
