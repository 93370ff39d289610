//! Buildings whose parts repeat: corridors with a door at equal distances, halls with rows of equal racks. Only what stands
//! in them tells one part from the next.

use super::dice::Dice;
use super::furniture::{clutter, furniture};
use super::mesh::Mesh;
use super::primitives::{block, cuboid};
use super::room::Room;
use super::things::{Furnished, SHOVED};

/// A corridor or a hall, and where sensors may stand in it.
pub(super) fn building(dice: &mut Dice) -> (Furnished, Room) {
    if dice.chance(0.5) { corridor(dice) } else { hall(dice) }
}

/// Along x, with equal rooms on both sides.
struct Corridor {
    width: f32,
    height: f32,
    /// From one door to the next, and of each door.
    bay: f32,
    door: f32,
    /// Of the rooms.
    depth: f32,
    /// What of the wall beside a door stands out, as its frame.
    frame: f32,
    /// Share of doors that are open.
    open: f32,
    /// Things in a room, at most.
    things: usize,
}

fn corridor(dice: &mut Dice) -> (Furnished, Room) {
    let corridor = Corridor {
        width: dice.between(1.8, 3.2),
        height: dice.between(2.4, 3.0),
        bay: dice.between(2.4, 4.2),
        door: dice.between(0.85, 1.1),
        depth: dice.between(2.5, 5.5),
        frame: dice.pick(&[0.0, 0.03, 0.1]),
        open: dice.between(0.2, 0.8),
        things: dice.count(0, 4),
    };
    let bays = dice.count(8, 18);
    let length = bays as f32 * corridor.bay;
    let whole_width = corridor.width + 2.0 * corridor.depth;
    let mut scene = Furnished::from(shell(length, whole_width, corridor.height));
    for bay in 0..bays {
        let x = bay as f32 * corridor.bay - length / 2.0;
        for turn in [0.0, std::f32::consts::PI] {
            // Turned about the middle of the bay, the other side is like this one.
            let middle = x + corridor.bay / 2.0;
            scene.mesh.add_at(corridor.room(dice), [middle, 0.0, 0.0], turn);
        }
    }
    for _ in 0..dice.count(0, 2 * bays) {
        let (x, side) = (dice.between(-0.5, 0.5) * length, dice.sign());
        let thing = clutter(dice).scaled(dice.between(1.0, 2.5));
        scene.put(thing, [x, side * (corridor.width / 2.0 - 0.25), 0.0], dice.turn(), SHOVED);
    }
    (scene, Room::rectangular(length, corridor.width, corridor.height))
}

impl Corridor {
    /// A bay's room on the side of positive y, with its part of the corridor's wall; the bay's middle is at x = 0.
    fn room(&self, dice: &mut Dice) -> Mesh {
        const THICKNESS: f32 = 0.12;
        const LINTEL: f32 = 2.05;
        let (near, half) = (self.width / 2.0, self.bay / 2.0);
        let beside = (self.bay - self.door) / 2.0;
        let mut mesh = Mesh::new();
        for side in [-1.0, 1.0] {
            let x = side * (half - beside / 2.0);
            mesh.add(block(x, near, 0.0, [beside, THICKNESS, self.height]));
            let post = [0.08, THICKNESS + 2.0 * self.frame, LINTEL];
            mesh.add(block(side * (self.door / 2.0 + 0.04), near, 0.0, post));
        }
        mesh.add(block(0.0, near, LINTEL, [self.door, THICKNESS, self.height - LINTEL]));
        if !dice.chance(self.open) {
            mesh.add(block(0.0, near + 0.03, 0.0, [self.door, 0.04, LINTEL]));
        }
        mesh.add(block(half, near + self.depth / 2.0, 0.0, [THICKNESS, self.depth, self.height]));
        for _ in 0..dice.count(0, self.things) {
            let at = [dice.between(-0.7, 0.7) * half, near + dice.between(0.3, 0.8) * self.depth, 0.0];
            let thing = furniture(dice);
            mesh.add_at(thing, at, dice.turn());
        }
        mesh
    }
}

