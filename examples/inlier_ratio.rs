//! How good the matches are, before anything robust is done with them: on pairs with known answers, for every way
//! of looking at a pair, the share of mutual matches that are right and the angle by which right ones are off.
//!
//! `cargo run --release --example inlier_ratio -- PAIRS.csv [SET [classic | learned | WEIGHTS.safetensors [apart]]]`
//!
//! The last lines hold, for every set, the mean share over all ways of looking, right and all matches a look, and the
//! time that describing took per look (of both clouds). Without a set, or with an empty one, all pairs are looked at.
//!
//! Scales are matched as the method does, together with the larger ones before them, or, with `apart`, each alone.
//!
//! A match is right when its keypoints lie within a third of the set's distance threshold under the true pose.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use coregister::backend::Cpu;
use coregister::config::Descriptor;
use coregister::engine::load_network;
use coregister::evaluate::{Thresholds, Truth, read_pairs};
use coregister::geometry::to_vector;
use coregister::io::read_cloud;
use coregister::pipeline::scan::Scan;
use coregister::pipeline::{Pipeline, Seen, View, to_rigid};
use coregister::registration::Timings;
use coregister::stages::clean::{CanonicalPair, canonical_cloud};
use coregister::stages::pose::Hypotheses;
use coregister::{Config, RigidTransform};

fn main() -> coregister::Result<()> {
    let arguments: Vec<String> = std::env::args().collect();
    let list = arguments.get(1).map_or("data/demo_pair.csv", String::as_str);
    let wanted = arguments.get(2).cloned().unwrap_or_default();
    let config = config(arguments.get(3).map_or("classic", String::as_str));
    let joined = arguments.get(4).is_none_or(|word| word != "apart");
    let backend = Cpu::new(0)?;
    let network = load_network(&backend, &config)?;
    let pipeline = Pipeline { backend, config, network };
    let mut sums = BTreeMap::<String, Sums>::new();
    for pair in read_pairs(Path::new(list))?.iter().filter(|pair| pair.set.starts_with(&wanted)) {
        let (source, target) = (read_cloud(&pair.source)?, read_cloud(&pair.target)?);
        let scan = |cloud, role| canonical_cloud(cloud, role).map(|cloud| Scan::new(Arc::new(cloud)));
        let (source, target) = (scan(&source, "source")?, scan(&target, "target")?);
        let canonical = CanonicalPair { source: &source.cloud, target: &target.cloud };
        let (Truth::Transform(truth), Some(thresholds)) = (pair.truth, Thresholds::of_set(&pair.set)) else {
            continue;
        };
        print!("{:12} {:24}", pair.set, pair.name);
        let (looks, describing) = looks(&pipeline, &source, &target, joined)?;
        let sums = sums.entry(pair.set.clone()).or_default();
        sums.describing += describing;
        for matches in looks {
            let errors = right_angles(&canonical, &matches, &truth, thresholds.right.distance / 3.0);
            let share = errors.len() as f64 / matches.source.len().max(1) as f64;
            let median = errors.get(errors.len() / 2).copied().unwrap_or(f64::NAN);
            print!("  {share:.3} of {} ({median:.1}°)", matches.source.len());
            sums.add(share, errors.len(), matches.source.len());
        }
        println!();
    }
    for (set, sums) in sums {
        println!("{set:12} {}", sums.means());
    }
    Ok(())
}

fn config(descriptor: &str) -> Config {
    let config = Config::default();
    match descriptor {
        "classic" => Config { descriptor: Descriptor::Classic, ..config },
        "learned" => Config { descriptor: Descriptor::Learned, ..config },
        weights => Config { descriptor: Descriptor::Learned, weights: Some(weights.into()), ..config },
    }
}

/// Over the looks at the pairs of a set.
#[derive(Default)]
struct Sums {
    looks: usize,
    share: f64,
    right: usize,
    all: usize,
    describing: Duration,
}

impl Sums {
    fn add(&mut self, share: f64, right: usize, all: usize) {
        self.looks += 1;
        self.share += share;
        self.right += right;
        self.all += all;
    }

    fn means(&self) -> String {
        let per_look = |sum: f64| sum / self.looks as f64;
        format!(
            "share {:.4}, right {:.1} of {:.1}, {:.2} ms",
            per_look(self.share),
            per_look(self.right as f64),
            per_look(self.all as f64),
            per_look(1e3 * self.describing.as_secs_f64())
        )
    }
}

/// The matches of every way of looking at the pair, and the time spent on describing.
fn looks(
    pipeline: &Pipeline<Cpu>,
    source: &Scan<Cpu>,
    target: &Scan<Cpu>,
    joined: bool,
) -> coregister::Result<(Vec<Hypotheses<Cpu>>, Duration)> {
    let mut timings = Timings::default();
    let (s, t) = pipeline.prepare_both(source, target, &mut timings)?;
    let looks = pipeline.views(&s, &t);
    let mut seen = Vec::new();
    let mut look = |&view: &View| {
        let of_source = pipeline.describe(source, &s, view.source, &mut timings)?;
        let of_target = pipeline.describe(target, &t, view.target, &mut timings)?;
        if !joined {
            seen.clear();
        }
        seen.push(Seen { view, source: of_source, target: of_target });
        pipeline.propose(&s, &t, &seen, &mut timings)
    };
    let matches = looks.iter().map(&mut look).collect::<Result<_, _>>()?;
    let describing = timings.stages.iter().filter(|(stage, _)| *stage == "describe");
    Ok((matches, describing.map(|(_, spent)| *spent).sum()))
}

/// Rotation errors of the right matches' poses in degrees, ascending.
fn right_angles(
    pair: &CanonicalPair,
    matches: &Hypotheses<Cpu>,
    truth: &RigidTransform,
    reach: f64,
) -> Vec<f64> {
    let in_source = |p| pair.source.cloud_from_canonical.apply(&(to_vector(p) * pair.unit()));
    let in_target = |p| pair.target.cloud_from_canonical.apply(&(to_vector(p) * pair.unit()));
    let mut errors: Vec<f64> = (0..matches.source.len())
        .filter(|&i| {
            let moved = truth.apply(&in_source(&matches.source[i]));
            (moved - in_target(&matches.target[i])).norm() < reach
        })
        .map(|i| pair.to_file_frames(&to_rigid(&matches.poses[i])).angle_to(truth).to_degrees())
        .collect();
    errors.sort_by(f64::total_cmp);
    errors
}
