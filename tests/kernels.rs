//! The compiled kernels that are committed were made from the sources that are committed. No CUDA compiler is needed to
//! tell: `cargo xtask kernels` writes down what it compiled.

use std::path::Path;

use xtask::kernels::{Kernels, REMEDY};

#[test]
fn the_compiled_kernels_are_current() {
    let kernels = Kernels::new(Path::new(env!("CARGO_MANIFEST_DIR")).join("kernels"));
    let problems: Vec<_> = kernels.problems().unwrap().into_values().collect();
    assert!(problems.is_empty(), "{}; {REMEDY}", problems.join("\n"));
}
