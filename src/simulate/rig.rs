//! The sensor of a pair, drawn once for both clouds, and the places that it is put.

use nalgebra::{Rotation3, Vector3};

use super::carrier::Carrier;
use super::cloud_tools::{OverlapRule, Points, thin, voxel_means};
use super::depth_camera::{DepthCamera, Faults, Sample};
use super::dice::{Dice, derive_seed};
use super::lidar::Lidar;
use super::pair::{Kind, PairOptions};
use super::room::Room;
use super::scene::{Scene, Stage};
use super::street::Ground;
use super::view::View;

/// At most this many points in a single depth frame, as the usual test sets have.
const FRAME_POINTS: usize = 60_000;
/// At most this many points in a LiDAR scan.
const LIDAR_POINTS: usize = 120_000;
/// Pixels a row of the coarse look that predicts an overlap.
const PROBE: usize = 28;

/// A sensor, ready to scan.
pub(super) struct Rig {
    kind: Kind,
    sensor: Sensor,
}

enum Sensor {
    Camera(Camera),
    Lidar(Lidar),
}

/// A depth camera and how its images become a cloud.
struct Camera {
    optics: DepthCamera,
    /// Images a cloud.
    views: usize,
    /// Way of the camera from the first image to the last.
    span: f32,
    /// Pose error of each image: radians and metres a axis.
    jitter: [f32; 2],
    /// Images are averaged in voxels of this size; 0 keeps every point.
    fuse: f32,
    roll: f32,
}

/// Where a cloud is taken from.
#[derive(Clone)]
pub(super) struct Station {
    /// The first one gives the cloud its frame.
    pub views: Vec<View>,
    eye: Vector3<f32>,
    at: Vector3<f32>,
}

impl Rig {
    /// Draws the sensor for a kind of pair in a scene.
    pub fn new(kind: Kind, stage: &Stage, options: &PairOptions, dice: &mut Dice) -> Self {
        let (noise, detail) = (options.noise as f32, options.detail as f32);
        let sensor = match (kind, stage) {
            (Kind::Lidar | Kind::LidarIndoor | Kind::LidarRepeated, _) => {
                let indoors = kind != Kind::Lidar;
                // From a stream of its own: with and without a carrier, sensors and places are the same.
                let carrier =
                    options.carrier.then(|| Carrier::new(&mut Dice::new(dice.clone().seed()), indoors));
                Sensor::Lidar(Lidar { carrier, ..Lidar::new(dice, indoors, noise, detail) })
            }
            (_, Stage::Turntable(radius)) => Sensor::Camera(Camera::turntable(*radius, noise, detail, dice)),
            _ => Sensor::Camera(Camera::handheld(kind == Kind::Fragment, noise, detail, dice)),
        };
        Self { kind, sensor }
    }

    /// Smallest and largest sensible distance between two stations: metres, or radians around an object.
    pub fn spreads(&self) -> (f32, f32) {
        match self.kind {
            Kind::Fragment | Kind::Frame | Kind::LidarIndoor => (0.05, 8.0),
            Kind::Object => (0.05, 3.1),
            Kind::LidarRepeated => (0.3, 30.0),
            Kind::Lidar => (0.5, 90.0),
        }
    }

    /// How the overlap of this kind of cloud is defined; `size` is the largest side of the source's box.
    pub fn overlap_rule(kind: Kind, size: f64) -> OverlapRule {
        let voxel = match kind {
            Kind::Fragment | Kind::Frame => 0.025,
            Kind::LidarIndoor | Kind::LidarRepeated => 0.1,
            Kind::Object => size / 150.0,
            Kind::Lidar => return OverlapRule { voxel: 0.25, reach: 0.5 },
        };
        OverlapRule { voxel, reach: 1.5 * voxel }
    }

    /// A place with a good view; `None` where none was found.
    pub fn first_station(&self, scene: &Scene, dice: &mut Dice) -> Option<Station> {
        (0..20).map(|_| self.place(scene, None, dice)).find(|station| self.is_clear(scene, station))
    }

    /// A place about `spread` from the first; `None` where none was found.
    pub fn second_station(
        &self,
        scene: &Scene,
        first: &Station,
        spread: f32,
        dice: &mut Dice,
    ) -> Option<Station> {
        (0..8)
            .map(|_| self.place(scene, Some((first, spread)), dice))
            .find(|station| self.is_clear(scene, station))
    }

