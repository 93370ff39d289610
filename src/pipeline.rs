//! The method, top to bottom, once, generic over the backend.

pub mod scan;

use std::sync::Arc;
use std::time::Instant;

use nalgebra::{Matrix3, Vector3};
use scan::{Look, Prepared, PreparedPair, Recorded, Scan, rung};
use tracing::debug;

use crate::backend::Device;
use crate::cloud::Point;
use crate::config::{self, Config, Gravity};
use crate::error::Result;
use crate::geometry::{IDENTITY, Pose, apply, squared_distance, to_vector};
use crate::registration::Timings;
use crate::stages::Backend;
use crate::stages::clean::{CanonicalCloud, CanonicalPair};
use crate::stages::consensus::Tolerance;
use crate::stages::describe::minispinnet::MAP_RINGS;
use crate::stages::describe::weights::Weights;
use crate::stages::describe::{Descriptor, Features};
use crate::stages::estimate::EstimateOptions;
use crate::stages::frame::Orientation;
use crate::stages::matching::Match;
use crate::stages::pose::{Hypotheses, Placed};
pub use crate::stages::rank::Candidate;
use crate::stages::rank::Judged;
use crate::stages::refine::RefineOptions;
use crate::stages::verify::judge::confidence;
use crate::stages::verify::{AgreementOptions, Observation, Scene};

/// Candidates that are refined and compared on the clouds.
const CANDIDATES: usize = 64;
/// Candidates that are compared on the fine surfaces as well.
const SHORTLIST: usize = 12;
/// Points of each cloud on which candidates are compared, on coarse surfaces and on fine ones.
const SHORTLIST_SAMPLES: usize = 500;
const SAMPLES: usize = 2_000;
/// Points on which the answer is refined in the end.
const CONCLUDING_SAMPLES: usize = 6_000;

/// Candidates are different when they move the cloud further apart than this, in voxels.
pub const DISTINCT: f32 = 10.0;
/// Matches agree with a pose that leaves their keypoints this close to each other, in voxels.
pub const TOLERANCE: f32 = 3.0;
/// No further scale is looked at once the best candidate is as sure as this.
const SURE: f64 = 0.95;

/// The registration of pairs on one backend.
pub struct Pipeline<B: Backend> {
    /// Where the stages run.
    pub backend: B,
    /// The user's settings.
    pub config: Config,
    /// The network of the learned descriptor; without it all patches get the classic one.
    pub network: Option<Network<B>>,
}

/// A network of the learned descriptor on the device.
pub enum Network<B: Backend> {
    /// A compact one.
    Compact(B::Network),
    /// The published one, with its way to find azimuths where the file has it.
    MiniSpinNet(B::MiniSpinNet, Option<B::CostVolume>),
}

/// One way of looking at a pair.
#[derive(Debug, Clone, Copy)]
pub struct View {
    /// At the source.
    pub source: Look,
    /// At the target.
    pub target: Look,
}

/// What was seen in one view.
pub struct Seen<B: Backend> {
    /// How the clouds were looked at.
    pub view: View,
    /// Description of the source's patches.
    pub source: Arc<Features<B>>,
    /// Description of the target's patches.
    pub target: Arc<Features<B>>,
}

/// What came of all views that were needed.
struct Search<B: Backend> {
    answer: Answer,
    seen: Vec<Seen<B>>,
    /// The hypotheses of each view.
    proposals: Vec<Hypotheses<B>>,
}

impl View {
    /// Whether both views look along the same axes and describe in the same way, be it at other scales.
    fn differs_in_scale_only(&self, other: &Self) -> bool {
        let same = |a: &Look, b: &Look| a.axes == b.axes && a.descriptor == b.descriptor;
        same(&self.source, &other.source) && same(&self.target, &other.target)
    }
}

/// The answer in canonical frames.
pub struct Answer {
    /// `T_target_source` between the canonical frames.
    pub pose: Pose,
    /// Probability that it is right.
    pub confidence: f64,
    /// All candidates, best first; empty when no two keypoints matched.
    pub candidates: Vec<Candidate>,
    /// Those of them that are not much the same as a better one: the answer, then its rivals.
    pub distinct: Vec<Candidate>,
    /// What the overlap says about the pose.
    pub observation: Observation,
    /// Voxel edge, canonical units.
    pub spacing: f32,
}

