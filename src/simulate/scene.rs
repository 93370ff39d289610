//! A scene ready for sensors: the soup, its hierarchy, its relief and where sensors may stand.

use nalgebra::Vector3;

use super::Kind;
use super::building::building;
use super::bvh::Bvh;
use super::dice::Dice;
use super::mesh::Mesh;
use super::noise::Relief;
use super::object::object;
use super::room::{Room, room};
use super::street::{Ground, street};
use super::things::Furnished;

/// Where sensors may stand.
#[derive(Debug, Clone)]
pub(super) enum Stage {
    /// Inside the outline.
    Room(Room),
    /// On the road.
    Ground(Box<Ground>),
    /// Around an object of this radius at the origin.
    Turntable(f32),
}

/// What a ray meets.
#[derive(Debug, Clone, Copy)]
pub(super) struct Surface {
    /// On the surface, relief included.
    pub point: Vector3<f32>,
    /// Of the triangle, unit, towards the sensor.
    pub normal: Vector3<f32>,
    /// Of the angle between the ray and the normal, 0..1.
    pub cosine: f32,
}

/// A scene in world coordinates: z up, metres.
#[derive(Debug, Clone)]
pub struct Scene {
    furnished: Furnished,
    bvh: Bvh,
    normals: Vec<Vector3<f32>>,
    relief: Relief,
    stage: Stage,
}

impl Scene {
    /// The scene of `seed` for a kind of pair; without `relief` the hits lie on the triangles exactly.
    pub fn new(seed: u64, kind: Kind, relief: bool) -> Self {
        let mut dice = Dice::new(seed);
        let (furnished, stage) = match kind {
            Kind::Fragment | Kind::Frame | Kind::LidarIndoor => {
                let (furnished, room) = room(&mut dice);
                (furnished, Stage::Room(room))
            }
            Kind::LidarRepeated => {
                let (furnished, room) = building(&mut dice);
                (furnished, Stage::Room(room))
            }
            Kind::Lidar => {
                let (furnished, ground) = street(&mut dice);
                (furnished, Stage::Ground(Box::new(ground)))
            }
            Kind::Object => {
                let (mesh, radius) = object(&mut dice);
                (mesh.into(), Stage::Turntable(radius))
            }
        };
        let relief = if relief { unevenness(&mut dice, &stage) } else { Relief::flat() };
        Self::of(furnished, relief, stage)
    }

    fn of(furnished: Furnished, relief: Relief, stage: Stage) -> Self {
        let mesh = &furnished.mesh;
        let normals = (0..mesh.faces.len()).map(|face| normal(mesh, face)).collect();
        Self { bvh: Bvh::new(mesh), furnished, normals, relief, stage }
    }

    /// The scene after some time, in which `share` (0..1) of the things that may move have moved or are gone. Of objects
    /// none may.
    pub fn later(&self, share: f64, seed: u64) -> Self {
        let height = |x: f32, y: f32| match &self.stage {
            Stage::Ground(ground) => ground.height(x, y),
            Stage::Room(_) | Stage::Turntable(_) => 0.0,
        };
        let mesh = self.furnished.later(share as f32, height, &mut Dice::new(seed));
        Self::of(mesh.into(), self.relief.clone(), self.stage.clone())
    }

    /// The triangles, without relief.
    pub fn mesh(&self) -> &Mesh {
        &self.furnished.mesh
    }

    /// Where sensors may stand.
    pub(super) fn stage(&self) -> &Stage {
        &self.stage
    }

    /// The first surface with `near < distance < far` along a unit direction.
    pub(super) fn cast(
        &self,
        origin: &Vector3<f32>,
        direction: &Vector3<f32>,
        near: f32,
        far: f32,
    ) -> Option<Surface> {
        let hit = self.bvh.cast(origin, direction, near, far)?;
        let bare = origin + direction * hit.distance;
        let normal = self.normals[hit.face as usize];
        let slant = normal.dot(direction);
        // The relief grows towards whoever looks, so that both sides of a thin wall keep theirs.
        let outwards = if slant > 0.0 { -normal } else { normal };
        Some(Surface {
            point: bare + outwards * self.relief.at(&bare),
            normal: outwards,
            cosine: slant.abs(),
        })
    }

    /// Is nothing in between? Surfaces within a fiftieth of the way from `to` do not count.
    pub(super) fn sees(&self, from: &Vector3<f32>, to: &Vector3<f32>) -> bool {
        let way = to - from;
        let distance = way.norm();
        self.bvh.cast(from, &(way / distance), 0.0, distance * 0.98).is_none()
    }
}

fn unevenness(dice: &mut Dice, stage: &Stage) -> Relief {
    let (amplitude, wavelength) = match stage {
        Stage::Room(_) => (dice.between(0.0, 0.008), dice.between(0.15, 0.9)),
        Stage::Ground(_) => (dice.between(0.0, 0.02), dice.between(0.5, 3.0)),
        Stage::Turntable(radius) => (dice.between(0.0, 0.02) * radius, dice.between(0.1, 0.5) * radius),
    };
    if dice.chance(0.8) { Relief::new(dice, amplitude, wavelength) } else { Relief::flat() }
}

fn normal(mesh: &Mesh, face: usize) -> Vector3<f32> {
    let [a, b, c] = mesh.triangle(face);
    (b - a).cross(&(c - a)).try_normalize(0.0).unwrap_or_else(Vector3::z)
}
