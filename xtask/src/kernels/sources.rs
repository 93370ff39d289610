//! Which sources the compiled kernels were made from.
//!
//! `kernels/gen/SOURCES` has a line for each kernel: its name, a digest of all that goes into it, and a digest of what
//! came of it. So it can be told without a compiler whether the compiled kernels are current.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use sha2::{Digest, Sha256};

use super::compile::FLAGS;
use super::nvcc::PINS;

const HEAD: &str = "\
# Written by `cargo xtask kernels`. For each kernel: its name; a digest of its source, the headers, the compiler's flags
# and versions; a digest of the compiled file.
";

/// A folder of kernels, `*.cu`, with the headers that they share, `*.cuh`, and what was compiled, in `gen`.
pub struct Kernels {
    folder: PathBuf,
}

/// The digests of a kernel.
#[derive(Clone, Debug, PartialEq)]
struct Digests {
    source: String,
    fatbin: String,
}

impl Kernels {
    pub fn new(folder: PathBuf) -> Self {
        Self { folder }
    }

    pub fn folder(&self) -> &Path {
        &self.folder
    }

    pub fn source(&self, name: &str) -> PathBuf {
        self.folder.join(format!("{name}.cu"))
    }

    fn fatbin(&self, name: &str) -> PathBuf {
        self.compiled().join(format!("{name}.fatbin"))
    }

    fn compiled(&self) -> PathBuf {
        self.folder.join("gen")
    }

    fn listing(&self) -> PathBuf {
        self.compiled().join("SOURCES")
    }

    /// The kernels that have a source, in order.
    pub fn names(&self) -> Result<Vec<String>> {
        stems(&self.folder, "cu")
    }

    /// Takes a compiled kernel over.
    pub fn keep(&self, name: &str, fatbin: &[u8]) -> Result<()> {
        write(&self.fatbin(name), fatbin)
    }

    /// Whether this is the compiled kernel in the folder.
    pub fn is_kept(&self, name: &str, fatbin: &[u8]) -> Result<bool> {
        Ok(read_if_there(&self.fatbin(name))?.as_deref() == Some(fatbin))
    }

    /// Removes compiled kernels that have no source.
    pub fn remove_leftovers(&self) -> Result<()> {
        let names = self.names()?;
        for leftover in stems(&self.compiled(), "fatbin")?.iter().filter(|name| !names.contains(name)) {
            let path = self.fatbin(leftover);
            fs::remove_file(&path).with_context(|| format!("cannot remove {}", path.display()))?;
        }
        Ok(())
    }

    /// Writes down that these kernels are current. What is written of others stays, if they have a source.
    pub fn write_listing<'a>(&self, current: impl Iterator<Item = &'a str>) -> Result<()> {
        let names = self.names()?;
        let mut listed = self.read_listing()?;
        listed.retain(|name, _| names.contains(name));
        for name in current {
            let fatbin = digest([read(&self.fatbin(name))?.as_slice()]);
            listed.insert(name.to_owned(), Digests { source: self.source_digest(name)?, fatbin });
        }
        let line =
            |(name, digests): (&String, &Digests)| format!("{name} {} {}\n", digests.source, digests.fatbin);
        let lines: String = listed.iter().map(line).collect();
        write(&self.listing(), format!("{HEAD}{lines}").as_bytes())
    }

    fn read_listing(&self) -> Result<BTreeMap<String, Digests>> {
        let bytes = read_if_there(&self.listing())?.unwrap_or_default();
        let text = String::from_utf8_lossy(&bytes);
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        // A line that cannot be read counts as none: its kernel is then not current.
        let entry = |line: &str| match line.split(' ').collect::<Vec<_>>()[..] {
            [name, source, fatbin] => {
                Some((name.to_owned(), Digests { source: source.to_owned(), fatbin: fatbin.to_owned() }))
            }
            _ => None,
        };
        Ok(lines.filter_map(entry).collect())
    }

    /// For each kernel that is not current a sentence that says what is wrong.
    pub fn problems(&self) -> Result<BTreeMap<String, String>> {
        let names: BTreeSet<_> = self.names()?.into_iter().collect();
        let listed = self.read_listing()?;
        let compiled = stems(&self.compiled(), "fatbin")?;
        let left_over = compiled.iter().chain(listed.keys()).filter(|name| !names.contains(*name));
        let mut problems: BTreeMap<_, _> = left_over
            .map(|name| (name.clone(), format!("kernels/gen has {name}, but there is no kernels/{name}.cu")))
            .collect();
        for name in names {
            if let Some(problem) = self.problem(&name, listed.get(&name))? {
                problems.insert(name, problem);
            }
        }
        Ok(problems)
    }

    fn problem(&self, name: &str, listed: Option<&Digests>) -> Result<Option<String>> {
        let Some(fatbin) = read_if_there(&self.fatbin(name))? else {
            return Ok(Some(format!("kernels/gen/{name}.fatbin is missing")));
        };
        let Some(listed) = listed else {
            return Ok(Some(format!("kernels/gen/SOURCES does not tell what {name}.fatbin was made from")));
        };
        if listed.source != self.source_digest(name)? {
            return Ok(Some(format!(
                "kernels/{name}.cu, a header, or the compiler's flags or versions have changed since \
                 kernels/gen/{name}.fatbin was made"
            )));
        }
        let as_listed = listed.fatbin == digest([fatbin.as_slice()]);
        Ok((!as_listed)
            .then(|| format!("kernels/gen/{name}.fatbin is not the file that kernels/gen/SOURCES tells of")))
    }

    /// Of all that goes into a compiled kernel.
    fn source_digest(&self, name: &str) -> Result<String> {
        let mut parts = vec![PINS.as_bytes().to_vec()];
        parts.extend(FLAGS.map(|flag| flag.as_bytes().to_vec()));
        for header in stems(&self.folder, "cuh")? {
            let text = read(&self.folder.join(format!("{header}.cuh")))?;
            parts.extend([header.into_bytes(), text]);
        }
        parts.push(read(&self.source(name))?);
        Ok(digest(parts.iter().map(Vec::as_slice)))
    }
}

