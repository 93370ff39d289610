//! From hypotheses to the answer: the best few by the matches' vote, laid on the clouds, compared there and concluded.

use super::scan::Prepared;
use super::{Answer, DISTINCT, DISTINCT_SHARE, Pipeline, TOLERANCE};
use crate::backend::Device;
use crate::error::Result;
use crate::geometry::{IDENTITY, Pose};
use crate::registration::Timings;
use crate::stages::Backend;
use crate::stages::consensus::Tolerance;
use crate::stages::estimate::EstimateOptions;
use crate::stages::pose::Hypotheses;
use crate::stages::rank::{Candidate, Judged, Ranked};
use crate::stages::refine::{Errors, RefineOptions};
use crate::stages::verify::judge::{
    Circumstances, chance, confidence, free_motions, hold_of_one, reliance, shortfall,
};
use crate::stages::verify::{AgreementOptions, Scene};

/// How much is done to find the best candidate.
pub(super) struct Effort {
    /// Candidates that are refined and compared on the clouds.
    candidates: usize,
    /// They are compared on the fine surfaces only where the best one has this confidence on the coarse ones.
    promising: f64,
}

/// After the last look, when the best candidate is the answer.
pub(super) const IN_THE_END: Effort = Effort { candidates: 64, promising: 0.0 };
/// After the looks before it, when it only matters whether one candidate is sure already. If so, many matches agree with it,
/// so it is among the first, and the coarse surfaces show it too; where they do not, the next look does. Pairs without an
/// answer pay for this after every look.
pub(super) const IN_PASSING: Effort = Effort { candidates: 16, promising: 0.5 };

/// Candidates that are compared on the fine surfaces as well.
const SHORTLIST: usize = 12;
/// Points of each cloud on which they are judged there.
const JUDGED_ON: usize = 2_000;
/// The answer is refined in the end on as many points as it takes for so many of them to overlap, by what is known by then.
const CONCLUDED_ON: f32 = 4_000.0;
/// How many these may be.
const CONCLUDING_SAMPLES: (usize, usize) = (6_000, 30_000);
/// Points of each cloud on which it is observed.
const OBSERVED_ON: usize = 6_000;

/// Weight of point-to-point distances beside those along normals, while candidates are compared: what normals do not hold is
/// held by that.
const POINT_SHARE: f64 = 0.02;
/// The same for the answer, which normals do hold, some motions only weakly: along these the pull towards the nearest points,
/// which come along, would slow it down.
const CONCLUDING_POINT_SHARE: f64 = 0.002;

/// How candidates are compared.
struct Comparison<'a, B: Backend> {
    /// Where: the same surfaces of source and target.
    scenes: (Scene<'a, B>, Scene<'a, B>),
    /// Points of each cloud on which they are refined.
    refined_on: usize,
    /// Points of each cloud on which they are judged.
    judged_on: usize,
    /// The matches that are heard.
    matches: &'a Hypotheses<B>,
    /// What is kept in mind.
    circumstances: Circumstances,
}

impl<B: Backend> Pipeline<B> {
    /// The best few poses by the matches' own vote.
    pub(super) fn agree(
        &self,
        source: &Prepared<B>,
        all: &Hypotheses<B>,
        effort: &Effort,
        timings: &mut Timings,
    ) -> Result<B::Buffer<Pose>> {
        let (b, spacing) = (&self.backend, source.surface.spacing);
        let tolerance = Tolerance { base: TOLERANCE * spacing, slope: 0.06 };
        let support = timings
            .measure("consensus", || b.score_hypotheses(&all.poses, Some(&all.source), all, tolerance))?;
        let options = EstimateOptions {
            candidates: effort.candidates,
            tolerance,
            precision: 2.0 * spacing,
            distinct: distinct(source),
        };
        timings.measure("estimate", || b.estimate_poses(all, &support, options))
    }

    /// The candidates moved to where the surfaces meet and judged there, best first: all of them on the coarse
    /// surfaces, the best of them on the fine ones, unless what is found before does not promise as much as it must.
    pub(super) fn compare(
        &self,
        source: &Prepared<B>,
        target: &Prepared<B>,
        estimated: &B::Buffer<Pose>,
        matches: &Hypotheses<B>,
        effort: &Effort,
        timings: &mut Timings,
    ) -> Result<Vec<Candidate>> {
        let b = &self.backend;
        let circumstances = circumstances(b, source, target, b.len(&matches.poses));
        let scenes = (source.coarse_scene(), target.coarse_scene());
        let coarsely = Comparison { scenes, refined_on: 500, judged_on: 500, matches, circumstances };
        let shortlist = self.lay_down(&coarsely, estimated, estimated, timings)?;
        if effort.promising > 0.0 {
            let candidates = timings.measure("verify", || b.download(&shortlist.candidates))?;
            if confidence_of(&self.distinct(source, &candidates)) < effort.promising {
                return Ok(candidates);
            }
        }
        let scenes = (source.scene(), target.scene());
        let finely = Comparison { scenes, refined_on: 1000, judged_on: JUDGED_ON, ..coarsely };
        let ranked = self.lay_down(&finely, &shortlist.estimated, &shortlist.poses, timings)?;
        timings.measure("verify", || b.download(&ranked.candidates))
    }

