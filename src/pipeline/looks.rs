//! The ways in which a pair is looked at, and what is seen.

use super::Pipeline;
use super::scan::{DescribedPair, Keypoints, Look, Prepared, Scan, rung};
use crate::config::{self, Gravity};
use crate::error::Result;
use crate::registration::Timings;
use crate::stages::Backend;
use crate::stages::describe::{Descriptor, Features};
use crate::stages::frame::Orientation;
use crate::stages::matching::{By, Described, Match};

/// One way of looking at a pair.
#[derive(Debug, Clone, PartialEq)]
pub struct View {
    /// Where patches are taken, of both clouds.
    pub keypoints: Keypoints,
    /// Radii of the patches, largest first. Where there are several, keypoints are matched by the descriptors of all of
    /// them side by side: several scales tell places apart that look alike at one of them.
    pub radii: Vec<f32>,
    /// Axes of the source's patches, and of the target's.
    pub axes: (Orientation, Orientation),
    /// What describes the patches.
    pub descriptor: Descriptor,
    /// Whether a later view shows more of the same: this one is for pairs that are found with less.
    pub is_glance: bool,
}

/// What was seen of both clouds in one view.
pub struct Seen<B: Backend> {
    /// Where patches were taken.
    pub keypoints: Keypoints,
    /// Description of the patches of source and target, scale by scale.
    pub scales: Vec<DescribedPair<B>>,
}

impl View {
    /// The looks at source and target, scale by scale.
    pub fn looks(&self) -> Vec<(Look, Look)> {
        let &Self { keypoints, axes: (source, target), descriptor, .. } = self;
        let look = |radius, axes| Look { keypoints, radius, axes, descriptor };
        self.radii.iter().map(|&radius| (look(radius, source), look(radius, target))).collect()
    }
}

impl<B: Backend> Pipeline<B> {
    /// The ways in which the pair is looked at, one after another: with each pair of axes in turn at all scales; before that,
    /// with the first axes, at the largest scale alone; and before that, where the settings leave the descriptor open, at
    /// half of the keypoints there with the one that costs little: with all axes, if a cloud may as well have been seen from
    /// the other side.
    pub fn views(&self, source: &Prepared<B>, target: &Prepared<B>) -> Vec<View> {
        let (quick, thorough) = match self.config.descriptor {
            config::Descriptor::Auto => (Some(Descriptor::Classic), Descriptor::Learned),
            config::Descriptor::Learned => (None, Descriptor::Learned),
            config::Descriptor::Classic => (None, Descriptor::Classic),
        };
        let radii = shared_radii(&source.radii, &target.radii);
        let axes = self.axes(source, target);
        let glance = |keypoints, descriptor, &axes: &_| {
            let radii = radii[..1].to_vec();
            View { keypoints, radii, axes, descriptor, is_glance: true }
        };
        let is_two_sided = [source, target].iter().any(|cloud| cloud.recorded.viewpoint.is_two_sided());
        let sides = if is_two_sided { axes.len() } else { 1 };
        let quick =
            quick.map(|quick| axes[..sides].iter().map(move |axes| glance(Keypoints::First, quick, axes)));
        let thorough_glance = glance(Keypoints::All, thorough, &axes[0]);
        let whole = |&axes: &_| {
            let (keypoints, radii, descriptor) = (Keypoints::All, radii.clone(), thorough);
            View { keypoints, radii, axes, descriptor, is_glance: false }
        };
        quick.into_iter().flatten().chain([thorough_glance]).chain(axes.iter().map(whole)).collect()
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

    /// What a view shows.
    pub fn see(
        &self,
        view: &View,
        (source, of_source): (&Scan<B>, &Prepared<B>),
        (target, of_target): (&Scan<B>, &Prepared<B>),
        timings: &mut Timings,
    ) -> Result<Seen<B>> {
        let describe = |(scan, cloud, look), timings: &mut _| self.describe(scan, cloud, look, timings);
        let at_scale = |(at_source, at_target)| {
            let (source, target) = ((source, of_source, at_source), (target, of_target, at_target));
            self.both(&describe, source, target, timings)
        };
        let scales = view.looks().into_iter().map(at_scale).collect::<Result<_>>()?;
        Ok(Seen { keypoints: view.keypoints, scales })
    }

    /// The matches by the descriptors of all scales.
    pub(super) fn match_scales(&self, seen: &Seen<B>, by: By) -> Result<B::Buffer<Match>> {
        let (source, target): (Vec<_>, Vec<_>) =
            seen.scales.iter().map(|(source, target)| (described(source), described(target))).unzip();
        self.backend.match_mutual(&source, &target, by)
    }
}

/// What keypoints are matched by.
fn described<B: Backend>(features: &Features<B>) -> Described<'_, B> {
    let Features { invariant, width, equivariant, rings, .. } = features;
    Described { invariant, width: *width, equivariant, rings: *rings }
}

/// Between the radii that each cloud asks for, on the ladder of lengths.
fn shared_radii(source: &[f32], target: &[f32]) -> Vec<f32> {
    source.iter().zip(target).map(|(s, t)| rung((s * t).sqrt())).collect()
}
