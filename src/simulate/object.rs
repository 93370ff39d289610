//! Single objects for the turntable: statue-like lumps and machine-like parts.

use super::dice::Dice;
use super::mesh::Mesh;
use super::primitives::{blob, cuboid, cylinder, lathe, torus};

/// A random object about the origin, and the radius of a ball that holds most of it, metres.
pub(super) fn object(dice: &mut Dice) -> (Mesh, f32) {
    let radius = dice.log_between(0.05, 0.8);
    let mesh = if dice.chance(0.55) { figure(dice) } else { machine(dice) };
    let turn = dice.rotation();
    (centred(mesh.turned(&turn), radius), radius)
}

/// A trunk with limbs and smaller lumps on it, like a bust or an animal.
fn figure(dice: &mut Dice) -> Mesh {
    let trunk = std::array::from_fn(|_| dice.between(0.25, 0.6));
    let roughness = dice.between(0.1, 0.35);
    let mut mesh = blob(dice, trunk, roughness);
    for _ in 0..dice.count(2, 9) {
        let size = dice.between(0.1, 0.35);
        let axes = std::array::from_fn(|_| size * dice.between(0.4, 1.6));
        let (roughness, turn, towards) = (dice.between(0.1, 0.4), dice.rotation(), dice.direction());
        let at = std::array::from_fn(|k| towards[k] * trunk[k] * 1.05);
        mesh.add(blob(dice, axes, roughness).turned(&turn).moved(at));
    }
    mesh
}

/// Boxes, shafts, flanges and rings that pass through each other at right angles, mostly.
fn machine(dice: &mut Dice) -> Mesh {
    let body = [dice.between(0.3, 1.0), dice.between(0.3, 0.8), dice.between(0.2, 0.6)];
    let mut mesh = cuboid([0.0; 3], body);
    for _ in 0..dice.count(4, 12) {
        let at = std::array::from_fn(|k| dice.between(-0.6, 0.6) * body[k]);
        let part = match dice.below(5) {
            0 | 1 => cuboid([0.0; 3], dice.between3(0.06, 0.6).into()),
            2 => cylinder(dice.between(0.05, 0.3), dice.between(0.03, 0.3), dice.between(0.2, 0.8), 20),
            3 => torus(dice.between(0.15, 0.35), dice.between(0.03, 0.1)),
            _ => flange(dice),
        };
        let quarter = std::f32::consts::FRAC_PI_2;
        let part = part.pitched(dice.below(3) as f32 * quarter).yawed(dice.below(4) as f32 * quarter);
        let turn = if dice.chance(0.2) { dice.rotation() } else { dice.tilt(0.0) };
        mesh.add(part.turned(&turn).moved(at));
    }
    mesh
}

fn flange(dice: &mut Dice) -> Mesh {
    let (r, t) = (dice.between(0.15, 0.35), dice.between(0.03, 0.08));
    let profile = [(1e-3, 0.0), (r, 0.0), (r, t), (r * 0.5, t), (r * 0.5, 3.0 * t), (1e-3, 3.0 * t)];
    lathe(&profile, 24)
}

/// Shifted to its centre and scaled so that nine tenths of its corners lie within `radius`.
fn centred(mesh: Mesh, radius: f32) -> Mesh {
    let n = mesh.vertices.len() as f32;
    let mut centre = [0.0; 3];
    for vertex in &mesh.vertices {
        centre = std::array::from_fn(|k| centre[k] + vertex[k] / n);
    }
    let mesh = mesh.moved(centre.map(|x| -x));
    let mut lengths: Vec<f32> =
        mesh.vertices.iter().map(|v| v.iter().map(|x| x * x).sum::<f32>().sqrt()).collect();
    lengths.sort_by(f32::total_cmp);
    let reach = lengths[lengths.len() * 9 / 10];
    mesh.scaled(radius / reach)
}
