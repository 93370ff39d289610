//! `coregister simulate`: pairs of scans with known answers.

use std::ops::Range;
use std::path::PathBuf;

use clap::{Args, ValueEnum};
use coregister::simulate::{Kind, Motion, PairOptions, write_pairs};

use super::{Outcome, output};

/// Make pairs of simulated scans with known answers
///
/// Writes the clouds as PLY and their list, pairs.csv, which `coregister evaluate` reads. The same flags and
/// seed give the same files.
#[derive(Debug, Args)]
pub struct Arguments {
    /// Folder for the clouds and the list; made if it is missing
    #[arg(short, long = "output", value_name = "FOLDER")]
    output: PathBuf,

    /// Number of pairs
    #[arg(long, value_name = "N", default_value_t = 10)]
    pairs: u32,

    /// Kinds of scans to draw from: fragment, frame, object, lidar, lidar-indoor (these if left out), lidar-repeated
    #[arg(long = "kind", value_name = "KIND,…", value_delimiter = ',')]
    kinds: Vec<Kind>,

    /// Range of the overlaps, within 0..1
    #[arg(long, value_name = "LOW..HIGH", value_parser = parse_range)]
    overlap: Option<Range<f64>>,

    /// Share of pairs that do not overlap at all, 0 to 1
    #[arg(long, value_name = "SHARE", default_value = "0", value_parser = parse_share)]
    none_share: f64,

    /// Share of the things that may move (vehicles, people, furniture that stands free) which are elsewhere, or gone,
    /// when the target is scanned, 0 to 1
    #[arg(long, value_name = "SHARE", default_value = "0", value_parser = parse_share)]
    moved_share: f64,

    /// Let LiDARs see what carries them, in both scans at the same place: a vehicle's roof, a robot's deck, an operator
    #[arg(long)]
    carrier: bool,

    /// Take targets by another sensor than their sources: another LiDAR, another camera, a fragment for a single depth image
    #[arg(long)]
    other_sensor: bool,

    /// How the source is moved away from its sensor
    #[arg(long, value_enum, default_value = "full")]
    motion: MotionName,

    /// Strength of the sensor's faults: 1 is realistic, 0 an ideal sensor
    #[arg(long, value_name = "FACTOR", default_value_t = 1.0)]
    noise: f64,

    /// Resolution of the sensor, as a share of the usual one in either direction of its image
    #[arg(long, value_name = "FACTOR", default_value_t = 1.0)]
    detail: f64,

    /// Seed of the scenes and scans
    #[arg(long, value_name = "NUMBER", default_value_t = 0, allow_negative_numbers = true)]
    seed: u64,
}

impl Arguments {
    /// Simulates and writes.
    pub fn run(&self) -> anyhow::Result<Outcome> {
        let bar = output::progress_bar(self.pairs as usize);
        write_pairs(&self.output, self.seed, u64::from(self.pairs), &self.options(), |_| bar.inc(1))?;
        bar.finish_and_clear();
        let list = self.output.join("pairs.csv");
        output::print(format!("{} pairs written; their list is {}\n", self.pairs, list.display()))?;
        Ok(Outcome::Done)
    }

    fn options(&self) -> PairOptions {
        let usual = PairOptions::default();
        PairOptions {
            kinds: if self.kinds.is_empty() { usual.kinds } else { self.kinds.clone() },
            overlap: self.overlap.clone().unwrap_or(usual.overlap),
            none_share: self.none_share,
            moved_share: self.moved_share,
            carrier: self.carrier,
            other_sensor: self.other_sensor,
            motion: self.motion.into(),
            noise: self.noise,
            detail: self.detail,
            ..PairOptions::default()
        }
    }
}

/// The names of the motions on the command line.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum MotionName {
    /// It stays in its sensor's frame
    None,
    /// A random turn about its z axis and a shift
    Yaw,
    /// Any rotation and a shift
    Full,
}

impl From<MotionName> for Motion {
    fn from(name: MotionName) -> Self {
        match name {
            MotionName::None => Self::None,
            MotionName::Yaw => Self::Yaw,
            MotionName::Full => Self::Full,
        }
    }
}

pub(super) fn parse_range(text: &str) -> Result<Range<f64>, String> {
    let ends = text.split_once("..").and_then(|(low, high)| Some((low.parse().ok()?, high.parse().ok()?)));
    match ends {
        Some((low, high)) if low >= 0.0 && low < high && high <= 1.0 => Ok(low..high),
        _ => Err("give a range within 0..1, such as 0.3..0.6".to_owned()),
    }
}

fn parse_share(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(share) if (0.0..=1.0).contains(&share) => Ok(share),
        _ => Err("give a share from 0 to 1".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Harness {
        #[command(flatten)]
        arguments: Arguments,
    }

    /// What `-o folder` and `arguments` (separated by spaces) give; `None` when they are refused.
    fn parse(arguments: &str) -> Option<Arguments> {
        let words = ["simulate", "-o", "folder"].into_iter().chain(arguments.split_whitespace());
        Some(Harness::try_parse_from(words).ok()?.arguments)
    }

    fn options(arguments: &str) -> PairOptions {
        parse(arguments).unwrap().options()
    }

    #[test]
    fn no_flags_give_the_default_moved_away_from_its_sensor() {
        let expected = PairOptions { motion: Motion::Full, ..PairOptions::default() };
        assert_eq!(options(""), expected);
    }

    #[test]
    fn output_is_needed() {
        assert!(Harness::try_parse_from(["simulate"]).is_err());
        assert_eq!(parse("").unwrap().output, PathBuf::from("folder"));
    }

    #[test]
    fn pairs_and_seed() {
        let arguments = parse("--pairs 3 --seed 9").unwrap();
        assert_eq!((arguments.pairs, arguments.seed), (3, 9));
        assert!(parse("--pairs -3").is_none() && parse("--seed -1").is_none());
    }

    #[test]
    fn kinds() {
        assert_eq!(options("--kind object,lidar").kinds, [Kind::Object, Kind::Lidar]);
        assert_eq!(options("--kind frame --kind lidar-indoor").kinds, [Kind::Frame, Kind::LidarIndoor]);
        assert!(parse("--kind teapot").is_none());
    }

    #[test]
    fn overlap() {
        assert_eq!(options("--overlap 0.1..0.3").overlap, 0.1..0.3);
        for wrong in ["0.3..0.1", "0.2", "0.1..1.5", "nan..1", "a..b"] {
            assert!(parse(&format!("--overlap {wrong}")).is_none(), "{wrong}");
        }
    }

    #[test]
    fn none_share() {
        assert_eq!(options("--none-share 0.5").none_share, 0.5);
        assert!(parse("--none-share 2").is_none() && parse("--none-share nan").is_none());
    }

    #[test]
    fn moved_share() {
        assert_eq!(options("--moved-share 0.3").moved_share, 0.3);
        assert!(parse("--moved-share 1.1").is_none() && parse("--moved-share nan").is_none());
    }

    #[test]
    fn carrier_and_other_sensor() {
        assert!(options("--carrier").carrier && !options("").carrier);
        assert!(options("--other-sensor").other_sensor && !options("").other_sensor);
    }

    #[test]
    fn motion() {
        assert_eq!(options("--motion yaw").motion, Motion::Yaw);
        assert_eq!(options("--motion none").motion, Motion::None);
        assert!(parse("--motion fast").is_none());
    }

    #[test]
    fn noise_and_detail() {
        let options = options("--noise 0 --detail 0.5");
        assert_eq!((options.noise, options.detail), (0.0, 0.5));
    }
}
