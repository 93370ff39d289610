//! `coregister patches`: what descriptors are trained and judged on.

use std::ops::Range;
use std::path::PathBuf;

use clap::Args;
use coregister::backend::Cpu;
use coregister::training_data::{Content, Mix, Options, Summary, write_scenes};

use super::simulate::parse_range;
use super::{Outcome, output};

/// Make patches of simulated scans, to train descriptors with
///
/// Writes one safetensors file a scene, and a README.md on their fields. The same flags and seed give the same files;
/// scenes that are there already are kept, so that a run that was stopped can go on.
#[derive(Debug, Args)]
pub struct Arguments {
    /// Folder for the scenes; made if it is missing
    #[arg(short, long = "output", value_name = "FOLDER")]
    output: PathBuf,

    /// Number of scenes: pairs of overlapping scans
    #[arg(long, value_name = "N", default_value_t = 100)]
    scenes: u32,

    /// All patches of both scans of each scene, to validate descriptors by matching them
    #[arg(long, conflicts_with_all = ["radii", "pairs"])]
    whole: bool,

    /// Patch radii of a scene
    #[arg(long, value_name = "N", default_value_t = 6, value_parser = clap::value_parser!(u32).range(1..=64))]
    radii: u32,

    /// Most pairs of patches of one radius
    #[arg(long, value_name = "N", default_value_t = 200, value_parser = clap::value_parser!(u32).range(32..=1500))]
    pairs: u32,

    /// Weights of the kinds of scans: fragment, frame, object, lidar, lidar-indoor, lidar-repeated
    #[arg(long, value_name = "KIND=WEIGHT,…", default_value_t = Mix::default())]
    mix: Mix,

    /// Range of the overlaps of the scans, within 0..1
    #[arg(long, value_name = "LOW..HIGH", value_parser = parse_range)]
    overlap: Option<Range<f64>>,

    /// Resolution of the sensor, as a share of the usual one in either direction of its image
    #[arg(long, value_name = "FACTOR", default_value_t = Options::default().detail)]
    detail: f64,

    /// Seed of the scenes and scans
    #[arg(long, value_name = "NUMBER", default_value_t = 0, allow_negative_numbers = true)]
    seed: u64,

    /// Worker threads; one per core if left out. Changes the speed, never the files
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    threads: Option<u16>,
}

impl Arguments {
    /// Simulates and writes.
    pub fn run(&self) -> anyhow::Result<Outcome> {
        let backend = Cpu::new(self.threads.map_or(0, usize::from))?;
        let bar = output::progress_bar(self.scenes as usize);
        let progress = || bar.inc(1);
        let summary =
            write_scenes(&self.output, u64::from(self.scenes), &self.options(), &backend, progress)?;
        bar.finish_and_clear();
        output::print(self.describe(&summary))?;
        Ok(Outcome::Done)
    }

    fn options(&self) -> Options {
        let usual = Options::default();
        let pairs = Content::Pairs { radii: self.radii as usize, pairs: self.pairs as usize };
        Options {
            content: if self.whole { Content::Whole } else { pairs },
            mix: self.mix.clone(),
            overlap: self.overlap.clone().unwrap_or(usual.overlap),
            detail: self.detail,
            seed: self.seed,
        }
    }

    fn describe(&self, summary: &Summary) -> String {
        let Summary { written, present, skipped, rows } = summary;
        let what = if self.whole { "keypoints" } else { "pairs" };
        format!(
            "{written} scenes with {rows} {what} written to {}; {present} were there, {skipped} gave nothing\n",
            self.output.display()
        )
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

    /// The options of `-o folder` and `arguments` (separated by spaces); `None` when they are refused.
    fn options(arguments: &str) -> Option<Options> {
        let words = ["patches", "-o", "folder"].into_iter().chain(arguments.split_whitespace());
        Some(Harness::try_parse_from(words).ok()?.arguments.options())
    }

    #[test]
    fn no_flags_give_the_default() {
        assert_eq!(options(""), Some(Options::default()));
        assert!(Harness::try_parse_from(["patches"]).is_err(), "output is needed");
    }

    #[test]
    fn radii_and_pairs() {
        let content = options("--radii 2 --pairs 50").unwrap().content;
        assert_eq!(content, Content::Pairs { radii: 2, pairs: 50 });
        assert!(options("--radii 0").is_none() && options("--pairs 3").is_none());
    }

    #[test]
    fn whole() {
        assert_eq!(options("--whole").unwrap().content, Content::Whole);
        assert!(options("--whole --pairs 50").is_none());
    }

    #[test]
    fn mix() {
        assert_eq!(options("--mix lidar=1").unwrap().mix.to_string(), "lidar=1");
        assert!(options("--mix teapot=1").is_none());
    }

    #[test]
    fn overlap_detail_and_seed() {
        let options = options("--overlap 0.2..0.3 --detail 0.4 --seed 5").unwrap();
        assert_eq!((options.overlap, options.detail, options.seed), (0.2..0.3, 0.4, 5));
    }

    #[test]
    fn scenes_and_threads() {
        let words = "patches -o folder --scenes 7 --threads 2".split(' ');
        let arguments = Harness::try_parse_from(words).unwrap().arguments;
        assert_eq!((arguments.scenes, arguments.threads), (7, Some(2)));
        assert!(options("--threads 0").is_none() && options("--scenes -1").is_none());
    }
}
