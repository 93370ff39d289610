//! Things that stand in rooms. Each is made at the origin, z up, facing −y; lengths in metres.

use std::f32::consts::{FRAC_PI_2, TAU};

use super::dice::Dice;
use super::mesh::Mesh;
use super::primitives::{blob, block, cuboid, cylinder, lathe, leaves, torus};

type Maker = fn(&mut Dice) -> Mesh;

/// A random piece of furniture; common things come more often.
pub(super) fn furniture(dice: &mut Dice) -> Mesh {
    const MAKERS: [Maker; 19] = [
        table, table, chair, chair, chair, sofa, shelf, shelf, shelf, cabinet, bed, plant, floor_lamp,
        stairs, column, person, statue, pile, pile,
    ];
    dice.pick(&MAKERS)(dice)
}

/// Furniture that one puts along a wall.
pub(super) fn wall_furniture(dice: &mut Dice) -> Mesh {
    const MAKERS: [Maker; 11] = [kitchen, desk, desk, shelf, shelf, cabinet, cabinet, sofa, bed, pile, table];
    dice.pick(&MAKERS)(dice)
}

fn scatter(dice: &mut Dice, mesh: &mut Mesh, count: usize, spread: [f32; 2], height: f32) {
    for _ in 0..count {
        let at = [dice.between(-0.5, 0.5) * spread[0], dice.between(-0.5, 0.5) * spread[1], height];
        let thing = clutter(dice);
        mesh.add_at(thing, at, dice.turn());
    }
}

/// A thing of the size of a hand to an arm.
pub(super) fn clutter(dice: &mut Dice) -> Mesh {
    let s = dice.between(0.06, 0.3);
    match dice.below(12) {
        0 | 1 => block(0.0, 0.0, 0.0, [s * dice.between(0.3, 1.4), s * dice.between(0.3, 1.4), s]),
        2 | 3 => bottle(dice, s),
        4 => {
            let roughness = dice.between(0.05, 0.4);
            blob(dice, [s * 0.5, s * 0.4, s * 0.5], roughness).moved([0.0, 0.0, s * 0.5])
        }
        5 => screen(dice),
        6 => books(dice),
        7 => {
            let turn = dice.rotation();
            torus(s * 0.5, s * 0.15).turned(&turn).moved([0.0, 0.0, s * 0.3])
        }
        8 => table_lamp(dice),
        9 => pot_plant(dice, s),
        10 => mug(s),
        _ => papers(dice, s),
    }
}

fn bottle(dice: &mut Dice, s: f32) -> Mesh {
    let (shoulder, waist) = (s * dice.between(0.2, 0.7), s * dice.between(0.1, 0.4));
    let profile =
        [(1e-3, 0.0), (s * 0.4, 0.0), (shoulder, s * 0.6), (waist, s), (s * 0.12, s * 1.4), (1e-3, s * 1.4)];
    lathe(&profile, 14)
}

fn screen(dice: &mut Dice) -> Mesh {
    let (w, h) = (dice.between(0.25, 0.7), dice.between(0.2, 0.45));
    let mut mesh = block(0.0, 0.0, 0.0, [w * 0.5, 0.2, 0.02]);
    mesh.add(block(0.0, 0.03, 0.0, [0.05, 0.03, 0.2]));
    let panel = cuboid([0.0; 3], [w, dice.between(0.02, 0.06), h]).pitched(dice.between(-0.4, 0.15));
    mesh.add(panel.moved([0.0, 0.0, 0.1 + h / 2.0]));
    mesh
}

fn books(dice: &mut Dice) -> Mesh {
    let mut mesh = Mesh::new();
    let mut x = 0.0;
    for _ in 0..dice.count(2, 9) {
        let (t, d, h) = (dice.between(0.015, 0.06), dice.between(0.1, 0.22), dice.between(0.15, 0.32));
        let book = cuboid([0.0; 3], [t, d, h]).rolled(dice.between(-0.15, 0.15));
        mesh.add(book.moved([x, 0.0, h / 2.0]));
        x += t + 0.005;
    }
    mesh
}

