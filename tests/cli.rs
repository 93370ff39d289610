//! The command as its users see it: exit codes, outputs, and one clear sentence when something is wrong.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;

/// The command, where there is no CUDA device.
fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_coregister"));
    command.args(arguments).env_remove("RUST_LOG").env("CUDA_VISIBLE_DEVICES", "");
    command
}

fn coregister(arguments: &[&str]) -> Output {
    command(arguments).output().expect("the command starts")
}

fn standard_output(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn standard_error(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

/// A file of the demo pair.
fn demo(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("data").join(name);
    path.to_str().unwrap().to_owned()
}

/// A folder that goes away with the test, with a file in it.
fn file(name: &str, content: impl AsRef<[u8]>) -> (tempfile::TempDir, String) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(name);
    fs::write(&path, content).unwrap();
    let path = path.to_str().unwrap().to_owned();
    (folder, path)
}

/// A small cloud without any structure worth matching.
fn small_cloud() -> (tempfile::TempDir, String) {
    file("small.xyz", "0 0 0\n3 0 0\n0 4 0\n0 4 1\n")
}

/// Exit code 2, nothing on the standard output, and one line on the standard error that says `expected`.
fn assert_error(arguments: &[&str], expected: &str) {
    let output = coregister(arguments);
    let message = standard_error(&output);
    assert_eq!(output.status.code(), Some(2), "{arguments:?}: {message}");
    assert_eq!(standard_output(&output), "", "{arguments:?}");
    assert!(message.starts_with("error: ") && message.contains(expected), "{arguments:?}: {message}");
    assert_eq!(message.lines().count(), 1, "{arguments:?}: {message}");
}

/// Exit code 2 and the parser's message, which is longer than a line.
fn assert_usage_error(arguments: &[&str], expected: &str) {
    let output = coregister(arguments);
    let message = standard_error(&output);
    assert_eq!(output.status.code(), Some(2), "{arguments:?}: {message}");
    assert!(message.starts_with("error: ") && message.contains(expected), "{arguments:?}: {message}");
}

// Logging.

#[test]
fn the_log_tells_what_was_found_where_it_is_asked_for() {
    let run = |level: &str| {
        let arguments = ["register", &demo("demo_source.ply"), &demo("demo_target.ply")];
        let output = command(&arguments).env("RUST_LOG", level).output();
        standard_error(&output.expect("the command starts"))
    };
    assert_eq!(run("warn"), "");
    let log = run("coregister=debug");
    for part in [
        "computing on the CPU",
        "read ",
        "prepared the source voxel=",
        "keypoints=",
        "hypotheses=",
        "confidence=",
    ] {
        assert!(log.contains(part), "{part:?} is missing in: {log}");
    }
}

#[test]
fn the_log_warns_of_points_that_are_ignored() {
    let rows = |k: usize| {
        (0..200).map(move |i| format!("{} {} {}\n", i % 7, i * k % 11, i * i % 13)).collect::<String>()
    };
    let (_folder, path) = file("a.xyz", rows(3) + "nan 0 0\n");
    let output = Command::new(env!("CARGO_BIN_EXE_coregister"))
        .args(["register", &path, &path])
        .env("RUST_LOG", "warn")
        .output();
    let log = standard_error(&output.expect("the command starts"));
    assert_eq!(log.matches("ignoring 1 of 201 points").count(), 2, "{log}");
}

// Help.

#[test]
fn help_states_the_direction_of_the_transform_in_words() {
    for arguments in [&["--help"][..], &["register", "--help"]] {
        let output = coregister(arguments);
        let text = standard_output(&output).split_whitespace().collect::<Vec<_>>().join(" ");
        assert_eq!(output.status.code(), Some(0));
        assert!(
            text.contains("maps coordinates of the SOURCE cloud to coordinates of the TARGET cloud"),
            "{text}"
        );
    }
}

#[test]
fn help_lists_commands_flags_and_exit_codes() {
    let text = standard_output(&coregister(&["--help"]));
    for word in ["register", "evaluate", "info", "devices", "simulate", "Exit codes"] {
        assert!(text.contains(word), "{word}: {text}");
    }
    let text = standard_output(&coregister(&["register", "--help"]));
    for flag in [
        "--output",
        "--json",
        "--device",
        "--descriptor",
        "--weights",
        "--azimuth",
        "--voxel",
        "--gravity",
        "--seed",
        "--threads",
        "--no-refine",
    ] {
        assert!(text.contains(flag), "{flag}: {text}");
    }
}

#[test]
fn the_version_is_the_packages() {
    let text = standard_output(&coregister(&["--version"]));
    assert_eq!(text.trim(), concat!("coregister ", env!("CARGO_PKG_VERSION")));
}

// Wrong arguments.

#[test]
fn wrong_arguments_end_with_code_2() {
    assert_usage_error(&["register", "a.ply"], "TARGET");
    assert_usage_error(&["register", "a.ply", "b.ply", "--fast"], "--fast");
    assert_usage_error(&["register", "a.ply", "b.ply", "--threads", "0"], "--threads");
    assert_usage_error(&["register", "a.ply", "b.ply", "--voxel", "-1"], "a length above zero");
    assert_usage_error(&["register", "a.ply", "b.ply", "--gravity", "0,0,0"], "three finite numbers");
    assert_usage_error(&["register", "a.ply", "b.ply", "--gravity", "up"], "three finite numbers");
    assert_usage_error(&["register", "a.ply", "b.ply", "--device", "gpu"], "cuda:N");
    assert_usage_error(&["register", "a.ply", "b.ply", "--descriptor", "none"], "classic");
    assert_usage_error(&["register", "a.ply", "b.ply", "--descriptor", "none"], "learned");
    assert_usage_error(&["register", "a.ply", "b.ply", "--azimuth", "north"], "cost-volume");
    assert_usage_error(&["register", "a.ply", "b.ply", "--seed", "-1"], "--seed");
    assert_usage_error(&["launch"], "launch");
}

#[test]
fn weights_that_are_none_end_with_code_2() {
    let (_folder, path) = file("cloud.ply", "ply\nformat ascii 1.0\n");
    let learned = ["register", &demo("demo_source.ply"), &demo("demo_target.ply"), "--descriptor", "learned"];
    let with = |weights| [&learned[..], &["--weights", weights]].concat();
    assert_error(&with(&path), "is no whole safetensors file");
    assert_error(&with("missing.safetensors"), "cannot read missing.safetensors");
    let evaluate = ["evaluate", &demo("demo_pair.csv"), "--descriptor", "classic"];
    assert_error(&[&evaluate[..], &["--weights", &path]].concat(), "classic one, or give no weights");
}

#[test]
fn a_cost_volume_that_there_is_not_ends_with_code_2() {
    let register =
        ["register", &demo("demo_source.ply"), &demo("demo_target.ply"), "--azimuth", "cost-volume"];
    assert_error(
        &register,
        "the built-in network has no cost volume; give weights of a converted checkpoint",
    );
    let evaluate = ["evaluate", &demo("demo_pair.csv"), "--azimuth", "cost-volume"];
    assert_error(&evaluate, "the built-in network has no cost volume");
    let weights = ["--weights", &demo("weights/compact.safetensors")];
    assert_error(&[&evaluate[..], &weights].concat(), "compact.safetensors has no cost volume");
}

#[test]
fn the_learned_descriptor_registers_the_demo_pair() {
    let clouds = [demo("demo_source.ply"), demo("demo_target.ply")];
    let output = coregister(&["register", &clouds[0], &clouds[1], "--descriptor", "learned"]);
    assert_eq!(output.status.code(), Some(0), "{}", standard_error(&output));
    let weights = demo("weights/compact.safetensors");
    let same = ["register", &clouds[0], &clouds[1], "--descriptor", "learned", "--weights", &weights];
    let transform =
        |output: &Output| standard_output(output).lines().skip(1).take(7).collect::<Vec<_>>().join("\n");
    assert_eq!(transform(&coregister(&same)), transform(&output));
}

#[test]
fn no_command_prints_help_and_ends_with_code_2() {
    let output = coregister(&[]);
    assert_eq!(output.status.code(), Some(2));
    assert!(standard_error(&output).contains("Usage"), "{}", standard_error(&output));
}

// Wrong files.

#[test]
fn a_missing_file_is_named() {
    let (_folder, cloud) = small_cloud();
    assert_error(&["register", "no-such-file.ply", &cloud], "no-such-file.ply");
    assert_error(&["register", &cloud, "no-such-file.ply"], "no-such-file.ply");
    assert_error(&["info", "no-such-file.ply"], "no-such-file.ply");
    assert_error(&["evaluate", "no-such-list.csv"], "no-such-list.csv");
}

#[test]
fn an_empty_file_is_an_error() {
    for name in ["empty.ply", "empty.pcd", "empty.bin", "empty.xyz", "empty.npy"] {
        let (_folder, path) = file(name, "");
        assert_error(&["info", &path], name);
    }
}

#[test]
fn a_folder_is_no_cloud() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().to_str().unwrap();
    assert_error(&["info", path], path);
    assert_error(&["evaluate", path], path);
}

