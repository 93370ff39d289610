//! The shapes that everything is made of. z is up; lengths in metres.

use std::f32::consts::{PI, TAU};

use nalgebra::Vector3;

use super::dice::Dice;
use super::mesh::Mesh;
use super::noise::Field;

/// A box about its centre.
pub(super) fn cuboid(centre: [f32; 3], size: [f32; 3]) -> Mesh {
    const FACES: [[u32; 3]; 12] = [
        [0, 1, 3],
        [0, 3, 2],
        [4, 6, 7],
        [4, 7, 5],
        [0, 4, 5],
        [0, 5, 1],
        [2, 3, 7],
        [2, 7, 6],
        [0, 2, 6],
        [0, 6, 4],
        [1, 5, 7],
        [1, 7, 3],
    ];
    let corner = |i: usize| {
        let side = [i >> 2 & 1, i >> 1 & 1, i & 1].map(|bit| bit as f32 - 0.5);
        std::array::from_fn(|k| centre[k] + side[k] * size[k])
    };
    Mesh { vertices: (0..8).map(corner).collect(), faces: FACES.to_vec() }
}

/// A box that stands on z = `base`.
pub(super) fn block(x: f32, y: f32, base: f32, size: [f32; 3]) -> Mesh {
    cuboid([x, y, base + size[2] / 2.0], size)
}

/// Two triangles for every cell of a `rows` × `columns` lattice of vertices.
fn lattice(rows: usize, columns: usize, wrap: bool) -> Vec<[u32; 3]> {
    let mut faces = Vec::with_capacity(2 * rows * columns);
    for i in 0..rows - 1 {
        for j in 0..if wrap { columns } else { columns - 1 } {
            let next = (j + 1) % columns;
            let [a, b, c, d] =
                [i * columns + j, i * columns + next, (i + 1) * columns + j, (i + 1) * columns + next]
                    .map(|v| v as u32);
            faces.extend([[a, b, d], [a, d, c]]);
        }
    }
    faces
}

/// A surface of revolution about z; `profile` lists (radius, height).
pub(super) fn lathe(profile: &[(f32, f32)], sides: usize) -> Mesh {
    let ring = |&(radius, height): &(f32, f32)| {
        (0..sides).map(move |i| {
            let (sin, cos) = (TAU * i as f32 / sides as f32).sin_cos();
            [radius * cos, radius * sin, height]
        })
    };
    Mesh { vertices: profile.iter().flat_map(ring).collect(), faces: lattice(profile.len(), sides, true) }
}

/// A closed cylinder or truncated cone that stands on the origin.
pub(super) fn cylinder(bottom: f32, top: f32, height: f32, sides: usize) -> Mesh {
    lathe(&[(1e-3, 0.0), (bottom, 0.0), (top, height), (1e-3, height)], sides)
}

/// A ring about z.
pub(super) fn torus(radius: f32, tube: f32) -> Mesh {
    let profile: Vec<_> = (0..=12)
        .map(|i| {
            let (sin, cos) = (TAU * i as f32 / 12.0).sin_cos();
            (radius + tube * cos, tube * sin)
        })
        .collect();
    lathe(&profile, 24)
}

