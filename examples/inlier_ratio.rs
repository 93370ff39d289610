//! How good the matches are, before anything robust is done with them: on pairs with known answers, for every way
//! of looking at a pair, the share of mutual matches that are right and the angle by which right ones are off.
//!
//! `cargo run --release --example inlier_ratio -- PAIRS.csv [SET]`
//!
//! A match is right when its keypoints lie within a third of the set's distance threshold under the true pose.

use std::path::Path;

use coregister::backend::Cpu;
use coregister::evaluate::{Thresholds, Truth, read_pairs};
use coregister::geometry::to_vector;
use coregister::io::read_cloud;
use coregister::pipeline::{Pipeline, to_rigid};
use coregister::registration::Timings;
use coregister::stages::clean::{CanonicalPair, canonical_pair};
use coregister::stages::pose::Hypotheses;
use coregister::{Config, RigidTransform};

fn main() -> coregister::Result<()> {
    let arguments: Vec<String> = std::env::args().collect();
    let list = arguments.get(1).map_or("data/demo_pair.csv", String::as_str);
    let wanted = arguments.get(2).cloned().unwrap_or_default();
    let pipeline = Pipeline { backend: Cpu::new(0)?, config: Config::default() };
    for pair in read_pairs(Path::new(list))?.iter().filter(|pair| pair.set.starts_with(&wanted)) {
        let (source, target) = (read_cloud(&pair.source)?, read_cloud(&pair.target)?);
        let canonical = pipeline.backend.run(|| canonical_pair(&source, &target))?;
        let (Truth::Transform(truth), Some(thresholds)) = (pair.truth, Thresholds::of_set(&pair.set)) else {
            continue;
        };
        print!("{:12} {:24}", pair.set, pair.name);
        for matches in looks(&pipeline, &canonical)? {
            let errors = right_angles(&canonical, &matches, &truth, thresholds.distance / 3.0);
            let share = errors.len() as f64 / matches.source.len().max(1) as f64;
            let median = errors.get(errors.len() / 2).copied().unwrap_or(f64::NAN);
            print!("  {share:.3} of {} ({median:.1}°)", matches.source.len());
        }
        println!();
    }
    Ok(())
}

/// The matches of every way of looking at the pair.
fn looks(pipeline: &Pipeline<Cpu>, pair: &CanonicalPair) -> coregister::Result<Vec<Hypotheses<Cpu>>> {
    let mut timings = Timings::default();
    let spacing = pipeline.spacing(pair)?;
    let source = pipeline.prepare(&pair.source, spacing, &mut timings)?;
    let target = pipeline.prepare(&pair.target, spacing, &mut timings)?;
    let looks = pipeline.looks(&source, &target)?;
    let mut look = |view: &coregister::pipeline::View| {
        let s = pipeline.describe(&source, view.radius, view.source, &mut timings)?;
        let t = pipeline.describe(&target, view.radius, view.target, &mut timings)?;
        pipeline.propose(&source, &s, &target, &t, &mut timings)
    };
    looks.iter().flatten().map(&mut look).collect()
}

/// Rotation errors of the right matches' poses in degrees, ascending.
fn right_angles(
    pair: &CanonicalPair,
    matches: &Hypotheses<Cpu>,
    truth: &RigidTransform,
    reach: f64,
) -> Vec<f64> {
    let in_source = |p| pair.source.cloud_from_canonical.apply(&(to_vector(p) * pair.unit));
    let in_target = |p| pair.target.cloud_from_canonical.apply(&(to_vector(p) * pair.unit));
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
