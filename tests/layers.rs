//! A lower layer must not know a higher one. Every `crate::…` and `coregister::…` path and every chain of
//! `super::` in `src` is looked up in the table below.

use std::fs;
use std::path::{Path, PathBuf};

/// The layers from the lowest to the highest. A module may use its own layer only in the lowest one.
const LAYERS: [&[&str]; 9] = [
    &["io", "cloud", "transform", "error", "config", "geometry", "registration"],
    &["backend"],
    &["stages"],
    &["pipeline"],
    &["engine"],
    &["evaluate", "simulate"],
    &["batch"],
    &["report", "training_data"],
    &["cli", "main"],
];

/// Simulated scans must not depend on the method that they test.
const USED_BY_SIMULATE: [&str; 4] = ["cloud", "transform", "error", "io"];

/// A use of one of the crate's modules by another.
#[derive(Debug, PartialEq)]
struct Use {
    user: String,
    used: String,
}

#[test]
fn lower_layers_do_not_know_higher_ones() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let names = reexports(&fs::read_to_string(root.join("lib.rs")).unwrap());
    let files = rust_files(&root);
    assert!(files.len() > 20, "only {} files found in {}", files.len(), root.display());
    let mut wrong = Vec::new();
    for file in files {
        let path = module_path(file.strip_prefix(&root).unwrap());
        if path.is_empty() {
            continue; // lib.rs names everything, that is its purpose.
        }
        let text = fs::read_to_string(&file).unwrap();
        wrong.extend(
            violations(&path, &text, &names).into_iter().map(|text| format!("{}: {text}", file.display())),
        );
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn a_planted_violation_is_found() {
    let names =
        reexports("pub use cloud::Cloud;\npub use engine::{Engine, Status};\npub use error::Error;\n");
    let found = |path: &str, text: &str| {
        let path: Vec<String> = path.split("::").map(str::to_owned).collect();
        violations(&path, text, &names).len()
    };
    assert_eq!(found("io::ply", "use crate::engine::Engine;"), 1);
    assert_eq!(found("io::ply", "use crate::Engine;"), 1, "through a re-export");
    assert_eq!(found("io::ply", "use crate::{Cloud, engine};"), 1, "in a group");
    assert_eq!(
        found("io::ply", "use crate::{\n    cloud::{Cloud, Point},\n    stages::{patch, frame},\n};"),
        1
    );
    assert_eq!(found("io::ply", "fn f() { crate::pipeline::run() }"), 1, "in the code");
    assert_eq!(found("io::ply", "use super::super::backend::Cpu;"), 1, "by way of super");
    assert_eq!(found("stages::voxel::cpu", "use crate::engine::Engine;"), 1);
    assert_eq!(found("simulate::room", "use crate::backend::Cpu;"), 1);
    assert_eq!(found("evaluate", "use crate::simulate::Scene;"), 1, "of the same layer");
    assert_eq!(found("io::ply", "use crate::unheard_of::Thing;"), 1, "of no layer");
}

#[test]
fn what_is_allowed_is_not_found() {
    let names =
        reexports("pub use cloud::Cloud;\npub use engine::Engine;\npub use error::{Error, Result};\n");
    let found = |path: &str, text: &str| {
        let path: Vec<String> = path.split("::").map(str::to_owned).collect();
        violations(&path, text, &names)
    };
    let nothing: Vec<String> = Vec::new();
    assert_eq!(found("io::ply", "use crate::cloud::Cloud;\nuse crate::{Error, Result};"), nothing);
    assert_eq!(found("io::ply", "use super::text;\nuse super::super::cloud::Cloud;"), nothing);
    assert_eq!(found("cloud", "/// See [`crate::stages::clean`].\n// crate::engine\n"), nothing, "comments");
    assert_eq!(
        found("cloud", "#[cfg(test)]\nmod tests {\n    use crate::engine::Engine;\n}"),
        nothing,
        "tests"
    );
    assert_eq!(found("stages::voxel::cpu", "use super::VoxelDownsample;\nuse crate::backend::Cpu;"), nothing);
    assert_eq!(found("cli::register", "use coregister::{Cloud, Engine};\nuse super::output;"), nothing);
}

/// What is wrong with the uses in the file of module `path`.
fn violations(path: &[String], text: &str, reexports: &[(String, String)]) -> Vec<String> {
    let mut found = Vec::new();
    for Use { user, used } in uses(path, text, reexports) {
        if user != used && !allowed(&user, &used) {
            found.push(format!("`{user}` must not use `{used}`"));
        }
    }
    found.dedup();
    found
}

fn allowed(user: &str, used: &str) -> bool {
    let layer = |module: &str| LAYERS.iter().position(|layer| layer.contains(&module));
    match (layer(user), layer(used)) {
        _ if user == "simulate" => USED_BY_SIMULATE.contains(&used),
        (Some(user), Some(used)) => used < user || (user == 0 && used == 0),
        _ => false,
    }
}

fn uses(path: &[String], text: &str, reexports: &[(String, String)]) -> Vec<Use> {
    let user = &path[0];
    let code = code_of(text);
    let mut used = Vec::new();
    for prefix in ["crate::", "coregister::"] {
        used.extend(after_each(&code, prefix).into_iter().flat_map(first_names));
    }
    // From a module `a::b`, two times `super` is the root of the crate.
    used.extend(after_each(&code, &"super::".repeat(path.len())).into_iter().flat_map(first_names));
    let module_of = |name: String| {
        reexports.iter().find(|(known, _)| *known == name).map_or(name, |(_, module)| module.clone())
    };
    used.into_iter().map(|name| Use { user: user.clone(), used: module_of(name) }).collect()
}

/// The text without comments, and without the tests at its end, which may use what they like.
fn code_of(text: &str) -> String {
    let code = text.split("#[cfg(test)]\nmod tests").next().unwrap_or_default();
    let without_comment = |line: &str| line.split("//").next().unwrap_or_default().to_owned() + "\n";
    code.lines().map(without_comment).collect()
}

/// What follows each `prefix` that is not the end of a longer path or name.
fn after_each<'a>(code: &'a str, prefix: &str) -> Vec<&'a str> {
    let starts = code.match_indices(prefix).map(|(start, _)| start);
    let whole =
        starts.filter(|start| !code[..*start].ends_with(|c: char| c.is_alphanumeric() || "_:".contains(c)));
    whole.map(|start| &code[start + prefix.len()..]).collect()
}

