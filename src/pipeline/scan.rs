//! One cloud on one device, with all that was computed of it so far.
//!
//! A cloud takes part in many pairs, and most of the work on a pair is work on one of its clouds. What is computed of a
//! cloud is therefore kept with it. It is a function of the cloud, the settings and a few lengths that both clouds of a
//! pair must share: the unit, the voxel edge and the patch radius. These are rounded to the rungs of a ladder
//! ([`rung`]), so that they recur from pair to pair, and an answer does not depend on what was kept before.

use std::sync::{Arc, Mutex, PoisonError};

use nalgebra::Vector3;

use crate::backend::Device;
use crate::cloud::Point;
use crate::config::{Gravity, Voxel};
use crate::error::Result;
use crate::geometry::Extent;
use crate::pipeline::{Network, Pipeline};
use crate::registration::Timings;
use crate::stages::Backend;
use crate::stages::clean::CanonicalCloud;
use crate::stages::describe::{Descriptor, Features};
use crate::stages::frame::{Covariance, Orientation};
use crate::stages::sample::Sample;
use crate::stages::surface::Surface;
use crate::stages::verify::Scene;
use crate::stages::viewpoint::{RangeImage, Viewpoint};

/// Points per cloud after thinning.
const WANTED_POINTS: usize = 15_000;
/// Keypoints per cloud.
const KEYPOINTS: usize = 1_500;
/// Those of them that a quick look takes: enough to find what is easily found, at half the cost.
const FIRST_KEYPOINTS: usize = 750;
/// Share of the cloud in a keypoint's ball, one per scale, largest first.
const SHARES: [f32; 2] = [0.05, 0.02];
/// Edge of the coarse voxels in fine ones.
const COARSE: f32 = 4.0;
/// Edges of voxels that users may ask for, in the unit of the cloud. Finer ones would hold no other points, since
/// coordinates are not finer, nor would coarser ones, since all points lie in one; but f32 would lose their products.
const FINEST: f64 = 1e-6;
/// See [`FINEST`].
const COARSEST: f64 = 1e6;
/// The vertical is looked for where the cloud surrounds its viewpoint at least this much.
const MOST_NARROW: f32 = 0.5;
/// Rungs of the ladder of lengths from one power of two to the next.
const RUNGS_PER_OCTAVE: f64 = 4.0;

/// The length on the ladder that is nearest to this one, as a ratio; zero stays zero. Powers of two are on the ladder,
/// so a change of the unit by one changes no bit.
pub fn rung(length: f32) -> f32 {
    let position = (RUNGS_PER_OCTAVE * f64::from(length).log2()).round();
    (position / RUNGS_PER_OCTAVE).exp2() as f32
}

/// See the module.
pub struct Scan<B: Backend> {
    /// The cloud.
    pub cloud: Arc<CanonicalCloud>,
    recorded: Memo<B, f64, Recorded<B>>,
    prepared: Memo<B, Thinning, Prepared<B>>,
    features: Memo<B, (Thinning, Look), Features<B>>,
}

/// A cloud on the device as it was recorded.
pub struct Recorded<D: Device> {
    /// All usable points.
    pub points: D::Buffer<Point>,
    /// Length of the unit of these points and of all that follows from them, in the cloud's own.
    pub unit: f64,
    /// The voxel edge that the cloud asks for, or the user's.
    pub spacing: f32,
    /// Where the cloud was seen from.
    pub viewpoint: Viewpoint,
    /// What was seen from there.
    pub view: RangeImage<D>,
}

/// A cloud on the device, ready to be described and compared.
pub struct Prepared<D: Device> {
    /// Where it comes from.
    pub recorded: Arc<Recorded<D>>,
    /// Thinned points, in sample order.
    pub points: D::Buffer<Point>,
    /// Where patches are taken.
    pub keypoints: D::Buffer<Point>,
    /// The first of them, which lie as evenly.
    pub first_keypoints: D::Buffer<Point>,
    /// How far the keypoints spread.
    pub extent: Extent,
    /// Radii of patches that the cloud asks for, one per scale, largest first.
    pub radii: Vec<f32>,
    /// The thinned points with normals.
    pub surface: Surface<D>,
    /// The same at four times the spacing, for the first steps of refinement.
    pub coarse: Surface<D>,
    /// The direction that is up, where it is known.
    pub up: Option<Point>,
}

