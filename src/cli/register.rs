//! `coregister register`: two files in, one transform out.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use clap::Args;
use coregister::io::{read_cloud, write_cloud};
use coregister::{Cloud, Engine, Registration, RigidTransform, Status};
use nalgebra::Vector3;
use serde::{Serialize, Serializer};

use super::Outcome;
use super::method::MethodFlags;
use super::output::{self, Destination};

/// Find the transform that lays SOURCE onto TARGET
///
/// The answer is T_target_source: it maps coordinates of the SOURCE cloud to coordinates of the TARGET cloud,
/// p_target = T_target_source * p_source. It is accepted (exit code 0) or rejected (exit code 1, the best guess
/// is still printed).
#[derive(Debug, Args)]
pub struct Arguments {
    /// The cloud to move: .ply, .pcd, .bin (KITTI), .npy, .xyz, .csv or .txt
    source: PathBuf,

    /// The cloud that stays where it is
    target: PathBuf,

    /// Write the source, moved onto the target by the answer, to this file (also when it is rejected)
    #[arg(short, long = "output", value_name = "ALIGNED.ply")]
    output: Option<PathBuf>,

    /// Write the answer as one JSON object to FILE, or to the standard output (-) in place of the summary
    #[arg(long, value_name = "FILE|-", value_parser = |text: &str| Ok::<_, String>(Destination::from(text)))]
    json: Option<Destination>,

    #[command(flatten)]
    method: MethodFlags,
}

impl Arguments {
    /// Reads, registers, writes.
    pub fn run(&self) -> anyhow::Result<Outcome> {
        let start = Instant::now();
        let engine = Engine::new(self.method.config())?;
        let (source, target) = (read_cloud(&self.source)?, read_cloud(&self.target)?);
        let read = start.elapsed();
        let registration = engine.register(&source, &target)?;
        let times = Times { read, total: start.elapsed() };
        // The answer first: it is not lost when the moved cloud cannot be written.
        self.report(&registration, times)?;
        if let Some(path) = &self.output {
            write_cloud(path, &moved(&source, &target, &registration.target_from_source))?;
        }
        Ok(match registration.status {
            Status::Accepted => Outcome::Done,
            Status::Rejected => Outcome::Rejected,
        })
    }

    fn report(&self, registration: &Registration, times: Times) -> anyhow::Result<()> {
        if let Some(destination) = &self.json {
            destination.write_json(&Answer::new(registration, times))?;
        }
        if self.json != Some(Destination::StandardOutput) {
            output::print(summary(registration, times))?;
        }
        Ok(())
    }
}

/// What the command measures around the engine's own stages.
#[derive(Debug, Clone, Copy)]
struct Times {
    /// Starting the engine and reading both files.
    read: Duration,
    /// From the start to the answer.
    total: Duration,
}

/// The source in the target's frame. Its coordinates are kept relative to the target's origin, near which it
/// lies now, so that large coordinates stay exact.
fn moved(source: &Cloud, target: &Cloud, target_from_source: &RigidTransform) -> Cloud {
    let origin = Vector3::from(target.origin);
    let place = |i: usize| {
        let point = target_from_source.apply(&Vector3::from(source.point(i))) - origin;
        [0, 1, 2].map(|k| point[k] as f32)
    };
    Cloud { origin: target.origin, points: (0..source.len()).map(place).collect() }
}

/// The answer for people.
fn summary(registration: &Registration, times: Times) -> String {
    let mut text = registration.status.as_str().to_owned();
    if registration.status == Status::Rejected {
        let _ = write!(text, ": {}", registration.reason);
    }
    let Registration { confidence, overlap, inliers, inlier_rmse, device, .. } = registration;
    let _ = writeln!(text, "\nconfidence {confidence:.3}, overlap {:.1} %", 100.0 * overlap);
    let _ = writeln!(text, "{inliers} matches agree, surfaces {inlier_rmse:.4} apart (root mean square)");
    text += "T_target_source (p_target = T_target_source * p_source):\n";
    for row in rows(&registration.target_from_source) {
        let _ = writeln!(text, "{:14.9} {:14.9} {:14.9} {:14.6}", row[0], row[1], row[2], row[3]);
    }
    if !registration.unobserved.is_empty() {
        let _ = writeln!(text, "not determined by the overlap: {}", registration.unobserved.join(", "));
    }
    let (total, read) = (times.total.as_secs_f64(), times.read.as_secs_f64());
    let _ = writeln!(text, "{total:.2} s on {device}, of which {read:.2} s reading");
    text
}

fn rows(transform: &RigidTransform) -> [[f64; 4]; 4] {
    let matrix = transform.to_matrix();
    std::array::from_fn(|row| std::array::from_fn(|column| matrix[(row, column)]))
}

/// The answer for programs.
#[derive(Serialize)]
struct Answer<'a> {
    #[serde(rename = "T_target_source")]
    target_from_source: [[f64; 4]; 4],
    status: &'static str,
    reason: &'a str,
    confidence: f64,
    overlap: f64,
    inliers: usize,
    inlier_rmse: f64,
    information: [[f64; 6]; 6],
    unobserved: &'a [String],
    timings_ms: Milliseconds,
    device: &'a str,
    seed: u64,
    version: &'static str,
}

