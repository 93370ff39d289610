//! How good the matches are, before anything robust is done with them: on pairs with known answers, for every way
//! of looking at a pair, the share of mutual matches that are right and the angle by which right ones are off.
//!
//! `cargo run --release --example inlier_ratio -- PAIRS.csv [SET [classic | learned | WEIGHTS.safetensors [BY]]]`
//!
//! What makes a match is `vectors`, `maps` or `either`, by BY; without it, what the method takes.
//! Every look is matched twice: alone, and, as the method does, together with the larger scales. The last
//! lines hold, for every set and both ways, the mean share over all looks, right and all matches a look, and the mean of
//! the looks' median angles; and the time that describing took per look (of both clouds). Without a set, or with an empty
//! one, all pairs are looked at.
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
use coregister::pipeline::{Pipeline, View, to_rigid};
use coregister::registration::Timings;
use coregister::stages::clean::{CanonicalPair, canonical_cloud};
use coregister::stages::matching::By;
use coregister::stages::pose::Hypotheses;
use coregister::{Config, RigidTransform};

fn main() -> coregister::Result<()> {
    let arguments: Vec<String> = std::env::args().collect();
    let list = arguments.get(1).map_or("data/demo_pair.csv", String::as_str);
    let wanted = arguments.get(2).cloned().unwrap_or_default();
    let config = config(arguments.get(3).map_or("classic", String::as_str));
    let backend = Cpu::new(0)?;
    let network = load_network(&backend, &config)?;
    let pipeline = Pipeline { backend, config, network };
    let by = match arguments.get(4).map(String::as_str) {
        Some("vectors") => By::Vectors,
        Some("maps") => By::Maps,
        Some("either") => By::Either,
        _ => pipeline.matched_by(),
    };
    let mut sums = BTreeMap::<String, (Sums, Sums, Duration)>::new();
    for pair in read_pairs(Path::new(list))?.iter().filter(|pair| pair.set.starts_with(&wanted)) {
        let (source, target) = (read_cloud(&pair.source)?, read_cloud(&pair.target)?);
        let scan = |cloud, role| canonical_cloud(cloud, role).map(|cloud| Scan::new(Arc::new(cloud)));
        let (source, target) = (scan(&source, "source")?, scan(&target, "target")?);
        let canonical = CanonicalPair { source: &source.cloud, target: &target.cloud };
        let (Truth::Transform(truth), Some(thresholds)) = (pair.truth, Thresholds::of_set(&pair.set)) else {
            continue;
        };
        print!("{:12} {:24}", pair.set, pair.name);
        let (looks, describing) = looks(&pipeline, &source, &target, by)?;
        let (alone, joined, spent) = sums.entry(pair.set.clone()).or_default();
        *spent += describing;
        for look in looks {
            for (matches, sums) in look.iter().zip([&mut *alone, &mut *joined]) {
                let errors = right_angles(&canonical, matches, &truth, thresholds.right.distance / 3.0);
                sums.add(&errors, matches.source.len());
            }
            print!("  {} or {}", alone.last, joined.last);
        }
        println!();
    }
    for (set, (alone, joined, spent)) in sums {
        let milliseconds = 1e3 * spent.as_secs_f64() / f64::from(alone.looks);
        println!("{set:12} alone: {}; joined: {}; {milliseconds:.2} ms", alone.means(), joined.means());
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
    looks: u32,
    share: f64,
    right: usize,
    all: usize,
    /// Of the looks with right matches: how many, and the sum of their median angles in degrees.
    with_angles: u32,
    angle: f64,
    /// The last look in words.
    last: String,
}

impl Sums {
    /// Takes in the angles of a look's right matches, ascending, and the number of all its matches.
    fn add(&mut self, angles: &[f64], all: usize) {
        let share = angles.len() as f64 / all.max(1) as f64;
        self.looks += 1;
        self.share += share;
        self.right += angles.len();
        self.all += all;
        self.last = format!("{share:.3} of {all}");
        if let Some(median) = angles.get(angles.len() / 2) {
            self.with_angles += 1;
            self.angle += median;
            self.last += &format!(" ({median:.1}°)");
        }
    }

    fn means(&self) -> String {
        let per_look = |sum: f64| sum / f64::from(self.looks);
        format!(
            "share {:.4}, right {:.1} of {:.1}, {:.2}°",
            per_look(self.share),
            per_look(self.right as f64),
            per_look(self.all as f64),
            self.angle / f64::from(self.with_angles)
        )
    }
}

/// The matches of every way of looking at the pair, alone and joined, and the time spent on describing.
fn looks(
    pipeline: &Pipeline<Cpu>,
    source: &Scan<Cpu>,
    target: &Scan<Cpu>,
    by: By,
) -> coregister::Result<(Vec<[Hypotheses<Cpu>; 2]>, Duration)> {
    let mut timings = Timings::default();
    let (s, t) = pipeline.prepare_both(source, target, &mut timings)?;
    let mut matches = |view: View| {
        let seen = pipeline.see(&view, (source, &s), (target, &t), &mut timings)?;
        pipeline.propose(&s, &t, &seen, by, &mut timings)
    };
    let mut looks = Vec::new();
    for view in pipeline.views(&s, &t).iter().filter(|view| !view.is_glance) {
        for scale in 0..view.radii.len() {
            let at = |radii: &[f32]| View { radii: radii.to_vec(), ..view.clone() };
            looks.push([matches(at(&view.radii[scale..=scale]))?, matches(at(&view.radii[..=scale]))?]);
        }
    }
    let describing = timings.stages.iter().filter(|(stage, _)| *stage == "describe");
    Ok((looks, describing.map(|(_, spent)| *spent).sum()))
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
