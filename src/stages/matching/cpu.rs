//! CPU side: products of a few rows by a few at a time, of which nothing is kept but the largest of each class; then the
//! correlations of those.

use std::borrow::Cow;

use multiversion::multiversion;
use rayon::prelude::*;

use super::correlation::{Fixed, Spectra};
use super::fixed_point::{BLOCK_ROWS, Pairs, Products, packed, products};
use super::{CLASSES, Described, MAP_WEIGHT, Match, MatchMutual};
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

/// One cloud's side of the matching.
struct Side {
    shortlists: Vec<Shortlist>,
    /// Of each description with maps.
    spectra: Vec<Spectra>,
    is_source: bool,
}

impl MatchMutual for Cpu {
    fn match_mutual(
        &self,
        source: &[Described<'_, Self>],
        target: &[Described<'_, Self>],
    ) -> Result<Vec<Match>> {
        let spectra = |parts: &[Described<'_, Self>]| {
            parts.iter().filter_map(|part| part.maps.as_ref()).map(Spectra::of).collect()
        };
        Ok(self.run(|| {
            let (of_source, of_target) = shortlists(source, target);
            let source = Side { shortlists: of_source, spectra: spectra(source), is_source: true };
            let target = Side { shortlists: of_target, spectra: spectra(target), is_source: false };
            most_similar(&source, &target)
        }))
    }
}

/// The shortlists of all rows of both clouds.
fn shortlists(
    source: &[Described<'_, Cpu>],
    target: &[Described<'_, Cpu>],
) -> (Vec<Shortlist>, Vec<Shortlist>) {
    let width = source.iter().map(|part| part.width).sum();
    let (source, target) = (side_by_side(source), side_by_side(target));
    if source.is_empty() || target.is_empty() {
        return (Vec::new(), Vec::new());
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
        let of_panel = &of_panels[i / LANES];
        of_panel.map(|best| (best.index[i % LANES], best.product[i % LANES]))
    };
    let rows = source.len() / width;
    let of_rows = tasks.iter().flat_map(|(of_rows, _)| of_rows).take(rows).map(of_row).collect();
    (of_rows, (0..target.len() / width).map(of_column).collect())
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

impl Side {
    /// How similar row `i` is to those on its shortlist; zero where there is none.
    fn similarities(&self, i: u32, other: &Self) -> [u32; CLASSES] {
        let maps: Vec<Fixed> =
            self.spectra.iter().map(|spectra| Fixed::new(spectra, i, self.is_source)).collect();
        self.shortlists[i as usize].map(|(other_row, product)| {
            if product == 0 {
                return 0;
            }
            let peaks = maps.iter().zip(&other.spectra).map(|(map, spectra)| map.peak(spectra, other_row));
            product as u32 + MAP_WEIGHT * peaks.sum::<u32>()
        })
    }

    /// The pairs of all shortlists with their similarities.
    fn pairs(&self, other: &Self) -> Vec<[(u32, u32, u32); CLASSES]> {
        (0..self.shortlists.len() as u32)
            .into_par_iter()
            .map(|i| {
                let similarities = self.similarities(i, other);
                let list = &self.shortlists[i as usize];
                std::array::from_fn(|class| (i, list[class].0, similarities[class]))
            })
            .collect()
    }
}

/// The pairs than which no other of either row is more similar.
fn most_similar(source: &Side, target: &Side) -> Vec<Match> {
    let mut of_source = vec![0u64; source.shortlists.len()];
    let mut of_target = vec![0u64; target.shortlists.len()];
    let mut take = |s: u32, t: u32, similarity: u32| {
        if similarity > 0 {
            let (of_source, of_target) = (&mut of_source[s as usize], &mut of_target[t as usize]);
            *of_source = rank(similarity, t).max(*of_source);
            *of_target = rank(similarity, s).max(*of_target);
        }
    };
    source.pairs(target).as_flattened().iter().for_each(|&(s, t, similarity)| take(s, t, similarity));
    target.pairs(source).as_flattened().iter().for_each(|&(t, s, similarity)| take(s, t, similarity));
    let mutual = |(s, &best): (u32, &u64)| {
        let t = index_of_rank(best);
        (best != 0 && index_of_rank(of_target[t as usize]) == s).then_some([s, t])
    };
    (0..).zip(&of_source).filter_map(mutual).collect()
}

/// The more similar and, on ties, the lower the index, the larger. Zero stands for nothing.
fn rank(similarity: u32, index: u32) -> u64 {
    u64::from(similarity) << 32 | u64::from(!index)
}

fn index_of_rank(rank: u64) -> u32 {
    !(rank as u32)
}
