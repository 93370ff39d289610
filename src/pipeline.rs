//! The method, top to bottom, once, generic over the backend.

mod candidates;
mod looks;
pub mod scan;

use std::sync::Arc;
use std::time::Instant;

use candidates::{IN_PASSING, IN_THE_END, confidence_of};
pub use candidates::{circumstances, distinct};
pub use looks::{Seen, View};
use nalgebra::{Matrix3, Vector3};
use scan::{Keypoints, Prepared, PreparedPair, Recorded, Scan};
use tracing::debug;

use crate::cloud::Point;
use crate::config::{self, Config};
use crate::error::Result;
use crate::geometry::{Pose, apply, squared_distance, to_vector};
use crate::registration::Timings;
use crate::stages::Backend;
use crate::stages::clean::{CanonicalCloud, CanonicalPair};
use crate::stages::describe::minispinnet::MAP_RINGS;
use crate::stages::describe::weights::Weights;
use crate::stages::frame::Orientation;
use crate::stages::matching::By;
use crate::stages::pose::{Hypotheses, Placed};
pub use crate::stages::rank::Candidate;
use crate::stages::verify::Observation;
use crate::stages::verify::judge::FreeMotion;

/// Candidates are different when they move the cloud further apart than so many voxels, or than this share of its radius
/// where that is less: of a cloud of a few dozen voxels all would be the same otherwise.
const DISTINCT: f32 = 10.0;
const DISTINCT_SHARE: f32 = 0.25;
/// Matches agree with a pose that leaves their keypoints this close to each other, in voxels.
pub const TOLERANCE: f32 = 3.0;
/// The pair is not looked at again once the best candidate is as sure as this.
const SURE: f64 = 0.95;
/// A glance after a look that gave less than this is passed over: one that shows little more is unlikely to be enough.
const WORTH_A_GLANCE: f64 = 0.1;

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
    /// The motions that it leaves free.
    pub free: Vec<FreeMotion>,
    /// Voxel edge, canonical units.
    pub spacing: f32,
}

/// The keypoints that were matched, in canonical frames, of the looks that the answer rests on.
#[derive(Default)]
pub struct Matches {
    /// One end of each match.
    pub source: Vec<Point>,
    /// Its other end.
    pub target: Vec<Point>,
    /// Whether it agrees with the answer: the matches that [`Support`](crate::stages::consensus::Support) counts.
    pub inlier: Vec<bool>,
}

impl<B: Backend> Pipeline<B> {
    /// The method: describe both clouds, let every match propose a pose and every match judge it, refine the best few
    /// on the clouds and let the clouds choose; look after look, until the choice is clear.
    pub fn register(&self, source: &Scan<B>, target: &Scan<B>, timings: &mut Timings) -> Result<Answer> {
        Ok(self.search(source, target, timings)?.0)
    }

    /// The same, with the matches that the answer rests on.
    pub fn register_with_matches(
        &self,
        source: &Scan<B>,
        target: &Scan<B>,
        timings: &mut Timings,
    ) -> Result<(Answer, Matches)> {
        let (answer, proposals) = self.search(source, target, timings)?;
        let hypotheses = self.join(&proposals)?;
        let matches = self.matches(&answer, &hypotheses)?;
        Ok((answer, matches))
    }

