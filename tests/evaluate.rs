//! `coregister evaluate` on benchmarks as they are downloaded, laid out here from simulated scans.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use coregister::evaluate::pose_log::read_log;
use coregister::evaluate::rmse::{self, rmse};
use coregister::evaluate::{Pair, Protocol, Truth, eth, kitti, three_d_match};
use coregister::io::write_cloud;
use coregister::simulate::{Kind, PairOptions, SimulatedPair, simulate_pair};
use coregister::{Cloud, RigidTransform};
use nalgebra::{Matrix3x6, Matrix6, Rotation3, Vector3};
use serde_json::Value;

/// A pair that overlaps well.
fn simulated(kind: Kind, detail: f64, seed: u64) -> SimulatedPair {
    let options = PairOptions { kinds: vec![kind], overlap: 0.6..0.8, detail, ..PairOptions::default() };
    simulate_pair(seed, &options).unwrap()
}

fn coregister(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_coregister"));
    command.args(arguments).env_remove("RUST_LOG").output().expect("the command starts")
}

/// The report of `evaluate FOLDER … --json -`, and the exit code.
fn report(arguments: &[&str]) -> (Value, Option<i32>) {
    let output = coregister(&[&["evaluate"], arguments, &["--json", "-"]].concat());
    let report = serde_json::from_slice(&output.stdout);
    (report.unwrap_or_else(|_| panic!("{}", text(&output.stderr))), output.status.code())
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

fn write(path: &Path, content: impl AsRef<[u8]>) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, content).unwrap();
}

fn write_ply(path: &Path, cloud: &Cloud) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    write_cloud(path, cloud).unwrap();
}

/// An entry of a `.log` or a `.info`.
fn entry(target: usize, source: usize, count: usize, numbers: &[f64]) -> String {
    let numbers: Vec<String> = numbers.iter().map(|number| format!("{number:.10}")).collect();
    format!("{target}\t{source}\t{count}\n{}\n", numbers.join("\t"))
}

fn log_entry(target: usize, source: usize, truth: &RigidTransform) -> String {
    entry(target, source, 4, &truth.to_row_major())
}

/// The information matrix of the right transform, by its definition, on all points of the source.
fn information(source: &Cloud) -> Matrix6<f64> {
    let of_point = |i: usize| {
        let mut g = Matrix3x6::identity();
        g.fixed_view_mut::<3, 3>(0, 3).copy_from(&(Vector3::from(source.point(i)).cross_matrix() * -2.0));
        g.transpose() * g
    };
    (0..source.len()).map(of_point).sum()
}

fn info_entry(target: usize, source: usize, cloud: &Cloud) -> String {
    entry(target, source, 4, information(cloud).as_slice())
}

/// Two scenes as 3DMatch is downloaded. In the kitchen two of three pairs are as they should be, one of them consecutive,
/// and a fragment is missing. In the hotel the truth is wrong.
fn write_3dmatch(root: &Path) {
    let kitchen = simulated(Kind::Frame, 0.4, 1);
    let (source, truth) = (&kitchen.source, &kitchen.target_from_source);
    for (number, cloud) in [&kitchen.target, source, source].into_iter().enumerate() {
        write_ply(&root.join(format!("kitchen/cloud_bin_{number}.ply")), cloud);
    }
    let truths = root.join("kitchen-evaluation");
    let pairs = [(0, 1), (0, 2), (0, 3)];
    write(&truths.join("gt.log"), pairs.map(|(i, j)| log_entry(i, j, truth)).concat());
    write(&truths.join("gt.info"), pairs.map(|(i, j)| info_entry(i, j, source)).concat());
    let hotel = root.join("hotel");
    let turn = Rotation3::from_axis_angle(&Vector3::z_axis(), 0.5);
    let wrong = truth.compose(&RigidTransform::new(*turn.matrix(), Vector3::zeros()));
    write_ply(&hotel.join("fragments/cloud_bin_1.ply"), &kitchen.target);
    write_ply(&hotel.join("fragments/cloud_bin_3.ply"), source);
    write(&hotel.join("gt.log"), log_entry(1, 3, &wrong));
    write(&hotel.join("gt.info"), info_entry(1, 3, source));
}