fn table_lamp(dice: &mut Dice) -> Mesh {
    let h = dice.between(0.3, 0.6);
    let mut mesh = cylinder(0.09, 0.09, 0.03, 12);
    mesh.add(cylinder(0.015, 0.015, h, 8));
    mesh.add(lathe(&[(dice.between(0.1, 0.2), 0.0), (0.06, h * 0.4)], 16).moved([0.0, 0.0, h * 0.7]));
    mesh
}

fn pot_plant(dice: &mut Dice, s: f32) -> Mesh {
    let mut mesh = leaves(dice, [0.0, 0.0, s * 1.4], [s * 0.8, s * 0.8, s], 60, s * 0.18);
    mesh.add(cylinder(s * 0.35, s * 0.5, s * 0.6, 12));
    mesh
}

fn mug(s: f32) -> Mesh {
    let profile = [
        (1e-3, 0.0),
        (s * 0.35, 0.0),
        (s * 0.4, s * 0.8),
        (s * 0.36, s * 0.8),
        (s * 0.33, 0.02),
        (1e-3, 0.02),
    ];
    let mut mesh = lathe(&profile, 14);
    mesh.add(torus(s * 0.2, s * 0.05).pitched(FRAC_PI_2).moved([s * 0.45, 0.0, s * 0.4]));
    mesh
}

fn papers(dice: &mut Dice, s: f32) -> Mesh {
    let mut mesh = Mesh::new();
    for _ in 0..3 {
        let size = [dice.between(0.05, 0.3), dice.between(0.05, 0.3), s * dice.between(0.2, 1.0)];
        let at = [dice.between(-0.1, 0.1), dice.between(-0.1, 0.1), size[2] / 2.0];
        mesh.add_at(cuboid([0.0; 3], size), at, dice.turn());
    }
    mesh
}

fn legs(mesh: &mut Mesh, w: f32, d: f32, h: f32, thickness: f32) {
    for (a, b) in [(-1.0, -1.0), (-1.0, 1.0), (1.0, -1.0), (1.0, 1.0)] {
        mesh.add(block(a * w / 2.0, b * d / 2.0, 0.0, [thickness, thickness, h]));
    }
}

fn table(dice: &mut Dice) -> Mesh {
    let (w, d, h) = (dice.between(0.6, 2.0), dice.between(0.5, 1.1), dice.between(0.4, 1.05));
    let t = dice.between(0.02, 0.06);
    let mut mesh = Mesh::new();
    if dice.chance(0.3) {
        mesh.add(cylinder(d * 0.7, d * 0.7, t, 20).moved([0.0, 0.0, h - t]));
        mesh.add(lathe(&[(0.25, 0.0), (0.2, 0.03), (0.04, 0.06), (0.05, h - t)], 14));
    } else {
        mesh.add(block(0.0, 0.0, h - t, [w, d, t]));
        let l = dice.between(0.03, 0.09);
        legs(&mut mesh, w - 2.0 * l, d - 2.0 * l, h, l);
        if dice.chance(0.4) {
            mesh.add(block(dice.between(-0.25, 0.25) * w, 0.0, 0.0, [w * 0.35, d * 0.9, h * 0.95]));
        }
    }
    let things = dice.count(0, 9);
    scatter(dice, &mut mesh, things, [w * 0.85, d * 0.85], h);
    mesh
}

/// A table with screens, and the chair before it.
fn desk(dice: &mut Dice) -> Mesh {
    let mut mesh = table(dice);
    let top = mesh.vertices.iter().map(|v| v[2]).fold(0.0, f32::max).min(0.75);
    for _ in 0..dice.count(0, 2) {
        let monitor = screen(dice);
        mesh.add_at(monitor, [dice.between(-0.5, 0.5), 0.1, top], dice.between(-0.4, 0.4));
    }
    let seat = chair(dice);
    mesh.add_at(seat, [dice.between(-0.3, 0.3), -0.7, 0.0], dice.turn());
    mesh
}

