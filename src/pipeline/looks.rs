//! The ways in which a pair is looked at, and what the looks at several scales have to say together.

use std::sync::Arc;

use super::Pipeline;
use super::scan::{Keypoints, Look, Prepared, rung};
use crate::config::{self, Gravity};
use crate::error::Result;
use crate::stages::Backend;
use crate::stages::describe::{Descriptor, Features};
use crate::stages::frame::Orientation;
use crate::stages::matching::{By, Described, Match};
use crate::stages::pose::Hypotheses;

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

impl View {
    /// Whether both views look along the same axes at the same keypoints, and describe in the same way, be it at other
    /// scales.
    fn differs_in_scale_only(&self, other: &Self) -> bool {
        let same = |a: &Look, b: &Look| Look { radius: b.radius, ..*a } == *b;
        same(&self.source, &other.source) && same(&self.target, &other.target)
    }
}

impl<B: Backend> Pipeline<B> {
    /// The ways in which the pair is looked at, one after another: with each pair of axes in turn at all scales, largest
    /// first; and before that, where the settings leave the descriptor open, at half of the keypoints at the largest scale
    /// with the one that costs little.
    pub fn views(&self, source: &Prepared<B>, target: &Prepared<B>) -> Vec<View> {
        let radii = shared_radii(&source.radii, &target.radii);
        let axes = self.axes(source, target);
        let view = |(source, target), keypoints, radius, descriptor| {
            let look = |axes| Look { keypoints, radius, axes, descriptor };
            View { source: look(source), target: look(target) }
        };
        let (quick, thorough) = match self.config.descriptor {
            config::Descriptor::Auto => (Some(Descriptor::Classic), Descriptor::Learned),
            config::Descriptor::Learned => (None, Descriptor::Learned),
            config::Descriptor::Classic => (None, Descriptor::Classic),
        };
        let quick = quick.map(|descriptor| view(axes[0], Keypoints::First, radii[0], descriptor));
        let at_all_scales =
            |axes| radii.iter().map(move |&radius| view(axes, Keypoints::All, radius, thorough));
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

    /// The matches of the last view's descriptors, together with those of the larger scales that were looked at in the
    /// same way: several scales tell places apart that look alike at one of them.
    pub(super) fn match_scales(&self, views: &[Seen<B>], by: By) -> Result<B::Buffer<Match>> {
        let last = &views[views.len() - 1];
        let scales = views.iter().filter(|seen| seen.view.differs_in_scale_only(&last.view));
        let (source, target): (Vec<_>, Vec<_>) =
            scales.map(|seen| (described(&seen.source), described(&seen.target))).unzip();
        self.backend.match_mutual(&source, &target, by)
    }
}

/// What keypoints are matched by.
fn described<B: Backend>(features: &Features<B>) -> Described<'_, B> {
    let Features { invariant, width, equivariant, rings, .. } = features;
    Described { invariant, width: *width, equivariant, rings: *rings }
}

/// The proposals whose matches are heard about candidates: not those of a scale that was joined into a later one, since
/// most of them come again there, and would count twice.
pub(super) fn heard<B: Backend>(
    seen: &[Seen<B>],
    proposals: &[Arc<Hypotheses<B>>],
) -> Vec<Arc<Hypotheses<B>>> {
    let is_joined =
        |i: usize| seen[i + 1..].iter().any(|later| later.view.differs_in_scale_only(&seen[i].view));
    (0..proposals.len()).filter(|&i| !is_joined(i)).map(|i| proposals[i].clone()).collect()
}

/// Between the radii that each cloud asks for, on the ladder of lengths.
fn shared_radii(source: &[f32], target: &[f32]) -> Vec<f32> {
    source.iter().zip(target).map(|(s, t)| rung((s * t).sqrt())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::Cpu;
    use crate::geometry::IDENTITY;

    fn seen(radius: f32, axes: Orientation, descriptor: Descriptor) -> Seen<Cpu> {
        let features = || Features {
            invariant: Vec::new(),
            width: 1,
            equivariant: Vec::new(),
            rings: 1,
            frames: Vec::new(),
        };
        let look = Look { keypoints: Keypoints::All, radius, axes, descriptor };
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
        let proposal = |i: usize| {
            Arc::new(Hypotheses::<Cpu> {
                poses: vec![IDENTITY; i],
                source: vec![[0.0; 3]; i],
                target: vec![[0.0; 3]; i],
            })
        };
        let proposals: Vec<_> = (0..views.len()).map(proposal).collect();
        let lengths = |count: usize| -> Vec<usize> {
            heard(&views[..count], &proposals[..count]).iter().map(|found| found.poses.len()).collect()
        };
        assert_eq!(lengths(2), [0, 1]);
        assert_eq!(lengths(3), [0, 2], "the larger scale is part of the smaller one's matches");
        assert_eq!(lengths(4), [0, 2, 3]);
    }

    #[test]
    fn looks_at_other_keypoints_are_not_joined() {
        let all = seen(2.0, Orientation::Towards([1.0, 0.0, 0.0]), Descriptor::Classic).view;
        let first = |look| Look { keypoints: Keypoints::First, ..look };
        let few = View { source: first(all.source), target: first(all.target) };
        assert!(all.differs_in_scale_only(&all) && few.differs_in_scale_only(&few));
        assert!(!few.differs_in_scale_only(&all));
    }
}