#[test]
fn an_unknown_format_is_an_error() {
    let (_folder, path) = file("cloud.docx", b"PK\x03\x04\x00\xff\xfe");
    assert_error(&["info", &path], "cloud.docx");
}

#[test]
fn a_header_that_promises_more_than_the_file_holds_is_an_error() {
    let header = "ply\nformat binary_little_endian 1.0\nelement vertex 4000000000\n\
                  property float x\nproperty float y\nproperty float z\nend_header\n";
    let (_folder, path) = file("lying.ply", [header.as_bytes(), &[0; 36]].concat());
    assert_error(&["info", &path], "lying.ply");
    let (_folder, path) = file("lying.bin", [0; 17]);
    assert_error(&["info", &path], "lying.bin");
}

#[test]
fn a_cloud_that_is_too_small_is_an_error() {
    let (_folder, cloud) = file("two.xyz", "0 0 0\n1 1 1\n");
    assert_error(&["register", &cloud, &cloud], "cloud");
}

#[test]
fn an_answer_that_cannot_be_written_is_an_error() {
    let (_folder, list) = file("pairs.csv", "src,tgt\na.ply,b.ply\n");
    for flag in ["--json", "--markdown"] {
        assert_error(&["evaluate", &list, flag, "no/such/folder/report"], "no/such/folder/report");
    }
    assert_error(&["evaluate", &list, "--json", "-", "--markdown", "-"], "cannot both");
    assert_error(&["evaluate", &list, "--log", "logs"], "--log is for 3DMatch and ETH");
}