/// The keypoints that were matched, in canonical frames, of the looks that were heard about the answer.
#[derive(Default)]
pub struct Matches {
    /// One end of each match.
    pub source: Vec<Point>,
    /// Its other end.
    pub target: Vec<Point>,
    /// Whether it agrees with the answer: the matches that [`Support`](crate::stages::consensus::Support) counts.
    pub inlier: Vec<bool>,
}

/// How closely candidates are compared.
#[derive(Clone, Copy)]
struct Comparison {
    /// Points of each cloud that are looked at.
    samples: usize,
    /// Most candidates that are kept.
    kept: usize,
}

impl<B: Backend> Pipeline<B> {
    /// The method: describe both clouds, let every match propose a pose and every match judge it, refine the best few
    /// on the clouds and let the clouds choose; scale after scale, until the choice is clear.
    pub fn register(&self, source: &Scan<B>, target: &Scan<B>, timings: &mut Timings) -> Result<Answer> {
        Ok(self.search(source, target, timings)?.answer)
    }

    /// The same, with the matches that the answer rests on.
    pub fn register_with_matches(
        &self,
        source: &Scan<B>,
        target: &Scan<B>,
        timings: &mut Timings,
    ) -> Result<(Answer, Matches)> {
        let Search { answer, seen, proposals } = self.search(source, target, timings)?;
        let witnesses = self.concatenate(&heard(&seen, &proposals))?;
        let matches = self.matches(&answer, &witnesses)?;
        Ok((answer, matches))
    }

    /// The answer and what it rests on.
    fn search(&self, source: &Scan<B>, target: &Scan<B>, timings: &mut Timings) -> Result<Search<B>> {
        let (s, t) = self.prepare_both(source, target, timings)?;
        self.log_prepared("source", &s, &source.cloud);
        self.log_prepared("target", &t, &target.cloud);
        let (mut seen, mut proposals, mut candidates) = (Vec::new(), Vec::new(), Vec::new());
        for view in self.views(&s, &t) {
            let describe = |(scan, cloud, look), timings: &mut _| self.describe(scan, cloud, look, timings);
            let (of_source, of_target) = ((source, &*s, view.source), (target, &*t, view.target));
            let (of_source, of_target) = self.both(&describe, of_source, of_target, timings)?;
            seen.push(Seen { view, source: of_source, target: of_target });
            proposals.push(self.propose(&s, &t, &seen, timings)?);
            let hypotheses = self.concatenate(&proposals.iter().collect::<Vec<_>>())?;
            let witnesses = self.concatenate(&heard(&seen, &proposals))?;
            let estimated = self.agree(&hypotheses, s.surface.spacing, timings)?;
            candidates = self.compare(&s, &t, &estimated, &witnesses, timings)?;
            let confidence = confidence_of(&self.distinct(&s, &candidates));
            self.log_view(&view, s.recorded.unit, &hypotheses, &candidates, confidence);
            if confidence >= SURE {
                break;
            }
        }
        Ok(Search { answer: self.conclude(&s, &t, candidates, timings)?, seen, proposals })
    }

    /// Both clouds in one unit and thinned to one spacing: that of the cloud which asks for the coarser one.
    pub fn prepare_both(
        &self,
        source: &Scan<B>,
        target: &Scan<B>,
        timings: &mut Timings,
    ) -> Result<PreparedPair<B>> {
        let unit = CanonicalPair { source: &source.cloud, target: &target.cloud }.unit();
        let record = |scan, timings: &mut _| self.record(scan, unit, timings);
        let (s, t) = self.both(&record, source, target, timings)?;
        let spacing = s.spacing.max(t.spacing);
        self.prepare_at(spacing, (source, &s), (target, &t), timings)
    }

    /// The same work on one cloud or both of a pair.
    fn each<T: Send, R: Send>(
        &self,
        work: &(impl Fn(T, &mut Timings) -> Result<R> + Sync),
        clouds: Vec<T>,
        timings: &mut Timings,
    ) -> Result<Vec<R>> {
        let mut clouds = clouds.into_iter();
        match (clouds.next(), clouds.next()) {
            (Some(source), Some(target)) => self.both(work, source, target, timings).map(|(s, t)| vec![s, t]),
            (only, _) => only.into_iter().map(|cloud| work(cloud, timings)).collect(),
        }
    }

