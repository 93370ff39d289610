//! Features of the cells of one patch.
//!
//! The sums `W`, `m` and `S` are linear, so they are taken in the patch's frame, where a point adds the same ten
//! terms to its eight cells, each time with another weight: eight operations on a register of sixteen. Only then are
//! the 560 cells turned to their sectors and moved to their centres. `kernels/learned.cu` has the same operations.

use std::f64::consts::TAU;
use std::ops::Range;
use std::sync::LazyLock;

use multiversion::multiversion;

use super::{FEATURES, FULL_PATCH};
use crate::cloud::Point;
use crate::stages::describe::places::{Place, Places};
use crate::stages::describe::{AZIMUTHS, ELEVATIONS, RADII, RINGS};
use crate::stages::frame::Frame;

/// The features in the order in which [`CellFeatures::compute`] writes them, by their place in the module's list: those
/// first whose harmonics enter the invariant vector.
pub const FEATURE_ORDER: [usize; FEATURES] = [0, 1, 3, 4, 6, 10, 2, 5, 7, 8, 9];
/// Features of one sector.
pub const SECTOR: usize = RINGS * FEATURES;

/// Terms of a point: 1, x, y, z, xx, yy, zz, xy, xz, yz, padded to a full vector register.
const TERMS: usize = 10;
const PADDED_TERMS: usize = 16;
/// Points whose terms are written down together.
const POINTS_AT_A_TIME: usize = 32;
/// Sectors plus one that repeats the first, so that the next sector always comes next in memory.
const PADDED_AZIMUTHS: usize = AZIMUTHS + 1;

/// From the lowest to the highest of the eight cells that a point is spread over.
const NEIGHBOURS: usize = RINGS + ELEVATIONS + 2;

/// Sums over the points of every cell.
type Sums = [[f32; PADDED_TERMS]; PADDED_AZIMUTHS * RINGS];
/// One value for every ring of a sector, padded to whole vector registers.
type Rings = [f32; PADDED_RINGS];
const PADDED_RINGS: usize = RINGS.next_multiple_of(16);

/// Computes features of cells; keeps the memory for it.
pub struct CellFeatures {
    places: Places,
    sums: Box<Sums>,
}

impl Default for CellFeatures {
    fn default() -> Self {
        Self { places: Places::default(), sums: Box::new([[0.0; PADDED_TERMS]; PADDED_AZIMUTHS * RINGS]) }
    }
}

impl CellFeatures {
    /// Features of the patch of `points` (offsets over the radius, at most [`PATCH_CAPACITY`](crate::stages::patch::PATCH_CAPACITY)) in `frame`. Those of sector `k` go to the
    /// [`SECTOR`] values from `k · stride` on: feature after feature, in the order [`FEATURE_ORDER`], each of all rings.
    pub fn compute(&mut self, points: &[Point], frame: &Frame, features: &mut [f32], stride: usize) {
        self.places.locate(points, frame);
        add_points(&self.places, points.len(), &mut self.sums);
        let density = FULL_PATCH / points.len().max(1) as f32;
        finish(&self.sums, density, features, stride);
    }
}

/// Sums up the weighted terms of the points in every cell. The terms of some points at a time are written down first, so
/// that every use of them is a load of a whole register; few enough that the sums stay in the nearest cache.
#[multiversion(targets("x86_64+avx512f+avx512bw+avx512cd+avx512dq+avx512vl+fma", "x86_64+avx2+fma"))]
fn add_points(places: &Places, count: usize, sums: &mut Sums) {
    sums.fill([0.0; PADDED_TERMS]);
    let mut terms = [[0.0; PADDED_TERMS]; POINTS_AT_A_TIME];
    for begin in (0..count).step_by(POINTS_AT_A_TIME) {
        let points = begin..count.min(begin + POINTS_AT_A_TIME);
        write_terms(places, points.clone(), &mut terms);
        for (i, terms) in points.zip(&terms) {
            add_point(&places.get(i), terms, sums);
        }
    }
    let (sectors, repeated) = sums.split_at_mut(AZIMUTHS * RINGS);
    for (first, repeated) in sectors.iter_mut().zip(repeated) {
        add(first, repeated, 1.0);
    }
}

