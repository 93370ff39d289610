//! Many pairs at once: the answers are those of one pair at a time, whatever is kept, shared out, stopped or broken.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use coregister::backend::{Cpu, Device as _};
use coregister::batch::{Batch, BatchCloud, BatchOptions, BatchPair, Devices};
use coregister::config::{Config, Descriptor, DeviceChoice};
use coregister::io::write_cloud;
use coregister::simulate::{Kind, Motion, PairOptions, simulate_pair};
use coregister::{Cloud, Engine, Registration};
use tempfile::TempDir;

/// Clouds of different sizes and resolutions, so that pairs of them differ in unit and spacing.
fn clouds() -> Vec<Cloud> {
    let simulated = |seed, detail| {
        let options = PairOptions {
            kinds: vec![Kind::Fragment],
            overlap: 0.5..0.8,
            motion: Motion::Full,
            detail,
            ..PairOptions::default()
        };
        let pair = simulate_pair(seed, &options).unwrap();
        [pair.source, pair.target]
    };
    let small = |cloud: &Cloud| Cloud::from_f32(cloud.points.iter().map(|p| p.map(|x| 0.3 * x)).collect());
    let [a, b] = simulated(1, 0.3);
    let [c, d] = simulated(2, 0.2);
    vec![small(&a), small(&b), a, b, c, d]
}

fn config() -> Config {
    Config { descriptor: Descriptor::Classic, device: DeviceChoice::Cpu, ..Config::default() }
}

/// All that an answer says but for the times, to the bit.
fn bits(found: &Registration) -> Vec<u64> {
    let numbers = [found.confidence, found.overlap, found.inlier_rmse, found.inliers as f64];
    let transform = found.target_from_source.to_row_major();
    numbers.into_iter().chain(transform).chain(found.information.concat()).map(f64::to_bits).collect()
}

#[test]
fn a_batch_says_what_the_engine_says_whatever_is_kept() {
    let clouds = clouds();
    let pairs: Vec<(usize, usize)> =
        (0..clouds.len()).flat_map(|s| (0..clouds.len()).map(move |t| (s, t))).step_by(3).collect();
    let engine = Engine::new(config()).unwrap();
    let expected: Vec<_> =
        pairs.iter().map(|&(s, t)| bits(&engine.register(&clouds[s], &clouds[t]).unwrap())).collect();
    // Everything is kept, nothing is, and about two clouds are.
    for (threads, most_bytes) in [(1, usize::MAX), (3, 0), (2, 8 << 20)] {
        let options =
            BatchOptions { devices: Devices::Cpu, most_bytes: Some(most_bytes), ..BatchOptions::default() };
        let batch = Batch::open(&Config { threads, ..config() }, &options).unwrap();
        assert_eq!(batch.lanes(), threads);
        let mut found = Vec::new();
        batch.run(
            pairs.iter().map(|&(source, target)| BatchPair { label: (), source, target }),
            |&i| Ok(BatchCloud::Points(clouds[i].clone())),
            |(), answer| found.push(bits(&answer.unwrap())),
        );
        assert_eq!(found, expected, "{threads} threads, {most_bytes} bytes");
    }
}

#[test]
fn a_cloud_is_read_once_while_there_is_room_for_it() {
    let clouds = clouds();
    let reads = |most_bytes| {
        let reads = AtomicUsize::new(0);
        let options =
            BatchOptions { devices: Devices::Cpu, most_bytes: Some(most_bytes), ..BatchOptions::default() };
        let pairs = [(0, 1), (1, 0), (0, 1)].map(|(source, target)| BatchPair { label: (), source, target });
        Batch::open(&Config { threads: 1, ..config() }, &options).unwrap().run(
            pairs.into_iter(),
            |&i: &usize| {
                reads.fetch_add(1, Ordering::SeqCst);
                Ok(BatchCloud::Points(clouds[i].clone()))
            },
            |(), answer| assert!(answer.is_ok()),
        );
        reads.into_inner()
    };
    assert_eq!(reads(usize::MAX), 2);
    assert_eq!(reads(0), 6);
}

#[test]
fn a_pair_that_fails_or_panics_has_an_error_and_the_others_their_answers() {
    let clouds = clouds();
    let options = BatchOptions { devices: Devices::Cpu, ..BatchOptions::default() };
    let batch = Batch::open(&Config { threads: 2, ..config() }, &options).unwrap();
    let pairs = [(0, 1), (0, 98), (99, 1), (1, 0)];
    let mut said = Vec::new();
    batch.run(
        pairs.into_iter().map(|(source, target)| BatchPair { label: source, source, target }),
        |&i: &usize| match i {
            98 => Ok(BatchCloud::Points(Cloud::default())),
            99 => panic!("cloud 99 is cursed"),
            _ => Ok(BatchCloud::Points(clouds[i].clone())),
        },
        |label, answer| said.push((label, answer.map(|_| ()).map_err(|error| error.to_string()))),
    );
    assert_eq!(said.iter().map(|(label, _)| *label).collect::<Vec<_>>(), [0, 0, 99, 1]);
    assert_eq!((&said[0].1, &said[3].1), (&Ok(()), &Ok(())));
    assert!(said[1].1.as_ref().unwrap_err().starts_with("the target cloud has 0 usable points"), "{said:?}");
    assert!(said[2].1.as_ref().unwrap_err().contains("cloud 99 is cursed"), "{said:?}");
}

