//! `cargo xtask install-c`: the C and C++ interface, where C and C++ projects find it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};

/// As in `capi/build.rs`.
const ABI: u32 = 0;

/// Build the C library, and install it with its headers, a CMake package and a pkg-config file.
#[derive(clap::Args)]
pub struct Options {
    /// Where to: gets include/, lib/, lib/cmake/ and lib/pkgconfig/. It may be moved later.
    #[arg(long, value_name = "DIR")]
    pub prefix: PathBuf,
    /// Profile of cargo to build with.
    #[arg(long, value_name = "NAME", default_value = "release")]
    pub profile: String,
}

/// What differs from one system to another.
struct System {
    /// Of the shared library: built, and as installed from the longest name to the shortest, which are links to it.
    shared: &'static str,
    installed: [String; 3],
    /// Libraries that a program with the static library needs; `rustc --print native-static-libs` tells them.
    libraries: &'static [&'static str],
}

impl System {
    fn this(version: &str) -> Result<Self> {
        match std::env::consts::OS {
            "linux" => Ok(Self {
                shared: "libcoregister_c.so",
                installed: [
                    format!("libcoregister.so.{version}"),
                    format!("libcoregister.so.{ABI}"),
                    "libcoregister.so".into(),
                ],
                libraries: &["gcc_s", "util", "rt", "pthread", "m", "dl", "c"],
            }),
            "macos" => Ok(Self {
                shared: "libcoregister_c.dylib",
                installed: [
                    format!("libcoregister.{version}.dylib"),
                    format!("libcoregister.{ABI}.dylib"),
                    "libcoregister.dylib".into(),
                ],
                libraries: &["iconv", "System", "c", "m"],
            }),
            other => bail!(
                "there is no installation for {other} yet; link what `cargo build --release --package coregister-c` \
                 leaves in target/release"
            ),
        }
    }
}

/// Builds and copies.
pub fn run(checkout: &Path, options: &Options) -> Result<()> {
    let version = env!("CARGO_PKG_VERSION");
    let system = System::this(version)?;
    let built = build(checkout, &options.profile)?;
    let library = options.prefix.join("lib");
    for folder in ["include", "lib/cmake/coregister", "lib/pkgconfig"] {
        let folder = options.prefix.join(folder);
        fs::create_dir_all(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
    }
    for header in ["coregister.h", "coregister.hpp"] {
        copy(&checkout.join("capi/include").join(header), &options.prefix.join("include").join(header))?;
    }
    copy(&built.join("libcoregister_c.a"), &library.join("libcoregister.a"))?;
    let [full, abi, plain] = &system.installed;
    copy(&built.join(system.shared), &library.join(full))?;
    link(full, &library.join(abi))?;
    link(abi, &library.join(plain))?;
    for (template, folder) in [
        ("coregisterConfig.cmake", "cmake/coregister"),
        ("coregisterConfigVersion.cmake", "cmake/coregister"),
        ("coregister.pc", "pkgconfig"),
    ] {
        let from = checkout.join("capi/cmake").join(template);
        let text = fs::read_to_string(&from).with_context(|| format!("cannot read {}", from.display()))?;
        let to = library.join(folder).join(template);
        let text = filled(&text, version, system.libraries);
        fs::write(&to, text).with_context(|| format!("cannot write {}", to.display()))?;
    }
    println!("installed coregister {version} for C and C++ in {}", options.prefix.display());
    Ok(())
}

/// The folder with the libraries.
fn build(checkout: &Path, profile: &str) -> Result<PathBuf> {
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| checkout.join("target"), PathBuf::from);
    let status = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        .args(["build", "--locked", "--package", "coregister-c", "--profile", profile])
        .arg("--target-dir")
        .arg(&target)
        .current_dir(checkout)
        .status()
        .context("cannot start cargo")?;
    ensure!(status.success(), "the C library could not be built, see above");
    // The one profile whose folder has another name.
    Ok(target.join(if profile == "dev" { "debug" } else { profile }))
}

/// A library that a program has loaded must not be overwritten, but may be replaced.
fn copy(from: &Path, to: &Path) -> Result<()> {
    remove(to)?;
    fs::copy(from, to).with_context(|| format!("cannot copy {} to {}", from.display(), to.display()))?;
    Ok(())
}

fn link(name: &str, at: &Path) -> Result<()> {
    remove(at)?;
    #[cfg(unix)]
    std::os::unix::fs::symlink(name, at).with_context(|| format!("cannot create {}", at.display()))?;
    #[cfg(not(unix))]
    bail!("no links to {name} on this system");
    Ok(())
}

fn remove(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot replace {}", path.display()))
        }
        _ => Ok(()),
    }
}

/// A template with its placeholders filled in.
fn filled(template: &str, version: &str, libraries: &[&str]) -> String {
    let flags: Vec<String> = libraries.iter().map(|name| format!("-l{name}")).collect();
    template
        .replace("@VERSION@", version)
        .replace("@SYSTEM_LIBRARIES@", &flags.join(" "))
        .replace("@SYSTEM_LIBRARIES_CMAKE@", &libraries.join(";"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn templates_are_filled() {
        let template = "v@VERSION@ libs: @SYSTEM_LIBRARIES@; cmake: @SYSTEM_LIBRARIES_CMAKE@";
        assert_eq!(filled(template, "1.2.3", &["m", "dl"]), "v1.2.3 libs: -lm -ldl; cmake: m;dl");
    }

    #[test]
    fn every_placeholder_of_the_templates_is_known() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../capi/cmake");
        for file in fs::read_dir(folder).unwrap() {
            let text = filled(&fs::read_to_string(file.unwrap().path()).unwrap(), "1.2.3", &["m"]);
            assert!(!text.contains('@'), "{text}");
        }
    }

    #[test]
    fn the_number_of_the_abi_is_that_of_the_library() {
        let build = Path::new(env!("CARGO_MANIFEST_DIR")).join("../capi/build.rs");
        assert!(fs::read_to_string(build).unwrap().contains(&format!("const ABI: u32 = {ABI};")));
    }
}
