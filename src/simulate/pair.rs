//! From a seed to a pair of clouds with their pose and overlap.

use std::fmt;
use std::ops::Range;

use nalgebra::Vector3;

use crate::cloud::{Cloud, Point};
use crate::error::{Error, Result};
use crate::transform::RigidTransform;

use super::cloud_tools::{OverlapRule, Points, overlap};
use super::dice::{Dice, derive_seed};
use super::rig::{Rig, Station};
use super::scene::Scene;
use super::view::transform;

/// Scenes that are tried before a range of overlaps counts as out of reach.
const SCENES: u64 = 60;
/// Second stations that are tried for a first one.
const SECOND_STATIONS: usize = 16;
/// A pair's overlap comes this near to the value drawn for it, while that is easy to reach.
const TOLERANCE: f64 = 0.1;
/// Pairs that count as not overlapping share less than this.
const DISJOINT: f64 = 0.02;

/// What kind of scans a pair consists of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Several depth images of a room, fused by voxel averaging: 100 to 300 thousand points.
    Fragment,
    /// One depth image of a room, at most 60 thousand points.
    Frame,
    /// A turntable scan of a single object of 0.1 to 1.6 m.
    Object,
    /// One turn of a spinning LiDAR in a street, a park or a car park.
    Lidar,
    /// One turn of a spinning LiDAR in a room.
    LidarIndoor,
    /// One turn of a spinning LiDAR in a building whose parts repeat: a corridor with equal doors, a hall with equal racks.
    /// Most of what two scans show there also fits elsewhere.
    LidarRepeated,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Self; 6] =
        [Self::Fragment, Self::Frame, Self::Object, Self::Lidar, Self::LidarIndoor, Self::LidarRepeated];

    /// What pairs are of where no kind is named: all but the one that was made to be mistaken.
    pub const USUAL: [Self; 5] = [Self::Fragment, Self::Frame, Self::Object, Self::Lidar, Self::LidarIndoor];

    /// As files and the command line spell it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Fragment => "fragment",
            Self::Frame => "frame",
            Self::Object => "object",
            Self::Lidar => "lidar",
            Self::LidarIndoor => "lidar-indoor",
            Self::LidarRepeated => "lidar-repeated",
        }
    }

    /// A scan with fewer points says too little.
    fn fewest_points(self) -> f64 {
        match self {
            Self::Fragment => 25_000.0,
            Self::Frame => 12_000.0,
            Self::Object => 4_000.0,
            Self::Lidar | Self::LidarIndoor | Self::LidarRepeated => 8_000.0,
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

impl std::str::FromStr for Kind {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let names = Self::ALL.map(Self::name).join(", ");
        Self::ALL
            .into_iter()
            .find(|kind| kind.name() == text)
            .ok_or_else(|| Error::Config(format!("no kind of scan is called {text:?}; there are {names}")))
    }
}

/// What happens to the source after it was scanned.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Motion {
    /// It stays in its sensor's frame.
    #[default]
    None,
    /// A random turn about its z axis and a shift.
    Yaw,
    /// Any rotation and a shift.
    Full,
}

/// What to simulate.
#[derive(Debug, Clone, PartialEq)]
pub struct PairOptions {
    /// The kinds to draw from, all equally likely.
    pub kinds: Vec<Kind>,
    /// Overlaps of the pairs that overlap; drawn evenly from this range.
    pub overlap: Range<f64>,
    /// Share of pairs that do not overlap, 0..1: two scenes, or two parts of one that share less than 2 %.
    pub none_share: f64,
    /// Share of the things that may move (vehicles and people outdoors, furniture that stands free indoors) which are
    /// elsewhere, or gone, when the target is scanned, 0..1.
    pub moved_share: f64,
    /// Do LiDARs see what carries them (the roof of a vehicle, a robot's deck, an operator), in both scans at the same place?
    pub carrier: bool,
    /// Is the target taken by another sensor of the kind? Of single depth images and fragments half have the other for a
    /// target.
    pub other_sensor: bool,
    /// An additional motion of the source: up to 1 m indoors, 10 m for outdoor LiDAR, 1 radius for objects.
    pub motion: Motion,
    /// Strength of the sensor's faults: 1 is realistic, 0 an ideal sensor.
    pub noise: f64,
    /// Do surfaces have small unevenness beyond their triangles?
    pub relief: bool,
    /// Resolution of the sensors as a share of the usual one, in either direction of the image.
    pub detail: f64,
}

