//! The outdoors: terrain with a road, buildings, vehicles, trees and what else stands along a street.

use std::f32::consts::{FRAC_PI_2, PI, TAU};

use super::dice::Dice;
use super::furniture::{person, pile, stairs, statue};
use super::mesh::Mesh;
use super::noise::Field;
use super::primitives::{arch, blob, block, cuboid, cylinder, height_field, leaves, prism};
use super::things::{DRIVEN, Furnished, Habit, WALKING};

/// The shape of the ground; the road runs along x.
#[derive(Debug, Clone)]
pub(super) struct Ground {
    /// Side of the square that is modelled, metres.
    pub size: f32,
    /// From the middle of the road to its kerb.
    pub road: f32,
    kerb: f32,
    hills: (f32, Field),
    bumps: (f32, Field),
    slope: [f32; 2],
}

impl Ground {
    fn new(dice: &mut Dice) -> Self {
        let (long, short) = (dice.between(15.0, 70.0), dice.between(0.8, 3.0));
        Self {
            size: dice.between(90.0, 150.0),
            road: dice.between(3.0, 8.0),
            kerb: dice.between(0.0, 0.18),
            hills: (dice.between(0.0, 0.015) * long, Field::new(dice, long)),
            bumps: (dice.between(0.0, 0.05), Field::new(dice, short)),
            slope: [dice.normal() * 0.015, dice.normal() * 0.015],
        }
    }

    /// Height of the ground, metres.
    pub fn height(&self, x: f32, y: f32) -> f32 {
        let rough = self.kerb + self.bumps.0 * self.bumps.1.at2(x, y);
        let beside_road = if y.abs() > self.road { rough } else { 0.0 };
        self.hills.0 * self.hills.1.at2(x, y) + beside_road + x * self.slope[0] + y * self.slope[1]
    }

    fn mesh(&self) -> Mesh {
        let half = self.size / 2.0;
        height_field([-half; 2], [half; 2], 240, |x, y| self.height(x, y))
    }

    /// A scene of one kind of place.
    fn populate(&self, dice: &mut Dice, counts: &Counts, scene: &mut Furnished) {
        let density = dice.between(0.5, 1.5);
        let road = self.road;
        let bands: [Band; 10] = [
            (counts.cars, car, road * 0.4, road + counts.parking, true, Some(DRIVEN)),
            (counts.vans, van, road * 0.5, road + counts.parking * 0.5 + 1.0, true, Some(DRIVEN)),
            (counts.trees, tree, road + 1.0, road + 28.0, false, None),
            (counts.bushes, bush, road + 1.0, road + 22.0, false, None),
            (22, pole, road, road + 8.0, false, None),
            (12, fence, road + 1.0, road + 12.0, true, None),
            (5, person, 1.0, road + 10.0, false, Some(WALKING)),
            (3, heap, road, road + 10.0, false, None),
            (2, monument, road, road + 10.0, false, None),
            (1, gateway, road + 2.0, road + 10.0, false, None),
        ];
        for (count, make, near, far, aligned, habit) in bands {
            for _ in 0..(count as f32 * density) as usize + dice.below(2) {
                let place = [dice.between(-0.46, 0.46) * self.size, dice.between(near, far) * dice.sign()];
                // The sensors drive along the middle of the road.
                if place[1].abs() < 2.0 {
                    continue;
                }
                let yaw = if aligned { right_angle(dice) } else { dice.turn() };
                let thing = make(dice).scaled(dice.between(0.85, 1.2));
                let at = [place[0], place[1], self.height(place[0], place[1])];
                match habit {
                    Some(habit) => scene.put(thing, at, yaw, habit),
                    None => scene.mesh.add_at(thing, at, yaw),
                }
            }
        }
        self.build(dice, counts, &mut scene.mesh);
    }

