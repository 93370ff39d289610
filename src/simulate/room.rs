//! Rooms: an outline with walls, a floor, perhaps a ceiling, and furniture.

use std::f32::consts::TAU;

use super::dice::Dice;
use super::furniture::{column, furniture, kitchen, wall_furniture};
use super::mesh::Mesh;
use super::noise::Field;
use super::primitives::{arch, blob, block, cuboid, height_field};
use super::things::{Furnished, SHOVED};

/// Where things and sensors may stand in a room.
#[derive(Debug, Clone)]
pub(super) struct Room {
    /// Corners counter-clockwise, metres.
    outline: Vec<[f32; 2]>,
    /// Of the ceiling.
    pub height: f32,
}

impl Room {
    fn new(dice: &mut Dice) -> Self {
        let (w, l) = (dice.between(2.5, 8.0), dice.between(2.5, 8.0));
        let outline = match dice.below(10) {
            0 | 1 => l_shape(dice, w.max(4.0), l.max(4.0)),
            2 => rectangle(dice.between(1.6, 2.6), dice.between(8.0, 18.0)),
            3 => rectangle(dice.between(8.0, 14.0), dice.between(8.0, 14.0)),
            4 | 5 => rectangle(w, l).into_iter().map(|c| c.map(|x| x + dice.between(-0.8, 0.8))).collect(),
            _ => rectangle(w, l),
        };
        Self { outline, height: dice.between(2.2, 3.5) }
    }

    /// Without anything in it, about the origin.
    pub fn rectangular(length: f32, width: f32, height: f32) -> Self {
        Self { outline: rectangle(length, width), height }
    }

    /// Low and high corner of the outline.
    fn bounds(&self) -> ([f32; 2], [f32; 2]) {
        let fold = |pick: fn(f32, f32) -> f32, k: usize| {
            self.outline.iter().map(|c| c[k]).reduce(pick).unwrap_or(0.0)
        };
        ([fold(f32::min, 0), fold(f32::min, 1)], [fold(f32::max, 0), fold(f32::max, 1)])
    }

    /// By the parity of the edges crossed on the way to x = ∞.
    pub fn contains(&self, [x, y]: [f32; 2]) -> bool {
        let crossed = |(a, b): &(&[f32; 2], &[f32; 2])| {
            (a[1] > y) != (b[1] > y) && x < a[0] + (y - a[1]) / (b[1] - a[1]) * (b[0] - a[0])
        };
        self.edges().filter(crossed).count() % 2 == 1
    }

    fn edges(&self) -> impl Iterator<Item = (&[f32; 2], &[f32; 2])> {
        self.outline.iter().zip(self.outline.iter().cycle().skip(1))
    }

    /// A random place at least `margin` from the bounding box's sides.
    pub fn place(&self, dice: &mut Dice, margin: f32) -> [f32; 2] {
        let (low, high) = self.bounds();
        let mut place = [0.0; 2];
        for _ in 0..50 {
            place = [0, 1].map(|k| {
                let margin = margin.min((high[k] - low[k]) * 0.4);
                dice.between(low[k] + margin, high[k] - margin)
            });
            if self.contains(place) {
                break;
            }
        }
        place
    }

    fn area(&self) -> f32 {
        self.edges().map(|(a, b)| (a[0] * b[1] - a[1] * b[0]) / 2.0).sum()
    }
}

fn rectangle(w: f32, l: f32) -> Vec<[f32; 2]> {
    let (x, y) = (w / 2.0, l / 2.0);
    vec![[-x, -y], [x, -y], [x, y], [-x, y]]
}

fn l_shape(dice: &mut Dice, w: f32, l: f32) -> Vec<[f32; 2]> {
    let (x, y) = (w / 2.0, l / 2.0);
    let (inner_x, inner_y) = (dice.between(-0.3, 0.3) * x, dice.between(-0.3, 0.3) * y);
    vec![[-x, -y], [x, -y], [x, inner_y], [inner_x, inner_y], [inner_x, y], [-x, y]]
}

