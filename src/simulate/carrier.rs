//! What carries a LiDAR and is seen by it, in every scan at the same place: the roof of a vehicle, a robot's deck, an
//! operator.

use nalgebra::Vector3;

use super::bvh::Bvh;
use super::dice::Dice;
use super::furniture::person;
use super::mesh::Mesh;
use super::primitives::{block, cuboid, cylinder};

/// Sensors see nothing that is nearer than this, metres.
const NEAR: f32 = 0.15;
/// Nor does a carrier reach further.
const FAR: f32 = 10.0;

/// A shape in the frame of the sensor, which is at the origin, x ahead and z up.
#[derive(Debug, Clone)]
pub(super) struct Carrier(Bvh);

impl Carrier {
    /// A vehicle, mostly, in the open; a robot or someone on foot elsewhere.
    pub fn new(dice: &mut Dice, indoors: bool) -> Self {
        let make: fn(&mut Dice) -> Mesh = match (indoors, dice.below(5)) {
            (false, 0..3) => vehicle,
            (true, 0..3) | (false, 3) => robot,
            _ => operator,
        };
        Self(Bvh::new(&make(dice)))
    }

    /// How far it is along a unit direction, metres.
    pub fn cast(&self, direction: &Vector3<f32>) -> Option<f32> {
        self.0.cast(&Vector3::zeros(), direction, NEAR, FAR).map(|hit| hit.distance)
    }
}

/// Roof with rails, bonnet, an antenna at times.
fn vehicle(dice: &mut Dice) -> Mesh {
    let (roof, shift) = (-dice.between(0.15, 0.6), dice.between(-1.0, 0.2));
    let (l, w) = (dice.between(1.8, 3.0), dice.between(1.5, 1.9));
    let mut mesh = cuboid([shift, 0.0, roof - 0.05], [l, w, 0.1]);
    mesh.add(cuboid([shift + l / 2.0 + 0.8, 0.0, roof - 0.6], [1.4, w, 0.1]));
    for side in [-0.42, 0.42] {
        mesh.add(cuboid([shift, side * w, roof + 0.04], [l * 0.8, 0.05, 0.06]));
    }
    if dice.chance(0.5) {
        let antenna = cylinder(0.02, 0.01, dice.between(0.2, 0.5), 8);
        mesh.add(antenna.moved([shift - 0.4 * l, dice.between(-0.3, 0.3) * w, roof]));
    }
    mesh
}

/// A deck with posts and a box on it.
fn robot(dice: &mut Dice) -> Mesh {
    let deck = -dice.between(0.12, 0.4);
    let (l, w) = (dice.between(0.5, 0.9), dice.between(0.4, 0.7));
    let shift = dice.between(-0.3, 0.1);
    let mut mesh = cuboid([shift, 0.0, deck - 0.05], [l, w, 0.1]);
    let radius = dice.between(0.01, 0.03);
    for (x, y) in [(-0.45, -0.45), (-0.45, 0.45), (0.45, -0.45), (0.45, 0.45)] {
        if dice.chance(0.6) {
            let post = cylinder(radius, radius, dice.between(0.1, 0.6), 8);
            mesh.add(post.moved([shift + x * l, y * w, deck]));
        }
    }
    let size = dice.between3(0.1, 0.3).into();
    mesh.add(block(shift - 0.3 * l, dice.between(-0.2, 0.2) * w, deck, size));
    mesh
}

/// Someone behind the sensor, which is held before the chest or carried above the head.
fn operator(dice: &mut Dice) -> Mesh {
    let floor = -dice.between(1.2, 2.0);
    person(dice).yawed(-std::f32::consts::FRAC_PI_2).moved([
        -dice.between(0.35, 0.8),
        0.1 * dice.normal(),
        floor,
    ])
}