#[test]
fn a_3dmatch_folder_is_judged_by_both_protocols() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("3DMatch");
    write_3dmatch(&root);
    let [json, markdown, log] = ["report.json", "report.md", "logs"].map(|name| folder.path().join(name));
    let [root_text, json_text, markdown_text, log_text] =
        [&root, &json, &markdown, &log].map(|path| path.to_str().unwrap());
    let output = coregister(&[
        "evaluate",
        root_text,
        "--json",
        json_text,
        "--markdown",
        markdown_text,
        "--log",
        log_text,
    ]);
    let table = text(&output.stdout);
    assert_eq!(output.status.code(), Some(2), "a fragment is missing: {table}{}", text(&output.stderr));
    assert!(table.contains("failed: kitchen 0_3") && table.contains("cloud_bin_3.ply"), "{table}");

    let report: Value = serde_json::from_slice(&fs::read(&json).unwrap()).unwrap();
    let sets = report["sets"].as_array().unwrap();
    assert_eq!((&sets[0]["set"], &sets[1]["set"]), (&"hotel".into(), &"kitchen".into()));
    assert_eq!((&sets[0]["recall"], &sets[0]["rmse_recall"]), (&0.0.into(), &0.0.into()));
    assert!((sets[1]["recall"].as_f64().unwrap() - 2.0 / 3.0).abs() < 1e-12, "{}", sets[1]);
    assert_eq!((&sets[1]["rmse_recall"], &sets[1]["rmse_pairs"]), (&0.5.into(), &2.into()));
    assert_eq!(
        (&report["overall"]["recall"], &report["mean_of_sets"]["rmse_recall"]),
        (&0.5.into(), &0.25.into())
    );
    let last = &report["rows"][3];
    assert_eq!(
        (&last["status"], &last["success"], &last["rmse_success"]),
        (&"error".into(), &false.into(), &false.into())
    );
    let words: Vec<_> = table.lines().nth(4).unwrap().split_whitespace().collect();
    assert_eq!(words[..4], ["mean", "of", "sets", "-"], "{table}");
    let markdown = fs::read_to_string(markdown).unwrap();
    assert!(markdown.contains("| RMSE% |") && markdown.contains("| kitchen "), "{markdown}");

    // What the official evaluation would find in the logs.
    let recall = |scene: &str, truths: &str, fragments: usize| {
        let answers = read_log(&log.join(scene).join("est.log")).unwrap();
        let pairs = three_d_match::read_pairs(&root.join(truths), None).unwrap();
        let counted: Vec<&Pair> = pairs.iter().filter(|pair| pair.information.is_some()).collect();
        let right = counted.iter().filter(|pair| {
            let answer = answers.iter().find(|(fragments, _)| Some(*fragments) == pair.fragments);
            answer.is_some_and(|(_, answer)| {
                rmse(&transform(pair), answer, &pair.information.unwrap()) <= rmse::LIMIT
            })
        });
        assert_eq!(answers.len(), fragments);
        right.count() as f64 / counted.len() as f64
    };
    assert_eq!(recall("kitchen", "kitchen-evaluation", 2), 0.5);
    assert_eq!(recall("hotel", "hotel", 1), 0.0);
}

fn transform(pair: &Pair) -> RigidTransform {
    match pair.truth {
        Truth::Transform(truth) => truth,
        other => panic!("{other:?}"),
    }
}

