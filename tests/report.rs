//! Reports as users get them. The pages stay in `target/tmp/report`, where `tests/report` opens them in a browser.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use coregister::batch::table::PairStatus;
use coregister::report::{BatchRow, batch_page};
use serde_json::Value;

fn folder() -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("report");
    fs::create_dir_all(&folder).unwrap();
    folder
}

/// Registers a file of the demo pair onto another, with all that can be written about it.
fn register(name: &str, source: &Path, target: &str) -> (Output, String, Value) {
    let target = Path::new(env!("CARGO_MANIFEST_DIR")).join("data").join(target);
    let file = |extension: &str| folder().join(format!("{name}.{extension}"));
    let mut command = Command::new(env!("CARGO_BIN_EXE_coregister"));
    command.arg("register").args([source, &target]);
    for (flag, extension) in [("--report", "html"), ("--png", "png"), ("--json", "json")] {
        command.arg(flag).arg(file(extension));
    }
    let output = command.env_remove("RUST_LOG").output().unwrap();
    assert!(output.status.code() < Some(2), "{}", String::from_utf8_lossy(&output.stderr));
    let text = |extension: &str| fs::read_to_string(file(extension)).unwrap();
    (output, text("html"), serde_json::from_str(&text("json")).unwrap())
}

fn data(page: &str) -> Value {
    let (_, rest) = page.split_once("<script id=\"data\" type=\"application/json\">").unwrap();
    serde_json::from_str(rest.split_once("</script>").unwrap().0).unwrap()
}

fn demo(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("data").join(name)
}

#[test]
fn a_report_shows_the_numbers_of_the_json_answer() {
    let (_, page, answer) = register("accepted", &demo("demo_source.ply"), "demo_target.ply");
    let data = data(&page);
    assert_eq!(data["answer"], answer);
    assert_eq!(data["matches"]["inliers"], answer["inliers"]);
    assert!(data["matches"]["total"].as_u64() > answer["inliers"].as_u64());
    let overlap = data["evidence"][0]["source_overlap"].as_f64().unwrap();
    assert!((overlap - answer["overlap"].as_f64().unwrap()).abs() < 1e-9);
    let still = fs::read(folder().join("accepted.png")).unwrap();
    assert!(still.starts_with(b"\x89PNG") && still.len() > 100_000, "{} bytes", still.len());
}

/// A plate slides on any other plate, so nothing can be accepted; its name is as bad as a file system allows. (Windows
/// allows no such name.)
#[cfg(unix)]
#[test]
fn a_rejected_pair_of_hostile_name_gets_a_report_that_says_why() {
    let name = "<script>alert(1)<\u{2044}script>&\"'.xyz";
    let plate: String = (0..2_000).map(|i| format!("{} {} 0\n", i % 50, i / 50)).collect();
    let plate_file = folder().join(name);
    fs::write(&plate_file, plate).unwrap();
    let (output, page, answer) = register("rejected", &plate_file, "demo_target.ply");
    assert_eq!((output.status.code(), &answer["status"]), (Some(1), &Value::from("rejected")));
    assert!(!page.contains("<script>alert"));
    let data = data(&page);
    assert!(data["source"]["name"].as_str().unwrap().ends_with(name));
    let reason = answer["reason"].as_str().unwrap();
    assert!(
        data["why"].as_str().unwrap().to_lowercase().starts_with(&reason.to_lowercase()),
        "{}",
        data["why"]
    );
}

#[test]
fn a_report_says_that_points_were_left_out() {
    let plate: String = (0..2_000).map(|i| format!("{} {} 0\n", i % 50, i / 50)).collect();
    let plate_file = folder().join("warned.xyz");
    fs::write(&plate_file, plate + "nan 0 0\n").unwrap();
    let (_, page, answer) = register("warned", &plate_file, "demo_target.ply");
    let warning = answer["warnings"][0].as_str().unwrap();
    assert!(warning.starts_with("ignoring 1 of 2001 points of the source cloud"), "{warning}");
    assert_eq!(data(&page)["answer"]["warnings"], answer["warnings"]);
}