    /// The same work on source and target, side by side where the device can.
    fn both<T: Send, R: Send>(
        &self,
        work: &(impl Fn(T, &mut Timings) -> Result<R> + Sync),
        source: T,
        target: T,
        timings: &mut Timings,
    ) -> Result<(R, R)> {
        let timed = |cloud: T| {
            let mut timings = Timings::default();
            (work(cloud, &mut timings), timings)
        };
        let start = Instant::now();
        let ((source, first), (target, second)) = self.backend.both(|| timed(source), || timed(target));
        timings.add_both(&first, &second, start.elapsed());
        Ok((source?, target?))
    }

    /// The ways in which the pair is looked at, one after another: with each pair of axes in turn at all scales, largest
    /// first; and before that, where the settings leave the descriptor open, at the largest scale with the one that
    /// costs little.
    pub fn views(&self, source: &Prepared<B>, target: &Prepared<B>) -> Vec<View> {
        let radii = shared_radii(&source.radii, &target.radii);
        let axes = self.axes(source, target);
        let view = |(source, target), radius, descriptor| {
            let look = |axes| Look { radius, axes, descriptor };
            View { source: look(source), target: look(target) }
        };
        let (quick, thorough) = match self.config.descriptor {
            config::Descriptor::Auto => (Some(Descriptor::Classic), Descriptor::Learned),
            config::Descriptor::Learned => (None, Descriptor::Learned),
            config::Descriptor::Classic => (None, Descriptor::Classic),
        };
        let quick = quick.map(|descriptor| view(axes[0], radii[0], descriptor));
        let at_all_scales = |axes| radii.iter().map(move |&radius| view(axes, radius, thorough));
        quick.into_iter().chain(axes.into_iter().flat_map(at_all_scales)).collect()
    }

    /// The axes of both clouds' patches, in the order in which they are tried: along the vertical where both clouds show
    /// it; the patches' own, towards where they were seen from; and, where that place is uncertain, with one cloud seen
    /// from the other side. A vertical that the user gives is not doubted.
    pub fn axes(&self, source: &Prepared<B>, target: &Prepared<B>) -> Vec<(Orientation, Orientation)> {
        let mut axes = Vec::new();
        if let (Some(source), Some(target)) = (source.up, target.up) {
            axes.push((Orientation::Fixed(source), Orientation::Fixed(target)));
            if let Gravity::Axis(_) = self.config.gravity {
                return axes;
            }
        }
        let (s, t) = (source.recorded.viewpoint, target.recorded.viewpoint);
        axes.push((Orientation::Towards(s.position), Orientation::Towards(t.position)));
        if s.is_uncertain() || t.is_uncertain() {
            axes.push((Orientation::Towards(s.position), Orientation::AwayFrom(t.position)));
        }
        axes
    }

    /// Radii shared by both clouds at which a ball holds about these shares of a cloud on average, in their order.
    pub fn radii(&self, source: &Prepared<B>, target: &Prepared<B>, shares: &[f32]) -> Result<Vec<f32>> {
        let of = |cloud: &Prepared<B>| self.backend.neighbour_radii(&cloud.points, &cloud.keypoints, shares);
        let (source, target) = self.backend.both(|| of(source), || of(target));
        Ok(shared_radii(&source?, &target?))
    }

    /// One hypothesis per mutual match of the last of the views, which must not be empty.
    pub fn propose(
        &self,
        source: &Prepared<B>,
        target: &Prepared<B>,
        views: &[Seen<B>],
        timings: &mut Timings,
    ) -> Result<Hypotheses<B>> {
        let b = &self.backend;
        let matches = timings.measure("matching", || self.match_scales(views))?;
        let (s, t) = (&views[views.len() - 1].source, &views[views.len() - 1].target);
        let (maps, of_target) = (&s.equivariant, &t.equivariant);
        let angles = timings.measure("azimuth", || match self.cost_volume(s.rings) {
            Some(volume) => b.align_by_cost_volume(maps, of_target, volume, &matches),
            None => b.align_azimuth(maps, of_target, s.rings, &matches),
        })?;
        let source = Placed { keypoints: &source.keypoints, frames: &s.frames };
        let target = Placed { keypoints: &target.keypoints, frames: &t.frames };
        timings.measure("pose", || b.recover_poses(source, target, &matches, &angles))
    }

