//! `coregister evaluate`: the accuracy on a list of pairs or on a benchmark, as a table, JSON, Markdown and logs.

mod outputs;
mod table;

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use coregister::Engine;
use coregister::batch::{Batch, BatchOptions, Devices};
use coregister::evaluate::{self, Pair, Protocol, Report, Row, eth, kitti, three_d_match};
use tracing::warn;

use super::Outcome;
use super::method::{MethodFlags, parse_devices};
use super::output::Progress;
use outputs::{Autosave, Outputs};

/// Register the pairs of a list or of a benchmark and compare the answers with the known ones
///
/// A list is a CSV file with a header. Columns: src and tgt (paths relative to the file); where known also name, set,
/// overlap and T (16 numbers, row by row, maps source to target). The part of a set's name before the first - picks the
/// thresholds; of sets that end in -none no answer is expected, and any but that of T is wrong.
///
/// A benchmark is a folder as it is downloaded: 3DMatch and 3DLoMatch (scenes with gt.log, gt.info and cloud_bin_N.ply),
/// ETH (scenes with gt.log and Hokuyo_N.ply), KITTI odometry (sequences/ and poses/).
///
/// Pairs are registered one after another, so that the times are those of a pair alone. --devices registers several at a
/// time, as `batch` does: the same answers sooner.
///
/// Exit code 2 when a pair could not be read or registered; the others are still evaluated. The files of --json,
/// --markdown, --report and --log are written again and again during the run, so that one that is stopped leaves what it
/// has.
#[derive(Debug, Args)]
pub struct Arguments {
    /// A list of pairs (.csv), or the folder of a benchmark
    #[arg(value_name = "PAIRS.csv|FOLDER")]
    data: PathBuf,

    /// How pairs are found and judged
    #[arg(long, value_enum, default_value = "auto")]
    protocol: ProtocolName,

    /// 3DMatch and ETH: where the scenes' folders of clouds are, if not beside the logs
    #[arg(long, value_name = "FOLDER")]
    clouds: Option<PathBuf>,

    /// KITTI: the sequences, separated by commas; 8,9,10 if left out
    #[arg(long, value_name = "N,N,…", value_delimiter = ',')]
    sequences: Vec<u32>,

    /// KITTI: compare with the refined transforms in this folder (SEQUENCE_SOURCE_TARGET.npy, 4x4), not with the poses
    #[arg(long, value_name = "FOLDER")]
    refined: Option<PathBuf>,

    /// Register several pairs at a time, on all CUDA devices (the CPU if there is none), the CPU, or CUDA devices by
    /// number; times are then not those of a pair alone
    #[arg(long, value_name = "all|cpu|0,1,…", conflicts_with = "device", value_parser = parse_devices)]
    devices: Option<Devices>,

    #[command(flatten)]
    outputs: Outputs,

    #[command(flatten)]
    method: MethodFlags,
}

/// The names of the protocols on the command line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum ProtocolName {
    /// By what the path leads to
    Auto,
    /// A list of pairs, each set by its own thresholds
    List,
    /// 3DMatch or 3DLoMatch: 15 deg and 0.3 m for all pairs, and an RMSE of 0.2 m for those that are not consecutive
    #[value(name = "3dmatch")]
    ThreeDMatch,
    /// ETH: 2 deg and 0.3 m
    Eth,
    /// KITTI odometry: 5 deg and 2 m, strictly 5 deg and 0.6 m
    Kitti,
}

/// What registers the pairs: one after another, or several at a time.
enum Computer {
    Engine(Box<Engine>),
    Batch(Batch),
}

impl Computer {
    fn evaluate(&self, pairs: &[Pair], done: impl FnMut(&[Row]) + Send) -> Report {
        match self {
            Self::Engine(engine) => evaluate::evaluate(engine, pairs, done),
            Self::Batch(batch) => batch.evaluate(pairs, done),
        }
    }
}

impl Arguments {
    /// Registers all pairs, then prints.
    pub fn run(&self) -> anyhow::Result<Outcome> {
        // A device that is not there is found out before anything is read.
        let computer = self.open()?;
        let pairs = self.pairs()?;
        self.outputs.check(&pairs)?;
        let report = self.evaluate(&computer, &pairs);
        self.outputs.finish(&report)?;
        match report.failures().count() {
            0 => Ok(Outcome::Done),
            failed => Err(anyhow::anyhow!("{failed} of {} pairs could not be registered", pairs.len())),
        }
    }

    fn open(&self) -> coregister::Result<Computer> {
        let config = self.method.config();
        match &self.devices {
            None => Engine::new(config).map(|engine| Computer::Engine(Box::new(engine))),
            Some(devices) => {
                let options = BatchOptions { devices: devices.clone(), ..BatchOptions::default() };
                Batch::open(&config, &options).map(Computer::Batch)
            }
        }
    }

    fn evaluate(&self, computer: &Computer, pairs: &[Pair]) -> Report {
        let mut progress = Progress::new(pairs.len(), 0);
        let mut autosave = Autosave::default();
        computer.evaluate(pairs, |rows| {
            progress.step(rows.last().map_or("", |row| &row.set));
            if autosave.is_due()
                && let Err(error) = self.outputs.save(&Report::new(pairs.len(), rows.to_vec()))
            {
                // Written again later; if that fails as well, the end of the run reports it.
                warn!("{error:#}");
            }
        })
    }