fn chair(dice: &mut Dice) -> Mesh {
    let (w, h, back) = (dice.between(0.4, 0.6), dice.between(0.38, 0.5), dice.between(0.35, 0.6));
    let mut mesh = cuboid([0.0, 0.0, h], [w, w, dice.between(0.03, 0.12)]);
    let rest = cuboid([0.0; 3], [w, dice.between(0.03, 0.1), back]).pitched(dice.between(-0.25, 0.0));
    mesh.add(rest.moved([0.0, w / 2.0, h + back / 2.0]));
    if dice.chance(0.5) {
        mesh.add(cylinder(0.03, 0.03, h, 8));
        for i in 0..5 {
            let foot = cuboid([w * 0.28, 0.0, 0.05], [w * 0.55, 0.05, 0.05]);
            mesh.add(foot.yawed(i as f32 * TAU / 5.0));
        }
    } else {
        legs(&mut mesh, w * 0.9, w * 0.9, h, 0.04);
    }
    if dice.chance(0.4) {
        for side in [-0.5, 0.5] {
            mesh.add(cuboid([side * w, 0.0, h + 0.2], [0.05, w * 0.8, 0.05]));
            mesh.add(cuboid([side * w, 0.0, h + 0.1], [0.04, 0.04, 0.2]));
        }
    }
    mesh
}

fn sofa(dice: &mut Dice) -> Mesh {
    let (w, d) = (dice.between(0.8, 2.2), dice.between(0.7, 1.0));
    let mut mesh = blob(dice, [w / 2.0, d / 2.0, 0.28], 0.04).moved([0.0, 0.0, 0.25]);
    mesh.add(cuboid([0.0, d * 0.4, 0.45], [w, 0.2, 0.7]));
    for side in [-0.5, 0.5] {
        mesh.add(cuboid([side * w, 0.0, 0.32], [0.18, d, 0.6]));
    }
    for _ in 0..dice.count(0, 4) {
        let turn = dice.rotation();
        let cushion = blob(dice, [0.22, 0.2, 0.12], 0.15).turned(&turn);
        mesh.add(cushion.moved([dice.between(-0.4, 0.4) * w, dice.between(-0.1, 0.2), 0.55]));
    }
    mesh
}

fn shelf(dice: &mut Dice) -> Mesh {
    let (w, d, h) = (dice.between(0.5, 1.6), dice.between(0.22, 0.6), dice.between(0.7, 2.3));
    let mut mesh = Mesh::new();
    for side in [-0.5, 0.5] {
        mesh.add(block(side * w, 0.0, 0.0, [0.03, d, h]));
    }
    if dice.chance(0.6) {
        mesh.add(block(0.0, d / 2.0, 0.0, [w, 0.02, h]));
    }
    let boards = dice.count(2, 6);
    for i in 0..=boards {
        let z = h * i as f32 / boards as f32;
        mesh.add(cuboid([0.0, 0.0, z], [w, d, 0.03]));
        let things = dice.count(0, 5);
        scatter(dice, &mut mesh, things, [w * 0.8, d * 0.5], z + 0.015);
    }
    mesh
}

/// Doors with handles on the front of a box of `w` × `h` whose front is y = `front`.
fn doors(dice: &mut Dice, mesh: &mut Mesh, [w, h]: [f32; 2], front: f32, base: f32) {
    let (columns, rows) = (dice.count(1, 3), dice.count(1, 4));
    let thickness = dice.between(0.005, 0.03);
    let size = [w / columns as f32, h / rows as f32];
    for i in 0..columns * rows {
        let x = ((i % columns) as f32 + 0.5) * size[0] - w / 2.0;
        let z = base + ((i / columns) as f32 + 0.5) * size[1];
        mesh.add(cuboid([x, front - thickness / 2.0, z], [size[0] - 0.03, thickness, size[1] - 0.03]));
        let handle = [x + dice.between(-0.1, 0.1), front - thickness - 0.02, z];
        mesh.add(cuboid(handle, [dice.between(0.02, 0.15), 0.03, 0.02]));
    }
}

