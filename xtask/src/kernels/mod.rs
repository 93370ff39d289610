//! `cargo xtask kernels`: compiles `kernels/*.cu` for all GPUs, into files that are committed, so that building
//! coregister takes no CUDA compiler.

mod compile;
mod nvcc;
mod sources;
mod usage;

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use rayon::prelude::*;

pub use compile::{Compiled, compile};
pub use nvcc::Nvcc;
pub use sources::Kernels;

/// What to do about problems with compiled kernels.
pub const REMEDY: &str = "run `cargo xtask kernels` and commit kernels/gen";

/// Compile the CUDA kernels and tell what each of them uses of a GPU, sizes in bytes.
#[derive(clap::Args)]
pub struct Options {
    /// Change nothing; fail if a compiled kernel in kernels/gen is not the one that its source gives.
    #[arg(long)]
    pub check: bool,
    /// Kernels to compile, without `.cu`; all if none is named.
    pub names: Vec<String>,
}

/// Compiles, shows, and then keeps or compares.
pub fn run(checkout: &Path, options: &Options) -> Result<()> {
    let kernels = Kernels::new(checkout.join("kernels"));
    let names = chosen(&kernels, &options.names)?;
    let compiled = compile_all(&kernels, &names, &checkout.join("target"))?;
    show(&compiled);
    reject_spills(&compiled)?;
    if options.check {
        check(&kernels, &compiled, !options.names.is_empty())
    } else {
        keep(&kernels, &compiled, !options.names.is_empty())
    }
}

fn chosen(kernels: &Kernels, asked: &[String]) -> Result<Vec<String>> {
    let mut names = kernels.names()?;
    if let Some(unknown) = asked.iter().find(|name| !names.contains(name)) {
        bail!("there is no kernels/{unknown}.cu; the kernels are: {}", names.join(", "));
    }
    names.retain(|name| asked.is_empty() || asked.contains(name));
    Ok(names)
}

/// Into a folder of `target`, side by side. Nothing is fetched where there is nothing to compile.
fn compile_all(kernels: &Kernels, names: &[String], target: &Path) -> Result<Vec<Compiled>> {
    if names.is_empty() {
        return Ok(Vec::new());
    }
    let nvcc = Nvcc::find_or_make(&target.join("nvcc"))?;
    let outcomes = target.join("kernels");
    fs::create_dir_all(&outcomes).with_context(|| format!("cannot make {}", outcomes.display()))?;
    names.par_iter().map(|name| compile(&nvcc, kernels, name, &outcomes)).collect()
}

fn show(compiled: &[Compiled]) {
    for kernel in compiled {
        println!("kernels/{}.cu: compiled in {:.1} s", kernel.name, kernel.time.as_secs_f64());
        for line in &kernel.messages {
            eprintln!("    {line}");
        }
    }
    let functions = compiled.iter().flat_map(|kernel| &kernel.functions);
    print!("{}", usage::table(functions));
}

/// Registers that do not suffice cost time in every thread, so that has to be on purpose.
fn reject_spills(compiled: &[Compiled]) -> Result<()> {
    let mut rejected = Vec::new();
    for kernel in compiled {
        let spilling = kernel.functions.iter().filter(|function| function.spills());
        for function in spilling.clone() {
            eprintln!(
                "WARNING: {} of kernels/{}.cu SPILLS registers on {}: {} bytes stored, {} bytes loaded ({})",
                function.name,
                kernel.name,
                function.architecture,
                function.spill_stores,
                function.spill_loads,
                kernel
                    .spills_allowed
                    .as_deref()
                    .map_or("not allowed".into(), |why| format!("allowed: {why}")),
            );
        }
        if spilling.count() > 0 && kernel.spills_allowed.is_none() {
            rejected.push(format!("kernels/{}.cu", kernel.name));
        }
    }
    ensure!(
        rejected.is_empty(),
        "registers are spilled by {}; use fewer of them, or say in the file `{} <why>`",
        rejected.join(", "),
        compile::SPILLS_ALLOWED
    );
    Ok(())
}

fn keep(kernels: &Kernels, compiled: &[Compiled], only_some: bool) -> Result<()> {
    if !only_some {
        kernels.remove_leftovers()?;
    }
    for kernel in compiled {
        kernels.keep(&kernel.name, &kernel.fatbin)?;
    }
    kernels.write_listing(compiled.iter().map(|kernel| kernel.name.as_str()))?;
    println!("kernels/gen: {} compiled", counted(compiled.len()));
    Ok(())
}

fn check(kernels: &Kernels, compiled: &[Compiled], only_some: bool) -> Result<()> {
    let mut problems = kernels.problems()?;
    if only_some {
        problems.retain(|name, _| compiled.iter().any(|kernel| kernel.name == *name));
    }
    for kernel in compiled {
        if !problems.contains_key(&kernel.name) && !kernels.is_kept(&kernel.name, &kernel.fatbin)? {
            let sentence =
                format!("kernels/gen/{0}.fatbin is not what nvcc makes of kernels/{0}.cu", kernel.name);
            problems.insert(kernel.name.clone(), sentence);
        }
    }
    let sentences: Vec<_> = problems.into_values().collect();
    ensure!(sentences.is_empty(), "{}; {REMEDY}", sentences.join("\n"));
    println!("kernels/gen: {} current", counted(compiled.len()));
    Ok(())
}

fn counted(kernels: usize) -> String {
    match kernels {
        1 => "1 file is".into(),
        _ => format!("{kernels} files are"),
    }
}
