//! What the witnesses say about every candidate pose of pairs with known answers, as CSV: the data that the weights in
//! `src/stages/verify/judge.rs` are fitted to by `training/fit_judge.py`.
//!
//! `cargo run --release --example candidates -- PAIRS.csv [learned|classic] > CANDIDATES.csv`

use std::path::Path;
use std::sync::Arc;

use coregister::backend::Cpu;
use coregister::config::Descriptor;
use coregister::engine::load_network;
use coregister::evaluate::{Pair, Thresholds, Truth, extent, read_pairs};
use coregister::geometry::Extent;
use coregister::io::read_cloud;
use coregister::pipeline::scan::Scan;
use coregister::pipeline::{Candidate, Pipeline, circumstances, distinct, to_rigid};
use coregister::registration::Timings;
use coregister::stages::clean::{CanonicalPair, canonical_cloud};
use coregister::{Config, RigidTransform};

const HEADER: &str = "set,name,overlap,rank,distinct,right,source_overlap,target_overlap,source_hold,\
                      target_hold,source_in_front,target_in_front,source_reliance,target_reliance,\
                      hold_of_one,chance,agreeing,support,log_odds";

fn main() -> coregister::Result<()> {
    let list = std::env::args().nth(1).unwrap_or_else(|| "data/demo_pair.csv".into());
    let descriptor = match std::env::args().nth(2).as_deref() {
        Some("classic") => Descriptor::Classic,
        _ => Descriptor::Learned,
    };
    let (backend, config) = (Cpu::new(0)?, Config { descriptor, ..Config::default() });
    let network = load_network(&backend, &config)?;
    let pipeline = Pipeline { backend, config, network };
    println!("{HEADER}");
    for pair in read_pairs(Path::new(&list))? {
        print_candidates(&pipeline, &pair)?;
    }
    Ok(())
}

fn print_candidates(pipeline: &Pipeline<Cpu>, pair: &Pair) -> coregister::Result<()> {
    let (source, target) = (read_cloud(&pair.source)?, read_cloud(&pair.target)?);
    let thresholds = pair.thresholds.unwrap_or_else(|| Thresholds::of_extent(extent(&target)));
    let scan = |cloud, role| canonical_cloud(cloud, role).map(|cloud| Scan::new(Arc::new(cloud)));
    let (source, target) = (scan(&source, "source")?, scan(&target, "target")?);
    let canonical = CanonicalPair { source: &source.cloud, target: &target.cloud };
    let mut timings = Timings::default();
    let (answer, matches) = pipeline.register_with_matches(&source, &target, &mut timings)?;
    let candidates = answer.candidates;
    let (prepared, other) = pipeline.prepare_both(&source, &target, &mut timings)?;
    let distinct = which_are_distinct(&candidates, &prepared.extent, distinct(&prepared));
    let known = circumstances(&pipeline.backend, &prepared, &other, matches.source.len());
    for (rank, (candidate, distinct)) in candidates.iter().zip(distinct).enumerate() {
        let pose = canonical.to_file_frames(&to_rigid(&candidate.pose));
        let right = is_right(&pose, &pair.truth, &thresholds);
        let overlap = pair.overlap.unwrap_or(f64::NAN);
        print!("{},{},{overlap},{rank},{},{}", pair.set, pair.name, u8::from(distinct), u8::from(right));
        let (a, s) = (candidate.agreement, candidate.support);
        print!(",{},{},{},{}", a.source_overlap, a.target_overlap, a.source_hold, a.target_hold);
        print!(
            ",{},{},{},{}",
            a.source_in_front, a.target_in_front, known.source_reliance, known.target_reliance
        );
        print!(",{},{}", known.hold_of_one, known.chance);
        println!(",{},{},{}", s.count, s.score, candidate.log_odds);
    }
    Ok(())
}

/// For each candidate whether it differs from all better ones that do.
fn which_are_distinct(candidates: &[Candidate], spread: &Extent, limit: f32) -> Vec<bool> {
    let mut kept = Vec::new();
    let is_distinct = |candidate: &Candidate| {
        let distinct = kept.iter().all(|other| spread.apart(other, &candidate.pose) >= limit);
        if distinct {
            kept.push(candidate.pose);
        }
        distinct
    };
    candidates.iter().map(is_distinct).collect()
}

fn is_right(pose: &RigidTransform, truth: &Truth, thresholds: &Thresholds) -> bool {
    match truth {
        Truth::Transform(truth) | Truth::NotExpected(truth) => {
            thresholds.right.hold(truth.angle_to(pose).to_degrees(), truth.distance_to(pose))
        }
        Truth::NoAnswer | Truth::Unknown => false,
    }
}