    /// The mutual matches of the last view's descriptors, together with those of the larger scales that were looked at
    /// in the same way: several scales tell places apart that look alike at one of them.
    fn match_scales(&self, views: &[Seen<B>]) -> Result<B::Buffer<Match>> {
        let b = &self.backend;
        let last = &views[views.len() - 1];
        let scales: Vec<_> =
            views.iter().filter(|seen| seen.view.differs_in_scale_only(&last.view)).collect();
        if let [only] = scales[..] {
            return b.match_mutual(&only.source.invariant, &only.target.invariant, only.source.width);
        }
        let rows = |features: fn(&Seen<B>) -> &Features<B>| {
            let parts = scales.iter().map(|seen| (&features(seen).invariant, features(seen).width));
            b.join_rows(&parts.collect::<Vec<_>>())
        };
        let width = scales.iter().map(|seen| seen.source.width).sum();
        b.match_mutual(&rows(|seen| &seen.source)?, &rows(|seen| &seen.target)?, width)
    }

    /// The cost volume, where the settings ask for it and the maps have the rings of its network.
    fn cost_volume(&self, rings: usize) -> Option<&B::CostVolume> {
        match &self.network {
            Some(Network::MiniSpinNet(_, volume)) if rings == MAP_RINGS => {
                volume.as_ref().filter(|_| self.config.azimuth == config::Azimuth::CostVolume)
            }
            _ => None,
        }
    }

    /// The hypotheses of all scales in one.
    pub fn concatenate(&self, scales: &[&Hypotheses<B>]) -> Result<Hypotheses<B>> {
        let b = &self.backend;
        Ok(Hypotheses {
            poses: b.concatenate(&scales.iter().map(|h| &h.poses).collect::<Vec<_>>())?,
            source: b.concatenate(&scales.iter().map(|h| &h.source).collect::<Vec<_>>())?,
            target: b.concatenate(&scales.iter().map(|h| &h.target).collect::<Vec<_>>())?,
        })
    }

    /// The best few poses by the matches' own vote.
    fn agree(&self, all: &Hypotheses<B>, spacing: f32, timings: &mut Timings) -> Result<B::Buffer<Pose>> {
        let b = &self.backend;
        let tolerance = Tolerance { base: TOLERANCE * spacing, slope: 0.06 };
        let support =
            timings.measure("consensus", || b.score_hypotheses(&all.poses, &all.source, all, tolerance))?;
        let options = EstimateOptions {
            candidates: CANDIDATES,
            tolerance,
            precision: 2.0 * spacing,
            distinct: DISTINCT * spacing,
        };
        timings.measure("estimate", || b.estimate_poses(all, &support, options))
    }

    /// The candidates moved to where the surfaces meet and judged there, best first: all of them on the coarse
    /// surfaces, the most promising on the fine ones.
    fn compare(
        &self,
        source: &Prepared<B>,
        target: &Prepared<B>,
        estimated: &B::Buffer<Pose>,
        matches: &Hypotheses<B>,
        timings: &mut Timings,
    ) -> Result<Vec<Candidate>> {
        let b = &self.backend;
        let coarse = (source.coarse_scene(), target.coarse_scene());
        let options = RefineOptions { samples: 500, rounds: 8, first_reach: 3.0, last_reach: 1.5 };
        let near = self.refine(coarse, estimated, options, timings)?;
        let looked_at = Comparison { samples: SHORTLIST_SAMPLES, kept: SHORTLIST };
        let shortlist = self.judge(coarse, estimated, &near, matches, looked_at, timings)?;
        let fine = (source.scene(), target.scene());
        let options = RefineOptions { samples: 1000, rounds: 8, first_reach: 3.0, last_reach: 1.5 };
        let (estimated, near) = b.poses_of(&shortlist)?;
        let refined = self.refine(fine, &near, options, timings)?;
        let looked_at = Comparison { samples: SAMPLES, kept: SHORTLIST };
        let candidates = self.judge(fine, &estimated, &refined, matches, looked_at, timings)?;
        timings.measure("verify", || b.download(&candidates))
    }

    /// Each pose after refinement.
    fn refine(
        &self,
        (source, target): (Scene<B>, Scene<B>),
        poses: &B::Buffer<Pose>,
        options: RefineOptions,
        timings: &mut Timings,
    ) -> Result<B::Buffer<Pose>> {
        let refine = || self.backend.refine_poses(source.surface, target.surface, poses, options);
        timings.measure("refine", refine)
    }