// Devices.

#[test]
fn devices_always_lists_the_cpu() {
    let output = coregister(&["devices"]);
    let text = standard_output(&output);
    assert_eq!(output.status.code(), Some(0));
    assert!(text.starts_with("cpu") && text.to_lowercase().contains("cuda"), "{text}");
}

#[test]
fn cuda_is_refused_in_one_sentence_before_any_file_is_read() {
    assert_error(&["register", "a.ply", "b.ply", "--device", "cuda"], "use the device cpu");
    assert_error(&["evaluate", "pairs.csv", "--device", "cuda:7"], "use the device cpu");
}

// Facts of a file.

#[test]
fn info_prints_the_facts_of_a_cloud() {
    let (_folder, path) = file("some.xyz", "0 0 0\n3 0 0\nnan nan nan\n0 4 0\n");
    let output = coregister(&["info", &path]);
    let text = standard_output(&output);
    assert_eq!(output.status.code(), Some(0), "{}", standard_error(&output));
    for fact in ["points      4", "not finite  1", "extent      3.0000 4.0000 0.0000", "format      text"] {
        assert!(text.contains(fact), "{fact}: {text}");
    }
}

// Registration of the demo pair.

#[test]
fn registering_the_demo_pair_is_accepted_and_summarised() {
    let output = coregister(&["register", &demo("demo_source.ply"), &demo("demo_target.ply")]);
    let text = standard_output(&output);
    assert_eq!(output.status.code(), Some(0), "{text}{}", standard_error(&output));
    assert!(text.starts_with("accepted\n"), "{text}");
    for word in ["confidence", "overlap", "p_target = T_target_source * p_source", " s on cpu"] {
        assert!(text.contains(word), "{word}: {text}");
    }
    assert_eq!(standard_error(&output), "");
}

#[test]
fn json_is_exactly_one_object_with_the_documented_keys() {
    let answer = register_json(&[&demo("demo_source.ply"), &demo("demo_target.ply"), "--seed", "5"]);
    let mut keys: Vec<_> = answer.as_object().unwrap().keys().map(String::as_str).collect();
    keys.sort_unstable();
    let expected = [
        "T_target_source",
        "confidence",
        "device",
        "information",
        "information_centre",
        "inlier_rmse",
        "inliers",
        "overlap",
        "reason",
        "seed",
        "status",
        "timings_ms",
        "unobserved",
        "version",
        "warnings",
    ];
    assert_eq!(keys, expected);
    assert_eq!(answer["seed"], 5);
    assert_eq!(answer["device"], "cpu");
    assert_eq!(answer["version"], env!("CARGO_PKG_VERSION"));
    let transform = matrix(&answer["T_target_source"]);
    assert_eq!(transform.len(), 16);
    assert_eq!(transform[12..], [0.0, 0.0, 0.0, 1.0]);
    assert_eq!(answer["information"].as_array().unwrap().len(), 6);
    for stage in ["read", "total"] {
        assert!(answer["timings_ms"][stage].as_f64().unwrap() >= 0.0, "{stage}");
    }
}

