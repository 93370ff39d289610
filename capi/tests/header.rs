//! `include/coregister.h` is what cbindgen makes of the sources. To make it anew, after a change of the interface:
//! `UPDATE_HEADER=1 cargo test --release --package coregister-c --test header`.

use std::path::Path;

use cbindgen::{Builder, Config};

fn generated() -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let config = Config::from_file(root.join("cbindgen.toml")).unwrap();
    let bindings = Builder::new().with_crate(root).with_config(config).generate().unwrap();
    let mut text = Vec::new();
    bindings.write(&mut text);
    String::from_utf8(text).unwrap()
}

#[test]
fn the_header_is_that_of_the_sources() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("include/coregister.h");
    let generated = generated();
    if std::env::var_os("UPDATE_HEADER").is_some() {
        std::fs::write(&path, &generated).unwrap();
    }
    let committed = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        committed == generated,
        "include/coregister.h is not current; run \
         UPDATE_HEADER=1 cargo test --release --package coregister-c --test header, and commit it"
    );
}