/// Racks along x.
struct Racks {
    /// From one upright to the next.
    bay: f32,
    depth: f32,
    /// From one level to the next.
    level: f32,
    levels: usize,
    /// Share of the places that have goods on them.
    full: f32,
}

fn hall(dice: &mut Dice) -> (Furnished, Room) {
    let racks = Racks {
        bay: dice.between(1.8, 3.0),
        depth: dice.between(0.8, 1.2),
        level: dice.between(1.1, 1.8),
        levels: dice.count(2, 5),
        full: dice.between(0.1, 0.8),
    };
    let (bays, rows) = (dice.count(6, 16), dice.count(2, 7));
    let pitch = racks.depth + dice.between(2.2, 4.0);
    let length = bays as f32 * racks.bay + dice.between(4.0, 12.0);
    let width = (rows + 1) as f32 * pitch;
    let height = (racks.levels as f32 + 1.0) * racks.level + dice.between(0.5, 2.0);
    let mut scene = Furnished::from(shell(length, width, height));
    for row in 0..rows {
        let y = (row as f32 - (rows - 1) as f32 / 2.0) * pitch;
        for bay in 0..bays {
            let x = (bay as f32 - (bays - 1) as f32 / 2.0) * racks.bay;
            scene.mesh.add(racks.bay_of_goods(dice).moved([x, y, 0.0]));
        }
    }
    for _ in 0..dice.count(0, 12) {
        let at = [dice.between(-0.45, 0.45) * length, dice.between(-0.45, 0.45) * width, 0.0];
        let size = dice.between3(0.4, 1.4).into();
        scene.put(block(0.0, 0.0, 0.0, size), at, dice.turn(), SHOVED);
    }
    (scene, Room::rectangular(length, width, height))
}

impl Racks {
    /// Shelves between two uprights and what lies on them, about the origin.
    fn bay_of_goods(&self, dice: &mut Dice) -> Mesh {
        const BOARD: f32 = 0.08;
        const PLACES: usize = 3;
        let mut mesh = Mesh::new();
        let top = self.levels as f32 * self.level;
        for x in [-0.5, 0.5] {
            for y in [-0.5, 0.5] {
                mesh.add(block(x * self.bay, y * self.depth, 0.0, [0.1, 0.1, top]));
            }
        }
        for level in 0..self.levels {
            let base = 0.1 + level as f32 * self.level;
            mesh.add(block(0.0, 0.0, base, [self.bay, self.depth, BOARD]));
            for place in 0..PLACES {
                if dice.chance(self.full) {
                    let x = ((place as f32 + 0.5) / PLACES as f32 - 0.5) * self.bay;
                    let size = [
                        dice.between(0.4, 0.95) * self.bay / PLACES as f32,
                        dice.between(0.5, 1.0) * self.depth,
                        dice.between(0.25, 0.85) * self.level,
                    ];
                    let turn = 0.05 * dice.normal();
                    mesh.add_at(block(0.0, 0.0, 0.0, size), [x, 0.0, base + BOARD], turn);
                }
            }
        }
        mesh
    }
}

/// Floor, ceiling and four walls about the origin.
fn shell(length: f32, width: f32, height: f32) -> Mesh {
    const THICKNESS: f32 = 0.1;
    let mut mesh = Mesh::new();
    for z in [-THICKNESS / 2.0, height + THICKNESS / 2.0] {
        mesh.add(cuboid([0.0, 0.0, z], [length, width, THICKNESS]));
    }
    for side in [-0.5, 0.5] {
        mesh.add(block(0.0, side * width, 0.0, [length, THICKNESS, height]));
        mesh.add(block(side * length, 0.0, 0.0, [THICKNESS, width, height]));
    }
    mesh
}