#[inline(always)]
fn write_terms(places: &Places, points: Range<usize>, terms: &mut [[f32; PADDED_TERMS]; POINTS_AT_A_TIME]) {
    for (i, terms) in points.zip(terms) {
        let [x, y, z] = places.get(i).point;
        terms[..TERMS].copy_from_slice(&[1.0, x, y, z, x * x, y * y, z * z, x * y, x * z, y * z]);
    }
}

/// Adds a point's terms to its eight cells.
#[inline(always)]
fn add_point(place: &Place, terms: &[f32; PADDED_TERMS], sums: &mut Sums) {
    let (u, v, a) = (place.radial, place.elevation, place.azimuth);
    let (here, next) = (place.weight * (1.0 - a), place.weight * a);
    let cells: &mut [[f32; PADDED_TERMS]; NEIGHBOURS] =
        sums[place.sector * RINGS + place.ring..].first_chunk_mut().expect("a sector follows");
    for (ring, share) in
        [(0, (1.0 - u) * (1.0 - v)), (1, (1.0 - u) * v), (ELEVATIONS, u * (1.0 - v)), (ELEVATIONS + 1, u * v)]
    {
        add(&mut cells[ring], terms, share * here);
        add(&mut cells[ring + RINGS], terms, share * next);
    }
}

#[inline(always)]
fn add(sums: &mut [f32; PADDED_TERMS], terms: &[f32; PADDED_TERMS], weight: f32) {
    for (sum, term) in sums.iter_mut().zip(terms) {
        *sum += weight * term;
    }
}

/// Where the cells are.
struct Grid {
    /// Distance of each ring's cell centres from the axis, and their height.
    distance: Rings,
    height: Rings,
    /// cos and sin of each sector's angle.
    directions: [(f32, f32); AZIMUTHS],
}

static GRID: LazyLock<Grid> = LazyLock::new(|| {
    let radius = |ring: usize| ((ring / ELEVATIONS) as f64 + 0.5) / RADII as f64;
    let sine = |ring: usize| ((ring % ELEVATIONS) as f64 + 0.5) / ELEVATIONS as f64 * 2.0 - 1.0;
    let direction = |sector: usize| {
        let (sin, cos) = (TAU * sector as f64 / AZIMUTHS as f64).sin_cos();
        (cos as f32, sin as f32)
    };
    Grid {
        distance: std::array::from_fn(|ring| (radius(ring) * (1.0 - sine(ring).powi(2)).sqrt()) as f32),
        height: std::array::from_fn(|ring| (radius(ring) * sine(ring)) as f32),
        directions: std::array::from_fn(direction),
    }
});

/// Where the cells are, for other devices: distances and heights of all rings, then cos and sin of all sectors.
pub(super) fn grid_values() -> Vec<f32> {
    let (cos, sin): (Vec<f32>, Vec<f32>) = GRID.directions.iter().copied().unzip();
    [&GRID.distance[..RINGS], &GRID.height[..RINGS], &cos, &sin].concat()
}

/// From sums in the patch's frame to features in the cells' frames.
#[multiversion(targets("x86_64+avx512f+avx512bw+avx512cd+avx512dq+avx512vl+fma", "x86_64+avx2+fma"))]
fn finish(sums: &Sums, density: f32, features: &mut [f32], stride: usize) {
    let grid = &*GRID;
    let mut columns = [[0.0; PADDED_RINGS]; TERMS];
    let mut finished = [[0.0; PADDED_RINGS]; FEATURES];
    for (k, direction) in grid.directions.iter().enumerate() {
        by_term(sums[k * RINGS..].first_chunk().expect("a sector of sums"), &mut columns);
        finish_sector(&columns, grid, *direction, density, &mut finished);
        let features = features[k * stride..][..SECTOR].chunks_exact_mut(RINGS);
        for (feature, finished) in features.zip(&finished) {
            feature.copy_from_slice(&finished[..RINGS]);
        }
    }
}

/// The sums of a sector, term by term. Compiled for the plainest processor and never as a part of its caller: for newer
/// ones the compiler chooses gather instructions, which are slower than single loads.
#[inline(never)]
fn by_term(sums: &[[f32; PADDED_TERMS]; RINGS], columns: &mut [Rings; TERMS]) {
    for (ring, sums) in sums.iter().enumerate() {
        for (column, sum) in columns.iter_mut().zip(sums) {
            column[ring] = *sum;
        }
    }
}

