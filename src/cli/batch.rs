//! `coregister batch`: a list of pairs in, a file of results out.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use clap::Args;
use coregister::batch::table::{PairStatus, Row, Table};
use coregister::batch::{Batch, BatchCloud, BatchOptions, BatchPair, Devices};
use coregister::evaluate::{Pair, read_pairs};
use coregister::io::read_cloud;
use coregister::report::{BatchRow, batch_page};

use super::Outcome;
use super::method::{Settings, parse_devices};
use super::output::{self, Destination, Progress};

/// Bytes of a mebibyte.
const MEBIBYTE: usize = 1 << 20;

/// Register many pairs, on all devices at once
///
/// Every pair becomes a row of the results, in the order of the list: its transform T_target_source, status, confidence
/// and the rest of the answer, or why it failed. Rows are written as they come, so that a run which is stopped goes on
/// with --resume. A cloud that several pairs name is read and prepared once as long as there is memory for it.
#[derive(Debug, Args)]
pub struct Arguments {
    /// CSV file with columns src and tgt (paths relative to the file) and, where wanted, name and set
    pairs: PathBuf,

    /// File for the results: .csv, or .jsonl for one JSON object a line
    #[arg(short, long = "output", value_name = "RESULTS.csv")]
    output: PathBuf,

    /// Where to compute: all CUDA devices (the CPU if there is none), the CPU, or CUDA devices by number
    #[arg(long, value_name = "all|cpu|0,1,…", default_value = "all", value_parser = parse_devices)]
    devices: Devices,

    /// Write a table of all pairs to this file: one web page, with what failed first
    #[arg(long, value_name = "FILE.html")]
    report: Option<PathBuf>,

    /// Go on with the results of a run that was stopped
    #[arg(long)]
    resume: bool,

    /// Work on every n-th pair only, beginning with the i-th (from 1): one part of n, for job arrays
    #[arg(long, value_name = "I/N", value_parser = parse_shard)]
    shard: Option<Shard>,

    /// Memory for clouds that are kept for pairs to come, in MiB, on the host or on each CUDA device; those of the pairs
    /// at work may come on top [default: half of what is free on a CUDA device, a quarter of it on the host]
    #[arg(long, value_name = "MIB")]
    cloud_memory: Option<usize>,

    #[command(flatten)]
    settings: Settings,
}

/// One part of so many.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Shard {
    /// From 0.
    index: usize,
    count: usize,
}

impl Shard {
    fn of(self, pairs: Vec<Pair>) -> Vec<Pair> {
        pairs.into_iter().skip(self.index).step_by(self.count).collect()
    }
}

impl Arguments {
    /// Registers what is left to do.
    pub fn run(&self) -> anyhow::Result<Outcome> {
        let start = Instant::now();
        let pairs = read_pairs(&self.pairs)?;
        let pairs = match self.shard {
            Some(shard) => shard.of(pairs),
            None => pairs,
        };
        // Found out before hours of work instead of after them.
        self.report.iter().try_for_each(|path| Destination::File(path.clone()).check())?;
        let (table, done) = match self.resume {
            true => Table::resume(&self.output, &pairs)?,
            false => (Table::create(&self.output)?, Vec::new()),
        };
        let mut tally = Tally::new(self.report.is_some());
        done.iter().for_each(|row| tally.count(row, None));
        self.register(&pairs[done.len()..], table, &mut tally, Progress::new(pairs.len(), done.len()))?;
        if let (Some(path), Some(rows)) = (&self.report, &tally.rows) {
            let title = format!("Pairs of {}", self.pairs.display());
            Destination::File(path.clone()).write(batch_page(&title, rows))?;
        }
        let (all, new) = (pairs.len(), pairs.len() - done.len());
        let seconds = start.elapsed().as_secs_f64();
        let [accepted, rejected, failed] =
            [PairStatus::Accepted, PairStatus::Rejected, PairStatus::Failed].map(|status| tally.of(status));
        output::print(format!(
            "{all} pairs: {accepted} accepted, {rejected} rejected, {failed} failed; {new} of them now, in {seconds:.1} s\n"
        ))?;
        if failed > 0 {
            anyhow::bail!("{failed} of {all} pairs could not be registered; see {}", self.output.display());
        }
        Ok(Outcome::Done)
    }