/// A cloud, recorded in the unit of the pair.
pub type RecordedScan<'a, B> = (&'a Scan<B>, &'a Arc<Recorded<B>>);

/// Source and target as they were recorded.
pub type RecordedPair<D> = (Arc<Recorded<D>>, Arc<Recorded<D>>);

/// Source and target, ready to be described and compared.
pub type PreparedPair<D> = (Arc<Prepared<D>>, Arc<Prepared<D>>);

/// Descriptions of source and target, at one scale.
pub type DescribedPair<B> = (Arc<Features<B>>, Arc<Features<B>>);

/// How a cloud is thinned.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Thinning {
    unit: f64,
    spacing: f32,
}

/// The keypoints of a cloud at which it is looked.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Keypoints {
    /// The first half.
    First,
    /// All of them.
    All,
}

/// One way of looking at a cloud: patches of this radius, with these axes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Look {
    /// Where patches are taken.
    pub keypoints: Keypoints,
    /// Patch radius.
    pub radius: f32,
    /// The axes of the patches.
    pub axes: Orientation,
    /// What describes the patches.
    pub descriptor: Descriptor,
}

impl<B: Backend> Scan<B> {
    /// A cloud of which nothing is computed yet.
    pub fn new(cloud: Arc<CanonicalCloud>) -> Self {
        Self { cloud, recorded: Memo::new(), prepared: Memo::new(), features: Memo::new() }
    }

    /// Bytes of all that is kept on the device.
    pub fn bytes(&self, device: &B) -> usize {
        let (recorded, prepared) = (self.recorded.values(), self.prepared.values());
        recorded.iter().map(|found| found.bytes(device)).sum::<usize>()
            + prepared.iter().map(|found| found.bytes(device)).sum::<usize>()
            + self.features.values().iter().map(|found| found.bytes(device)).sum::<usize>()
    }
}

impl<D: Device> Recorded<D> {
    fn bytes(&self, device: &D) -> usize {
        device.bytes(&self.points) + device.bytes(&self.view.nearest)
    }
}

impl<D: Device> Prepared<D> {
    fn bytes(&self, device: &D) -> usize {
        device.bytes(&self.points)
            + device.bytes(&self.keypoints)
            + device.bytes(&self.first_keypoints)
            + self.surface.bytes(device)
            + self.coarse.bytes(device)
    }

    /// Its keypoints, or the first of them.
    pub fn at(&self, keypoints: Keypoints) -> &D::Buffer<Point> {
        match keypoints {
            Keypoints::First => &self.first_keypoints,
            Keypoints::All => &self.keypoints,
        }
    }

    /// The fine surface and what was seen of it.
    pub fn scene(&self) -> Scene<'_, D> {
        Scene { surface: &self.surface, view: &self.recorded.view, spacing: self.surface.spacing }
    }

    /// The coarse surface and what was seen of it.
    pub fn coarse_scene(&self) -> Scene<'_, D> {
        Scene { surface: &self.coarse, view: &self.recorded.view, spacing: self.surface.spacing }
    }

    /// Share of the cloud within this distance of one of its points, on average: it grows with the square of the distance,
    /// as on any surface, from what it is at the largest radius.
    pub fn share_within(&self, distance: f32) -> f32 {
        match self.radii.first() {
            Some(&radius) if radius > 0.0 => (SHARES[0] * (distance / radius).powi(2)).min(1.0),
            _ => 1.0,
        }
    }
}

impl<B: Backend> Pipeline<B> {
    /// Both clouds on the device in this unit, at least their own.
    pub fn record_both(
        &self,
        unit: f64,
        source: &Scan<B>,
        target: &Scan<B>,
        timings: &mut Timings,
    ) -> Result<RecordedPair<B>> {
        let known = |scan: &Scan<B>| scan.recorded.get(&self.backend, &unit);
        let record = |new: &[&Scan<B>]| self.record(new, unit, timings);
        complete((source, known(source)?), (target, known(target)?), record)
    }

