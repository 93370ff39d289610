//! The circular correlation of equivariant maps, by their Fourier coefficients in fixed point.
//!
//! With `α_f` and `β_f` the coefficients of a ring along `√0.1·cos(2πfk/20)` and `√0.1·sin(2πfk/20)`, which are of unit
//! length, the correlation at a turn of `s` sectors is `Σ_f P_f cos(2πfs/20) + Q_f sin(2πfs/20)`, where
//! `P_f = Σ αα' + ββ'` and `Q_f = Σ αβ' − βα'`, summed over the rings.

use multiversion::multiversion;
use rayon::prelude::*;

use super::FREQUENCIES;
use super::fixed_point::{BLOCK_ROWS, Pairs, pack, products, rounded};
use crate::stages::describe::AZIMUTHS;
use crate::stages::lanes::LANES;

/// `cos(2πk/20)` and `√0.1·cos(2πk/20)` in steps.
const COSINES: [i16; AZIMUTHS] = around([16384, 15582, 13255, 9630, 5063, 0]);
const WAVE: [i16; AZIMUTHS] = around([5181, 4927, 4192, 3045, 1601, 0]);
/// `sin(2πk/20) = cos(2π(k + 15)/20)`.
const TO_SINE: usize = 3 * AZIMUTHS / 4;

/// Maps of a task at least.
const TASK_MAPS: usize = 64;
/// Rings that are worked on side by side, and their coefficients `(α_f, β_f)`, frequency by frequency, from 1 on.
const RINGS: usize = LANES / FREQUENCIES;
type Coefficients = Pairs<LANES>;

/// A cosine all the way around from its first quarter.
const fn around(quarter: [i16; AZIMUTHS / 4 + 1]) -> [i16; AZIMUTHS] {
    let mut all = [0; AZIMUTHS];
    let mut k = 0;
    while k < quarter.len() {
        all[k] = quarter[k];
        all[(AZIMUTHS - k) % AZIMUTHS] = quarter[k];
        all[AZIMUTHS / 2 - k] = -quarter[k];
        all[AZIMUTHS / 2 + k] = -quarter[k];
        k += 1;
    }
    all
}

/// The coefficients of all maps of a cloud.
pub(super) struct Spectra {
    coefficients: Vec<Coefficients>,
    /// Of one map.
    length: usize,
}

impl Spectra {
    /// Of `count × rings × AZIMUTHS` values.
    pub fn of(maps: &[f32], rings: usize) -> Self {
        let length = rings.div_ceil(RINGS);
        let waves = waves();
        let maps = maps.par_chunks(rings * AZIMUTHS);
        let mut coefficients = vec![[[0; 2]; LANES]; maps.len() * length];
        coefficients
            .par_chunks_mut(length)
            .zip(maps)
            .with_min_len(TASK_MAPS)
            .for_each(|(coefficients, map)| take_apart(map, &waves, coefficients));
        Self { coefficients, length }
    }

    /// Those of one map.
    fn get(&self, i: u32) -> &[Coefficients] {
        &self.coefficients[i as usize * self.length..][..self.length]
    }
}

/// The panel of waves along which rings are taken apart: cosines of all frequencies, then sines.
fn waves() -> Vec<Pairs<LANES>> {
    let wave = |lane: usize, k: usize| match lane / FREQUENCIES {
        0 => WAVE[(lane + 1) * k % AZIMUTHS],
        1 => WAVE[((lane - FREQUENCIES + 1) * k + TO_SINE) % AZIMUTHS],
        _ => 0,
    };
    let pair = |i: usize| std::array::from_fn(|lane| [wave(lane, 2 * i), wave(lane, 2 * i + 1)]);
    (0..AZIMUTHS / 2).map(pair).collect()
}

