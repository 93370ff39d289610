//! The method, top to bottom, once, generic over the backend.

use crate::backend::Device;
use crate::cloud::Point;
use crate::config::{Config, Voxel};
use crate::error::Result;
use crate::geometry::Pose;
use crate::registration::Timings;
use crate::stages::Backend;
use crate::stages::clean::CanonicalPair;
use crate::stages::consensus::Tolerance;
use crate::stages::estimate::EstimateOptions;
use crate::stages::frame::Orientation;
use crate::stages::pose::{Hypotheses, Placed};
use crate::stages::refine::RefineOptions;
use crate::stages::surface::Surface;
use crate::stages::verify::{Agreement, Scene};
use crate::stages::viewpoint::{RangeImage, Viewpoint};

/// Points per cloud after thinning.
const WANTED_POINTS: usize = 25_000;
/// Keypoints per cloud.
const KEYPOINTS: usize = 1_500;
/// Share of the cloud in a keypoint's ball, one per scale.
const SHARES: [f32; 3] = [0.05, 0.02, 0.005];

/// A cloud on the device, ready to be described and compared.
pub struct Prepared<D: Device> {
    /// Thinned points, in sample order.
    pub points: D::Buffer<Point>,
    /// Where patches are taken.
    pub keypoints: D::Buffer<Point>,
    /// The thinned points with normals.
    pub surface: Surface<D>,
    /// Where the cloud was seen from.
    pub viewpoint: Viewpoint,
    /// What was seen from there.
    pub view: RangeImage<D>,
    /// The same at four times the spacing, for the first steps of refinement.
    pub coarse: Surface<D>,
}

impl<D: Device> Prepared<D> {
    fn scene(&self) -> Scene<'_, D> {
        Scene { surface: &self.surface, view: &self.view }
    }
}

/// A candidate answer in canonical frames.
pub struct Candidates {
    /// Poses, best first.
    pub poses: Vec<Pose>,
    /// What the clouds say about each.
    pub agreement: Vec<Agreement>,
}

/// The registration of pairs on one backend.
pub struct Pipeline<B: Backend> {
    /// Where the stages run.
    pub backend: B,
    /// The user's settings.
    pub config: Config,
}

impl<B: Backend> Pipeline<B> {
    /// The method.
    pub fn candidates(&self, pair: &CanonicalPair, timings: &mut Timings) -> Result<Candidates> {
        let b = &self.backend;
        let spacing = timings.measure("voxel", || self.spacing(pair))?;
        let source = self.prepare(&pair.source.points, spacing, timings)?;
        let target = self.prepare(&pair.target.points, spacing, timings)?;
        let radii = timings.measure("radius", || self.radii(&source, &target))?;
        let mut scales = Vec::new();
        for radius in radii {
            scales.push(self.hypotheses(&source, &target, radius, timings)?);
        }
        let all = self.concatenate(&scales)?;
        let tolerance = Tolerance { base: 3.0 * spacing, slope: 0.06 };
        let support =
            timings.measure("consensus", || b.score_hypotheses(&all.poses, &all.source, &all, tolerance))?;
        let options =
            EstimateOptions { candidates: 64, tolerance, precision: 2.0 * spacing, distinct: 10.0 * spacing };
        let rough = timings.measure("estimate", || b.estimate_poses(&all, &support, options))?;
        let coarse = RefineOptions { samples: 600, rounds: 8, first_reach: 3.0, last_reach: 1.5 };
        let fine = RefineOptions { samples: 1000, rounds: 8, first_reach: 3.0, last_reach: 1.5 };
        let refined = timings.measure("refine", || {
            let near = b.refine_poses(&source.coarse, &target.coarse, &rough, coarse)?;
            b.refine_poses(&source.surface, &target.surface, &near, fine)
        })?;
        let agreement = timings.measure("verify", || {
            b.measure_agreement(source.scene(), target.scene(), &refined, 2000, 1.5 * spacing)
        })?;
        let poses = b.download(&refined)?;
        let agreement = b.download(&agreement)?;
        let mut order: Vec<usize> = (0..poses.len()).collect();
        order.sort_by(|&i, &j| agreement[j].quality().total_cmp(&agreement[i].quality()).then(i.cmp(&j)));
        Ok(Candidates {
            poses: order.iter().map(|&i| poses[i]).collect(),
            agreement: order.iter().map(|&i| agreement[i]).collect(),
        })
    }