/// Turns and moves the sums of a sector to its cells' frames, and scales them.
#[inline(always)]
fn finish_sector(
    sums: &[Rings; TERMS],
    grid: &Grid,
    (cos, sin): (f32, f32),
    density: f32,
    finished: &mut [Rings; FEATURES],
) {
    const PER_LENGTH: f32 = RADII as f32;
    const PER_AREA: f32 = (RADII * RADII) as f32;
    let (cos_cos, sin_sin, cos_sin) = (cos * cos, sin * sin, cos * sin);
    for ring in 0..PADDED_RINGS {
        let (w, x, y, z) = (sums[0][ring], sums[1][ring], sums[2][ring], sums[3][ring]);
        let (xx, yy, zz) = (sums[4][ring], sums[5][ring], sums[6][ring]);
        let (xy, xz, yz) = (sums[7][ring], sums[8][ring], sums[9][ring]);
        // R m and R S Rᵀ, with R the rotation by minus the sector's angle.
        let (x, y) = (cos * x + sin * y, cos * y - sin * x);
        let (xz, yz) = (cos * xz + sin * yz, cos * yz - sin * xz);
        let twice = 2.0 * cos_sin * xy;
        let turned_xy = cos_sin * (yy - xx) + (cos_cos - sin_sin) * xy;
        let (xx, yy) = (cos_cos * xx + twice + sin_sin * yy, sin_sin * xx - twice + cos_cos * yy);
        // m - W c, and S - c mᵀ - m cᵀ + W c cᵀ, with c = (distance, 0, height).
        let (distance, height) = (grid.distance[ring], grid.height[ring]);
        let (moved_x, moved_z) = (x - w * distance, z - w * height);
        let share = 1.0 / (w + 1.0);
        let (length, area) = (share * PER_LENGTH, share * PER_AREA);
        finished[0][ring] = w * share;
        finished[1][ring] = moved_x * length;
        finished[2][ring] = moved_z * length;
        finished[3][ring] = (xx - distance * (x + moved_x)) * area;
        finished[4][ring] = (zz - height * (z + moved_z)) * area;
        finished[6][ring] = y * length;
        finished[7][ring] = yy * area;
        finished[8][ring] = (turned_xy - distance * y) * area;
        finished[9][ring] = (xz - distance * z - height * moved_x) * area;
        finished[10][ring] = (yz - height * y) * area;
    }
    for (value, w) in finished[5].iter_mut().zip(&sums[0]) {
        *value = logarithm(1.0 + w * density) / 3.0;
    }
}

/// The natural logarithm of a number of at least 1, to 3·10⁻⁷, without branches so that loops over it vectorise.
#[inline(always)]
fn logarithm(x: f32) -> f32 {
    // x = m · 2ᵉ with m in √½..√2, and ln m = 2 artanh t with t = (m - 1) / (m + 1), |t| < 0.172.
    const ONE: u32 = 1.0f32.to_bits();
    const ROOT_OF_HALF: u32 = std::f32::consts::FRAC_1_SQRT_2.to_bits();
    let exponent = (x.to_bits().wrapping_sub(ROOT_OF_HALF) as i32) >> 23;
    let mantissa = f32::from_bits(x.to_bits().wrapping_sub((exponent << 23) as u32));
    debug_assert!(mantissa.to_bits() >= ROOT_OF_HALF && mantissa.to_bits() < ONE + (ONE - ROOT_OF_HALF));
    let t = (mantissa - 1.0) / (mantissa + 1.0);
    let t2 = t * t;
    let series = 2.0 + t2 * (2.0 / 3.0 + t2 * (2.0 / 5.0 + t2 * (2.0 / 7.0 + t2 * (2.0 / 9.0))));
    exponent as f32 * std::f32::consts::LN_2 + t * series
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn logarithm_is_the_logarithm() {
        let mut worst = 0.0f64;
        for step in 0..200_000 {
            let x = 1.0 + 1e-7 * 1.0002f32.powi(step);
            worst =
                worst.max((f64::from(logarithm(x)) - f64::from(x).ln()).abs() / f64::from(x).ln().max(1.0));
        }
        assert!(worst < 3e-7, "{worst}");
        assert_eq!(logarithm(1.0), 0.0);
    }
}