    /// Rows of buildings on both sides, with gaps.
    fn build(&self, dice: &mut Dice, counts: &Counts, mesh: &mut Mesh) {
        for side in [-1.0, 1.0] {
            let mut x = -0.5 * self.size;
            let front = self.road + dice.between(2.0, 12.0);
            while x < 0.5 * self.size {
                let w = dice.between(6.0, 24.0);
                if dice.chance(counts.built_up) {
                    let d = dice.between(6.0, 14.0);
                    let y = side * (front + d / 2.0 + dice.between(0.0, 4.0));
                    let house = building(dice, w, d);
                    let yaw = dice.between(-0.06, 0.06);
                    mesh.add_at(house, [x + w / 2.0, y, self.height(x + w / 2.0, y) - 0.5], yaw);
                }
                x += w + if dice.chance(0.5) { dice.between(0.0, 1.0) } else { dice.between(2.0, 15.0) };
            }
        }
    }
}

/// How many of a thing stand how near and how far from the middle of the road, whether along it, and how it moves.
type Band = (usize, fn(&mut Dice) -> Mesh, f32, f32, bool, Option<Habit>);

/// What a kind of place has, before its density is drawn.
struct Counts {
    cars: usize,
    vans: usize,
    trees: usize,
    bushes: usize,
    /// How far from the kerb cars stand.
    parking: f32,
    /// Share of the frontage with buildings.
    built_up: f32,
}

const STREET: Counts = Counts { cars: 22, vans: 4, trees: 16, bushes: 14, parking: 2.0, built_up: 0.85 };
const SUBURB: Counts = Counts { cars: 12, vans: 2, trees: 26, bushes: 30, parking: 3.0, built_up: 0.5 };
const PARK: Counts = Counts { cars: 2, vans: 0, trees: 44, bushes: 34, parking: 2.0, built_up: 0.05 };
const CAR_PARK: Counts = Counts { cars: 34, vans: 5, trees: 8, bushes: 8, parking: 14.0, built_up: 0.25 };

/// A random outdoor scene.
pub(super) fn street(dice: &mut Dice) -> (Furnished, Ground) {
    let ground = Ground::new(dice);
    let mut scene = Furnished::from(ground.mesh());
    let counts = [&STREET, &STREET, &SUBURB, &PARK, &CAR_PARK][dice.below(5)];
    ground.populate(dice, counts, &mut scene);
    (scene, ground)
}

/// Along the road, or across it now and then.
fn right_angle(dice: &mut Dice) -> f32 {
    let across = if dice.chance(0.2) { FRAC_PI_2 } else { 0.0 };
    across + if dice.chance(0.5) { PI } else { 0.0 } + dice.between(-0.06, 0.06)
}

fn heap(dice: &mut Dice) -> Mesh {
    pile(dice).scaled(dice.between(1.0, 4.0))
}

fn monument(dice: &mut Dice) -> Mesh {
    statue(dice).scaled(dice.between(1.0, 4.0))
}

fn gateway(dice: &mut Dice) -> Mesh {
    let mut mesh = arch(3.0, 3.0, 0.6, 1.0);
    if dice.chance(0.5) {
        let flight = stairs(dice).scaled(dice.between(1.0, 2.0));
        mesh.add(flight.moved([0.0, 1.0, 0.0]));
    }
    mesh
}

fn wheels(mesh: &mut Mesh, [along, across]: [f32; 2], radius: f32) {
    for (x, y) in [(-1.0, -1.0), (-1.0, 1.0), (1.0, -1.0), (1.0, 1.0)] {
        let wheel = cylinder(radius, radius, 0.16, 14).pitched(FRAC_PI_2);
        mesh.add(wheel.moved([x * along, y * across + 0.08, radius]));
    }
}