    /// The most promising of these poses, which were once `estimated`, moved to where the surfaces meet; best first.
    fn lay_down(
        &self,
        comparison: &Comparison<B>,
        estimated: &B::Buffer<Pose>,
        poses: &B::Buffer<Pose>,
        timings: &mut Timings,
    ) -> Result<Ranked<B>> {
        let samples = comparison.refined_on;
        let options = RefineOptions {
            samples,
            rounds: 8,
            first_reach: 3.0,
            last_reach: 1.5,
            point_share: POINT_SHARE,
            errors: [Errors::EVEN; 2],
        };
        let refined = self.refine(comparison.scenes, poses, options, timings)?;
        self.judge(comparison, estimated, &refined, timings)
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
        comparison: &Comparison<B>,
        estimated: &B::Buffer<Pose>,
        poses: &B::Buffer<Pose>,
        timings: &mut Timings,
    ) -> Result<Ranked<B>> {
        let (b, &Comparison { scenes: (source, target), matches, circumstances, .. }) =
            (&self.backend, comparison);
        let options = agreement_options(&source, comparison.judged_on);
        let measure = || b.measure_agreement(source, target, poses, options);
        let agreement = timings.measure("verify", measure)?;
        let tolerance = Tolerance { base: TOLERANCE * source.spacing, slope: 0.0 };
        let score = || b.score_hypotheses(poses, None, matches, tolerance);
        let support = timings.measure("consensus", score)?;
        let (agreement, support) = (&agreement, &support);
        b.rank_candidates(Judged { estimated, poses, agreement, support, circumstances }, SHORTLIST)
    }

    /// The candidates that differ from all better ones.
    pub(super) fn distinct(&self, source: &Prepared<B>, candidates: &[Candidate]) -> Vec<Candidate> {
        let ranked = candidates.iter().map(|candidate| (candidate.pose, *candidate));
        let distinct = source.extent.distinct(ranked, distinct(source), candidates.len());
        distinct.into_iter().map(|(_, candidate)| candidate).collect()
    }

    /// The best candidate, refined on more points, and how sure that is.
    pub(super) fn conclude(
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
        let best_pose = b.upload(&[best.pose])?;
        let closely = concluding_options(source, target, best.agreement.source_overlap);
        let refined = self.refine((source.scene(), target.scene()), &best_pose, closely, timings)?;
        let options = agreement_options(&source.scene(), OBSERVED_ON);
        let observation =
            timings.measure("verify", || b.observe(&source.surface, &target.surface, &refined, options))?;
        // Unless both clouds look like raw scans they share no sampling pattern, and what their normals have in common is
        // the surface's.
        let relief_counts = [source, target].iter().any(|cloud| cloud.recorded.viewpoint.is_uncertain());
        let free = free_motions(&observation, relief_counts);
        let pose = if self.config.refine { observation.pose } else { best.estimated };
        let distinct = self.distinct(source, &candidates);
        let confidence = confidence_of(&distinct);
        let spacing = source.surface.spacing;
        Ok(Answer { pose, confidence, candidates, distinct, observation, free, spacing })
    }
}

/// Probability that the first of these candidates, which all differ, is right.
pub(super) fn confidence_of(distinct: &[Candidate]) -> f64 {
    let Some(best) = distinct.first() else { return 0.0 };
    let weighed =
        |candidate: &Candidate| candidate.log_odds - shortfall(&best.agreement, &candidate.agreement);
    confidence(&distinct.iter().map(weighed).collect::<Vec<_>>())
}

/// How far apart poses move the source when they are different.
pub fn distinct<D: Device>(source: &Prepared<D>) -> f32 {
    (DISTINCT * source.surface.spacing).min(DISTINCT_SHARE * source.extent.radius)
}

/// What is to be kept in mind about a pair when so many matches are heard about its candidates.
pub fn circumstances<D: Device>(
    device: &D,
    source: &Prepared<D>,
    target: &Prepared<D>,
    matches: usize,
) -> Circumstances {
    let within = |cloud: &Prepared<D>| cloud.share_within(TOLERANCE * source.surface.spacing);
    // Those of the fine surfaces, also where candidates are compared in passing on coarse ones: the weights are fitted to what
    // is held there, and how much a candidate promises is told by the same measure.
    let samples = |cloud: &Prepared<D>| device.len(&cloud.surface.place).min(JUDGED_ON);
    Circumstances {
        source_reliance: reliance(&source.recorded.viewpoint),
        target_reliance: reliance(&target.recorded.viewpoint),
        chance: chance(matches, within(source).max(within(target))),
        hold_of_one: hold_of_one(samples(source), samples(target)),
    }
}

/// How the answer is refined, `overlap` being the share of the source that overlaps.
fn concluding_options<D: Device>(source: &Prepared<D>, target: &Prepared<D>, overlap: f32) -> RefineOptions {
    let (least, most) = CONCLUDING_SAMPLES;
    RefineOptions {
        samples: ((CONCLUDED_ON / overlap) as usize).clamp(least, most),
        rounds: 8,
        first_reach: 2.0,
        last_reach: 1.0,
        point_share: CONCLUDING_POINT_SHARE,
        errors: Errors::of_pair(&source.recorded.viewpoint, &target.recorded.viewpoint),
    }
}

/// Points agree within one and a half voxels of their own surface; the margin of free space is fine on both.
fn agreement_options<D: Device>(scene: &Scene<D>, samples: usize) -> AgreementOptions {
    AgreementOptions { samples, reach: 1.5 * scene.surface.spacing, margin: 3.0 * scene.spacing }
}

impl Answer {
    /// No candidate at all.
    fn nothing(spacing: f32) -> Self {
        let observation = bytemuck::Zeroable::zeroed();
        let (candidates, distinct, free) = (Vec::new(), Vec::new(), Vec::new());
        Self { pose: IDENTITY, confidence: 0.0, candidates, distinct, observation, free, spacing }
    }
}