    /// Voxel edge in canonical units: the user's, or the coarser of what each cloud asks for.
    pub fn spacing(&self, pair: &CanonicalPair) -> Result<f32> {
        if let Voxel::Size(size) = self.config.voxel {
            return Ok((size / pair.unit) as f32);
        }
        let size = |points: &[Point]| self.backend.voxel_size(&self.backend.upload(points)?, WANTED_POINTS);
        Ok(size(&pair.source.points)?.max(size(&pair.target.points)?))
    }

    /// Thins a cloud, picks its keypoints and builds its surfaces.
    pub fn prepare(&self, points: &[Point], spacing: f32, timings: &mut Timings) -> Result<Prepared<B>> {
        let b = &self.backend;
        let all = b.upload(points)?;
        let viewpoint = timings.measure("viewpoint", || b.estimate_viewpoint(&all))?;
        let view = timings.measure("viewpoint", || b.range_image(&all, viewpoint.position))?;
        let points = timings.measure("voxel", || b.voxel_downsample(&all, spacing))?;
        let coarse = timings.measure("voxel", || b.voxel_downsample(&points, 4.0 * spacing))?;
        let indices = timings.measure("sample", || b.sample_farthest(&points, KEYPOINTS))?;
        let keypoints = b.gather_points(&points, &indices)?;
        let surface = timings.measure("surface", || b.build_surface(&points, spacing))?;
        let coarse = timings.measure("surface", || b.build_surface(&coarse, 4.0 * spacing))?;
        Ok(Prepared { points, keypoints, surface, viewpoint, view, coarse })
    }

    /// Patch radii shared by both clouds, largest first.
    pub fn radii(&self, source: &Prepared<B>, target: &Prepared<B>) -> Result<Vec<f32>> {
        let of = |cloud: &Prepared<B>| self.backend.neighbour_radii(&cloud.points, &cloud.keypoints, &SHARES);
        Ok(of(source)?.into_iter().zip(of(target)?).map(|(s, t)| (s * t).sqrt()).collect())
    }

    /// One hypothesis per mutual match of the patches of one scale.
    pub fn hypotheses(
        &self,
        source: &Prepared<B>,
        target: &Prepared<B>,
        radius: f32,
        timings: &mut Timings,
    ) -> Result<Hypotheses<B>> {
        let b = &self.backend;
        let mut describe = |cloud: &Prepared<B>| {
            let patches =
                timings.measure("patch", || b.gather_patches(&cloud.points, &cloud.keypoints, radius))?;
            let frames = timings.measure("frame", || {
                b.estimate_frames(
                    &patches,
                    &cloud.keypoints,
                    if std::env::var("BEND").is_ok() {
                        Orientation::Bend
                    } else {
                        Orientation::Towards(cloud.viewpoint.position)
                    },
                )
            })?;
            timings.measure("describe", || b.describe(&patches, frames))
        };
        let (s, t) = (describe(source)?, describe(target)?);
        let matches = timings.measure("matching", || b.match_mutual(&s.invariant, &t.invariant, s.width))?;
        let angles = timings
            .measure("azimuth", || b.align_azimuth(&s.equivariant, &t.equivariant, s.rings, &matches))?;
        let placed_source = Placed { keypoints: &source.keypoints, frames: &s.frames };
        let placed_target = Placed { keypoints: &target.keypoints, frames: &t.frames };
        timings.measure("pose", || b.recover_poses(placed_source, placed_target, &matches, &angles))
    }

    /// The hypotheses of all scales in one.
    pub fn concatenate(&self, scales: &[Hypotheses<B>]) -> Result<Hypotheses<B>> {
        let b = &self.backend;
        Ok(Hypotheses {
            poses: b.concatenate(&scales.iter().map(|h| &h.poses).collect::<Vec<_>>())?,
            source: b.concatenate(&scales.iter().map(|h| &h.source).collect::<Vec<_>>())?,
            target: b.concatenate(&scales.iter().map(|h| &h.target).collect::<Vec<_>>())?,
        })
    }
}