    /// What clouds and matches say about the candidates that they speak for most, best first.
    fn judge(
        &self,
        (source, target): (Scene<B>, Scene<B>),
        estimated: &B::Buffer<Pose>,
        poses: &B::Buffer<Pose>,
        matches: &Hypotheses<B>,
        Comparison { samples, kept }: Comparison,
        timings: &mut Timings,
    ) -> Result<B::Buffer<Candidate>> {
        let b = &self.backend;
        let options = agreement_options(&source, samples);
        let measure = || b.measure_agreement(source, target, poses, options);
        let agreement = timings.measure("verify", measure)?;
        let anchors = b.upload(&vec![[0.0f32; 3]; b.len(poses)])?;
        let tolerance = Tolerance { base: TOLERANCE * source.spacing, slope: 0.0 };
        let score = || b.score_hypotheses(poses, &anchors, matches, tolerance);
        let support = timings.measure("consensus", score)?;
        b.rank_candidates(Judged { estimated, poses, agreement: &agreement, support: &support }, kept)
    }

    /// The candidates that differ from all better ones.
    fn distinct(&self, source: &Prepared<B>, candidates: &[Candidate]) -> Vec<Candidate> {
        let ranked = candidates.iter().map(|candidate| (candidate.pose, *candidate));
        let distinct = source.extent.distinct(ranked, DISTINCT * source.surface.spacing, candidates.len());
        distinct.into_iter().map(|(_, candidate)| candidate).collect()
    }

    /// The best candidate, refined on more points, and how sure that is.
    fn conclude(
        &self,
        source: &Prepared<B>,
        target: &Prepared<B>,
        candidates: Vec<Candidate>,
        timings: &mut Timings,
    ) -> Result<Answer> {
        let b = &self.backend;
        let Some(best) = candidates.first().copied() else {
            return Ok(Answer::nothing(source.surface.spacing));
        };
        let closest =
            RefineOptions { samples: CONCLUDING_SAMPLES, rounds: 6, first_reach: 2.0, last_reach: 1.0 };
        let best_pose = b.upload(&[best.pose])?;
        let refined = self.refine((source.scene(), target.scene()), &best_pose, closest, timings)?;
        let options = agreement_options(&source.scene(), CONCLUDING_SAMPLES);
        let observation =
            timings.measure("verify", || b.observe(&source.surface, &target.surface, &refined, options))?;
        let pose = if self.config.refine { observation.pose } else { best.estimated };
        let distinct = self.distinct(source, &candidates);
        let confidence = confidence_of(&distinct);
        let spacing = source.surface.spacing;
        Ok(Answer { pose, confidence, candidates, distinct, observation, spacing })
    }

    /// All matches, and which of them agree with the answer's best candidate.
    fn matches(&self, answer: &Answer, all: &Hypotheses<B>) -> Result<Matches> {
        let Some(best) = answer.candidates.first() else {
            return Ok(Matches::default());
        };
        let (source, target) = (self.backend.download(&all.source)?, self.backend.download(&all.target)?);
        let reach = TOLERANCE * answer.spacing;
        let agrees = |(s, t)| squared_distance(&apply(&best.pose, s), t) < reach * reach;
        let inlier = source.iter().zip(&target).map(agrees).collect();
        Ok(Matches { source, target, inlier })
    }

    /// What came of one view.
    fn log_view(
        &self,
        view: &View,
        unit: f64,
        hypotheses: &Hypotheses<B>,
        candidates: &[Candidate],
        confidence: f64,
    ) {
        debug!(
            radius = view.target.radius * unit as f32,
            descriptor = ?view.target.descriptor,
            upright = matches!(view.target.axes, Orientation::Fixed(_)),
            from_behind = matches!(view.target.axes, Orientation::AwayFrom(_)),
            hypotheses = self.backend.len(&hypotheses.poses),
            candidates = candidates.len(),
            confidence,
            "looked at the clouds once more"
        );
    }

    /// What was found in a cloud, in its file's frame and unit.
    fn log_prepared(&self, name: &str, found: &Prepared<B>, cloud: &CanonicalCloud) {
        let Recorded { unit, viewpoint, .. } = &*found.recorded;
        let in_file = |p: &Point| cloud.cloud_from_canonical.apply(&(to_vector(p) * *unit));
        debug!(
            voxel = found.surface.spacing * *unit as f32,
            points = self.backend.len(&found.points),
            keypoints = self.backend.len(&found.keypoints),
            viewpoint = ?in_file(&viewpoint.position).cast::<f32>().as_slice(),
            viewpoint_is_uncertain = viewpoint.is_uncertain(),
            up_is_known = found.up.is_some(),
            "prepared the {name}"
        );
    }
}