/// Each part goes in with its length, so that nothing can move from one to the next unseen.
fn digest<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> String {
    let mut digest = Sha256::new();
    for part in parts {
        digest.update((part.len() as u64).to_le_bytes());
        digest.update(part);
    }
    digest.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The names, without this extension, of the files in a folder that have it; in order.
fn stems(folder: &Path, extension: &str) -> Result<Vec<String>> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.with_context(|| format!("cannot read the folder {}", folder.display()))?,
    };
    let mut stems = Vec::new();
    for entry in entries {
        let name = entry.with_context(|| format!("cannot read the folder {}", folder.display()))?.file_name();
        let path = Path::new(&name);
        if path.extension().is_some_and(|given| given == extension)
            && let Some(stem) = path.file_stem()
        {
            let stem = stem.to_str().with_context(|| format!("the name of {name:?} is not UTF-8"))?;
            stems.push(stem.to_owned());
        }
    }
    stems.sort();
    Ok(stems)
}

fn read(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).with_context(|| format!("cannot read {}", path.display()))
}

fn read_if_there(path: &Path) -> Result<Option<Vec<u8>>> {
    match fs::read(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        bytes => bytes.map(Some).with_context(|| format!("cannot read {}", path.display())),
    }
}

fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    let folder = path.parent().context("a file lies in a folder")?;
    fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    fs::write(path, bytes).with_context(|| format!("cannot write {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two kernels and a header, compiled.
    fn current() -> (tempfile::TempDir, Kernels) {
        let folder = tempfile::tempdir().unwrap();
        let kernels = Kernels::new(folder.path().to_owned());
        for file in ["a.cu", "b.cu", "shared.cuh"] {
            fs::write(folder.path().join(file), file).unwrap();
        }
        kernels.keep("a", b"A").unwrap();
        kernels.keep("b", b"B").unwrap();
        kernels.write_listing(["a", "b"].into_iter()).unwrap();
        (folder, kernels)
    }

    fn problems(kernels: &Kernels) -> Vec<(String, String)> {
        kernels.problems().unwrap().into_iter().collect()
    }

    /// The one problem names the kernel and says so.
    fn assert_problem(kernels: &Kernels, kernel: &str, said: &str) {
        let problems = problems(kernels);
        let [(name, sentence)] = &problems[..] else { panic!("{problems:?}") };
        assert!(name == kernel && sentence.contains(said), "{problems:?}");
    }

    #[test]
    fn nothing_and_current_kernels_are_no_problem() {
        let empty = tempfile::tempdir().unwrap();
        assert_eq!(problems(&Kernels::new(empty.path().to_owned())), []);
        let (_folder, kernels) = current();
        assert_eq!(problems(&kernels), []);
    }

    #[test]
    fn a_changed_source_is_a_problem_of_its_kernel() {
        let (folder, kernels) = current();
        fs::write(folder.path().join("b.cu"), "changed").unwrap();
        assert_problem(&kernels, "b", "have changed");
        kernels.write_listing(["b"].into_iter()).unwrap();
        assert_eq!(problems(&kernels), []);
    }

    #[test]
    fn a_changed_or_renamed_header_is_a_problem_of_all_kernels() {
        let (folder, kernels) = current();
        fs::write(folder.path().join("shared.cuh"), "changed").unwrap();
        assert_eq!(problems(&kernels).len(), 2);
        kernels.write_listing(["a"].into_iter()).unwrap();
        assert_problem(&kernels, "b", "have changed");
        let (folder, kernels) = current();
        fs::rename(folder.path().join("shared.cuh"), folder.path().join("common.cuh")).unwrap();
        assert_eq!(problems(&kernels).len(), 2);
    }

    #[test]
    fn a_kernel_that_is_missing_or_another_one_is_a_problem() {
        let (folder, kernels) = current();
        kernels.keep("a", b"another").unwrap();
        assert_problem(&kernels, "a", "is not the file");
        fs::remove_file(folder.path().join("gen/a.fatbin")).unwrap();
        assert_problem(&kernels, "a", "is missing");
    }

    #[test]
    fn a_kernel_without_a_line_is_a_problem() {
        let (folder, kernels) = current();
        let listing = folder.path().join("gen/SOURCES");
        let lines = fs::read_to_string(&listing).unwrap().replace("\na ", "\na");
        fs::write(listing, lines).unwrap();
        assert_problem(&kernels, "a", "does not tell");
    }

    #[test]
    fn leftovers_are_a_problem_until_they_are_removed() {
        let (folder, kernels) = current();
        fs::remove_file(folder.path().join("a.cu")).unwrap();
        assert_problem(&kernels, "a", "there is no kernels/a.cu");
        kernels.remove_leftovers().unwrap();
        assert_problem(&kernels, "a", "there is no kernels/a.cu");
        kernels.write_listing([].into_iter()).unwrap();
        assert_eq!(problems(&kernels), []);
    }
}