impl Default for PairOptions {
    fn default() -> Self {
        Self {
            kinds: Kind::USUAL.to_vec(),
            overlap: 0.05..0.95,
            none_share: 0.0,
            moved_share: 0.0,
            carrier: false,
            other_sensor: false,
            motion: Motion::None,
            noise: 1.0,
            relief: true,
            detail: 1.0,
        }
    }
}

/// Two scans and how they lie to each other.
#[derive(Debug, Clone, PartialEq)]
pub struct SimulatedPair {
    /// Kind and seed.
    pub name: String,
    /// The kind of both scans.
    pub kind: Kind,
    /// In its sensor's frame, or moved from there by [`PairOptions::motion`]. Metres.
    pub source: Cloud,
    /// In its sensor's frame. Metres.
    pub target: Cloud,
    /// The exact pose. The identity for scans of two different scenes, which have no pose.
    pub target_from_source: RigidTransform,
    /// Share of the source's voxels that the target shares under `overlap_rule`; 0 for different scenes.
    pub overlap: f64,
    /// How `overlap` was measured.
    pub overlap_rule: OverlapRule,
    /// False for pairs that were made so that no pose can be expected to be found.
    pub overlapping: bool,
    /// Are both scans of one scene? Of two there is no right pose.
    pub one_scene: bool,
    /// Where the sensor stood, in the source's frame; that of the first image for a fragment.
    pub source_viewpoint: [f64; 3],
    /// Where the sensor stood, in the target's frame.
    pub target_viewpoint: [f64; 3],
}

impl SimulatedPair {
    /// The name of the set that the pair belongs to: its kind with `hi` from an overlap of 0.3, `lo` below,
    /// `none` without any.
    pub fn set(&self) -> String {
        let class = match self.overlap {
            _ if !self.overlapping => "none",
            overlap if overlap >= 0.3 => "hi",
            _ => "lo",
        };
        format!("{}-{class}", self.kind)
    }
}

/// The pair of a seed. Fails when the options make no sense or no such overlap could be found.
pub fn simulate_pair(seed: u64, options: &PairOptions) -> Result<SimulatedPair> {
    simulate_pair_in_scenes(seed, options).map(|(pair, _)| pair)
}

/// Both clouds as they were scanned.
struct Scans {
    kind: Kind,
    source: Points,
    target: Points,
    world_from_source: RigidTransform,
    world_from_target: RigidTransform,
    overlap: f64,
    rule: OverlapRule,
    same_scene: bool,
}

/// As [`simulate_pair`], with the scenes of source and target (twice the same for overlapping pairs where nothing moves) and
/// the poses of both sensors in them.
pub fn simulate_pair_in_scenes(
    seed: u64,
    options: &PairOptions,
) -> Result<(SimulatedPair, [(Scene, RigidTransform); 2])> {
    check(options)?;
    let mut dice = Dice::new(seed);
    let kind = dice.pick(&options.kinds);
    let overlapping = !dice.chance(options.none_share as f32);
    let (scans, scenes) = if overlapping {
        overlapping_scans(kind, &mut dice, options)?
    } else {
        disjoint_scans(kind, &mut dice, options)?
    };
    let poses = [scans.world_from_source, scans.world_from_target];
    let pair = deliver(seed, scans, overlapping, options.motion, &mut dice);
    let [source_scene, target_scene] = scenes;
    Ok((pair, [(source_scene, poses[0]), (target_scene, poses[1])]))
}

fn check(options: &PairOptions) -> Result<()> {
    let Range { start, end } = options.overlap;
    let refuse = |reason: &str| Err(Error::Config(reason.to_string()));
    if options.kinds.is_empty() {
        return refuse("no kind of scan to simulate; give at least one");
    }
    if !(start >= 0.0 && end <= 1.0 && start < end) {
        return refuse("the overlaps must be a range within 0..1, like 0.1..0.5");
    }
    if !(options.detail >= 0.1 && options.detail <= 4.0) {
        return refuse("the detail must be between 0.1 and 4");
    }
    if !(0.0..=1.0).contains(&options.moved_share) {
        return refuse("the share of things that move must be within 0..1");
    }
    if !(options.noise >= 0.0 && options.noise.is_finite()) {
        return refuse("the noise must be 0 or more");
    }
    Ok(())
}