    /// Registers these pairs; ends early when results cannot be written.
    fn register(
        &self,
        pairs: &[Pair],
        mut table: Table,
        tally: &mut Tally,
        mut progress: Progress,
    ) -> anyhow::Result<()> {
        if pairs.is_empty() {
            return Ok(());
        }
        let options = BatchOptions {
            devices: self.devices.clone(),
            most_bytes: self.cloud_memory.map(|mebibytes| mebibytes.saturating_mul(MEBIBYTE)),
            most_lanes: pairs.len(),
        };
        let batch = Batch::open(&self.settings.config(), &options)?;
        let (mut written, stop) = (Ok(()), AtomicBool::new(false));
        let to_do = pairs.iter().take_while(|_| !stop.load(Ordering::Relaxed)).map(|pair| BatchPair {
            label: pair,
            source: &pair.source,
            target: &pair.target,
        });
        batch.run(
            to_do,
            |path| read_cloud(path).map(BatchCloud::Points),
            |pair, answer| {
                let row = Row::new(pair, &answer);
                if written.is_ok() {
                    written = table.append(&row);
                    stop.store(written.is_err(), Ordering::Relaxed);
                }
                tally.count(&row, answer.ok().map(|found| found.timings.total()));
                progress.step(&pair.set);
            },
        );
        Ok(written?)
    }
}

/// How pairs ended.
#[derive(Debug)]
struct Tally {
    counts: BTreeMap<PairStatus, usize>,
    /// For the report, if there is to be one.
    rows: Option<Vec<BatchRow>>,
}

impl Tally {
    fn new(reports: bool) -> Self {
        Self { counts: BTreeMap::new(), rows: reports.then(Vec::new) }
    }

    fn of(&self, status: PairStatus) -> usize {
        self.counts.get(&status).copied().unwrap_or_default()
    }

    /// Counts a pair; the time is unknown where an earlier run registered it.
    fn count(&mut self, row: &Row, spent: Option<Duration>) {
        *self.counts.entry(row.status).or_default() += 1;
        if let Some(rows) = &mut self.rows {
            rows.push(BatchRow { seconds: spent.map(|spent| spent.as_secs_f64()), ..BatchRow::from(row) });
        }
    }
}

fn parse_shard(text: &str) -> Result<Shard, String> {
    let parts = text.split_once('/').and_then(|(i, n)| Some((i.parse().ok()?, n.parse().ok()?)));
    match parts {
        Some((i, n)) if (1..=n).contains(&i) => Ok(Shard { index: i - 1, count: n }),
        _ => Err("give the number of the part, from 1, and that of all parts, such as 2/8".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser as _;

    #[derive(clap::Parser)]
    struct Harness {
        #[command(flatten)]
        arguments: Arguments,
    }

    fn parse(arguments: &str) -> Option<Arguments> {
        let words = ["batch", "p.csv", "-o", "r.csv"].into_iter().chain(arguments.split_whitespace());
        Harness::try_parse_from(words).ok().map(|harness| harness.arguments)
    }

    #[test]
    fn devices() {
        let devices = |text: &str| parse(&format!("--devices {text}")).map(|found| found.devices);
        assert_eq!(parse("").unwrap().devices, Devices::All);
        assert_eq!(devices("cpu"), Some(Devices::Cpu));
        assert_eq!(devices("1,0,1"), Some(Devices::Cuda(vec![0, 1])));
        for wrong in ["cuda:0", "0,", "-1", "x"] {
            assert_eq!(devices(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn shards_share_out_all_pairs() {
        let shard = |text: &str| parse(&format!("--shard {text}")).and_then(|found| found.shard);
        assert_eq!(shard("2/3"), Some(Shard { index: 1, count: 3 }));
        for wrong in ["0/3", "4/3", "1", "1/0", "a/b", "-1/2"] {
            assert_eq!(shard(wrong), None, "{wrong}");
        }
        assert_eq!(parse("").unwrap().shard, None);
    }
}
