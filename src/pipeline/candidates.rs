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
use crate::stages::refine::RefineOptions;
use crate::stages::verify::judge::{Circumstances, chance, confidence, reliance};
use crate::stages::verify::{AgreementOptions, Scene};

/// Candidates that are refined and compared on the clouds.
const CANDIDATES: usize = 64;
/// Candidates that are compared on the fine surfaces as well.
const SHORTLIST: usize = 12;
/// Points of each cloud on which candidates are compared, on coarse surfaces and on fine ones.
const SHORTLIST_SAMPLES: usize = 500;
const SAMPLES: usize = 2_000;
/// Points on which the answer is refined in the end.
const CONCLUDING_SAMPLES: usize = 6_000;

/// How closely candidates are compared.
#[derive(Clone, Copy)]
struct Comparison {
    /// Points of each cloud that are looked at.
    samples: usize,
    /// Most candidates that are kept.
    kept: usize,
    /// What is kept in mind.
    circumstances: Circumstances,
}

impl<B: Backend> Pipeline<B> {
    /// The best few poses by the matches' own vote.
    pub(super) fn agree(
        &self,
        source: &Prepared<B>,
        all: &Hypotheses<B>,
        timings: &mut Timings,
    ) -> Result<B::Buffer<Pose>> {
        let (b, spacing) = (&self.backend, source.surface.spacing);
        let tolerance = Tolerance { base: TOLERANCE * spacing, slope: 0.06 };
        let support = timings
            .measure("consensus", || b.score_hypotheses(&all.poses, Some(&all.source), all, tolerance))?;
        let options = EstimateOptions {
            candidates: CANDIDATES,
            tolerance,
            precision: 2.0 * spacing,
            distinct: distinct(source),
        };
        timings.measure("estimate", || b.estimate_poses(all, &support, options))
    }

    /// The candidates moved to where the surfaces meet and judged there, best first: all of them on the coarse
    /// surfaces, the most promising on the fine ones.
    pub(super) fn compare(
        &self,
        source: &Prepared<B>,
        target: &Prepared<B>,
        estimated: &B::Buffer<Pose>,
        matches: &Hypotheses<B>,
        timings: &mut Timings,
    ) -> Result<Vec<Candidate>> {
        let b = &self.backend;
        let circumstances = circumstances(source, target, self.backend.len(&matches.poses));
        let coarse = (source.coarse_scene(), target.coarse_scene());
        let options = RefineOptions { samples: 500, rounds: 8, first_reach: 3.0, last_reach: 1.5 };
        let near = self.refine(coarse, estimated, options, timings)?;
        let looked_at = Comparison { samples: SHORTLIST_SAMPLES, kept: SHORTLIST, circumstances };
        let shortlist = self.judge(coarse, estimated, &near, matches, looked_at, timings)?;
        let fine = (source.scene(), target.scene());
        let options = RefineOptions { samples: 1000, rounds: 8, first_reach: 3.0, last_reach: 1.5 };
        let refined = self.refine(fine, &shortlist.poses, options, timings)?;
        let looked_at = Comparison { samples: SAMPLES, kept: SHORTLIST, circumstances };
        let ranked = self.judge(fine, &shortlist.estimated, &refined, matches, looked_at, timings)?;
        timings.measure("verify", || b.download(&ranked.candidates))
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
        Comparison { samples, kept, circumstances }: Comparison,
        timings: &mut Timings,
    ) -> Result<Ranked<B>> {
        let b = &self.backend;
        let options = agreement_options(&source, samples);
        let measure = || b.measure_agreement(source, target, poses, options);
        let agreement = timings.measure("verify", measure)?;
        let tolerance = Tolerance { base: TOLERANCE * source.spacing, slope: 0.0 };
        let score = || b.score_hypotheses(poses, None, matches, tolerance);
        let support = timings.measure("consensus", score)?;
        let (agreement, support) = (&agreement, &support);
        b.rank_candidates(Judged { estimated, poses, agreement, support, circumstances }, kept)
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
}

/// Probability that the first of these candidates, which all differ, is right.
pub(super) fn confidence_of(distinct: &[Candidate]) -> f64 {
    confidence(&distinct.iter().map(|candidate| candidate.log_odds).collect::<Vec<_>>())
}

/// How far apart poses move the source when they are different.
pub fn distinct<D: Device>(source: &Prepared<D>) -> f32 {
    (DISTINCT * source.surface.spacing).min(DISTINCT_SHARE * source.extent.radius)
}

/// What is to be kept in mind about a pair when so many matches are heard about its candidates.
pub fn circumstances<D: Device>(source: &Prepared<D>, target: &Prepared<D>, matches: usize) -> Circumstances {
    let within = |cloud: &Prepared<D>| cloud.share_within(TOLERANCE * source.surface.spacing);
    Circumstances {
        source_reliance: reliance(&source.recorded.viewpoint),
        target_reliance: reliance(&target.recorded.viewpoint),
        chance: chance(matches, within(source).max(within(target))),
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
        let (candidates, distinct) = (Vec::new(), Vec::new());
        Self { pose: IDENTITY, confidence: 0.0, candidates, distinct, observation, spacing }
    }
}
