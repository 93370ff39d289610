//! `coregister register`: two files in, one transform out.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use clap::Args;
use coregister::io::{read_cloud, write_cloud};
use coregister::registration::Details;
use coregister::report::{Answer, PairReport, Subject};
use coregister::{Cloud, Engine, Error, Registration, RigidTransform, Status};
use nalgebra::Vector3;

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

    /// Write a report to this file: one web page, which needs no network, with both clouds before and after, the
    /// matches, the distances, the times and the reasons
    #[arg(long, value_name = "FILE.html")]
    report: Option<PathBuf>,

    /// Write stills of both clouds before and after to this file
    #[arg(long, value_name = "FILE.png")]
    png: Option<PathBuf>,

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
        let (registration, details) = self.register(&engine, &source, &target)?;
        let times = Times { read, total: start.elapsed() };
        // The answer first: it is not lost when another file cannot be written.
        self.answer(&registration, times)?;
        if let Some(path) = &self.output {
            write_cloud(path, &moved(&source, &target, &registration.target_from_source))?;
        }
        if let Some(details) = &details {
            self.show(&Subject {
                source_name: &self.source.to_string_lossy(),
                target_name: &self.target.to_string_lossy(),
                source: &source,
                target: &target,
                registration: &registration,
                details,
                config: &self.method.config(),
                read: times.read,
                total: times.total,
            })?;
        }
        Ok(match registration.status {
            Status::Accepted => Outcome::Done,
            Status::Rejected => Outcome::Rejected,
        })
    }

    /// The answer, with what it rests on if that is to be shown.
    fn register(
        &self,
        engine: &Engine,
        source: &Cloud,
        target: &Cloud,
    ) -> coregister::Result<(Registration, Option<Details>)> {
        if self.report.is_none() && self.png.is_none() {
            return Ok((engine.register(source, target)?, None));
        }
        let (registration, details) = engine.register_with_details(source, target)?;
        Ok((registration, Some(details)))
    }

    /// Writes the pictures that were asked for.
    fn show(&self, subject: &Subject) -> coregister::Result<()> {
        let report = PairReport::new(*subject);
        let write = |path: &PathBuf, bytes: &[u8]| {
            std::fs::write(path, bytes).map_err(|source| Error::file("write", path, source))
        };
        if let Some(path) = &self.report {
            write(path, report.html().as_bytes())?;
        }
        if let Some(path) = &self.png {
            write(path, &report.png())?;
        }
        Ok(())
    }

    fn answer(&self, registration: &Registration, times: Times) -> anyhow::Result<()> {
        if let Some(destination) = &self.json {
            destination.write_json(&Answer::new(registration, times.read, times.total))?;
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
    for row in registration.target_from_source.to_row_major().chunks_exact(4) {
        let _ = writeln!(text, "{:14.9} {:14.9} {:14.9} {:14.6}", row[0], row[1], row[2], row[3]);
    }
    if !registration.unobserved.is_empty() {
        let _ = writeln!(text, "not determined by the overlap: {}", registration.unobserved.join(", "));
    }
    for warning in &registration.warnings {
        let _ = writeln!(text, "warning: {warning}");
    }
    let (total, read) = (times.total.as_secs_f64(), times.read.as_secs_f64());
    let _ = writeln!(text, "{total:.2} s on {device}, of which {read:.2} s reading");
    text
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
            inlier_rmse: 0.01,
            information: [[0.0; 6]; 6],
            information_centre: [0.0; 3],
            unobserved: vec!["translation along (0.00, 1.00, 0.00)".into()],
            warnings: vec!["ignoring 1 of 9 points".into()],
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
    fn report_and_png_are_paths() {
        assert_eq!(parse("a.ply b.ply --report r.html").report, Some("r.html".into()));
        assert_eq!(parse("a.ply b.ply --png s.png").png, Some("s.png".into()));
        assert_eq!(parse("a.ply b.ply").report, None);
    }

    #[test]
    fn json_goes_to_a_file_or_the_standard_output() {
        assert_eq!(parse("a.ply b.ply --json -").json, Some(Destination::StandardOutput));
        assert_eq!(parse("a.ply b.ply --json x").json, Some(Destination::File("x".into())));
    }

    #[test]
    fn the_summary_says_why_a_pair_is_rejected_and_what_is_not_determined() {
        let text = summary(&example(Status::Rejected), TIMES);
        assert!(text.starts_with("rejected: two poses fit\n"), "{text}");
        assert!(text.contains("translation along"), "{text}");
        assert!(text.contains("\nwarning: ignoring 1 of 9 points\n"), "{text}");
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