#[test]
fn benchmark_folders_whose_clouds_are_elsewhere_are_read_with_their_place() {
    // As 3DLoMatch lies in the repositories of Predator and BUFFER.
    let folder = tempfile::tempdir().unwrap();
    let [truths, clouds] = ["3DLoMatch", "fragments"].map(|name| folder.path().join(name));
    let truth = RigidTransform::new(nalgebra::Matrix3::identity(), Vector3::new(1.0, 2.0, 3.0));
    for scene in ["7-scenes-redkitchen", "sun3d-hotel_uc-scan3"] {
        write(&truths.join(scene).join("gt.log"), log_entry(7, 12, &truth));
        write(&clouds.join(scene).join("cloud_bin_12.ply"), "");
    }
    let pairs = three_d_match::read_pairs(&truths, Some(&clouds)).unwrap();
    assert_eq!(pairs.len(), 2);
    // The second fragment is laid onto the first.
    assert_eq!(pairs[0].source, clouds.join("7-scenes-redkitchen/cloud_bin_12.ply"));
    assert_eq!(pairs[0].target, clouds.join("7-scenes-redkitchen/cloud_bin_7.ply"));
    assert_eq!((pairs[0].truth, pairs[1].set.as_str()), (Truth::Transform(truth), "sun3d-hotel_uc-scan3"));
    assert_eq!(pairs[0].information, None, "there is no gt.info");
    let message = three_d_match::read_pairs(&truths, None).unwrap_err().to_string();
    assert!(
        message.contains("no cloud_bin_N.ply") && message.contains("say where the clouds are"),
        "{message}"
    );
    assert_eq!(Protocol::of(&truths), Some(Protocol::ThreeDMatch));
}

#[test]
fn truths_that_do_not_belong_together_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let identity = RigidTransform::identity();
    write(&folder.path().join("gt.log"), log_entry(0, 2, &identity));
    write(&folder.path().join("gt.info"), entry(0, 3, 4, Matrix6::<f64>::identity().as_slice()));
    write(&folder.path().join("cloud_bin_0.ply"), "");
    let message = three_d_match::read_pairs(folder.path(), None).unwrap_err().to_string();
    assert!(
        message.contains("gt.info") && message.contains("the pair 0 2 of gt.log is missing"),
        "{message}"
    );
    let empty = tempfile::tempdir().unwrap();
    let message = eth::read_pairs(empty.path(), None).unwrap_err().to_string();
    assert!(message.contains("no gt.log"), "{message}");
    assert_eq!(Protocol::of(empty.path()), None);
}

#[test]
fn an_eth_folder_is_known_by_its_clouds_and_judged_by_its_thresholds() {
    let folder = tempfile::tempdir().unwrap();
    let scene = folder.path().join("gazebo_summer");
    let pair = simulated(Kind::Lidar, 0.5, 4);
    write_ply(&scene.join("Hokuyo_0.ply"), &pair.target);
    write_ply(&scene.join("Hokuyo_1.ply"), &pair.source);
    write(&scene.join("gt.log"), log_entry(0, 1, &pair.target_from_source));
    assert_eq!(Protocol::of(folder.path()), Some(Protocol::Eth));
    let (report, code) = report(&[folder.path().to_str().unwrap()]);
    assert_eq!(code, Some(0));
    let set = &report["sets"][0];
    assert_eq!((&set["set"], &set["recall"]), (&"gazebo_summer".into(), &1.0.into()));
    assert_eq!(set["thresholds"]["right"], serde_json::json!({ "angle": 2.0, "distance": 0.3 }));
    assert_eq!((&set["strict_recall"], &set["rmse_recall"]), (&Value::Null, &Value::Null));
}