    /// The answer and the hypotheses that it rests on: those of all views, but for glances that left a doubt. Nearly all right
    /// matches of a glance come again when more is seen, and would count twice.
    fn search(
        &self,
        source: &Scan<B>,
        target: &Scan<B>,
        timings: &mut Timings,
    ) -> Result<(Answer, Vec<Arc<Hypotheses<B>>>)> {
        let (s, t) = self.prepare_both(source, target, timings)?;
        self.log_prepared("source", &s, &source.cloud);
        self.log_prepared("target", &t, &target.cloud);
        let (mut proposals, mut candidates, mut confidence) = (Vec::new(), Vec::new(), 1.0);
        let views = self.views(&s, &t);
        for (i, view) in views.iter().enumerate() {
            if view.is_glance && view.keypoints == Keypoints::All && confidence < WORTH_A_GLANCE {
                continue;
            }
            let effort = if i + 1 < views.len() { &IN_PASSING } else { &IN_THE_END };
            let seen = self.see(view, (source, &s), (target, &t), timings)?;
            proposals.push(Arc::new(self.propose(&s, &t, &seen, self.matched_by(), timings)?));
            let hypotheses = self.join(&proposals)?;
            let estimated = self.agree(&s, &hypotheses, effort, timings)?;
            candidates = self.compare(&s, &t, &estimated, &hypotheses, effort, timings)?;
            confidence = confidence_of(&self.distinct(&s, &candidates));
            self.log_view(view, s.recorded.unit, &hypotheses, &candidates, confidence);
            if confidence >= SURE {
                break;
            }
            if view.is_glance {
                proposals.pop();
            }
        }
        Ok((self.conclude(&s, &t, candidates, timings)?, proposals))
    }

    /// Both clouds in one unit and thinned to one spacing: that of the cloud which asks for the coarser one.
    pub fn prepare_both(
        &self,
        source: &Scan<B>,
        target: &Scan<B>,
        timings: &mut Timings,
    ) -> Result<PreparedPair<B>> {
        let unit = CanonicalPair { source: &source.cloud, target: &target.cloud }.unit();
        let (s, t) = self.record_both(unit, source, target, timings)?;
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

    /// What makes a match. The published network's are by its vectors alone, as it was published.
    pub fn matched_by(&self) -> By {
        if let Some(Network::MiniSpinNet(..)) = self.network { By::Vectors } else { By::Either }
    }

    /// One hypothesis per match, by the frames and maps of the smallest scale.
    pub fn propose(
        &self,
        source: &Prepared<B>,
        target: &Prepared<B>,
        seen: &Seen<B>,
        by: By,
        timings: &mut Timings,
    ) -> Result<Hypotheses<B>> {
        let b = &self.backend;
        let matches = timings.measure("matching", || self.match_scales(seen, by))?;
        let (s, t) = seen.scales.last().expect("every view has a scale");
        let angles = timings.measure("azimuth", || match self.cost_volume(s.rings) {
            Some(volume) => b.align_by_cost_volume(&s.equivariant, &t.equivariant, volume, &matches),
            None => b.align_azimuth(&s.equivariant, &t.equivariant, s.rings, &matches),
        })?;
        let source = Placed { keypoints: source.at(seen.keypoints), frames: &s.frames };
        let target = Placed { keypoints: target.at(seen.keypoints), frames: &t.frames };
        timings.measure("pose", || b.recover_poses(source, target, &matches, &angles))
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

    /// The hypotheses of several views in one.
    fn join(&self, views: &[Arc<Hypotheses<B>>]) -> Result<Arc<Hypotheses<B>>> {
        if let [only] = views {
            return Ok(only.clone());
        }
        let parts: Vec<&Hypotheses<B>> = views.iter().map(|part| &**part).collect();
        Ok(Arc::new(self.backend.join_hypotheses(&parts)?))
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
            radii = ?view.radii.iter().map(|radius| radius * unit as f32).collect::<Vec<_>>(),
            descriptor = ?view.descriptor,
            upright = matches!(view.axes.1, Orientation::Fixed(_)),
            from_behind = matches!(view.axes.1, Orientation::AwayFrom(_)),
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

/// A pose in f64, its rotation made exact again.
pub fn to_rigid(pose: &Pose) -> crate::transform::RigidTransform {
    let rotation = Matrix3::from_fn(|r, c| f64::from(pose[3 * r + c]));
    let translation = Vector3::new(f64::from(pose[9]), f64::from(pose[10]), f64::from(pose[11]));
    crate::transform::RigidTransform::new(rotation, translation).orthonormalised()
}