/// A furnished room.
pub(super) fn room(dice: &mut Dice) -> (Furnished, Room) {
    let room = Room::new(dice);
    let mut scene = Furnished::from(shell(dice, &room));
    furnish_walls(dice, &room, &mut scene);
    let density = dice.between(0.08, 0.35);
    for _ in 0..(room.area() * density) as usize + 2 {
        let place = room.place(dice, 0.5);
        let thing = furniture(dice).scaled(dice.between(0.8, 1.2));
        scene.put(thing, [place[0], place[1], 0.0], dice.turn(), SHOVED);
    }
    for _ in 0..dice.count(0, 3) {
        let place = room.place(dice, 0.2);
        let (axes, roughness) = (dice.between3(0.1, 0.5).into(), dice.between(0.1, 0.5));
        let height = dice.between(0.1, room.height);
        scene.mesh.add(blob(dice, axes, roughness).moved([place[0], place[1], height]));
    }
    (scene, room)
}

/// Floor, walls, ceiling, beams, pillars.
fn shell(dice: &mut Dice, room: &Room) -> Mesh {
    let (low, high) = room.bounds();
    let uneven = Field::new(dice, 0.7);
    let out = |x: f32, by: f32| x + by;
    let mut mesh = height_field(low.map(|x| out(x, -0.2)), high.map(|x| out(x, 0.2)), 40, |x, y| {
        0.004 * uneven.at2(x, y)
    });
    let missing = dice.chance(0.25).then(|| dice.below(room.outline.len()));
    for (i, (a, b)) in room.edges().enumerate() {
        if missing != Some(i) {
            let (dx, dy) = (b[0] - a[0], b[1] - a[1]);
            let part = wall(dice, dx.hypot(dy), room.height);
            mesh.add_at(part, [a[0], a[1], 0.0], dy.atan2(dx));
        }
    }
    let (w, l) = (high[0] - low[0], high[1] - low[1]);
    let centre = [(low[0] + high[0]) / 2.0, (low[1] + high[1]) / 2.0];
    if dice.chance(0.6) {
        mesh.add(cuboid([centre[0], centre[1], room.height + 0.05], [w + 0.4, l + 0.4, 0.1]));
    }
    if dice.chance(0.3) {
        for i in 0..5 {
            let y = low[1] + (i as f32 + 0.5) / 5.0 * l;
            mesh.add(cuboid([centre[0], y, room.height - 0.1], [w, 0.15, 0.2]));
        }
    }
    if dice.chance(0.25) {
        let place = room.place(dice, 0.8);
        let (width, height) = (dice.between(0.8, 1.8), dice.between(1.0, 2.0));
        let part = arch(width, height, dice.between(0.15, 0.5), dice.between(0.2, 0.6));
        mesh.add_at(part, [place[0], place[1], 0.0], dice.turn());
    }
    for _ in 0..if dice.chance(0.3) { dice.count(1, 4) } else { 0 } {
        let place = room.place(dice, 0.3);
        let pillar = column(dice);
        mesh.add(pillar.moved([place[0], place[1], 0.0]));
    }
    mesh
}

/// A stretch of wall in its own frame: x along it from `from` to `to`, z up.
struct Stretch {
    from: f32,
    to: f32,
    low: f32,
    high: f32,
}

impl Stretch {
    /// A slab of this thickness, its middle `offset` away from the wall's middle plane.
    fn slab(&self, mesh: &mut Mesh, thickness: f32, offset: f32) {
        let (w, h) = (self.to - self.from, self.high - self.low);
        if w > 0.01 && h > 0.01 {
            let centre = [(self.from + self.to) / 2.0, offset, (self.low + self.high) / 2.0];
            mesh.add(cuboid(centre, [w, thickness, h]));
        }
    }
}

/// A wall along x from the origin, with windows, doors, panels and pictures.
fn wall(dice: &mut Dice, length: f32, height: f32) -> Mesh {
    const THICKNESS: f32 = 0.12;
    let mut mesh = Mesh::new();
    let mut x = 0.0;
    while x < length {
        let bay = Stretch { from: x, to: (x + dice.between(0.6, 3.0)).min(length), low: 0.0, high: height };
        let w = bay.to - bay.from;
        if w > 1.0 && dice.chance(0.45) {
            opening(dice, &mut mesh, &bay, THICKNESS);
        } else {
            bay.slab(&mut mesh, THICKNESS, 0.0);
            hang(dice, &mut mesh, &bay, THICKNESS);
        }
        x = bay.to;
    }
    if dice.chance(0.5) {
        Stretch { from: 0.0, to: length, low: 0.0, high: 0.08 }.slab(&mut mesh, THICKNESS + 0.04, 0.0);
    }
    mesh
}