impl<B: Backend> Network<B> {
    /// Brings the weights to the device.
    pub fn load(backend: &B, weights: &Weights) -> Result<Self> {
        match weights {
            Weights::Compact(weights) => backend.load_network(weights).map(Self::Compact),
            Weights::MiniSpinNet(weights) => {
                let volume = weights.cost_volume.as_deref().map(|layers| backend.load_cost_volume(layers));
                Ok(Self::MiniSpinNet(backend.load_minispinnet(weights)?, volume.transpose()?))
            }
        }
    }

    /// Whether it brings its own way to find azimuths.
    pub fn has_cost_volume(&self) -> bool {
        matches!(self, Self::MiniSpinNet(_, Some(_)))
    }
}

/// The proposals whose matches are heard about candidates: not those of a scale that was joined into a later one, since
/// most of them come again there, and would count twice.
fn heard<'a, B: Backend>(seen: &[Seen<B>], proposals: &'a [Hypotheses<B>]) -> Vec<&'a Hypotheses<B>> {
    let is_joined =
        |i: usize| seen[i + 1..].iter().any(|later| later.view.differs_in_scale_only(&seen[i].view));
    (0..proposals.len()).filter(|&i| !is_joined(i)).map(|i| &proposals[i]).collect()
}

/// Between the radii that each cloud asks for, on the ladder of lengths.
fn shared_radii(source: &[f32], target: &[f32]) -> Vec<f32> {
    source.iter().zip(target).map(|(s, t)| rung((s * t).sqrt())).collect()
}

/// Probability that the first of these candidates, which all differ, is right.
fn confidence_of(distinct: &[Candidate]) -> f64 {
    confidence(&distinct.iter().map(|candidate| candidate.log_odds).collect::<Vec<_>>())
}

/// Points agree within one and a half voxels of their own surface; the margin of free space is fine on both.
fn agreement_options<D: Device>(scene: &Scene<D>, samples: usize) -> AgreementOptions {
    AgreementOptions { samples, reach: 1.5 * scene.surface.spacing, margin: 3.0 * scene.spacing }
}

impl Answer {
    /// No candidate at all.
    fn nothing(spacing: f32) -> Self {
        let observation = bytemuck::Zeroable::zeroed();
        let (candidates, distinct) = (Vec::new(), Vec::new());
        Self { pose: IDENTITY, confidence: 0.0, candidates, distinct, observation, spacing }
    }
}

/// A pose in f64, its rotation made exact again.
pub fn to_rigid(pose: &Pose) -> crate::transform::RigidTransform {
    let rotation = Matrix3::from_fn(|r, c| f64::from(pose[3 * r + c]));
    let translation = Vector3::new(f64::from(pose[9]), f64::from(pose[10]), f64::from(pose[11]));
    crate::transform::RigidTransform::new(rotation, translation).orthonormalised()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::Cpu;

    fn seen(radius: f32, axes: Orientation, descriptor: Descriptor) -> Seen<Cpu> {
        let features = || Features {
            invariant: Vec::new(),
            width: 1,
            equivariant: Vec::new(),
            rings: 1,
            frames: Vec::new(),
        };
        let look = Look { radius, axes, descriptor };
        Seen {
            view: View { source: look, target: look },
            source: Arc::new(features()),
            target: Arc::new(features()),
        }
    }

    #[test]
    fn joined_scales_are_heard_once() {
        let (front, back) = (Orientation::Towards([1.0, 0.0, 0.0]), Orientation::AwayFrom([1.0, 0.0, 0.0]));
        let views = [
            seen(2.0, front, Descriptor::Classic),
            seen(2.0, front, Descriptor::Learned),
            seen(1.0, front, Descriptor::Learned),
            seen(2.0, back, Descriptor::Learned),
        ];
        let proposal = |i: usize| Hypotheses::<Cpu> {
            poses: vec![IDENTITY; i],
            source: vec![[0.0; 3]; i],
            target: vec![[0.0; 3]; i],
        };
        let proposals: Vec<_> = (0..views.len()).map(proposal).collect();
        let lengths = |count: usize| -> Vec<usize> {
            heard(&views[..count], &proposals[..count]).iter().map(|found| found.poses.len()).collect()
        };
        assert_eq!(lengths(2), [0, 1]);
        assert_eq!(lengths(3), [0, 2], "the larger scale is part of the smaller one's matches");
        assert_eq!(lengths(4), [0, 2, 3]);
    }
}