    fn place(&self, scene: &Scene, near: Option<(&Station, f32)>, dice: &mut Dice) -> Station {
        let (eye, at) = match scene.stage() {
            Stage::Room(room) => {
                let (eye, at) = in_room(room, near, dice);
                (eye, if near.is_none() { towards_clutter(scene, eye, at, dice) } else { at })
            }
            Stage::Ground(ground) => on_road(ground, near, dice),
            Stage::Turntable(radius) => around_object(*radius, near, dice),
        };
        match &self.sensor {
            Sensor::Camera(camera) => camera.station(eye, at, dice),
            Sensor::Lidar(_) => {
                let way = at - eye;
                let heading = Rotation3::from_axis_angle(&Vector3::z_axis(), way.y.atan2(way.x));
                let tilt = if dice.chance(0.5) { 0.02 } else { 0.005 };
                Station { views: vec![View::new(eye, &(dice.tilt(tilt) * heading))], eye, at }
            }
        }
    }

    /// Does the sensor stand in the open and look at something?
    fn is_clear(&self, scene: &Scene, station: &Station) -> bool {
        match &self.sensor {
            Sensor::Camera(camera) => camera.is_clear(scene, station),
            Sensor::Lidar(lidar) => {
                let blocked = |i: usize| {
                    let (sin, cos) = (std::f32::consts::TAU * i as f32 / 36.0).sin_cos();
                    scene.cast(&station.eye, &Vector3::new(cos, sin, -0.05), 0.0, lidar.near).is_some()
                };
                (0..36).filter(|&i| blocked(i)).count() < 4
            }
        }
    }

    /// A cheap forecast of the overlap; `None` where only the scans themselves can tell.
    pub fn forecast(&self, scene: &Scene, source: &Station, target: &Station) -> Option<f64> {
        match &self.sensor {
            Sensor::Camera(camera) => Some(camera.forecast(scene, source, target)),
            Sensor::Lidar(_) => None,
        }
    }

    /// Scans from a station: the cloud in world coordinates.
    pub fn scan(&self, scene: &Scene, station: &Station, seed: u64) -> Points {
        let mut dice = Dice::new(derive_seed(seed, u64::MAX));
        match &self.sensor {
            Sensor::Camera(camera) => camera.cloud(scene, station, seed, &mut dice),
            Sensor::Lidar(lidar) => thin(lidar.scan(scene, &station.views[0], seed), LIDAR_POINTS, &mut dice),
        }
    }
}

impl Camera {
    /// A camera that someone carries through a room.
    fn handheld(fused: bool, noise: f32, detail: f32, dice: &mut Dice) -> Self {
        let (width, height) = match (fused, dice.chance(0.5)) {
            (true, _) => (320.0, 240.0),
            (false, true) => (480.0, 360.0),
            (false, false) => (400.0, 300.0),
        };
        let faults = Faults {
            constant: dice.between(0.0, 0.002),
            quadratic: dice.between(0.000_3, 0.002_2),
            correlated: dice.between(0.2, 0.8),
            step: dice.pick(&[0.0, 0.0015, 0.0029, 0.0029]),
            dropout: dice.between(0.0, 0.15),
            grazing: dice.between(0.05, 0.35),
            warp: dice.between(0.0, 0.003),
            baseline: dice.pick(&[0.0, 0.055, 0.075, 0.075]),
            edge: dice.between(0.02, 0.06),
            border: dice.between(0.0, 0.04),
        };
        let optics = DepthCamera {
            width: (width * detail) as usize,
            height: (height * detail) as usize,
            tangent: dice.between(0.46, 0.62),
            near: dice.between(0.35, 0.6),
            far: if fused { dice.between(2.8, 4.0) } else { dice.between(3.0, 4.5) },
            // A fused surface is the mean of tens of images: less noise is left than a few of them give.
            faults: faults.scaled(if fused { 0.3 * noise } else { noise }),
        };
        Self {
            optics,
            views: if fused { dice.count(6, 14) } else { 1 },
            span: dice.between(0.1, 0.8),
            jitter: [dice.between(0.0, 0.001_5) * noise, dice.between(0.0, 0.003) * noise],
            fuse: if fused { dice.pick(&[0.006, 0.006, 0.008]) / detail } else { 0.0 },
            roll: dice.between(0.0, 0.3),
        }
    }