#[test]
fn the_demo_pairs_answer_is_right_in_both_directions() {
    let (source, target) = (demo("demo_source.ply"), demo("demo_target.ply"));
    let forward = transform(&register_json(&[&source, &target]));
    let backward = transform(&register_json(&[&target, &source]));
    let truth = demo_truth();
    for (answer, truth) in [(forward, truth), (backward, truth.inverse())] {
        assert!(answer.angle_to(&truth).to_degrees() < 2.0, "{answer:?} is not {truth:?}");
        assert!(answer.distance_to(&truth) < 0.05, "{answer:?} is not {truth:?}");
    }
}

#[test]
fn threads_do_not_change_the_answer() {
    let files = [demo("demo_source.ply"), demo("demo_target.ply")];
    let answer = |threads: &str| register_json(&[&files[0], &files[1], "--threads", threads]);
    let (one, two) = (answer("1"), answer("2"));
    for key in ["T_target_source", "status", "confidence", "overlap", "inliers", "inlier_rmse", "information"]
    {
        assert_eq!(one[key], two[key], "{key}");
    }
}

#[test]
fn the_source_is_written_where_the_target_is() {
    let folder = tempfile::tempdir().unwrap();
    let aligned = folder.path().join("aligned.ply");
    let json = folder.path().join("answer.json");
    let source = demo("demo_source.ply");
    let output = coregister(&[
        "register",
        &source,
        &demo("demo_target.ply"),
        "-o",
        aligned.to_str().unwrap(),
        "--json",
        json.to_str().unwrap(),
    ]);
    assert_eq!(output.status.code(), Some(0), "{}", standard_error(&output));
    assert!(standard_output(&output).starts_with("accepted\n"), "a file for the JSON leaves the summary");
    let answer = transform(&serde_json::from_slice(&fs::read(json).unwrap()).unwrap());
    let before = coregister::io::read_cloud(Path::new(&source)).unwrap();
    let after = coregister::io::read_cloud(&aligned).unwrap();
    assert_eq!(after.len(), before.len());
    for i in [0, before.len() / 2, before.len() - 1] {
        let expected = answer.apply(&before.point(i).into());
        let distance = (expected - nalgebra::Vector3::from(after.point(i))).norm();
        assert!(distance < 1e-4 * (1.0 + expected.norm()), "point {i} is {distance} off");
    }
}

#[test]
fn clouds_that_have_nothing_in_common_are_rejected_with_a_reason() {
    // A flat square and a thin rod: no rigid motion lays one onto the other.
    let mut square = String::new();
    let mut rod = String::new();
    for i in 0..60 {
        for j in 0..60 {
            square += &format!("{} {} 0\n", i as f64 * 0.05, j as f64 * 0.05);
        }
        for j in 0..20 {
            let angle = j as f64 * std::f64::consts::TAU / 20.0;
            rod += &format!("{} {} {}\n", 0.1 * angle.cos(), 0.1 * angle.sin(), i as f64 * 0.2);
        }
    }
    let (_first, square) = file("square.xyz", square);
    let (_second, rod) = file("rod.xyz", rod);
    let output = coregister(&["register", &square, &rod]);
    let text = standard_output(&output);
    assert_eq!(output.status.code(), Some(1), "{text}{}", standard_error(&output));
    assert!(text.starts_with("rejected: ") && text.contains("T_target_source"), "{text}");
}

// Evaluation.

#[test]
fn evaluating_the_demo_pair_prints_a_table_and_writes_rows() {
    let folder = tempfile::tempdir().unwrap();
    let json = folder.path().join("report.json");
    let output = coregister(&["evaluate", &demo("demo_pair.csv"), "--json", json.to_str().unwrap()]);
    let text = standard_output(&output);
    assert_eq!(output.status.code(), Some(0), "{text}{}", standard_error(&output));
    assert!(text.starts_with("set") && text.contains("recall%"), "{text}");
    let report: Value = serde_json::from_slice(&fs::read(json).unwrap()).unwrap();
    assert_eq!(report["rows"][0]["status"], "accepted");
    assert_eq!(report["rows"][0]["success"], true);
    assert_eq!(report["sets"][0]["recall"], 1.0);
}

