//! Small kernels, compiled. The compiler is fetched if it is not there, so these tests are run on demand:
//! `cargo test --release -p xtask -- --ignored`.

use std::fs;
use std::path::Path;

use tempfile::TempDir;
use xtask::kernels::{self, Compiled, Kernels, Nvcc, Options};

const HEADER: &str = "
#pragma once
__constant__ float table[16];
namespace {
// Local to a file and not inlined: its name is made by the compiler.
__device__ __noinline__ float twice(float x) { return fmaf(x, 2.0f, table[int(x) & 15]); }
}
";

const SOURCE: &str = r#"
#include "header.cuh"
namespace { __device__ unsigned count; }
extern "C" __global__ void sum(const float* values, float* sums) {
    __shared__ float of_warps[32];
    float sine, cosine;
    sincosf(values[blockIdx.x * blockDim.x + threadIdx.x], &sine, &cosine);
    float value = twice(sine) * cosine + 1.0f;
    for (int distance = 16; distance > 0; distance /= 2) value += __shfl_xor_sync(~0u, value, distance);
    if (threadIdx.x % 32 == 0) of_warps[threadIdx.x / 32] = value;
    __syncthreads();
    if (threadIdx.x == 0) sums[atomicAdd(&count, 1u)] = of_warps[0] + of_warps[1];
}
"#;

/// Holds more values than threads have registers.
const SPILLING: &str = r#"
extern "C" __global__ void __launch_bounds__(1024, 2) spill(float* values) {
    float held[64];
#pragma unroll
    for (int i = 0; i < 64; i++) held[i] = values[i * 1024 + threadIdx.x];
    for (int round = 0; round < 10; round++) {
#pragma unroll
        for (int i = 0; i < 64; i++) held[i] = fmaf(held[i], held[(i * 7 + 3) % 64], held[(i + 1) % 64]);
    }
#pragma unroll
    for (int i = 0; i < 64; i++) values[i * 1024 + threadIdx.x] = held[i];
}
"#;

/// A checkout with these kernels, that uses this checkout's compiler.
fn checkout(kernels: &[(&str, &str)]) -> TempDir {
    let target = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target").canonicalize().unwrap();
    Nvcc::find_or_make(&target.join("nvcc")).unwrap();
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir_all(folder.path().join("kernels")).unwrap();
    fs::create_dir_all(folder.path().join("target")).unwrap();
    std::os::unix::fs::symlink(target.join("nvcc"), folder.path().join("target/nvcc")).unwrap();
    for (file, text) in kernels {
        fs::write(folder.path().join("kernels").join(file), text).unwrap();
    }
    folder
}

fn run(checkout: &TempDir, check: bool) -> anyhow::Result<()> {
    kernels::run(checkout.path(), &Options { check, names: Vec::new() })
}

fn compile(checkout: &TempDir, name: &str) -> Compiled {
    let nvcc = Nvcc::find_or_make(&checkout.path().join("target/nvcc")).unwrap();
    let kernels = Kernels::new(checkout.path().join("kernels"));
    kernels::compile(&nvcc, &kernels, name, &checkout.path().join("target")).unwrap()
}

#[test]
#[ignore = "fetches a compiler"]
fn two_folders_give_the_same_bytes() {
    let files = [("header.cuh", HEADER), ("sum.cu", SOURCE)];
    let [one, another] = [checkout(&files), checkout(&files)].map(|checkout| compile(&checkout, "sum"));
    assert_eq!(one.fatbin, another.fatbin);
    let architectures: Vec<_> = one.functions.iter().filter(|function| function.name == "sum").collect();
    assert_eq!(
        architectures.iter().map(|f| &*f.architecture).collect::<Vec<_>>(),
        ["sm_80", "sm_90", "sm_120"]
    );
    assert!(architectures.iter().all(|f| f.shared == 128 && f.registers > Some(0) && !f.spills()));
}

#[test]
#[ignore = "fetches a compiler"]
fn a_check_passes_after_compiling_and_fails_after_a_change() {
    let checkout = checkout(&[("header.cuh", HEADER), ("sum.cu", SOURCE)]);
    let missing = run(&checkout, true).unwrap_err().to_string();
    assert!(missing.contains("kernels/gen/sum.fatbin is missing"), "{missing}");
    run(&checkout, false).unwrap();
    run(&checkout, true).unwrap();
    fs::write(checkout.path().join("kernels/sum.cu"), SOURCE.replace("1.0f", "2.0f")).unwrap();
    let changed = run(&checkout, true).unwrap_err().to_string();
    assert!(changed.contains("kernels/sum.cu") && changed.contains("cargo xtask kernels"), "{changed}");
}

#[test]
#[ignore = "fetches a compiler"]
fn spills_fail_unless_they_are_allowed() {
    let forbidden = run(&checkout(&[("spill.cu", SPILLING)]), false).unwrap_err().to_string();
    assert!(forbidden.contains("kernels/spill.cu"), "{forbidden}");
    let allowed = format!("// spills: allowed, this is a test\n{SPILLING}");
    run(&checkout(&[("spill.cu", &allowed)]), false).unwrap();
}

#[test]
#[ignore = "fetches a compiler"]
fn the_words_of_the_compiler_are_in_the_error() {
    let error = format!("{:#}", run(&checkout(&[("wrong.cu", "int x = y;\n")]), false).unwrap_err());
    assert!(error.contains("nvcc") && error.contains("\"y\" is undefined"), "{error}");
}

#[test]
fn no_kernels_are_no_problem() {
    let checkout = tempfile::tempdir().unwrap();
    fs::create_dir(checkout.path().join("kernels")).unwrap();
    run(&checkout, false).unwrap();
    run(&checkout, true).unwrap();
    assert!(checkout.path().join("kernels/gen/SOURCES").exists());
}