#[test]
fn a_report_that_cannot_be_written_is_an_error_that_names_it() {
    let output = Command::new(env!("CARGO_BIN_EXE_coregister"))
        .arg("register")
        .args([demo("demo_source.ply"), demo("demo_target.ply")])
        .args(["--report", "missing/folder/report.html"])
        .output()
        .unwrap();
    let message = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(message.contains("missing/folder/report.html"), "{message}");
    assert!(String::from_utf8(output.stdout).unwrap().starts_with("accepted"), "the answer comes first");
}

#[test]
fn a_batch_writes_a_table_with_the_failures_first() {
    let list = folder().join("list.csv");
    let (source, target) = (demo("demo_source.ply"), demo("demo_target.ply"));
    let (source, target) = (source.display(), target.display());
    fs::write(&list, format!("name,set,src,tgt\ngood,a,{source},{target}\nbad,b,missing.ply,{target}\n"))
        .unwrap();
    let (page, results) = (folder().join("list.html"), folder().join("list-results.csv"));
    // Of an earlier run.
    for file in [&page, &results] {
        let _ = fs::remove_file(file);
    }
    let mut command = Command::new(env!("CARGO_BIN_EXE_coregister"));
    command.args(["batch", "--devices", "cpu"]).arg(&list).arg("-o").arg(&results);
    let output = command.arg("--report").arg(&page).output().unwrap();
    let message = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "one pair cannot be read: {message}");
    let data = data(&fs::read_to_string(page).unwrap());
    let of = |i: usize, key: &str| data["rows"][i][key].clone();
    assert_eq!([of(0, "name"), of(0, "status")], ["bad", "failed"]);
    assert_eq!([of(1, "name"), of(1, "status")], ["good", "accepted"]);
    assert!(of(0, "reason").as_str().unwrap().contains("missing.ply"));
    let mut command = Command::new(env!("CARGO_BIN_EXE_coregister"));
    command.arg("batch").arg(&list).arg("-o").arg(folder().join("none.csv"));
    let refused = command.args(["--report", "missing/folder/list.html"]).output().unwrap();
    assert!(String::from_utf8_lossy(&refused.stderr).contains("missing/folder/list.html"));
    assert!(!folder().join("none.csv").exists(), "nothing is begun");
    assert!(of(0, "seconds").is_null() && of(1, "seconds").as_f64() > Some(0.0));
}

/// Rows of every kind, more of them than the page draws at once.
#[test]
fn a_batch_page_of_many_rows() {
    let common = |i: usize| BatchRow {
        name: format!("pair {i}"),
        set: ["rooms", "streets", "objects"][i % 3].into(),
        seconds: Some(0.2 + 0.01 * (i % 17) as f64),
        ..BatchRow::default()
    };
    let mut rows: Vec<BatchRow> = (0..500)
        .map(|i| BatchRow {
            status: PairStatus::Accepted,
            confidence: Some(0.9 + 0.0002 * i as f64),
            overlap: Some(0.3 + 0.001 * i as f64),
            inliers: Some(100 + i),
            inlier_rmse: Some(0.01),
            ..common(i)
        })
        .collect();
    rows[1].warnings = "ignoring 3 of 100 points of the source cloud".into();
    for row in &mut rows[300..400] {
        row.correct = Some(true);
    }
    let wrong = &mut rows[400];
    (wrong.correct, wrong.rotation_error, wrong.translation_error) = (Some(false), Some(91.5), Some(3.25));
    for (i, row) in rows.iter_mut().enumerate().skip(410).step_by(9) {
        *row = BatchRow {
            status: PairStatus::Rejected,
            confidence: Some(0.001 * i as f64),
            reason: "the clouds do not agree clearly enough on this transform".into(),
            ..common(i)
        };
    }
    rows[470] = BatchRow {
        name: "<img src=x onerror=alert(1)>".into(),
        reason: "cannot read <b>scan.ply</b>: no such file".into(),
        ..common(470)
    };
    let page = batch_page("500 pairs", &rows);
    assert_eq!(data(&page)["rows"].as_array().unwrap().len(), 500);
    fs::write(folder().join("batch.html"), page).unwrap();
}