    /// Records clouds of which nothing is known yet, which are then kept. Their viewpoints are searched together.
    fn record(&self, scans: &[&Scan<B>], unit: f64, timings: &mut Timings) -> Result<Vec<Arc<Recorded<B>>>> {
        let b = &self.backend;
        let upload = |scan: &Scan<B>, timings: &mut _| self.upload(scan, unit, timings);
        let uploaded = self.each(&upload, scans.to_vec(), timings)?;
        let points: Vec<_> = uploaded.iter().map(|(points, _)| points).collect();
        let views = timings.measure("viewpoint", || b.estimate_views(&points))?;
        let keep = |((scan, (points, spacing)), (viewpoint, view)): ((&&Scan<B>, _), _)| {
            scan.recorded.keep(b, unit, Recorded { points, unit, spacing, viewpoint, view })
        };
        scans.iter().zip(uploaded).zip(views).map(keep).collect()
    }

    /// A cloud on the device, and the voxel edge that it asks for, or the user's.
    fn upload(&self, scan: &Scan<B>, unit: f64, timings: &mut Timings) -> Result<(B::Buffer<Point>, f32)> {
        let b = &self.backend;
        let points = b.upload(&scan.cloud.points_in(unit))?;
        let spacing = timings.measure("voxel", || match self.config.voxel {
            Voxel::Size(size) => Ok((size / unit).clamp(FINEST, COARSEST) as f32),
            Voxel::Auto => b.voxel_size(&points, WANTED_POINTS).map(rung),
        })?;
        Ok((points, spacing))
    }

    /// Both recorded clouds thinned to one spacing, with their keypoints and surfaces.
    pub fn prepare_at(
        &self,
        spacing: f32,
        source: RecordedScan<'_, B>,
        target: RecordedScan<'_, B>,
        timings: &mut Timings,
    ) -> Result<PreparedPair<B>> {
        let known = |(scan, recorded): RecordedScan<'_, B>| {
            scan.prepared.get(&self.backend, &Thinning { unit: recorded.unit, spacing })
        };
        let prepare = |new: &[RecordedScan<'_, B>]| self.prepare(new, spacing, timings);
        complete((source, known(source)?), (target, known(target)?), prepare)
    }

