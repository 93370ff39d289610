//! Compiles the kernels of the project, and those of this crate's own tests, for the CPU.

mod sources;

use std::{
    collections::HashMap,
    env, fs,
    path::{Path, PathBuf},
};

const PROJECT_KERNELS: &str = "../kernels";
const OWN_KERNELS: &str = "kernels";

fn main() {
    let folders = [PROJECT_KERNELS, OWN_KERNELS];
    for watched in folders.iter().chain(&["runtime", "build"]) {
        println!("cargo:rerun-if-changed={watched}");
    }
    let kernels = folders.iter().flat_map(|folder| kernel_files(Path::new(folder))).collect::<Vec<_>>();
    refuse_equal_names(&kernels);
    compile_kernels(&kernels);
    compile_runtime();
    if is_for_thread_sanitizer() {
        println!("cargo:rustc-link-lib=dylib=tsan");
    }
}

fn is_for_thread_sanitizer() -> bool {
    env::var_os("CARGO_FEATURE_TSAN").is_some()
}

/// The `.cu` files of a folder, sorted: the order of a folder is not the same everywhere.
fn kernel_files(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let paths = entries.map(|entry| entry.expect("a readable folder of kernels").path());
    let mut files = paths.filter(|path| path.extension().is_some_and(|end| end == "cu")).collect::<Vec<_>>();
    files.sort();
    files
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("cannot read {}: {error}", path.display()))
}

/// Kernels are launched by name alone.
fn refuse_equal_names(files: &[PathBuf]) {
    let mut declared = HashMap::new();
    for file in files {
        for kernel in sources::kernels(&read(file)) {
            if let Some(other) = declared.insert(kernel.name.clone(), file) {
                panic!("kernel {} is declared in {} and in {}", kernel.name, other.display(), file.display());
            }
        }
    }
}

fn compile_kernels(files: &[PathBuf]) {
    let output = PathBuf::from(env::var("OUT_DIR").expect("set by cargo"));
    let mut build = compiler();
    build.flag("-include").flag("runtime/cuda.h").includes(["runtime", PROJECT_KERNELS, OWN_KERNELS]);
    // Warnings about kernels are for the compiler of the device to give.
    build.warnings(false);
    if is_for_thread_sanitizer() {
        // With line numbers, for its reports.
        build.flag("-fsanitize=thread").flag("-g1");
    }
    for (number, path) in files.iter().enumerate() {
        let source = fs::canonicalize(path).expect("it was just listed");
        let code = sources::as_plain_cpp(number, &source.display().to_string(), &read(path));
        build.file(write(&output, &format!("{}.{number}.cpp", name(path)), &code));
    }
    build.file(write(&output, "registry.cpp", &sources::registry(files.len())));
    build.compile("coregister_emulated_kernels");
}

fn name(path: &Path) -> &str {
    path.file_stem().and_then(|stem| stem.to_str()).expect("a plain name of a kernel file")
}

fn write(folder: &Path, name: &str, code: &str) -> PathBuf {
    let path = folder.join(name);
    fs::write(&path, code).unwrap_or_else(|error| panic!("cannot write {}: {error}", path.display()));
    path
}

/// ThreadSanitizer is to see the kernels, not how their threads are switched: the runtime is compiled without it.
fn compile_runtime() {
    let mut build = compiler();
    if is_for_thread_sanitizer() {
        build.define("EMULATOR_TSAN", None);
    }
    if env::var_os("CARGO_FEATURE_UCONTEXT").is_some() {
        build.define("EMULATOR_UCONTEXT", None);
    }
    build.files(["block", "cluster", "context", "fault", "memory"].map(|name| format!("runtime/{name}.cpp")));
    build.compile("coregister_emulator_runtime");
}

fn compiler() -> cc::Build {
    let mut build = cc::Build::new();
    build.cpp(true).std("c++17").opt_level(3);
    // A product and a sum are two roundings, as in the kernels for the device.
    build.flag("-ffp-contract=off");
    for flag in flags_of_this_processor() {
        build.flag(flag);
    }
    build
}

/// The tests run where they are built, so what this processor has may be used; `fmaf` is slow without.
fn flags_of_this_processor() -> Vec<&'static str> {
    #[cfg(target_arch = "x86_64")]
    if env::var("CARGO_CFG_TARGET_ARCH").is_ok_and(|target| target == "x86_64") {
        let has_all = std::is_x86_feature_detected!("avx2") && std::is_x86_feature_detected!("fma");
        return if has_all { vec!["-mavx2", "-mfma"] } else { Vec::new() };
    }
    Vec::new()
}