/// The first name of a path, or the first names of a group: `{a::{b, c}, d}` gives `a` and `d`.
fn first_names(path: &str) -> Vec<String> {
    let Some(group) = path.strip_prefix('{') else { return vec![leading_name(path)] };
    let mut names = Vec::new();
    let mut depth = 0;
    let mut start = 0;
    for (at, character) in group.char_indices() {
        match character {
            '{' => depth += 1,
            '}' if depth > 0 => depth -= 1,
            ',' | '}' if depth == 0 => {
                names.push(leading_name(&group[start..at]));
                start = at + 1;
                if character == '}' {
                    break;
                }
            }
            _ => {}
        }
    }
    names.retain(|name| !name.is_empty());
    names
}

fn leading_name(path: &str) -> String {
    path.trim_start().chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect()
}

/// Names that `lib.rs` lifts to the root, each with its module.
fn reexports(library: &str) -> Vec<(String, String)> {
    let mut names = Vec::new();
    for path in after_each(&code_of(library), "pub use ") {
        let Some((module, rest)) = path.split_once("::") else { continue };
        names.extend(first_names(rest).into_iter().map(|name| (name, module.to_owned())));
    }
    names
}

/// `io/ply.rs` is `io::ply`, `io/mod.rs` is `io`, `lib.rs` is the root, which has no name.
fn module_path(file: &Path) -> Vec<String> {
    let without_extension = file.with_extension("");
    let mut path: Vec<String> =
        without_extension.iter().map(|part| part.to_string_lossy().into_owned()).collect();
    if path.last().is_some_and(|name| name == "mod" || name == "lib") {
        path.pop();
    }
    path
}

fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(rust_files(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    files.sort();
    files
}