#[test]
fn evaluating_pairs_side_by_side_gives_the_same_answers() {
    let (source, target) = (demo("demo_source.ply"), demo("demo_target.ply"));
    let (folder, list) = file(
        "pairs.csv",
        format!("src,tgt\n{source},{target}\nmissing.ply,{target}\n{target},{source}\n{source},{target}\n"),
    );
    let page = folder.path().join("page.html");
    let rows = |flags: &[&str]| {
        let output = coregister(&[&["evaluate", &list, "--json", "-"], flags].concat());
        assert_eq!(output.status.code(), Some(2), "one pair is missing: {}", standard_error(&output));
        let report: Value = serde_json::from_slice(&output.stdout).unwrap();
        let mut rows = report["rows"].as_array().unwrap().clone();
        for row in &mut rows {
            let times = ["seconds", "reading_seconds"].map(|key| row.as_object_mut().unwrap().remove(key));
            assert!(times.iter().all(Option::is_some));
        }
        (rows, report["side_by_side"].clone())
    };
    let (alone, side_by_side) = rows(&["--threads", "2", "--report", page.to_str().unwrap()]);
    assert!(side_by_side.is_null());
    let (together, side_by_side) = rows(&["--threads", "2", "--devices", "cpu"]);
    assert_eq!(alone, together);
    assert_eq!(side_by_side["pairs"], 2);
    assert!(side_by_side["seconds"].as_f64() > Some(0.0));
    let page = fs::read_to_string(page).unwrap();
    let first = page.find("missing.ply").unwrap();
    assert!(first < page.find("\"status\":\"accepted\"").unwrap(), "what failed comes first");
}

#[test]
fn a_pair_that_fails_is_a_row_and_the_run_goes_on() {
    let (_folder, list) =
        file("pairs.csv", "src,tgt\nmissing_a.ply,missing_b.ply\nmissing_c.ply,missing_d.ply\n");
    let output = coregister(&["evaluate", &list]);
    let text = standard_output(&output);
    assert_eq!(output.status.code(), Some(2), "{text}");
    assert!(text.contains("missing_a.ply") && text.contains("missing_c.ply"), "{text}");
    assert_eq!(standard_error(&output), "error: 2 of 2 pairs could not be registered\n");
}

#[test]
fn a_list_without_the_needed_columns_is_an_error() {
    let (_folder, list) = file("pairs.csv", "from,to\na.ply,b.ply\n");
    assert_error(&["evaluate", &list], "no column `src`");
}

// Simulation.

#[test]
fn simulated_pairs_can_be_read_and_are_the_same_every_time() {
    let folder = tempfile::tempdir().unwrap();
    let made = ["one", "two"].map(|name| folder.path().join(name));
    for folder in &made {
        let folder = folder.to_str().unwrap();
        let output =
            coregister(&["simulate", "-o", folder, "--pairs", "1", "--kind", "object", "--detail", "0.3"]);
        assert_eq!(output.status.code(), Some(0), "{}", standard_error(&output));
        assert!(standard_output(&output).contains("pairs.csv"), "{}", standard_output(&output));
    }
    let lists = made.map(|folder| coregister::evaluate::read_pairs(&folder.join("pairs.csv")).unwrap());
    assert_eq!(lists[0].len(), 1);
    assert_eq!(lists[0][0].truth, lists[1][0].truth);
    let read = |path: &Path| coregister::io::read_cloud(path).unwrap();
    assert_eq!(read(&lists[0][0].source), read(&lists[1][0].source));
    assert_eq!(read(&lists[0][0].target), read(&lists[1][0].target));
}

#[test]
fn what_cannot_be_simulated_is_an_error() {
    assert_usage_error(&["simulate"], "--output");
    assert_usage_error(&["simulate", "-o", "x", "--kind", "teapot"], "teapot");
    let (_folder, path) = small_cloud();
    assert_error(&["simulate", "-o", &path, "--kind", "object", "--detail", "0.3"], &path);
}

/// The object that `register … --json -` prints, and nothing else.
fn register_json(arguments: &[&str]) -> Value {
    let output = coregister(&[&["register"], arguments, &["--json", "-"]].concat());
    assert!(matches!(output.status.code(), Some(0 | 1)), "{}", standard_error(&output));
    serde_json::from_slice(&output.stdout).expect("the standard output is one JSON value")
}

/// The numbers of nested arrays, in order.
fn matrix(value: &Value) -> Vec<f64> {
    match value {
        Value::Array(values) => values.iter().flat_map(matrix).collect(),
        number => vec![number.as_f64().unwrap()],
    }
}

fn transform(answer: &Value) -> coregister::RigidTransform {
    let numbers: [f64; 16] = matrix(&answer["T_target_source"]).try_into().unwrap();
    coregister::RigidTransform::from_row_major(&numbers).unwrap()
}

/// The right answer of the demo pair.
fn demo_truth() -> coregister::RigidTransform {
    let pairs = coregister::evaluate::read_pairs(&PathBuf::from(demo("demo_pair.csv"))).unwrap();
    match pairs[0].truth {
        coregister::evaluate::Truth::Transform(truth) => truth,
        other => panic!("{other:?}"),
    }
}