    /// Prepares recorded clouds, which are then kept. Their keypoints are sampled together.
    fn prepare(
        &self,
        clouds: &[RecordedScan<'_, B>],
        spacing: f32,
        timings: &mut Timings,
    ) -> Result<Vec<Arc<Prepared<B>>>> {
        let thin =
            |(_, recorded): RecordedScan<'_, B>, timings: &mut _| self.thin(recorded, spacing, timings);
        let thinned = self.each(&thin, clouds.to_vec(), timings)?;
        let points: Vec<_> = thinned.iter().map(|[points, _]| points).collect();
        let sample = || self.backend.sample_farthest_of_each(&points, KEYPOINTS);
        let samples = timings.measure("sample", sample)?;
        let finish = |((cloud, thinned), sample), timings: &mut _| {
            self.finish(cloud, spacing, thinned, sample, timings)
        };
        self.each(&finish, clouds.iter().copied().zip(thinned).zip(samples).collect(), timings)
    }

    /// One point per voxel, and one per coarse voxel of these.
    fn thin(
        &self,
        recorded: &Recorded<B>,
        spacing: f32,
        timings: &mut Timings,
    ) -> Result<[B::Buffer<Point>; 2]> {
        let b = &self.backend;
        let points = timings.measure("voxel", || b.voxel_downsample(&recorded.points, spacing))?;
        let fewer = timings.measure("voxel", || b.voxel_downsample(&points, COARSE * spacing))?;
        Ok([points, fewer])
    }

    /// What follows from thinned points and keypoints.
    fn finish(
        &self,
        (scan, recorded): RecordedScan<'_, B>,
        spacing: f32,
        [points, fewer]: [B::Buffer<Point>; 2],
        Sample { points: keypoints, extent, .. }: Sample<B>,
        timings: &mut Timings,
    ) -> Result<Arc<Prepared<B>>> {
        let b = &self.backend;
        let radii = timings.measure("radius", || b.neighbour_radii(&points, &keypoints, &SHARES))?;
        let build = || b.build_surfaces(&[(&points, spacing), (&fewer, COARSE * spacing)]);
        let mut surfaces = timings.measure("surface", build)?.into_iter();
        let mut next = || surfaces.next().expect("a surface of each cloud");
        let (surface, coarse) = (next(), next());
        let up = timings.measure("gravity", || self.up(&scan.cloud, &surface, &recorded.viewpoint))?;
        let (recorded, unit) = (recorded.clone(), recorded.unit);
        let first_keypoints = b.first(&keypoints, FIRST_KEYPOINTS)?;
        let prepared =
            Prepared { recorded, points, keypoints, first_keypoints, extent, radii, surface, coarse, up };
        scan.prepared.keep(b, Thinning { unit, spacing }, prepared)
    }

    /// The direction that is up in a cloud: the user's, or the one that its ground shows.
    fn up(
        &self,
        cloud: &CanonicalCloud,
        surface: &Surface<B>,
        viewpoint: &Viewpoint,
    ) -> Result<Option<Point>> {
        match self.config.gravity {
            Gravity::None => Ok(None),
            // What a narrow view takes for the ground may be a table in one scan and a wall in the other.
            Gravity::Auto if viewpoint.narrowness > MOST_NARROW => Ok(None),
            Gravity::Auto => self.backend.find_vertical(surface),
            Gravity::Axis(up) => {
                // The squares of very long and very short ones are beyond f64.
                let up = (Vector3::from(up) / Vector3::from(up).amax()).normalize();
                let up = cloud.cloud_from_canonical.rotation.transpose() * up;
                Ok(Some([up.x as f32, up.y as f32, up.z as f32]))
            }
        }
    }

    /// The prepared cloud's patches, frames and features at one look.
    pub fn describe(
        &self,
        scan: &Scan<B>,
        cloud: &Prepared<B>,
        look: Look,
        timings: &mut Timings,
    ) -> Result<Arc<Features<B>>> {
        let b = &self.backend;
        let thinning = Thinning { unit: cloud.recorded.unit, spacing: cloud.surface.spacing };
        scan.features.get_or(b, (thinning, look), || {
            let Look { keypoints, radius, axes, descriptor } = look;
            let (points, keypoints) = (&cloud.points, cloud.at(keypoints));
            let patches = timings.measure("patch", || b.gather_patches(points, keypoints, radius))?;
            let network = self.network.as_ref().filter(|_| descriptor == Descriptor::Learned);
            let covariance = match network {
                Some(Network::MiniSpinNet(..)) => Covariance::AboutKeypoint,
                _ => Covariance::Weighted,
            };
            let estimate = || b.estimate_frames(&patches, keypoints, covariance, axes);
            let frames = timings.measure("frame", estimate)?;
            timings.measure("describe", || match network {
                Some(Network::Compact(network)) => b.describe_learned(&patches, frames, network),
                Some(Network::MiniSpinNet(network, _)) => b.describe_minispinnet(&patches, frames, network),
                None => b.describe_classic(&patches, frames),
            })
        })
    }
}

/// What is known of source and target, and what is made, together, of those of which nothing is known.
fn complete<C, T>(
    (source, of_source): (C, Option<Arc<T>>),
    (target, of_target): (C, Option<Arc<T>>),
    make: impl FnOnce(&[C]) -> Result<Vec<Arc<T>>>,
) -> Result<(Arc<T>, Arc<T>)> {
    let new = [of_source.is_none().then_some(source), of_target.is_none().then_some(target)];
    let new: Vec<C> = new.into_iter().flatten().collect();
    // Stages that have nothing to do take no time that could be reported.
    let made = if new.is_empty() { Vec::new() } else { make(&new)? };
    let mut made = made.into_iter();
    let mut or_made = |known: Option<_>| known.or_else(|| made.next()).expect("what is not known is made");
    Ok((or_made(of_source), or_made(of_target)))
}

/// Values of a function that were computed already, on device `D`. There are few of them.
struct Memo<D: Device, K, V>(Mutex<Vec<Entry<D, K, V>>>);

struct Entry<D: Device, K, V> {
    key: K,
    value: Arc<V>,
    /// When it is computed; its user may be on another stream.
    computed: Arc<D::Mark>,
}

impl<D: Device, K: PartialEq, V> Memo<D, K, V> {
    fn new() -> Self {
        Self(Mutex::new(Vec::new()))
    }

