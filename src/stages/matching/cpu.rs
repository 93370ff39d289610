//! CPU side: products of a few rows by a few at a time, of which nothing is kept but the largest of each class; then the
//! correlations of those.

use std::borrow::Cow;

use multiversion::multiversion;
use rayon::prelude::*;

use super::correlation::{Fixed, Spectra};
use super::fixed_point::{BLOCK_ROWS, Pairs, Products, packed, products};
use super::partners::Partners;
use super::{By, CLASSES, Described, Match, MatchMutual, PARTNERS};
use crate::backend::Cpu;
use crate::error::Result;
use crate::stages::lanes::LANES;

/// Source rows per task, of every class as many.
const TASK_ROWS: usize = 8 * BLOCK_ROWS;
const _: () = assert!(TASK_ROWS.is_multiple_of(CLASSES), "classes begin anew with every task");
const _: () = assert!(LANES == CLASSES, "the target rows of a panel are one of each class");

/// The largest products seen, lane by lane, and whose they were.
#[derive(Clone, Copy)]
struct Best {
    product: [i32; LANES],
    index: [u32; LANES],
}

/// Products must be positive to count.
const NOTHING: Best = Best { product: [0; LANES], index: [u32::MAX; LANES] };

impl Best {
    /// With the larger product of each lane; on ties the one that was there first, which has the lower index. By value,
    /// so that it is done in registers.
    #[inline(always)]
    fn updated(mut self, product: &[i32; LANES], index: &[u32; LANES]) -> Self {
        for lane in 0..LANES {
            let larger = product[lane] > self.product[lane];
            self.index[lane] = if larger { index[lane] } else { self.index[lane] };
            self.product[lane] = if larger { product[lane] } else { self.product[lane] };
        }
        self
    }
}

/// Of each class the other cloud's row with the largest product, and that product; zero where there is none.
type Shortlist = [(u32, i32); CLASSES];

/// One cloud's side of the matching by maps.
struct Side<'a> {
    shortlists: &'a [Shortlist],
    /// Of each description.
    spectra: Vec<Spectra>,
    is_source: bool,
}

impl MatchMutual for Cpu {
    fn match_mutual(
        &self,
        source: &[Described<'_, Self>],
        target: &[Described<'_, Self>],
        by: By,
    ) -> Result<Vec<Match>> {
        Ok(self.run(|| {
            let shortlists = shortlists(source, target);
            let by_vectors = |each| nearest(&shortlists).mutual(each);
            let by_maps = || most_similar(&shortlists, source, target).mutual(PARTNERS);
            match by {
                By::Vectors => by_vectors(1),
                By::Maps => by_maps(),
                By::Either => {
                    let mut either = [by_vectors(PARTNERS), by_maps()].concat();
                    either.sort_unstable();
                    either.dedup();
                    either
                }
            }
        }))
    }
}

/// Of all rows of the source and of the target.
type Shortlists = [Vec<Shortlist>; 2];

fn shortlists(source: &[Described<'_, Cpu>], target: &[Described<'_, Cpu>]) -> Shortlists {
    let width = source.iter().map(|part| part.width).sum();
    let (source, target) = (side_by_side(source), side_by_side(target));
    if source.is_empty() || target.is_empty() {
        return [Vec::new(), Vec::new()];
    }
    let panels: Vec<Vec<Pairs<LANES>>> =
        target.par_chunks(LANES * width).map(|rows| packed(rows, width)).collect();
    let tasks = source.par_chunks(TASK_ROWS * width).enumerate();
    let tasks: Vec<(Vec<Best>, Vec<[Best; CLASSES]>)> =
        tasks.map(|(task, rows)| best_of_rows(rows, width, task * TASK_ROWS, &panels)).collect();
    let mut of_panels = vec![[NOTHING; CLASSES]; panels.len()];
    for (_, of_task) in &tasks {
        for (best, new) in of_panels.as_flattened_mut().iter_mut().zip(of_task.as_flattened()) {
            *best = best.updated(&new.product, &new.index);
        }
    }
    let of_row = |best: &Best| {
        std::array::from_fn(|lane| ((best.index[lane] as usize * LANES + lane) as u32, best.product[lane]))
    };
    let of_column = |i: usize| {
        let (of_panel, lane) = (&of_panels[i / LANES], i % LANES);
        std::array::from_fn(|class| (of_panel[class].index[lane], of_panel[class].product[lane]))
    };
    let rows = source.len() / width;
    let of_rows = tasks.iter().flat_map(|(of_rows, _)| of_rows).take(rows).map(of_row).collect();
    [of_rows, (0..target.len() / width).map(of_column).collect()]
}

/// The rows of all parts, one behind another.
fn side_by_side<'a>(parts: &[Described<'a, Cpu>]) -> Cow<'a, [f32]> {
    if let [only] = parts {
        return Cow::Borrowed(only.invariant);
    }
    let rows = parts.first().map_or(0, |part| part.invariant.len() / part.width);
    let row = |i: usize| parts.iter().flat_map(move |part| &part.invariant[i * part.width..][..part.width]);
    Cow::Owned((0..rows).flat_map(row).copied().collect())
}