impl<'a> Answer<'a> {
    fn new(registration: &'a Registration, times: Times) -> Self {
        Self {
            target_from_source: rows(&registration.target_from_source),
            status: registration.status.as_str(),
            reason: &registration.reason,
            confidence: registration.confidence,
            overlap: registration.overlap,
            inliers: registration.inliers,
            inlier_rmse: registration.inlier_rmse,
            information: registration.information,
            unobserved: &registration.unobserved,
            timings_ms: Milliseconds::new(registration, times),
            device: &registration.device,
            seed: registration.seed,
            version: env!("CARGO_PKG_VERSION"),
        }
    }
}

/// Stage names and times, written as an object that keeps the order of execution.
struct Milliseconds(Vec<(&'static str, f64)>);

impl Milliseconds {
    fn new(registration: &Registration, times: Times) -> Self {
        let stages = registration.timings.stages.iter().copied();
        let all = std::iter::once(("read", times.read)).chain(stages).chain([("total", times.total)]);
        // Whole microseconds: more digits would be noise.
        Self(all.map(|(stage, spent)| (stage, spent.as_micros() as f64 / 1000.0)).collect())
    }
}

impl Serialize for Milliseconds {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().copied())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser as _;
    use coregister::registration::Timings;
    use nalgebra::Rotation3;

    #[derive(clap::Parser)]
    struct Harness {
        #[command(flatten)]
        arguments: Arguments,
    }

    fn parse(arguments: &str) -> Arguments {
        let words = std::iter::once("register").chain(arguments.split_whitespace());
        Harness::try_parse_from(words).unwrap().arguments
    }

    fn quarter_turn() -> RigidTransform {
        let rotation = Rotation3::from_axis_angle(&Vector3::z_axis(), std::f64::consts::FRAC_PI_2);
        RigidTransform::new(*rotation.matrix(), Vector3::new(10.0, 20.0, 30.0))
    }

    fn example(status: Status) -> Registration {
        let mut timings = Timings::default();
        timings.add("voxel", Duration::from_millis(3));
        timings.add("matching", Duration::from_millis(2));
        Registration {
            target_from_source: quarter_turn(),
            status,
            reason: "two poses fit".into(),
            confidence: 0.5,
            overlap: 0.25,
            inliers: 7,
            matches: Vec::new(),
            inlier_rmse: 0.01,
            information: [[0.0; 6]; 6],
            unobserved: vec!["translation along (0.00, 1.00, 0.00)".into()],
            timings,
            device: "cpu".into(),
            seed: 3,
        }
    }

    const TIMES: Times = Times { read: Duration::from_millis(1), total: Duration::from_millis(9) };

    #[test]
    fn output_is_a_path() {
        assert_eq!(parse("a.ply b.ply -o c.ply").output, Some("c.ply".into()));
        assert_eq!(parse("a.ply b.ply --output c.ply").output, Some("c.ply".into()));
        assert_eq!(parse("a.ply b.ply").output, None);
    }

    #[test]
    fn json_goes_to_a_file_or_the_standard_output() {
        assert_eq!(parse("a.ply b.ply --json -").json, Some(Destination::StandardOutput));
        assert_eq!(parse("a.ply b.ply --json x").json, Some(Destination::File("x".into())));
    }

    #[test]
    fn the_json_object_keeps_the_order_of_the_stages() {
        let text = serde_json::to_string(&Answer::new(&example(Status::Accepted), TIMES)).unwrap();
        let times = "\"timings_ms\":{\"read\":1.0,\"voxel\":3.0,\"matching\":2.0,\"total\":9.0}";
        assert!(text.contains(times), "{text}");
        assert!(text.contains("[0.0,0.0,0.0,1.0]]"), "{text}");
    }

    #[test]
    fn the_summary_says_why_a_pair_is_rejected_and_what_is_not_determined() {
        let text = summary(&example(Status::Rejected), TIMES);
        assert!(text.starts_with("rejected: two poses fit\n"), "{text}");
        assert!(text.contains("translation along"), "{text}");
        assert!(summary(&example(Status::Accepted), TIMES).starts_with("accepted\n"));
    }

    #[test]
    fn a_moved_cloud_lies_on_its_target_even_far_from_the_origin() {
        let source = Cloud { origin: [0.0; 3], points: vec![[1.0, 2.0, 3.0], [f32::NAN; 3]] };
        let target = Cloud { origin: [5e6, 0.0, 0.0], points: Vec::new() };
        let far = RigidTransform::new(quarter_turn().rotation, Vector3::new(5e6, 0.125, 0.0));
        let moved = moved(&source, &target, &far);
        assert_eq!(moved.point(0), [5e6 - 2.0, 1.125, 3.0]);
        assert!(moved.point(1)[0].is_nan());
    }
}