fn car(dice: &mut Dice) -> Mesh {
    let (l, w, h) = (dice.between(3.6, 5.2), dice.between(1.6, 2.0), dice.between(1.35, 1.95));
    let (sill, bonnet) = (dice.between(0.25, 0.4), dice.between(0.15, 0.3));
    let mut outline = [
        (-0.5, sill / h),
        (0.5, sill / h),
        (0.47, 0.52),
        (0.12 + bonnet, 0.62),
        (0.12, 1.0),
        (-0.28, 0.97),
        (-0.5 + bonnet * 0.5, 0.6),
        (-0.5, 0.55),
    ];
    for (x, z) in &mut outline {
        *x = *x * l + dice.normal() * 0.06;
        *z *= h;
    }
    let mut mesh = prism(&outline, w);
    // The cabin is narrower than the body.
    for vertex in &mut mesh.vertices {
        if vertex[2] > 0.8 * h {
            vertex[1] *= 0.82;
        }
    }
    wheels(&mut mesh, [l * 0.32, w * 0.48], 0.32);
    mesh
}

fn van(dice: &mut Dice) -> Mesh {
    let (l, w, h) = (dice.between(4.5, 9.0), dice.between(1.9, 2.5), dice.between(2.1, 3.4));
    let mut mesh = block(0.0, 0.0, 0.4, [l, w, h]);
    mesh.add(cuboid([l / 2.0 + 0.6, 0.0, 1.1], [1.4, w * 0.95, 1.6]));
    mesh.add(cuboid([0.0, 0.0, 0.45], [l * 0.9, w * 0.8, 0.5]));
    wheels(&mut mesh, [l * 0.35, w * 0.48], 0.4);
    mesh
}

fn tree(dice: &mut Dice) -> Mesh {
    let (h, r) = (dice.between(3.0, 12.0), dice.between(0.08, 0.35));
    let mut mesh = cylinder(r * 1.3, r * 0.6, h * 0.6 + 0.5, 10).moved([0.0, 0.0, -0.5]);
    let crown = h * dice.between(0.55, 0.8);
    for _ in 0..dice.count(1, 4) {
        let shift = [dice.between(-1.0, 1.0), dice.between(-1.0, 1.0), dice.between(-1.2, 2.0)];
        let centre = [shift[0] * h * 0.12, shift[1] * h * 0.12, crown + shift[2] * h * 0.12];
        let axes = (dice.between3(0.12, 0.3) * h).into();
        let (count, size) = (dice.count(150, 800), dice.between(0.06, 0.25));
        mesh.add(leaves(dice, centre, axes, count, size));
    }
    for _ in 0..dice.count(0, 5) {
        let branch = cylinder(r * 0.4, r * 0.2, h * 0.35, 7).rolled(dice.between(0.5, 1.2));
        mesh.add_at(branch, [0.0, 0.0, dice.between(0.3, 0.6) * h], dice.turn());
    }
    mesh
}

fn bush(dice: &mut Dice) -> Mesh {
    let s = dice.between(0.4, 1.6);
    let (axes, count) = ([s * dice.between(0.7, 2.0), s, s * 0.8], dice.count(200, 900));
    let size = dice.between(0.04, 0.12);
    let mut mesh = leaves(dice, [0.0, 0.0, s * 0.5], axes, count, size);
    mesh.add(blob(dice, [s * 0.6, s * 0.6, s * 0.5], 0.3).moved([0.0, 0.0, s * 0.3]));
    mesh
}

fn pole(dice: &mut Dice) -> Mesh {
    let (h, r) = (dice.between(1.0, 9.0), dice.between(0.03, 0.18));
    let mut mesh = cylinder(r, r, h + 0.5, 10).moved([0.0, 0.0, -0.5]);
    if dice.chance(0.5) {
        let arm = [dice.between(0.4, 2.5), 0.15, 0.12];
        mesh.add(cuboid([dice.between(-1.0, 1.0), 0.0, h], arm));
    }
    if dice.chance(0.5) {
        let sign = [dice.between(0.3, 1.2), 0.04, dice.between(0.3, 1.2)];
        mesh.add(cuboid([0.0, 0.1, h * dice.between(0.7, 1.0)], sign));
    }
    mesh
}