/// Two views of one scene with an overlap drawn from the range.
fn overlapping_scans(kind: Kind, dice: &mut Dice, options: &PairOptions) -> Result<(Scans, [Scene; 2])> {
    let Range { start, end } = options.overlap;
    let wanted = f64::from(dice.between(start as f32, end as f32));
    let seed = dice.seed();
    for attempt in 0..SCENES {
        // A range that this kind of scene hardly offers is taken as a whole after a while.
        let window = if attempt < 10 {
            (wanted - TOLERANCE).max(start)..(wanted + TOLERANCE).min(end)
        } else {
            start..end
        };
        let mut dice = Dice::new(derive_seed(seed, attempt));
        let scenes = before_and_after(dice.seed(), kind, options);
        if let Some(scans) = search(&scenes, kind, &window, options, &mut dice) {
            return Ok((scans, scenes));
        }
    }
    Err(Error::Config(format!(
        "no {kind} pair with an overlap in {start}..{end} was found in {SCENES} scenes; widen the range"
    )))
}

/// A scene as the source sees it, and as the target does.
fn before_and_after(seed: u64, kind: Kind, options: &PairOptions) -> [Scene; 2] {
    let before = Scene::new(seed, kind, options.relief);
    let after = match options.moved_share {
        0.0 => before.clone(),
        share => before.later(share, derive_seed(seed, 1)),
    };
    [before, after]
}

/// Two parts of one scene in a third of the cases, else two scenes.
fn disjoint_scans(kind: Kind, dice: &mut Dice, options: &PairOptions) -> Result<(Scans, [Scene; 2])> {
    let seed = dice.seed();
    if dice.chance(0.35) {
        for attempt in 0..3 {
            let mut dice = Dice::new(derive_seed(seed, attempt));
            let scenes = before_and_after(dice.seed(), kind, options);
            if let Some(scans) = search(&scenes, kind, &(0.0..DISJOINT), options, &mut dice) {
                return Ok((scans, scenes));
            }
        }
    }
    let (source, world_from_source, source_scene) = lone_scan(kind, derive_seed(seed, 100), options)?;
    let (target, world_from_target, target_scene) = lone_scan(kind, derive_seed(seed, 200), options)?;
    let rule = Rig::overlap_rule(kind, largest_side(&source));
    let scans = Scans {
        kind,
        source,
        target,
        world_from_source,
        world_from_target,
        overlap: 0.0,
        rule,
        same_scene: false,
    };
    Ok((scans, [source_scene, target_scene]))
}

/// One scan of a scene of its own.
fn lone_scan(kind: Kind, seed: u64, options: &PairOptions) -> Result<(Points, RigidTransform, Scene)> {
    for attempt in 0..SCENES {
        let mut dice = Dice::new(derive_seed(seed, attempt));
        let scene = Scene::new(dice.seed(), kind, options.relief);
        let rig = Rig::new(kind, scene.stage(), options, &mut dice);
        let Some(station) = rig.first_station(&scene, &mut dice) else { continue };
        let points = rig.scan(&scene, &station, dice.seed());
        if is_enough(&points, kind, options) {
            return Ok((points, station.views[0].world_from_sensor, scene));
        }
    }
    Err(Error::Config(format!("no usable {kind} scan was found in {SCENES} scenes; raise the detail")))
}

fn is_enough(points: &[Point], kind: Kind, options: &PairOptions) -> bool {
    let share = match kind {
        Kind::Lidar | Kind::LidarIndoor | Kind::LidarRepeated => options.detail,
        _ => options.detail * options.detail,
    };
    points.len() as f64 >= kind.fewest_points() * share
}