/// A window or door within a bay.
fn opening(dice: &mut Dice, mesh: &mut Mesh, bay: &Stretch, thickness: f32) {
    let (a, b) = (bay.from + dice.between(0.1, 0.4), bay.to - dice.between(0.1, 0.4));
    let low = if dice.chance(0.3) { 0.0 } else { dice.between(0.6, 1.1) };
    let high = dice.between(1.7, 2.3).min(bay.high - 0.1);
    Stretch { to: a, ..*bay }.slab(mesh, thickness, 0.0);
    Stretch { from: b, ..*bay }.slab(mesh, thickness, 0.0);
    Stretch { from: a, to: b, low: bay.low, high: low }.slab(mesh, thickness, 0.0);
    Stretch { from: a, to: b, low: high, high: bay.high }.slab(mesh, thickness, 0.0);
    if dice.chance(0.8) {
        let inset = dice.between(-0.6, 0.6) * thickness;
        Stretch { from: a, to: b, low, high }.slab(mesh, 0.03, inset);
    }
    if dice.chance(0.6) {
        Stretch { from: a - 0.05, to: b + 0.05, low: low - 0.04, high: low + 0.02 }.slab(
            mesh,
            thickness + 0.15,
            0.0,
        );
    }
    if dice.chance(0.5) {
        let middle = dice.between(a + 0.1, b - 0.1);
        Stretch { from: middle - 0.03, to: middle + 0.03, low, high }.slab(mesh, 0.06, 0.0);
    }
}

/// Pictures, boards, panels, radiators.
fn hang(dice: &mut Dice, mesh: &mut Mesh, bay: &Stretch, thickness: f32) {
    for _ in 0..dice.count(0, 3) {
        let from = dice.between(bay.from, bay.from + 0.6 * (bay.to - bay.from));
        let low = dice.between(0.1, bay.high * 0.75);
        let panel = Stretch {
            from,
            to: (from + dice.between(0.2, 1.2)).min(bay.to),
            low,
            high: (low + dice.between(0.15, 0.9)).min(bay.high),
        };
        panel.slab(mesh, thickness + dice.between(0.03, 0.3), 0.0);
    }
}

/// Walks along every wall and puts furniture against it, with gaps.
fn furnish_walls(dice: &mut Dice, room: &Room, scene: &mut Furnished) {
    let fullness = dice.between(0.3, 0.95);
    let has_kitchen = dice.chance(0.45);
    let kitchen_wall = dice.below(room.outline.len());
    for (i, (a, b)) in room.edges().enumerate() {
        let (dx, dy) = (b[0] - a[0], b[1] - a[1]);
        let (length, heading) = (dx.hypot(dy), dy.atan2(dx));
        let mut x = 0.3;
        while x < length - 0.6 {
            if !dice.chance(fullness) {
                x += dice.between(0.3, 1.2);
                continue;
            }
            let cook = has_kitchen && i == kitchen_wall && x < 1.0;
            let thing =
                if cook { kitchen(dice) } else { wall_furniture(dice).scaled(dice.between(0.85, 1.15)) };
            let (low, high) = footprint(&thing);
            // Things face −y; turning them by half puts their backs, at y = high, against the wall.
            let (w, back) = (high[0] - low[0], 0.07 + dice.between(0.0, 0.1));
            if x + w < length - 0.1 || x < 0.4 {
                let thing =
                    thing.moved([-low[0], -high[1], 0.0]).yawed(TAU / 2.0 + dice.between(-0.06, 0.06));
                scene.mesh.add_at(thing.moved([x + w, back, 0.0]), [a[0], a[1], 0.0], heading);
            }
            x += w + dice.between(0.0, 0.3);
        }
    }
    if dice.chance(0.3) {
        let place = room.place(dice, 1.0);
        let top = block(0.0, 0.0, 0.0, [dice.between(0.8, 2.0), dice.between(0.6, 1.0), 0.9]);
        scene.mesh.add_at(top, [place[0], place[1], 0.0], dice.turn());
    }
}

/// Low and high corner of a thing's bounding rectangle on the floor.
fn footprint(thing: &Mesh) -> ([f32; 2], [f32; 2]) {
    let empty = ([f32::INFINITY; 2], [f32::NEG_INFINITY; 2]);
    thing.vertices.iter().fold(empty, |(low, high), v| {
        ([low[0].min(v[0]), low[1].min(v[1])], [high[0].max(v[0]), high[1].max(v[1])])
    })
}