    /// A scanner before a turntable; every length follows the object's radius.
    fn turntable(radius: f32, noise: f32, detail: f32, dice: &mut Dice) -> Self {
        let sigma = radius * dice.log_between(0.000_5, 0.006);
        let faults = Faults {
            constant: sigma,
            correlated: dice.between(0.0, 0.6),
            dropout: dice.between(0.0, 0.1),
            grazing: dice.between(0.1, 0.4),
            baseline: radius * dice.between(0.0, 0.8),
            edge: 0.05 * radius,
            ..Faults::default()
        };
        let optics = DepthCamera {
            width: (360.0 * detail) as usize,
            height: (300.0 * detail) as usize,
            tangent: 0.5,
            near: 0.2 * radius,
            far: 8.0 * radius,
            faults: faults.scaled(noise),
        };
        Self { optics, views: 1, span: 0.0, jitter: [0.0; 2], fuse: 0.0, roll: 0.05 }
    }

    /// The views of one cloud: a short drift of the camera and of what it looks at.
    fn station(&self, eye: Vector3<f32>, at: Vector3<f32>, dice: &mut Dice) -> Station {
        let flat = Vector3::new(1.0, 1.0, 0.35);
        let drift = dice.direction().component_mul(&flat) * self.span;
        let sweep = dice.direction().component_mul(&flat) * self.span * 0.8;
        let roll = dice.normal() * self.roll;
        let view = |i: usize| {
            let share = i as f32 / (self.views.max(2) - 1) as f32;
            View::looking(eye + drift * share, at + sweep * share, roll)
        };
        Station { views: (0..self.views).map(view).collect(), eye, at }
    }

    /// Enough of the first image is filled, and not by something right before the lens.
    fn is_clear(&self, scene: &Scene, station: &Station) -> bool {
        const COLUMNS: usize = 16;
        let samples = self.probe(scene, &station.views[0], COLUMNS);
        let pixels = COLUMNS * COLUMNS * self.optics.height / self.optics.width;
        if self.is_turntable() {
            return samples.len() * 10 > pixels;
        }
        let close = samples.iter().filter(|s| s.depth < 2.0 * self.optics.near).count();
        samples.len() * 5 > pixels * 3 && close * 4 < samples.len() && is_varied(&samples)
    }

    fn is_turntable(&self) -> bool {
        self.span == 0.0
    }

    /// Surfaces behind a coarse raster of pixels.
    fn probe(&self, scene: &Scene, view: &View, columns: usize) -> Vec<Sample> {
        let step = self.optics.width as f32 / columns as f32;
        let rows = columns * self.optics.height / self.optics.width;
        (0..columns * rows)
            .filter_map(|i| {
                let (column, row) = ((i % columns) as f32 + 0.5, (i / columns) as f32 + 0.5);
                self.optics.cast(scene, view, column * step, row * step)
            })
            .collect()
    }

    /// The share of what the source's views see that some view of the target sees as well.
    fn forecast(&self, scene: &Scene, source: &Station, target: &Station) -> f64 {
        let points: Vec<_> =
            source.views.iter().step_by(2).flat_map(|view| self.probe(scene, view, PROBE)).collect();
        let seen = |sample: &&Sample| {
            let point = &sample.point;
            target
                .views
                .iter()
                .any(|view| self.optics.depth_of(view, point).is_some() && scene.sees(&view.eye, point))
        };
        points.iter().filter(seen).count() as f64 / points.len().max(1) as f64
    }

    fn cloud(&self, scene: &Scene, station: &Station, seed: u64, dice: &mut Dice) -> Points {
        let mut points = Points::new();
        for (i, view) in station.views.iter().enumerate() {
            let image = self.optics.image(scene, view, derive_seed(seed, i as u64));
            let (turn, shift) = (dice.tilt(self.jitter[0]), dice.normal3() * self.jitter[1]);
            let misplaced = |p: [f32; 3]| -> [f32; 3] {
                (turn * (Vector3::from(p) - view.eye) + view.eye + shift).into()
            };
            points.extend(image.into_iter().map(misplaced));
        }
        if self.fuse > 0.0 { voxel_means(&points, self.fuse) } else { thin(points, FRAME_POINTS, dice) }
    }
}

/// Does a view show enough different planes? One that shows a bare wall or the floor alone could be registered
/// anywhere along it; real test sets leave such views out.
fn is_varied(samples: &[Sample]) -> bool {
    let plane = |sample: &Sample| {
        let [x, y, z] = [0, 1, 2].map(|k| (sample.normal[k] * 1.5).round() as i32);
        [x, y, z, (sample.normal.dot(&sample.point) / 0.15).floor() as i32]
    };
    let mut planes: Vec<_> = samples.iter().map(plane).collect();
    planes.sort_unstable();
    planes.dedup();
    planes.len() * 5 > samples.len()
}