#[test]
fn a_run_that_is_killed_leaves_what_it_has() {
    let folder = tempfile::tempdir().unwrap();
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("data");
    let demo = format!("{0}/demo_source.ply,{0}/demo_target.ply\n", data.display());
    // The first pair fails at once, so that it is saved long before the run ends.
    let list = folder.path().join("pairs.csv");
    fs::write(&list, format!("src,tgt\nmissing.ply,missing.ply\n{}", demo.repeat(500))).unwrap();
    let json = folder.path().join("report.json");
    let mut run = Command::new(env!("CARGO_BIN_EXE_coregister"))
        .args(["evaluate", list.to_str().unwrap(), "--json", json.to_str().unwrap()])
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();
    while fs::metadata(&json).map_or(0, |metadata| metadata.len()) == 0 {
        assert!(run.try_wait().unwrap().is_none(), "the run has ended without a report");
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    run.kill().unwrap();
    run.wait().unwrap();
    let report: Value = serde_json::from_slice(&fs::read(&json).unwrap()).unwrap();
    assert_eq!((&report["pairs"], &report["rows"][0]["status"]), (&501.into(), &"error".into()));
}

/// The scanner to the camera, about as in KITTI.
const CALIBRATION: &str = "0 -1 0 0.1 0 0 -1 -0.2 1 0 0 -0.3";

fn row_of_12(transform: &RigidTransform) -> String {
    transform.to_row_major()[..12].iter().map(|number| format!("{number:.9e}")).collect::<Vec<_>>().join(" ")
}

fn write_scan(path: &Path, cloud: &Cloud) {
    let record = |p: &[f32; 3]| [p[0], p[1], p[2], 0.5].map(f32::to_le_bytes).concat();
    write(path, cloud.points.iter().flat_map(record).collect::<Vec<u8>>());
}

/// Two scans less than 10 m apart.
fn close_scans(detail: f64) -> SimulatedPair {
    let scans = (1..).map(|seed| simulated(Kind::Lidar, detail, seed));
    scans.into_iter().find(|pair| pair.target_from_source.translation.norm() < 8.0).unwrap()
}

/// One sequence whose first two scans are a pair; at the third pose, for which there is no scan, the vehicle is far away.
fn write_kitti(root: &Path, pair: &SimulatedPair) -> PathBuf {
    let sequence = root.join("sequences/08");
    write_scan(&sequence.join("velodyne/000000.bin"), &pair.source);
    write_scan(&sequence.join("velodyne/000001.bin"), &pair.target);
    write(&sequence.join("calib.txt"), format!("P0: 1 0 0\nTr: {CALIBRATION}\n"));
    let numbers: Vec<f64> = CALIBRATION.split(' ').map(|number| number.parse().unwrap()).collect();
    let rows = [&numbers[..], &[0.0, 0.0, 0.0, 1.0]].concat().try_into().unwrap();
    let camera_from_scanner = RigidTransform::from_row_major(&rows).unwrap();
    let first = RigidTransform::new(nalgebra::Matrix3::identity(), Vector3::new(100.0, -3.0, 40.0));
    let second = first
        .compose(&camera_from_scanner)
        .compose(&pair.target_from_source.inverse())
        .compose(&camera_from_scanner.inverse());
    assert!(first.distance_to(&second) < 10.0);
    let third = RigidTransform { translation: Vector3::new(100.0, -3.0, 99.0), ..first };
    let poses = root.join("poses/08.txt");
    write(&poses, [first, second, third].map(|pose| row_of_12(&pose)).join("\n"));
    poses
}

/// The same scans as if both had been taken from one place, which is wrong.
fn from_one_place(pair: &SimulatedPair) -> SimulatedPair {
    assert!(pair.target_from_source.translation.norm() > 2.0);
    let RigidTransform { rotation, .. } = pair.target_from_source;
    SimulatedPair { target_from_source: RigidTransform::new(rotation, Vector3::zeros()), ..pair.clone() }
}

/// The share that `evaluate` tells of the only pair of a KITTI folder.
fn share_of_right_matches(pair: &SimulatedPair) -> f64 {
    let folder = tempfile::tempdir().unwrap();
    write_kitti(folder.path(), pair);
    let (report, _) = report(&[folder.path().to_str().unwrap(), "--sequences", "8"]);
    report["rows"][0]["inlier_ratio"].as_f64().unwrap()
}

#[test]
fn a_kitti_folder_gives_its_pairs_and_their_truth() {
    let folder = tempfile::tempdir().unwrap();
    let pair = close_scans(0.5);
    write_kitti(&folder.path().join("dataset"), &pair);
    let root = folder.path().to_str().unwrap();
    let (report, code) = report(&[root, "--sequences", "8"]);
    assert_eq!(code, Some(0));
    assert_eq!(report["rows"].as_array().unwrap().len(), 1);
    let row = &report["rows"][0];
    assert_eq!((&row["set"], &row["name"]), (&"sequence 08".into(), &"0_1".into()));
    assert_eq!((&row["success"], &row["strict_success"]), (&true.into(), &true.into()), "{row}");
    // A keypoint has up to two partners, of which one is right at most.
    let share = row["inlier_ratio"].as_f64().unwrap();
    assert!(share > 0.1 && share < 1.0, "of the matches of two scans that overlap well {share} are right");
    let by_a_wrong_truth = share_of_right_matches(&from_one_place(&pair));
    assert!(by_a_wrong_truth < share / 10.0, "{by_a_wrong_truth} of the matches are right by a wrong truth");
    let output = coregister(&["evaluate", root]);
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("09"), "sequence 9 is not there: {}", text(&output.stderr));
}