fn cabinet(dice: &mut Dice) -> Mesh {
    let (w, d, h) = (dice.between(0.4, 1.6), dice.between(0.4, 0.7), dice.between(0.5, 2.1));
    let mut mesh = block(0.0, 0.0, 0.0, [w, d, h]);
    doors(dice, &mut mesh, [w, h], -d / 2.0, 0.0);
    let things = dice.count(0, 5);
    scatter(dice, &mut mesh, things, [w * 0.8, d * 0.6], h);
    mesh
}

/// A row of base cupboards with a cluttered worktop, hanging cupboards and perhaps a tall fridge.
pub(super) fn kitchen(dice: &mut Dice) -> Mesh {
    let (length, depth, top) = (dice.between(1.6, 3.6), dice.between(0.55, 0.7), dice.between(0.85, 0.95));
    let mut mesh = block(0.0, 0.03, 0.0, [length, depth - 0.06, top - 0.04]);
    doors(dice, &mut mesh, [length, top - 0.14], -depth / 2.0 + 0.06, 0.1);
    mesh.add(block(0.0, 0.0, top - 0.04, [length, depth, 0.04]));
    let things = (length * dice.between(3.0, 9.0)) as usize;
    scatter(dice, &mut mesh, things, [length * 0.95, depth * 0.7], top);
    tap(dice, &mut mesh, length, top);
    let mut x = -length / 2.0;
    let (under, height) = (dice.between(1.35, 1.6), dice.between(0.4, 0.8));
    while x < length / 2.0 - 0.3 {
        let w = dice.between(0.3, 0.9).min(length / 2.0 - x);
        if dice.chance(0.75) {
            let d = dice.between(0.28, 0.4);
            let mut cupboard = block(0.0, depth / 2.0 - d / 2.0, under, [w - 0.01, d, height]);
            doors(dice, &mut cupboard, [w, height], depth / 2.0 - d, under);
            mesh.add(cupboard.moved([x + w / 2.0, 0.0, 0.0]));
        }
        x += w;
    }
    if dice.chance(0.6) {
        let side = dice.sign() * (length / 2.0 + 0.33);
        let fridge = [0.6, depth + 0.05, dice.between(1.2, 2.0)];
        mesh.add(block(side, 0.0, 0.0, fridge));
        mesh.add(cuboid([side + 0.25, -depth / 2.0 - 0.05, 1.0], [0.03, 0.05, 0.5]));
        let things = dice.count(0, 4);
        let mut on_top = Mesh::new();
        scatter(dice, &mut on_top, things, [0.5, 0.4], fridge[2]);
        mesh.add(on_top.moved([side, 0.0, 0.0]));
    }
    mesh
}

fn tap(dice: &mut Dice, mesh: &mut Mesh, length: f32, top: f32) {
    let x = dice.between(-0.35, 0.35) * length;
    mesh.add(cylinder(0.015, 0.015, 0.3, 8).moved([x, 0.2, top]));
    mesh.add(cuboid([x, 0.1, top + 0.3], [0.025, 0.2, 0.025]));
    mesh.add(torus(0.2, 0.02).moved([x, 0.0, top]));
}

fn bed(dice: &mut Dice) -> Mesh {
    let (w, l) = (dice.between(0.9, 1.8), dice.between(1.8, 2.1));
    let mut mesh = cuboid([0.0, 0.0, 0.2], [w, l, 0.3]);
    mesh.add(blob(dice, [w / 2.0, l / 2.0, 0.18], 0.06).moved([0.0, 0.0, 0.4]));
    mesh.add(cuboid([0.0, l / 2.0, 0.5], [w, 0.06, 1.0]));
    mesh.add(blob(dice, [0.35, 0.22, 0.1], 0.12).moved([0.0, l * 0.4, 0.58]));
    mesh
}