/// The coefficients of one map.
fn take_apart(map: &[f32], waves: &[Pairs<LANES>], coefficients: &mut [Coefficients]) {
    let (rings, _) = coefficients.as_flattened_mut().as_chunks_mut::<FREQUENCIES>();
    let mut steps = [0; BLOCK_ROWS * AZIMUTHS];
    for (rings, rows) in rings.chunks_mut(BLOCK_ROWS).zip(map.chunks(BLOCK_ROWS * AZIMUTHS)) {
        let mut block = [[[0; 2]; BLOCK_ROWS]; AZIMUTHS / 2];
        pack(rows, AZIMUTHS, &mut steps, &mut block);
        let along = products(&block, waves);
        for (ring, along) in rings.iter_mut().zip(along) {
            for (f, pair) in ring.iter_mut().enumerate() {
                *pair = [rounded(along[f]), rounded(along[FREQUENCIES + f])];
            }
        }
    }
}

/// A map that many are correlated with.
pub(super) struct Fixed<'a> {
    map: &'a [Coefficients],
    /// `(−β, α)` of a source, `(β, −α)` of a target, whose sum of products with `(α', β')` is `αβ' − βα'` of the source's
    /// and the target's.
    turned: Vec<Coefficients>,
}

impl<'a> Fixed<'a> {
    pub fn new(spectra: &'a Spectra, i: u32, is_source: bool) -> Self {
        let map = spectra.get(i);
        let turn = |&[alpha, beta]: &[i16; 2]| if is_source { [-beta, alpha] } else { [beta, -alpha] };
        Self { map, turned: map.iter().map(|pairs| std::array::from_fn(|i| turn(&pairs[i]))).collect() }
    }

    /// The highest correlation at any turn, not less than zero, in steps squared.
    pub fn peak(&self, spectra: &Spectra, i: u32) -> u32 {
        highest(self.map, &self.turned, spectra.get(i))
    }
}

#[multiversion(targets("x86_64+avx512f+avx512bw+avx512cd+avx512dq+avx512vl+fma", "x86_64+avx2+fma"))]
fn highest(map: &[Coefficients], turned: &[Coefficients], other: &[Coefficients]) -> u32 {
    let (mut p, mut q) = ([0i32; LANES], [0i32; LANES]);
    for ((map, turned), other) in map.iter().zip(turned).zip(other) {
        for lane in 0..LANES {
            p[lane] = p[lane].wrapping_add(product(map[lane], other[lane]));
            q[lane] = q[lane].wrapping_add(product(turned[lane], other[lane]));
        }
    }
    let ([p, q], [cosines, sines]) = ([p, q].map(over_rings), &TURNS);
    let mut most = 0;
    for lane in 0..LANES {
        let even = product(p[0], cosines[0][lane]).wrapping_add(product(p[1], cosines[1][lane]));
        let odd = product(q[0], sines[0][lane]).wrapping_add(product(q[1], sines[1][lane]));
        // Turns to the left and to the right have the same cosines and opposite sines.
        most = most.max(even.wrapping_add(odd.wrapping_abs()));
    }
    most as u32
}

/// The sums of each frequency, rounded, in pairs.
#[inline(always)]
fn over_rings(sums: [i32; LANES]) -> [[i16; 2]; FREQUENCIES / 2] {
    let mut all = [0i32; FREQUENCIES];
    for ring in sums.as_chunks::<FREQUENCIES>().0 {
        for (all, sum) in all.iter_mut().zip(ring) {
            *all = all.wrapping_add(*sum);
        }
    }
    [[rounded(all[0]), rounded(all[1])], [rounded(all[2]), rounded(all[3])]]
}

/// Two products and their sum.
#[inline(always)]
fn product(a: [i16; 2], b: [i16; 2]) -> i32 {
    (i32::from(a[0]) * i32::from(b[0])).wrapping_add(i32::from(a[1]) * i32::from(b[1]))
}

/// Cosines, then sines, of two frequencies and of the next two, at turns of so many sectors: half a turn and more.
const TURNS: [[Pairs<LANES>; FREQUENCIES / 2]; 2] = {
    let mut turns = [[[[0; 2]; LANES]; FREQUENCIES / 2]; 2];
    let mut i = 0;
    while i < FREQUENCIES * LANES {
        let (f, s) = (i / LANES, i % LANES);
        let angle = (f + 1) * s;
        turns[0][f / 2][s][f % 2] = COSINES[angle % AZIMUTHS];
        turns[1][f / 2][s][f % 2] = COSINES[(angle + TO_SINE) % AZIMUTHS];
        i += 1;
    }
    turns
};
