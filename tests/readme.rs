//! The commands in README.md work as printed. (Its Rust snippets are compiled and run as doctests of the library.)

use std::fs;
use std::path::Path;
use std::process::Command;

/// How README.md writes the command.
const WRITTEN: &str = "cargo run --release -- ";

/// Lines that are not run here: fetching the project, the tests (this is one of them), installing.
const SKIPPED: [&str; 5] = ["git clone ", "cd ", "cargo test", "cargo install", "pip install"];

#[test]
fn every_command_of_the_readme_works() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let readme = fs::read_to_string(root.join("README.md")).unwrap();
    let lines = command_lines(&readme);
    assert!(lines.iter().any(|line| line.starts_with("register ")), "no command found in {lines:?}");
    let workplace = tempfile::tempdir().unwrap();
    copy_files(&root.join("data"), &workplace.path().join("data"));
    for line in lines {
        run(&line, workplace.path());
    }
}

#[test]
fn the_answer_shown_is_the_one_that_the_first_command_gives() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let readme = fs::read_to_string(root.join("README.md")).unwrap();
    let shown = readme.split("```text\n").nth(1).and_then(|rest| rest.split("```").next()).unwrap();
    let given = run(&command_lines(&readme)[0], root);
    let (shown, given) = (words_without_times(shown), words_without_times(&given));
    assert_eq!(shown.len(), given.len(), "shown {shown:?}, given {given:?}");
    for (shown, given) in shown.iter().zip(&given) {
        assert!(same(shown, given), "README.md shows {shown}, the command gives {given}");
    }
}

/// All words but those of the last line, which tells the time.
fn words_without_times(text: &str) -> Vec<String> {
    let lines: Vec<_> = text.trim_end().lines().collect();
    lines[..lines.len() - 1].iter().flat_map(|line| line.split_whitespace()).map(str::to_owned).collect()
}

/// Numbers may differ in their last digits from one processor to another.
fn same(a: &str, b: &str) -> bool {
    let number = |word: &str| word.trim_end_matches(',').parse::<f64>().ok();
    match (number(a), number(b)) {
        (Some(a), Some(b)) => (a - b).abs() <= 0.005 * (1.0 + a.abs()),
        _ => a == b,
    }
}

#[test]
fn snippets_are_found() {
    let text = "```sh\n# a comment\ngit clone x\ncargo run --release -- info a.ply   # says what is in it\n```\n\
                ```json\n{}\n```\n```sh\ncargo run --release -- evaluate \\\n  b.csv\n```\n";
    assert_eq!(command_lines(text), ["info a.ply", "evaluate b.csv"]);
}

#[test]
#[should_panic(expected = "is neither run nor skipped")]
fn a_line_of_another_kind_is_not_passed_over() {
    command_lines("```sh\nmake everything\n```\n");
}

/// The arguments of every command in the `sh` snippets of `text`.
fn command_lines(text: &str) -> Vec<String> {
    let mut lines = Vec::new();
    for snippet in text.split("```sh\n").skip(1) {
        let snippet = snippet.split("```").next().unwrap_or_default().replace("\\\n", " ");
        for line in snippet.lines() {
            let line = line.split('#').next().unwrap_or_default().trim();
            if line.is_empty() || SKIPPED.iter().any(|skipped| line.starts_with(skipped)) {
                continue;
            }
            let arguments = line.strip_prefix(WRITTEN);
            let arguments = arguments.unwrap_or_else(|| panic!("`{line}` is neither run nor skipped"));
            lines.push(arguments.split_whitespace().collect::<Vec<_>>().join(" "));
        }
    }
    lines
}

/// Runs the command and gives its standard output.
fn run(arguments: &str, folder: &Path) -> String {
    let words = arguments.split_whitespace();
    let output =
        Command::new(env!("CARGO_BIN_EXE_coregister")).args(words).current_dir(folder).output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "coregister {arguments}: {}\n{errors}", output.status);
    String::from_utf8(output.stdout).unwrap()
}

/// The snippets write files; they do so in a copy.
fn copy_files(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        if path.is_file() {
            fs::copy(&path, to.join(path.file_name().unwrap())).unwrap();
        }
    }
}