#[test]
fn refined_transforms_take_the_place_of_the_poses() {
    let folder = tempfile::tempdir().unwrap();
    let pair = close_scans(0.2);
    write_kitti(folder.path(), &pair);
    let refined = folder.path().join("icp");
    let options = kitti::Options { sequences: vec![8], refined: Some(refined.clone()) };
    let read = || kitti::read_pairs(folder.path(), &options);
    assert!(read().unwrap_err().to_string().contains("8_0_1.npy"));
    fs::create_dir(&refined).unwrap();
    let turn = Rotation3::from_euler_angles(0.1, -0.2, 0.3);
    let truth = RigidTransform::new(*turn.matrix(), Vector3::new(1.0, 2.0, 3.0));
    let matrix = ndarray::Array2::from_shape_vec((4, 4), truth.to_row_major().to_vec()).unwrap();
    let path = refined.join("8_0_1.npy");
    for matrix in [matrix.clone(), matrix.t().as_standard_layout().into_owned().reversed_axes()] {
        ndarray_npy::write_npy(&path, &matrix).unwrap();
        let found = transform(&read().unwrap()[0]);
        assert!(found.angle_to(&truth) < 1e-9 && found.distance_to(&truth) < 1e-12);
    }
    ndarray_npy::write_npy(&path, &ndarray::Array2::<f64>::zeros((4, 4))).unwrap();
    assert!(read().unwrap_err().to_string().contains("not the matrix of a rotation"));
    ndarray_npy::write_npy(&path, &ndarray::Array2::<f64>::zeros((3, 4))).unwrap();
    assert!(read().unwrap_err().to_string().contains("the array is 3×4, not 4×4"));
    let whole = { ndarray_npy::write_npy(&path, &matrix).map(|()| fs::read(&path).unwrap()).unwrap() };
    for length in [0, 5, 40, whole.len() - 1] {
        fs::write(&path, &whole[..length]).unwrap();
        assert!(read().unwrap_err().to_string().contains("8_0_1.npy"), "{length} bytes");
    }
}

#[test]
fn a_kitti_folder_that_is_not_whole_is_refused_with_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let pair = close_scans(0.2);
    let poses = write_kitti(folder.path(), &pair);
    let options = kitti::Options { sequences: vec![8], refined: None };
    let refusal = || kitti::read_pairs(folder.path(), &options).unwrap_err().to_string();
    let all = fs::read_to_string(&poses).unwrap();
    fs::write(&poses, all.lines().next().unwrap()).unwrap();
    assert!(refusal().contains("1 poses are too few for scan 1"), "{}", refusal());
    fs::write(&poses, all.lines().take(2).collect::<Vec<_>>().join("\n")).unwrap();
    assert!(refusal().contains("too short for a pair"), "{}", refusal());
    fs::write(&poses, all).unwrap();
    let calibration = folder.path().join("sequences/08/calib.txt");
    fs::remove_file(&calibration).unwrap();
    assert!(refusal().contains("calib.txt"), "{}", refusal());
    fs::remove_file(folder.path().join("sequences/08/velodyne/000000.bin")).unwrap();
    fs::remove_file(folder.path().join("sequences/08/velodyne/000001.bin")).unwrap();
    assert!(refusal().contains("no scan in it"), "{}", refusal());
}