fn fence(dice: &mut Dice) -> Mesh {
    let (length, h) = (dice.between(4.0, 22.0), dice.between(0.8, 2.2));
    let posts = (length / dice.between(0.8, 2.5)) as usize;
    let mut mesh = Mesh::new();
    let along = |i: usize, n: usize| (i as f32 / n as f32 - 0.5) * length;
    for i in 0..=posts {
        mesh.add(block(along(i, posts), 0.0, 0.0, [0.1, 0.1, h]));
    }
    match dice.below(3) {
        0 => {
            for z in [0.3, 0.6, 0.95] {
                mesh.add(cuboid([0.0, 0.0, z * h], [length, 0.04, 0.1]));
            }
        }
        1 => {
            for i in 0..posts * 6 {
                mesh.add(block(along(i, posts * 6), 0.03, 0.0, [0.07, 0.02, h * 0.95]));
            }
        }
        _ => mesh.add(block(0.0, 0.0, 0.0, [length, dice.between(0.1, 0.4), h * 0.8])),
    }
    mesh
}

/// A house of `w` × `d` on the origin, with a front on each side.
fn building(dice: &mut Dice, w: f32, d: f32) -> Mesh {
    let h = dice.between(3.0, 16.0);
    let mut mesh = block(0.0, 0.0, 0.0, [w - 0.5, d - 0.5, h]);
    for (turn, width, depth) in [(0.0, w, d), (PI, w, d), (FRAC_PI_2, d, w), (-FRAC_PI_2, d, w)] {
        mesh.add(facade(dice, width, h).moved([0.0, -depth / 2.0, 0.0]).yawed(turn));
    }
    if dice.chance(0.5) {
        let rise = dice.between(1.0, 4.0);
        let gable = [(-d * 0.53, h), (d * 0.53, h), (0.0, h + rise)];
        mesh.add(prism(&gable, w * 1.06).yawed(TAU / 4.0));
    } else {
        for _ in 0..3 {
            let at = [dice.between(-0.3, 0.3) * w, dice.between(-0.3, 0.3) * d];
            mesh.add(block(at[0], at[1], h, [2.0, 2.0, 1.4]));
        }
    }
    mesh
}

/// A front in the x-z plane facing −y: piers between recessed windows, sills, bands, balconies, a door.
fn facade(dice: &mut Dice, width: f32, height: f32) -> Mesh {
    const STOREY: f32 = 3.1;
    let windows = ((width / dice.between(1.8, 4.0)) as usize).max(1);
    let bay = width / windows as f32;
    let (w, h) = (dice.between(0.7, 1.6).min(bay * 0.8), dice.between(1.0, 2.0));
    let relief = dice.between(0.08, 0.3);
    let mut mesh = Mesh::new();
    for storey in 0..((height / STOREY) as usize).max(1) {
        let floor = storey as f32 * STOREY;
        for i in 0..windows {
            let x = (i as f32 + 0.5) * bay - width / 2.0;
            if dice.chance(0.85) {
                mesh.add(cuboid([x, 0.0, floor + 0.78], [w + 0.2, 0.25 + relief, 0.12]));
                mesh.add(cuboid([x, 0.0, floor + 1.0 + h], [w + 0.1, 0.2 + relief, 0.15]));
            }
            if storey > 0 && dice.chance(0.18) {
                mesh.add(cuboid([x, -0.5, floor], [w + 0.8, 1.1, 0.15]));
                mesh.add(cuboid([x, -1.02, floor + 0.5], [w + 0.8, 0.06, 0.9]));
            }
            let pier = [bay - w, 0.2 + 2.0 * relief, STOREY];
            mesh.add(cuboid([x + bay / 2.0, 0.0, floor + STOREY / 2.0], pier));
        }
        mesh.add(cuboid([0.0, 0.0, floor], [width, 0.3 + 2.0 * relief, 0.5]));
    }
    if dice.chance(0.5) {
        let canopy = [dice.between(1.5, 4.0), 1.8, 0.15];
        mesh.add(cuboid([dice.between(-0.3, 0.3) * width, -0.8, 2.7], canopy));
    }
    if dice.chance(0.5) {
        let door = [1.2, 0.5 + 2.0 * relief, 2.2];
        mesh.add(block(dice.between(-0.3, 0.3) * width, 0.0, 0.0, door));
    }
    mesh
}