    fn pairs(&self) -> anyhow::Result<Vec<Pair>> {
        let protocol = self.protocol()?;
        self.refuse_flags_of_others(protocol)?;
        let clouds = self.clouds.as_deref();
        Ok(match protocol {
            Protocol::List => evaluate::read_pairs(&self.data)?,
            Protocol::ThreeDMatch => three_d_match::read_pairs(&self.data, clouds)?,
            Protocol::Eth => eth::read_pairs(&self.data, clouds)?,
            Protocol::Kitti => kitti::read_pairs(&self.data, &self.kitti_options())?,
        })
    }

    fn protocol(&self) -> anyhow::Result<Protocol> {
        match self.protocol {
            ProtocolName::List => Ok(Protocol::List),
            ProtocolName::ThreeDMatch => Ok(Protocol::ThreeDMatch),
            ProtocolName::Eth => Ok(Protocol::Eth),
            ProtocolName::Kitti => Ok(Protocol::Kitti),
            ProtocolName::Auto => Protocol::of(&self.data).ok_or_else(|| {
                anyhow::anyhow!(
                    "{}: this folder is of no known benchmark: there is neither a gt.log in it or in the folders in it \
                     (3DMatch, ETH), nor sequences and poses (KITTI)",
                    self.data.display()
                )
            }),
        }
    }

    /// A flag that would change nothing is a mistake.
    fn refuse_flags_of_others(&self, protocol: Protocol) -> anyhow::Result<()> {
        let has_scenes = matches!(protocol, Protocol::ThreeDMatch | Protocol::Eth);
        let is_kitti = protocol == Protocol::Kitti;
        for (given, applies, flag, whose) in [
            (self.clouds.is_some(), has_scenes, "--clouds", "3DMatch and ETH"),
            (self.outputs.log.is_some(), has_scenes, "--log", "3DMatch and ETH"),
            (!self.sequences.is_empty(), is_kitti, "--sequences", "KITTI"),
            (self.refined.is_some(), is_kitti, "--refined", "KITTI"),
        ] {
            if given && !applies {
                anyhow::bail!("{flag} is for {whose}; {} is not evaluated as that", self.data.display());
            }
        }
        Ok(())
    }

    fn kitti_options(&self) -> kitti::Options {
        let default = kitti::Options::default();
        let sequences = if self.sequences.is_empty() { default.sequences } else { self.sequences.clone() };
        kitti::Options { sequences, refined: self.refined.clone() }
    }
}

#[cfg(test)]
mod tests {
    use super::super::output::Destination;
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Harness {
        #[command(flatten)]
        arguments: Arguments,
    }

    fn parse(arguments: &str) -> Arguments {
        let words = std::iter::once("evaluate").chain(arguments.split_whitespace());
        Harness::try_parse_from(words).unwrap().arguments
    }

    #[test]
    fn protocol() {
        assert_eq!(parse("a.csv").protocol, ProtocolName::Auto);
        assert_eq!(parse("a --protocol 3dmatch").protocol().unwrap(), Protocol::ThreeDMatch);
        assert_eq!(parse("a --protocol eth").protocol().unwrap(), Protocol::Eth);
        assert_eq!(parse("a --protocol kitti").protocol().unwrap(), Protocol::Kitti);
        assert_eq!(parse("a.csv").protocol().unwrap(), Protocol::List);
        let folder = tempfile::tempdir().unwrap();
        let message = parse(folder.path().to_str().unwrap()).protocol().unwrap_err().to_string();
        assert!(message.contains("no known benchmark"), "{message}");
    }

    #[test]
    fn devices() {
        assert_eq!(parse("a.csv").devices, None);
        assert_eq!(parse("a.csv --devices cpu").devices, Some(Devices::Cpu));
        assert_eq!(parse("a.csv --devices 1,0").devices, Some(Devices::Cuda(vec![0, 1])));
        let both = ["evaluate", "a.csv", "--devices", "cpu", "--device", "cpu"];
        assert!(Harness::try_parse_from(both).is_err());
    }

    #[test]
    fn sequences_and_refined() {
        assert_eq!(parse("a").kitti_options(), kitti::Options::default());
        let options = parse("a --sequences 0,7 --refined icp").kitti_options();
        assert_eq!(options, kitti::Options { sequences: vec![0, 7], refined: Some("icp".into()) });
    }

    #[test]
    fn clouds_and_outputs() {
        let arguments = parse("a --clouds b --json - --markdown c.md --log d");
        assert_eq!(arguments.clouds, Some("b".into()));
        assert_eq!(arguments.outputs.json, Some(Destination::StandardOutput));
        assert_eq!(arguments.outputs.markdown, Some(Destination::File("c.md".into())));
        assert_eq!(arguments.outputs.log, Some("d".into()));
    }

    #[test]
    fn flags_that_would_change_nothing_are_refused() {
        for (arguments, protocol, flag) in [
            ("a.csv --clouds b", Protocol::List, "--clouds"),
            ("a --clouds b", Protocol::Kitti, "--clouds"),
            ("a.csv --log b", Protocol::List, "--log"),
            ("a --sequences 8", Protocol::Eth, "--sequences"),
            ("a --refined b", Protocol::ThreeDMatch, "--refined"),
        ] {
            let message = parse(arguments).refuse_flags_of_others(protocol).unwrap_err().to_string();
            assert!(message.starts_with(flag), "{message}");
        }
        assert!(parse("a --clouds b --log c").refuse_flags_of_others(Protocol::Eth).is_ok());
        assert!(parse("a --sequences 8 --refined c").refuse_flags_of_others(Protocol::Kitti).is_ok());
    }
}