/// Looks for two stations in a scene whose scans overlap as wanted. How far apart they are is narrowed down
/// from what earlier ones gave.
fn search(
    [before, after]: &[Scene; 2],
    kind: Kind,
    window: &Range<f64>,
    options: &PairOptions,
    dice: &mut Dice,
) -> Option<Scans> {
    let rig = Rig::new(kind, before.stage(), options, dice);
    let other = options.other_sensor.then(|| {
        // From a stream of its own: the source is the same as with one sensor.
        let mut dice = Dice::new(dice.clone().seed());
        Rig::new(other_kind(kind, &mut dice), before.stage(), options, &mut dice)
    });
    let target_rig = other.as_ref().unwrap_or(&rig);
    let source_station = rig.first_station(before, dice)?;
    let source = rig.scan(before, &source_station, dice.seed());
    if !is_enough(&source, kind, options) {
        return None;
    }
    let rule = Rig::overlap_rule(kind, largest_side(&source));
    let mut bracket = Bracket::new(rig.spreads());
    for _ in 0..SECOND_STATIONS {
        let spread = bracket.draw(dice);
        let Some(station) = target_rig.second_station(after, &source_station, spread, dice) else { continue };
        if let Some(forecast) = rig.forecast(after, &source_station, &station) {
            let margin = 0.03;
            if forecast < window.start - margin || forecast > window.end + margin {
                bracket.narrow(spread, forecast > window.end);
                continue;
            }
        }
        let target = target_rig.scan(after, &station, dice.seed());
        let overlap = overlap(&source, &target, &rule);
        if window.contains(&overlap) && is_enough(&target, kind, options) {
            let [world_from_source, world_from_target] =
                [&source_station, &station].map(|s: &Station| s.views[0].world_from_sensor);
            return Some(Scans {
                kind,
                source,
                target,
                world_from_source,
                world_from_target,
                overlap,
                rule,
                same_scene: true,
            });
        }
        bracket.narrow(spread, overlap >= window.end);
    }
    None
}

/// What the target is where another sensor takes it.
fn other_kind(kind: Kind, dice: &mut Dice) -> Kind {
    match (kind, dice.chance(0.5)) {
        (Kind::Frame, true) => Kind::Fragment,
        (Kind::Fragment, true) => Kind::Frame,
        _ => kind,
    }
}

/// Distances between stations that are still worth trying.
struct Bracket {
    all: (f32, f32),
    left: (f32, f32),
}

impl Bracket {
    fn new(all: (f32, f32)) -> Self {
        Self { all, left: all }
    }

    fn draw(&self, dice: &mut Dice) -> f32 {
        dice.log_between(self.left.0, self.left.1)
    }

    /// More overlap than wanted asks for more distance. The relation is noisy: a bracket that has closed
    /// opens again.
    fn narrow(&mut self, spread: f32, too_much_overlap: bool) {
        if too_much_overlap {
            self.left.0 = spread;
        } else {
            self.left.1 = spread;
        }
        if self.left.1 < 1.2 * self.left.0 {
            let clamp = |x: f32| x.clamp(self.all.0, self.all.1);
            self.left = (clamp(self.left.0 * 0.5), clamp(self.left.1 * 2.0));
        }
    }
}

fn largest_side(points: &[Point]) -> f64 {
    let side = |k: usize| {
        let coordinates = || points.iter().map(|p| p[k]);
        coordinates().fold(f32::NEG_INFINITY, f32::max) - coordinates().fold(f32::INFINITY, f32::min)
    };
    f64::from(side(0).max(side(1)).max(side(2)))
}

/// Puts the clouds into their frames and moves the source if asked.
fn deliver(seed: u64, scans: Scans, overlapping: bool, motion: Motion, dice: &mut Dice) -> SimulatedPair {
    let moved_from_source = random_motion(scans.kind, largest_side(&scans.source), motion, dice);
    let moved_from_world = moved_from_source.compose(&scans.world_from_source.inverse());
    let target_from_world = scans.world_from_target.inverse();
    let target_from_source = if scans.same_scene {
        target_from_world.compose(&moved_from_world.inverse())
    } else {
        RigidTransform::identity()
    };
    SimulatedPair {
        name: format!("{}-{seed:016x}", scans.kind),
        kind: scans.kind,
        source: Cloud::from_f32(transform(&scans.source, &moved_from_world)),
        target: Cloud::from_f32(transform(&scans.target, &target_from_world)),
        target_from_source,
        overlap: scans.overlap,
        overlap_rule: scans.rule,
        overlapping,
        one_scene: scans.same_scene,
        source_viewpoint: moved_from_source.translation.into(),
        target_viewpoint: [0.0; 3],
    }
}

fn random_motion(kind: Kind, size: f64, motion: Motion, dice: &mut Dice) -> RigidTransform {
    let reach = match kind {
        Kind::Lidar => 10.0,
        Kind::Object => 0.5 * size,
        _ => 1.0,
    };
    let turn = match motion {
        Motion::None => return RigidTransform::identity(),
        Motion::Yaw => nalgebra::Rotation3::from_axis_angle(&Vector3::z_axis(), dice.turn()),
        Motion::Full => dice.rotation(),
    };
    let shift = (dice.direction() * dice.unit()).cast::<f64>() * reach;
    RigidTransform::new(turn.matrix().cast::<f64>(), shift).orthonormalised()
}
