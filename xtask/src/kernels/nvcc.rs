//! A CUDA compiler of our own, out of Python packages, in a folder of its own: the same one on every machine.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use anyhow::{Context, Result, ensure};

/// The packages and their exact versions.
pub const PINS: &str = include_str!("../../nvcc-requirements.txt");

/// An installed compiler.
pub struct Nvcc {
    program: PathBuf,
}

impl Nvcc {
    /// Uses the compiler in the folder, a Python environment, if it has the pinned versions; makes it anew otherwise.
    pub fn find_or_make(environment: &Path) -> Result<Self> {
        let _lock = lock(&environment.with_extension("lock"))?;
        // Written last, so a folder with these pins in it is a whole one.
        let stamp = environment.join("pins.txt");
        if fs::read_to_string(&stamp).ok().as_deref() != Some(PINS) {
            make(environment)?;
            fs::write(&stamp, PINS).with_context(|| format!("cannot write {}", stamp.display()))?;
        }
        let program = find(environment).with_context(|| {
            format!(
                "there is no nvidia/cu13/bin/nvcc in {0}; remove {0} and try again",
                environment.display()
            )
        })?;
        Ok(Self { program })
    }

    /// A call to be completed, to be run in the given folder.
    pub fn command(&self, folder: &Path) -> Command {
        let mut command = Command::new(&self.program);
        // Flags from elsewhere would end up in the outcome, unseen.
        command.current_dir(folder).env_remove("NVCC_PREPEND_FLAGS").env_remove("NVCC_APPEND_FLAGS");
        command
    }
}

/// Waits until nobody else makes the same compiler; until the file is dropped, nobody else will.
fn lock(path: &Path) -> Result<File> {
    let folder = path.parent().context("a lock lies in a folder")?;
    fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let file = File::create(path).with_context(|| format!("cannot write {}", path.display()))?;
    file.lock().with_context(|| format!("cannot lock {}", path.display()))?;
    Ok(file)
}

fn make(environment: &Path) -> Result<()> {
    eprintln!("fetching nvcc into {}", environment.display());
    let python = environment.join("bin/python");
    let pins = environment.join("requirements.txt");
    run(Command::new("python3").args(["-m", "venv", "--clear"]).arg(environment))?;
    fs::write(&pins, PINS).with_context(|| format!("cannot write {}", pins.display()))?;
    // No dependencies: all that is needed is pinned, and nothing else may come along.
    let install = ["-m", "pip", "install", "--no-deps", "--only-binary", ":all:", "--requirement"];
    run(Command::new(python).args(install).arg(pins))?;
    Ok(())
}

/// The folder between is named after the version of Python.
fn find(environment: &Path) -> Option<PathBuf> {
    let versions = fs::read_dir(environment.join("lib")).ok()?;
    let mut programs = versions
        .filter_map(|version| Some(version.ok()?.path().join("site-packages/nvidia/cu13/bin/nvcc")))
        .filter(|program| program.is_file());
    programs.next()
}

/// Runs to the end and fails with all that was said if that is no success.
pub fn run(command: &mut Command) -> Result<Output> {
    let output = command.output().with_context(|| format!("cannot start {command:?}"))?;
    ensure!(
        output.status.success(),
        "{command:?} failed with {}:\n{}{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(output)
}
