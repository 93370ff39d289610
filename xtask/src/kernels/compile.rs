//! From one source to one file with code for all GPUs.

use std::collections::HashSet;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use super::nvcc::{self, Nvcc};
use super::sources::Kernels;
use super::usage::{self, Function};

/// How kernels are compiled. Contraction is off so that GPU and CPU round alike; kernels call `fmaf` where they want
/// it. The last code is PTX, from which drivers make code for GPUs that are not listed. The compiler would name what is
/// local to a file after the file's absolute path, which differs between checkouts; so it is told another one.
pub const FLAGS: [&str; 18] = [
    "-std=c++17",
    "-O3",
    "-fmad=false",
    "-fatbin",
    "-Xptxas",
    "-v",
    "-gencode",
    "arch=compute_80,code=sm_80",
    "-gencode",
    "arch=compute_90,code=sm_90",
    "-gencode",
    "arch=compute_120,code=sm_120",
    "-gencode",
    "arch=compute_80,code=compute_80",
    "-Xcicc",
    "--orig_src_path_name",
    "-Xcicc",
    "kernel.cu",
];

/// How a line of a source begins that allows its kernels to spill registers; the reason follows.
pub const SPILLS_ALLOWED: &str = "// spills: allowed,";

/// What came of a source.
pub struct Compiled {
    pub name: String,
    pub fatbin: Vec<u8>,
    pub functions: Vec<Function>,
    /// What the compiler said besides.
    pub messages: Vec<String>,
    /// Why registers may be spilled, if they may.
    pub spills_allowed: Option<String>,
    pub time: Duration,
}

/// Compiles the kernel of this name into a folder.
pub fn compile(nvcc: &Nvcc, kernels: &Kernels, name: &str, outcomes: &Path) -> Result<Compiled> {
    let source = kernels.source(name);
    let text = fs::read_to_string(&source).with_context(|| format!("cannot read {}", source.display()))?;
    let outcome = outcomes.join(format!("{name}.fatbin"));
    let file = format!("{name}.cu");
    let start = Instant::now();
    let output = nvcc::run(nvcc.command(kernels.folder()).args(FLAGS).arg("-o").arg(&outcome).arg(&file))?;
    let time = start.elapsed();
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    Ok(Compiled {
        name: name.to_owned(),
        fatbin: fs::read(&outcome).with_context(|| format!("cannot read {}", outcome.display()))?,
        functions: usage::read(&said).with_context(|| format!("cannot read what ptxas said of {file}"))?,
        messages: messages(&said),
        spills_allowed: spills_allowed(&text),
        time,
    })
}

/// Each line once: the same comes for every architecture.
fn messages(said: &str) -> Vec<String> {
    let mut seen = HashSet::new();
    let lines = said.lines().filter(|line| !line.trim().is_empty() && !usage::is_report(line));
    lines.filter(|line| seen.insert(*line)).map(str::to_owned).collect()
}

fn spills_allowed(source: &str) -> Option<String> {
    let reasons = source.lines().filter_map(|line| line.trim().strip_prefix(SPILLS_ALLOWED));
    reasons.map(|reason| reason.trim().to_owned()).find(|reason| !reason.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spills_are_allowed_with_a_reason_only() {
        assert_eq!(spills_allowed("int x;\n  // spills: allowed, faster so\n"), Some("faster so".into()));
        assert_eq!(spills_allowed("// spills: allowed, \n"), None);
        assert_eq!(spills_allowed("// spills: allowed\n"), None);
        assert_eq!(spills_allowed("int x;\n"), None);
    }

    #[test]
    fn warnings_are_kept_once_and_reports_dropped() {
        let said = "a.cu(1): warning: odd\n\nptxas info    : 72 bytes gmem\na.cu(1): warning: odd\n    \
                    0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads\nptxas warning : no\n";
        assert_eq!(messages(said), ["a.cu(1): warning: odd", "ptxas warning : no"]);
    }
}