    /// The value at `key`, if it was computed already.
    fn get(&self, device: &D, key: &K) -> Result<Option<Arc<V>>> {
        let found = find(&self.entries(), key);
        found.map(|(value, computed)| device.follow(&computed).map(|()| value)).transpose()
    }

    /// The value at `key`, computed if it is not there yet. Nothing is locked meanwhile: a thread that waits for others
    /// may take up work that asks for the same value, and computing it twice is better than waiting for oneself.
    fn get_or(&self, device: &D, key: K, compute: impl FnOnce() -> Result<V>) -> Result<Arc<V>> {
        match self.get(device, &key)? {
            Some(known) => Ok(known),
            None => self.keep(device, key, compute()?),
        }
    }

    /// Keeps the value at `key`, just computed, unless there is one by now; returns the one that is kept.
    fn keep(&self, device: &D, key: K, value: V) -> Result<Arc<V>> {
        let (value, computed) = (Arc::new(value), Arc::new(device.mark()?));
        let earlier = {
            let mut entries = self.entries();
            let earlier = find(&entries, &key);
            if earlier.is_none() {
                entries.push(Entry { key, value: value.clone(), computed });
            }
            earlier
        };
        match earlier {
            Some((earlier, computed)) => device.follow(&computed).map(|()| earlier),
            None => Ok(value),
        }
    }

    fn values(&self) -> Vec<Arc<V>> {
        self.entries().iter().map(|entry| entry.value.clone()).collect()
    }

    /// A thread that panicked has left the list whole: entries are only ever added.
    fn entries(&self) -> std::sync::MutexGuard<'_, Vec<Entry<D, K, V>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn find<D: Device, K: PartialEq, V>(entries: &[Entry<D, K, V>], key: &K) -> Option<(Arc<V>, Arc<D::Mark>)> {
    let entry = entries.iter().find(|entry| entry.key == *key)?;
    Some((entry.value.clone(), entry.computed.clone()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::Cpu;

    #[test]
    fn rungs_are_near_and_go_with_powers_of_two() {
        for i in 1..2000 {
            let length = 0.000_37 * (1.0 + i as f32).powi(2);
            let found = rung(length);
            assert!((found / length).log2().abs() <= 0.126, "{length} {found}");
            assert_eq!(rung(found), found);
            for power in [-20, -1, 1, 13] {
                let factor = 2f32.powi(power);
                assert_eq!(rung(factor * length), factor * found, "{length} {power}");
            }
        }
        assert_eq!(rung(0.0), 0.0);
    }

    #[test]
    fn what_is_known_is_not_computed_again() {
        let (memo, device) = (Memo::new(), Cpu::new(1).unwrap());
        let get = |key: u32, value: u32| *memo.get_or(&device, key, || Ok(value)).unwrap();
        assert_eq!([get(1, 10), get(2, 20), get(1, 30), get(2, 40)], [10, 20, 10, 20]);
        assert_eq!(memo.values().len(), 2);
    }

    #[test]
    fn an_error_is_not_kept() {
        let (memo, device) = (Memo::new(), Cpu::new(1).unwrap());
        let failed = || Err(crate::Error::Device("no memory".into()));
        assert!(memo.get_or(&device, 1, failed).is_err());
        assert_eq!(*memo.get_or(&device, 1, || Ok(5)).unwrap(), 5);
    }
}