fn plant(dice: &mut Dice) -> Mesh {
    let s = dice.between(0.2, 0.6);
    let mut mesh = cylinder(s * 0.4, s * 0.55, s * 0.7, 12);
    mesh.add(cylinder(0.03, 0.03, s * 2.0, 8));
    let (count, size) = (dice.count(80, 260), dice.between(0.03, 0.09));
    mesh.add(leaves(dice, [0.0, 0.0, s * 2.2], [s; 3], count, size));
    mesh
}

fn floor_lamp(dice: &mut Dice) -> Mesh {
    let h = dice.between(1.2, 1.9);
    let mut mesh = cylinder(0.16, 0.16, 0.03, 16);
    mesh.add(cylinder(0.02, 0.02, h, 8));
    let shade = [(dice.between(0.15, 0.3), 0.0), (dice.between(0.05, 0.2), dice.between(0.2, 0.35))];
    mesh.add(lathe(&shade, 16).moved([0.0, 0.0, h - 0.1]));
    mesh
}

pub(super) fn stairs(dice: &mut Dice) -> Mesh {
    let (w, tread, rise) = (dice.between(0.7, 1.5), dice.between(0.22, 0.32), dice.between(0.13, 0.2));
    let mut mesh = Mesh::new();
    for i in 0..dice.count(3, 11) {
        let (y, z) = (i as f32 * tread, (i + 1) as f32 * rise);
        mesh.add(block(0.0, y, 0.0, [w, tread, z]));
        mesh.add(block(w / 2.0, y, z, [0.03, 0.03, 0.8]));
    }
    mesh
}

pub(super) fn column(dice: &mut Dice) -> Mesh {
    let (h, r) = (2.6, dice.between(0.1, 0.3));
    let profile =
        [(r * 1.5, 0.0), (r * 1.5, 0.2), (r, 0.3), (r * 0.9, h - 0.4), (r * 1.4, h - 0.2), (r * 1.4, h)];
    lathe(&profile, dice.count(4, 18))
}

pub(super) fn person(dice: &mut Dice) -> Mesh {
    let h = dice.between(1.5, 1.9);
    let mut mesh = blob(dice, [0.22, 0.14, h * 0.2], 0.1).moved([0.0, 0.0, h * 0.6]);
    mesh.add(blob(dice, [0.1, 0.12, 0.13], 0.05).moved([0.0, 0.0, h * 0.92]));
    for side in [-1.0, 1.0] {
        let step = dice.between(-0.15, 0.15);
        mesh.add(blob(dice, [0.08, 0.09, h * 0.26], 0.08).moved([side * 0.1, step, h * 0.25]));
        let swing = dice.between(-0.3, 0.5);
        let arm = blob(dice, [0.05, 0.06, h * 0.17], 0.08).pitched(swing);
        mesh.add(arm.moved([side * 0.28, 0.0, h * 0.6]));
    }
    mesh
}

pub(super) fn statue(dice: &mut Dice) -> Mesh {
    let mut mesh = Mesh::new();
    for _ in 0..dice.count(2, 7) {
        let axes = std::array::from_fn(|_| dice.between(0.1, 0.45));
        let (roughness, turn) = (dice.between(0.1, 0.5), dice.rotation());
        let at = [dice.between(-0.2, 0.2), dice.between(-0.2, 0.2), dice.between(0.1, 1.0)];
        mesh.add(blob(dice, axes, roughness).turned(&turn).moved(at));
    }
    mesh
}

pub(super) fn pile(dice: &mut Dice) -> Mesh {
    let mut mesh = Mesh::new();
    for _ in 0..dice.count(4, 12) {
        let height = dice.between(0.0, 0.35);
        scatter(dice, &mut mesh, 1, [0.8, 0.8], height);
    }
    mesh
}