#[test]
fn prepared_clouds_take_part_in_batches_wherever_they_were_prepared() {
    let clouds = clouds();
    let expected = {
        let engine = Engine::new(config()).unwrap();
        bits(&engine.register(&clouds[0], &clouds[1]).unwrap())
    };
    let options = BatchOptions { devices: Devices::Cpu, ..BatchOptions::default() };
    let batch = Batch::open(&Config { threads: 2, ..config() }, &options).unwrap();
    // With the settings of the lanes, and with others, so that it has to be prepared anew.
    for descriptor in [Descriptor::Classic, Descriptor::Learned] {
        let engine = Engine::new(Config { descriptor, ..config() }).unwrap();
        let prepared = [0, 1].map(|i: usize| Arc::new(engine.prepare(&clouds[i]).unwrap()));
        let mut found = Vec::new();
        batch.run(
            [(); 3].into_iter().map(|()| BatchPair { label: (), source: 0, target: 1 }),
            |&i: &usize| Ok(BatchCloud::<Cloud>::Prepared(prepared[i].clone())),
            |(), answer| found.push(bits(&answer.unwrap())),
        );
        assert_eq!(found, vec![expected.clone(); 3], "{descriptor:?}");
    }
}

#[test]
fn clouds_may_be_kept_from_one_run_to_the_next() {
    let clouds = clouds();
    let options = BatchOptions { devices: Devices::Cpu, ..BatchOptions::default() };
    let batch = Batch::open(&Config { threads: 2, ..config() }, &options).unwrap();
    let (kept, reads) = (batch.keep(), AtomicUsize::new(0));
    let mut found = Vec::new();
    for _ in 0..2 {
        batch.run_keeping(
            &kept,
            [BatchPair { label: (), source: 0, target: 1 }].into_iter(),
            |&i: &usize| {
                reads.fetch_add(1, Ordering::SeqCst);
                Ok(BatchCloud::Points(clouds[i].clone()))
            },
            Engine::register_prepared,
            |(), answer| found.push(bits(&answer.unwrap())),
        );
    }
    assert_eq!(reads.into_inner(), 2);
    assert_eq!(found[0], found[1]);
}

#[test]
fn settings_out_of_range_open_no_lanes() {
    let config = Config { threads: 1_000_000, ..config() };
    let options = BatchOptions { devices: Devices::Cpu, ..BatchOptions::default() };
    let refused = Batch::open(&config, &options).err().unwrap().to_string();
    assert!(refused.contains("1024 at most"), "{refused}");
}

#[test]
fn points_that_were_left_out_are_told_with_every_answer() {
    let mut clouds = clouds();
    clouds[1].points.extend([[f32::NAN; 3]; 2]);
    let options = BatchOptions { devices: Devices::Cpu, ..BatchOptions::default() };
    let batch = Batch::open(&Config { threads: 1, ..config() }, &options).unwrap();
    let mut told = Vec::new();
    batch.run(
        [(0, 1), (1, 0), (0, 0)].into_iter().map(|(source, target)| BatchPair { label: (), source, target }),
        |&i: &usize| Ok(BatchCloud::Points(clouds[i].clone())),
        |(), answer| told.push(answer.unwrap().warnings.join("")),
    );
    // Its role is that in the pair, whatever it was when it was prepared.
    assert!(told[0].starts_with("ignoring 2 of") && told[0].contains("the target cloud"), "{told:?}");
    assert!(told[1].contains("the source cloud") && told[2].is_empty(), "{told:?}");
}

#[test]
fn clouds_prepared_with_other_settings_are_refused() {
    let clouds = clouds();
    let engine = Engine::new(config()).unwrap();
    let other = Engine::new(Config { refine: false, ..config() }).unwrap();
    let [here, there] = [&engine, &other].map(|engine| engine.prepare(&clouds[0]).unwrap());
    assert!(engine.register_prepared(&here, &here).is_ok());
    let refused = engine.register_prepared(&here, &there).unwrap_err().to_string();
    assert!(refused.contains("other settings"), "{refused}");
}

// The command

/// A folder with clouds and a list of pairs, some of which cannot be read.
fn folder() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (i, cloud) in clouds()[2..].iter().enumerate() {
        write_cloud(&folder.path().join(format!("{i}.ply")), cloud).unwrap();
    }
    let mut list = "src,tgt,name\n".to_owned();
    for (number, (s, t)) in
        [(0, 1), (1, 0), (0, 9), (2, 3), (3, 2), (9, 0), (0, 0), (1, 2)].iter().enumerate()
    {
        writeln!(list, "{s}.ply,{t}.ply,pair {number}").unwrap();
    }
    std::fs::write(folder.path().join("pairs.csv"), list).unwrap();
    folder
}