/// Turns a sensor's aim to some piece of furniture, which is where the corners of the soup are.
fn towards_clutter(scene: &Scene, eye: Vector3<f32>, at: Vector3<f32>, dice: &mut Dice) -> Vector3<f32> {
    for _ in 0..8 {
        let vertices = &scene.mesh().vertices;
        let corner = Vector3::from(vertices[dice.below(vertices.len())]);
        let distance = (corner - eye).norm();
        if corner.z > 0.1 && corner.z < 1.8 && distance > 1.0 && distance < 3.0 {
            return corner;
        }
    }
    at
}

/// Eye and aim of a sensor in a room, at about the height of a hand or a robot.
fn in_room(room: &Room, near: Option<(&Station, f32)>, dice: &mut Dice) -> (Vector3<f32>, Vector3<f32>) {
    let high = (room.height - 0.3).min(2.0);
    for _ in 0..30 {
        let (eye, at) = match near {
            Some((first, spread)) => {
                let flat = Vector3::new(1.0, 1.0, 0.3);
                let eye = first.eye + dice.normal3().component_mul(&flat) * spread * 0.4;
                (eye, first.at + dice.normal3().component_mul(&flat) * spread * 0.6)
            }
            None => {
                let (eye, at) = (room.place(dice, 0.4), room.place(dice, 0.0));
                let heights = [dice.between(0.7, high), dice.between(0.1, 1.5)];
                (Vector3::new(eye[0], eye[1], heights[0]), Vector3::new(at[0], at[1], heights[1]))
            }
        };
        let inside = room.contains([eye.x, eye.y]) && eye.z > 0.3 && eye.z < room.height - 0.2;
        if inside && (at - eye).norm() > 1.0 {
            return (eye, at);
        }
    }
    let place = room.place(dice, 0.5);
    (Vector3::new(place[0], place[1], 1.2), Vector3::new(0.0, 0.0, 0.8))
}

/// Eye and aim of a LiDAR on a vehicle or a cart on the road.
fn on_road(ground: &Ground, near: Option<(&Station, f32)>, dice: &mut Dice) -> (Vector3<f32>, Vector3<f32>) {
    let side = (ground.road - 1.0).min(1.8);
    let (x, y, height, heading) = match near {
        Some((first, spread)) => {
            let angle = dice.normal() * 0.15 + if dice.chance(0.5) { std::f32::consts::PI } else { 0.0 };
            let mount = first.eye.z - ground.height(first.eye.x, first.eye.y);
            let way = first.at - first.eye;
            let turn = if dice.chance(0.2) { dice.turn() } else { 0.2 * dice.normal() };
            (
                first.eye.x + spread * angle.cos(),
                (first.eye.y + 0.3 * spread.min(6.0) * dice.normal()).clamp(-side, side),
                mount,
                way.y.atan2(way.x) + turn,
            )
        }
        None => {
            let heading = if dice.chance(0.7) { 0.1 * dice.normal() } else { dice.turn() };
            let x = dice.between(-0.25, 0.25) * ground.size;
            (x, dice.between(-side, side), dice.between(0.5, 2.2), heading)
        }
    };
    let x = x.clamp(-0.48 * ground.size, 0.48 * ground.size);
    let eye = Vector3::new(x, y, ground.height(x, y) + height);
    (eye, eye + Vector3::new(heading.cos(), heading.sin(), 0.0))
}

/// Eye and aim of a scanner around an object at the origin.
fn around_object(
    radius: f32,
    near: Option<(&Station, f32)>,
    dice: &mut Dice,
) -> (Vector3<f32>, Vector3<f32>) {
    let (azimuth, elevation) = match near {
        Some((first, spread)) => {
            let elevation = (first.eye.z / first.eye.norm()).asin() + 0.2 * spread * dice.normal();
            (first.eye.y.atan2(first.eye.x) + dice.sign() * spread, elevation)
        }
        None => (dice.turn(), dice.between(-0.2, 0.8)),
    };
    let elevation = elevation.clamp(-1.3, 1.3);
    let distance = radius * dice.between(2.7, 3.3);
    let direction =
        Vector3::new(elevation.cos() * azimuth.cos(), elevation.cos() * azimuth.sin(), elevation.sin());
    (direction * distance, dice.normal3() * 0.03 * radius)
}
