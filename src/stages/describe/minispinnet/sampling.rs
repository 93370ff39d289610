//! Which points of a patch lie in which cell.

use std::f64::consts::{PI, TAU};
use std::sync::LazyLock;

use multiversion::multiversion;

use super::{CELLS, MOST_POINTS, REACH, SAMPLES, SHELLS};
use crate::cloud::Point;
use crate::stages::describe::{AZIMUTHS, ELEVATIONS};
use crate::stages::frame::Frame;
use crate::stages::lanes::{BITS, LANES};
use crate::stages::patch::PATCH_CAPACITY;

/// A coordinate of all points of a patch, padded to whole registers.
type Coordinates = [f32; PATCH_CAPACITY];

/// The points of one patch in its frame, ready to be looked up by cell. Cells are counted
/// `(shell · ELEVATIONS + elevation) · AZIMUTHS + azimuth`.
pub struct Sampling {
    count: usize,
    x: Coordinates,
    y: Coordinates,
    z: Coordinates,
}

/// The points that a cell takes: places in the patch, ascending.
struct Hits {
    places: [usize; SAMPLES],
    count: usize,
}

/// Where the cells are.
pub(super) struct Grid {
    pub centres: [Point; CELLS],
    /// cos and sin of the angle from each azimuth cell to the first.
    pub turns: [(f32, f32); AZIMUTHS],
}

pub(super) static GRID: LazyLock<Grid> = LazyLock::new(|| {
    let turn = |azimuth: usize| (-TAU * azimuth as f64 / AZIMUTHS as f64).sin_cos();
    Grid {
        centres: std::array::from_fn(centre),
        turns: std::array::from_fn(turn).map(|(sin, cos)| (cos as f32, sin as f32)),
    }
});

fn centre(cell: usize) -> Point {
    let (shell, elevation) = (cell / AZIMUTHS / ELEVATIONS, cell / AZIMUTHS % ELEVATIONS);
    let distance = (shell as f64 + 0.5) / SHELLS as f64;
    let (sin, cos) = (PI * (elevation as f64 + 0.5) / ELEVATIONS as f64).sin_cos();
    let azimuth = TAU * ((cell % AZIMUTHS) as f64 + 0.5) / AZIMUTHS as f64;
    [distance * sin * azimuth.cos(), distance * sin * azimuth.sin(), distance * cos].map(|x| x as f32)
}

impl Default for Sampling {
    fn default() -> Self {
        let nowhere = [f32::INFINITY; PATCH_CAPACITY];
        Self { count: 0, x: nowhere, y: nowhere, z: nowhere }
    }
}

impl Sampling {
    /// Takes the points of a patch (offsets over the radius) in place of those of the last one.
    pub fn load(&mut self, points: &[Point], frame: &Frame) {
        self.count = points.len().min(MOST_POINTS);
        for (i, d) in points[..self.count].iter().enumerate() {
            // p_patch = Rᵀ d: the columns of R are its rows.
            self.x[i] = frame[0] * d[0] + frame[3] * d[1] + frame[6] * d[2];
            self.y[i] = frame[1] * d[0] + frame[4] * d[1] + frame[7] * d[2];
            self.z[i] = frame[2] * d[0] + frame[5] * d[1] + frame[8] * d[2];
        }
        // The rest of the last register that is looked at belongs to no cell.
        let padding = self.count..self.count.next_multiple_of(LANES);
        self.x[padding].fill(f32::INFINITY);
    }

    /// Places in the patch of the points that `cell` takes, ascending.
    pub fn places(&self, cell: usize) -> Vec<usize> {
        let hits = self.hits(cell);
        hits.places[..hits.count].to_vec()
    }

    /// The points that `cell` takes, filled up, in the cell's own frame.
    pub fn points(&self, cell: usize) -> [Point; SAMPLES] {
        let hits = self.hits(cell);
        let (cos, sin) = GRID.turns[cell % AZIMUTHS];
        let mut points = [[0.0; 3]; SAMPLES];
        for (point, &place) in points.iter_mut().zip(&hits.places[..hits.count]) {
            // The patch's first point counts as one at the keypoint.
            if place > 0 {
                let (x, y) = (self.x[place], self.y[place]);
                *point = [cos * x - sin * y, sin * x + cos * y, self.z[place]];
            }
        }
        points
    }

    fn hits(&self, cell: usize) -> Hits {
        first_within_reach(self, &GRID.centres[cell])
    }
}

/// Distances are compared as `(dx² + dy²) + dz² < REACH²`, all in f32.
#[multiversion(targets("x86_64+avx512f+avx512bw+avx512cd+avx512dq+avx512vl+fma", "x86_64+avx2+fma"))]
fn first_within_reach(points: &Sampling, centre: &Point) -> Hits {
    let mut hits = Hits { places: [0; SAMPLES], count: 0 };
    for begin in (0..points.count).step_by(LANES) {
        let [x, y, z]: [&[f32; LANES]; 3] = [&points.x, &points.y, &points.z]
            .map(|values| values[begin..].first_chunk().expect("coordinates come in whole registers"));
        let mut within = 0;
        for lane in 0..LANES {
            let (dx, dy, dz) = (centre[0] - x[lane], centre[1] - y[lane], centre[2] - z[lane]);
            within |= if (dx * dx + dy * dy) + dz * dz < REACH * REACH { BITS[lane] } else { 0 };
        }
        while within != 0 {
            hits.places[hits.count] = begin + within.trailing_zeros() as usize;
            hits.count += 1;
            if hits.count == SAMPLES {
                return hits;
            }
            within &= within - 1;
        }
    }
    hits
}
