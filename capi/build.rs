//! Gives the shared library the name under which programs look for it.

/// Goes up when a change breaks programs that were compiled before it. `xtask/src/install_c.rs` has the same number.
const ABI: u32 = 0;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    match std::env::var("CARGO_CFG_TARGET_OS").as_deref() {
        Ok("linux") => println!("cargo::rustc-cdylib-link-arg=-Wl,-soname,libcoregister.so.{ABI}"),
        Ok("macos") => {
            println!("cargo::rustc-cdylib-link-arg=-Wl,-install_name,@rpath/libcoregister.{ABI}.dylib");
        }
        _ => {}
    }
}