/// A superquadric with a rough skin, about the origin, axis-aligned.
pub(super) fn blob(dice: &mut Dice, axes: [f32; 3], roughness: f32) -> Mesh {
    const RINGS: usize = 26;
    let power = dice.pick(&[1.0, 1.0, 0.8, 0.5]);
    let wavelength = dice.between(1.2, 4.0);
    let coarse = Field::new(dice, wavelength);
    let wavelength = dice.between(0.5, 1.0);
    let fine = Field::new(dice, wavelength);
    let vertex = |i: usize| {
        let polar = 0.02 + (PI - 0.04) * (i / (2 * RINGS)) as f32 / (RINGS - 1) as f32;
        let azimuth = PI * (i % (2 * RINGS)) as f32 / RINGS as f32;
        let d = Vector3::new(polar.sin() * azimuth.cos(), polar.sin() * azimuth.sin(), polar.cos());
        let bent = d.map(|x| x.signum() * x.abs().powf(power));
        let length: f32 = bent.iter().map(|x| x.abs().powf(2.0 / power)).sum::<f32>().powf(power / 2.0);
        let height = (1.0 + roughness * (coarse.of(&d) + 0.15 * fine.of(&d))).max(0.2);
        std::array::from_fn(|k| bent[k] / length * height * axes[k])
    };
    Mesh { vertices: (0..2 * RINGS * RINGS).map(vertex).collect(), faces: lattice(RINGS, 2 * RINGS, true) }
}

/// A height field over the rectangle `low..high` with `cells` cells a side.
pub(super) fn height_field(
    low: [f32; 2],
    high: [f32; 2],
    cells: usize,
    height: impl Fn(f32, f32) -> f32,
) -> Mesh {
    let at = |k: usize, i: usize| low[k] + (high[k] - low[k]) * i as f32 / cells as f32;
    let vertex = |i: usize| {
        let (x, y) = (at(0, i / (cells + 1)), at(1, i % (cells + 1)));
        [x, y, height(x, y)]
    };
    Mesh {
        vertices: (0..(cells + 1) * (cells + 1)).map(vertex).collect(),
        faces: lattice(cells + 1, cells + 1, false),
    }
}

/// Loose triangles in a lumpy ellipsoid: foliage.
pub(super) fn leaves(dice: &mut Dice, centre: [f32; 3], axes: [f32; 3], count: usize, size: f32) -> Mesh {
    let lumps = Field::new(dice, 1.2);
    let mut mesh = Mesh::new();
    for leaf in 0..count as u32 {
        let d = dice.direction();
        let reach = dice.between(0.25, 1.0).powf(0.4) * (1.0 + 0.3 * lumps.of(&d));
        for _ in 0..3 {
            let corner = dice.normal3() * size;
            mesh.vertices.push(std::array::from_fn(|k| centre[k] + d[k] * reach * axes[k] + corner[k]));
        }
        mesh.faces.push([3 * leaf, 3 * leaf + 1, 3 * leaf + 2]);
    }
    mesh
}

/// An outline in the x-z plane, drawn out along y to ±`width`/2. Caps are fans from the first corner.
pub(super) fn prism(outline: &[(f32, f32)], width: f32) -> Mesh {
    let n = outline.len() as u32;
    let side = |y: f32| outline.iter().map(move |&(x, z)| [x, y, z]);
    let mut faces = Vec::new();
    for i in 0..n {
        let next = (i + 1) % n;
        faces.extend([[i, next, n + next], [i, n + next, n + i]]);
    }
    for i in 1..n - 1 {
        faces.extend([[0, i, i + 1], [n, n + i + 1, n + i]]);
    }
    Mesh { vertices: side(-width / 2.0).chain(side(width / 2.0)).collect(), faces }
}

/// A doorway of two pillars and a ring of stones, on the origin, facing y.
pub(super) fn arch(width: f32, height: f32, thickness: f32, depth: f32) -> Mesh {
    const STONES: usize = 10;
    let mut mesh = Mesh::new();
    let radius = (width + thickness) / 2.0;
    for side in [-1.0, 1.0] {
        mesh.add(block(side * radius, 0.0, 0.0, [thickness, depth, height]));
    }
    for i in 0..STONES {
        let angle = (i as f32 + 0.5) * PI / STONES as f32;
        let stone = [(width / 2.0 + thickness) * PI / STONES as f32 * 1.05, depth, thickness];
        let stone = cuboid([0.0; 3], stone).rolled(PI / 2.0 - angle);
        mesh.add(stone.moved([radius * angle.cos(), 0.0, height + radius * angle.sin()]));
    }
    mesh
}