fn command(folder: &Path, arguments: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_coregister"));
    command.current_dir(folder).args(["batch", "pairs.csv", "--descriptor", "classic", "--devices", "cpu"]);
    command.args(arguments.split_whitespace()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn batch(folder: &Path, arguments: &str) -> Output {
    command(folder, arguments).output().unwrap()
}

fn content(folder: &Path, name: &str) -> String {
    std::fs::read_to_string(folder.join(name)).unwrap()
}

#[test]
fn rows_come_in_the_order_of_the_list_and_failures_among_them() {
    let folder = folder();
    let output = batch(folder.path(), "-o rows.csv --threads 2");
    assert_eq!(output.status.code(), Some(2));
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains("2 of 8 pairs could not be registered"), "{said}");
    let rows = content(folder.path(), "rows.csv");
    let names: Vec<_> = rows.lines().skip(1).map(|row| row.split(',').next().unwrap()).collect();
    assert_eq!(names, (0..8).map(|i| format!("pair {i}")).collect::<Vec<_>>());
    for (i, row) in rows.lines().skip(1).enumerate() {
        assert_eq!(row.contains(",failed,"), i == 2 || i == 5, "{row}");
        assert_eq!(row.contains("9.ply"), i == 2 || i == 5, "the reason names the file: {row}");
    }
    // The same in the other layout, on one thread.
    batch(folder.path(), "-o rows.jsonl --threads 1");
    let transforms = |text: &str| text.matches(" 0 0 0 1").count();
    let lines = content(folder.path(), "rows.jsonl");
    assert_eq!((lines.lines().count(), transforms(&lines)), (8, transforms(&rows)));
    let first: serde_json::Value = serde_json::from_str(lines.lines().next().unwrap()).unwrap();
    assert!(rows.contains(first["T_target_source"].as_str().unwrap()), "{first}");
}

#[test]
fn shards_hold_the_rows_of_the_whole() {
    let folder = folder();
    batch(folder.path(), "-o whole.csv");
    let whole = content(folder.path(), "whole.csv");
    let parts: Vec<String> = (1..=3)
        .map(|i| {
            batch(folder.path(), &format!("-o part{i}.csv --shard {i}/3"));
            content(folder.path(), &format!("part{i}.csv"))
        })
        .collect();
    for (number, row) in whole.lines().skip(1).enumerate() {
        assert_eq!(parts[number % 3].lines().nth(1 + number / 3), Some(row));
    }
}

#[test]
fn a_run_that_is_killed_again_and_again_ends_with_the_file_of_an_undisturbed_one() {
    let folder = folder();
    let start = Instant::now();
    batch(folder.path(), "-o undisturbed.csv");
    let whole_run = start.elapsed();
    let expected = content(folder.path(), "undisturbed.csv");
    let kills = 20;
    let mut rows_at_kills = Vec::new();
    for kill in 0..kills {
        let mut running = command(folder.path(), "-o rows.csv --resume").spawn().unwrap();
        // From before anything is written to most of a run.
        std::thread::sleep(whole_run.mul_f64(0.7 * f64::from(kill * 7 % kills) / f64::from(kills)));
        running.kill().unwrap();
        running.wait().unwrap();
        let written = std::fs::read(folder.path().join("rows.csv")).unwrap_or_default();
        assert!(expected.as_bytes().starts_with(&written), "kill {kill}");
        rows_at_kills.push(written.iter().filter(|byte| **byte == b'\n').count());
    }
    assert!(rows_at_kills.is_sorted(), "rows were lost: {rows_at_kills:?}");
    batch(folder.path(), "-o rows.csv --resume");
    assert_eq!(content(folder.path(), "rows.csv"), expected);
    // What is finished is not begun again.
    let again = batch(folder.path(), "-o rows.csv --resume");
    assert!(String::from_utf8_lossy(&again.stdout).contains("0 of them now"), "{again:?}");
    assert_eq!(content(folder.path(), "rows.csv"), expected);
}

#[test]
fn results_are_not_overwritten_and_must_fit() {
    let folder = folder();
    let file: PathBuf = folder.path().join("rows.csv");
    std::fs::write(&file, "precious\n").unwrap();
    let output = batch(folder.path(), "-o rows.csv");
    assert_eq!(output.status.code(), Some(2));
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains("rows.csv holds 9 bytes already") && said.contains("resume it"), "{said}");
    assert_eq!(content(folder.path(), "rows.csv"), "precious\n");
    assert_eq!(batch(folder.path(), "-o rows.txt").status.code(), Some(2));
    assert_eq!(batch(folder.path(), "-o missing/rows.csv").status.code(), Some(2));
}

#[test]
fn a_part_of_the_free_memory_is_for_clouds_that_are_kept() {
    let options = BatchOptions { devices: Devices::Cpu, ..BatchOptions::default() };
    let batch = Batch::open(&Config { threads: 2, ..config() }, &options).unwrap();
    let free = Cpu::new(1).unwrap().free_memory().unwrap();
    // Other programs take and free memory in between.
    let &[most_bytes] = batch.most_bytes() else { panic!("{:?}", batch.most_bytes()) };
    assert!((free / 16..free).contains(&most_bytes), "{most_bytes} bytes, of {free} that are free");
}