/// Of each row, the best panels lane by lane; of each panel, the best of these rows class by class. Rows are counted from
/// `first`.
fn best_of_rows(
    rows: &[f32],
    width: usize,
    first: usize,
    panels: &[Vec<Pairs<LANES>>],
) -> (Vec<Best>, Vec<[Best; CLASSES]>) {
    let blocks: Vec<_> = rows.chunks(BLOCK_ROWS * width).map(|rows| packed(rows, width)).collect();
    let mut of_rows = vec![[NOTHING; BLOCK_ROWS]; blocks.len()];
    let mut of_panels = vec![[NOTHING; CLASSES]; panels.len()];
    for (number, (panel, of_panel)) in panels.iter().zip(&mut of_panels).enumerate() {
        for (i, (block, of_rows)) in blocks.iter().zip(&mut of_rows).enumerate() {
            let first = first + i * BLOCK_ROWS;
            keep_larger(&products(block, panel), first as u32, number as u32, of_rows, of_panel);
        }
    }
    (of_rows.into_flattened(), of_panels)
}

/// Takes in the products of a panel and a block of rows, counted from `first`.
#[multiversion(targets("x86_64+avx512f+avx512bw+avx512cd+avx512dq+avx512vl+fma", "x86_64+avx2+fma"))]
fn keep_larger(
    products: &Products,
    first: u32,
    panel: u32,
    of_rows: &mut [Best; BLOCK_ROWS],
    of_panel: &mut [Best; CLASSES],
) {
    for (row, (products, of_row)) in (first..).zip(products.iter().zip(of_rows)) {
        *of_row = of_row.updated(products, &[panel; LANES]);
        let of_class = &mut of_panel[row as usize % CLASSES];
        *of_class = of_class.updated(products, &[row; LANES]);
    }
}

impl<'a> Side<'a> {
    fn new(shortlists: &'a [Shortlist], parts: &[Described<'_, Cpu>], is_source: bool) -> Self {
        let spectra = parts.iter().map(|part| Spectra::of(part.equivariant, part.rings)).collect();
        Self { shortlists, spectra, is_source }
    }

    /// How similar row `i` is to those on its shortlist; zero where there is none.
    fn similarities(&self, i: u32, other: &Self) -> [u32; CLASSES] {
        let maps: Vec<Fixed> =
            self.spectra.iter().map(|spectra| Fixed::new(spectra, i, self.is_source)).collect();
        self.shortlists[i as usize].map(|(other_row, product)| {
            if product == 0 {
                return 0;
            }
            let peaks = maps.iter().zip(&other.spectra).map(|(map, spectra)| map.peak(spectra, other_row));
            product as u32 + peaks.sum::<u32>()
        })
    }

    /// The same of all rows.
    fn all_similarities(&self, other: &Self) -> Vec<[u32; CLASSES]> {
        (0..self.shortlists.len() as u32).into_par_iter().map(|i| self.similarities(i, other)).collect()
    }
}

/// By products.
fn nearest(shortlists: &Shortlists) -> Partners {
    let [of_source, of_target] = shortlists;
    let mut partners = Partners::none(of_source.len(), of_target.len());
    for (s, list) in (0..).zip(of_source) {
        list.iter().for_each(|&(t, product)| partners.take(s, t, product as u32));
    }
    for (t, list) in (0..).zip(of_target) {
        list.iter().for_each(|&(s, product)| partners.take(s, t, product as u32));
    }
    partners
}

/// By products and maps.
fn most_similar(
    shortlists: &Shortlists,
    source: &[Described<'_, Cpu>],
    target: &[Described<'_, Cpu>],
) -> Partners {
    let [of_source, of_target] = shortlists;
    let (source, target) =
        rayon::join(|| Side::new(of_source, source, true), || Side::new(of_target, target, false));
    let (by_source, by_target) =
        rayon::join(|| source.all_similarities(&target), || target.all_similarities(&source));
    let mut partners = Partners::none(of_source.len(), of_target.len());
    for (s, (list, similarities)) in (0..).zip(of_source.iter().zip(by_source)) {
        list.iter().zip(similarities).for_each(|(&(t, _), similarity)| partners.take(s, t, similarity));
    }
    for (t, (list, similarities)) in (0..).zip(of_target.iter().zip(by_target)) {
        list.iter().zip(similarities).for_each(|(&(s, _), similarity)| partners.take(s, t, similarity));
    }
    partners
}
