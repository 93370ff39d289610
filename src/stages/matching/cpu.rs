//! CPU side: products of a few rows by a few at a time, of which nothing is kept but the largest of each row and column.

use std::borrow::Cow;

use multiversion::multiversion;
use rayon::prelude::*;

use super::fixed_point::{BLOCK_ROWS, Pairs, Products, packed, products};
use super::{Match, MatchMutual, Rows};
use crate::backend::Cpu;
use crate::error::Result;
use crate::stages::lanes::LANES;

/// Source rows per task. Fixed, so that results do not depend on the number of threads.
const TASK_ROWS: usize = 8 * BLOCK_ROWS;

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

    /// The column with the largest product, the lowest on ties, if the indices are those of panels.
    fn column(&self) -> Option<usize> {
        let column = |lane: usize| self.index[lane] as usize * LANES + lane;
        let found = (0..LANES).filter(|&lane| self.product[lane] > 0);
        found.min_by_key(|&lane| (-self.product[lane], column(lane))).map(column)
    }
}

impl MatchMutual for Cpu {
    fn match_mutual(&self, source: &[Rows<'_, Self>], target: &[Rows<'_, Self>]) -> Result<Vec<Match>> {
        let width = source.iter().map(|(_, width)| width).sum();
        let (source, target) = (side_by_side(source), side_by_side(target));
        if source.is_empty() || target.is_empty() {
            return Ok(Vec::new());
        }
        let tasks: Vec<(Vec<Best>, Vec<Best>)> = self.run(|| {
            let panels: Vec<Vec<Pairs<LANES>>> =
                target.par_chunks(LANES * width).map(|rows| packed(rows, width)).collect();
            let tasks = source.par_chunks(TASK_ROWS * width).enumerate();
            tasks.map(|(task, rows)| best_of_rows(rows, width, task * TASK_ROWS, &panels)).collect()
        });
        let mut best_source = vec![NOTHING; target.len().div_ceil(LANES * width)];
        for (_, of_panels) in &tasks {
            for (best, new) in best_source.iter_mut().zip(of_panels) {
                *best = best.updated(&new.product, &new.index);
            }
        }
        let best_target = tasks.iter().flat_map(|(of_rows, _)| of_rows);
        let mutual = |(s, best): (usize, &Best)| {
            let t = best.column()?;
            (best_source[t / LANES].index[t % LANES] as usize == s).then_some([s as u32, t as u32])
        };
        Ok(best_target.enumerate().filter_map(mutual).collect())
    }
}

/// The rows of all parts, one behind another.
fn side_by_side<'a>(parts: &[Rows<'a, Cpu>]) -> Cow<'a, [f32]> {
    if let [(only, _)] = parts {
        return Cow::Borrowed(only);
    }
    let rows = parts.first().map_or(0, |(part, width)| part.len() / width);
    let row = |i: usize| parts.iter().flat_map(move |&(part, width)| &part[i * width..][..width]);
    Cow::Owned((0..rows).flat_map(row).copied().collect())
}

/// Of each row, the best panels lane by lane; of each panel, the best of these rows. Rows are counted from `first`.
fn best_of_rows(
    rows: &[f32],
    width: usize,
    first: usize,
    panels: &[Vec<Pairs<LANES>>],
) -> (Vec<Best>, Vec<Best>) {
    let blocks: Vec<_> = rows.chunks(BLOCK_ROWS * width).map(|rows| packed(rows, width)).collect();
    let mut of_rows = vec![[NOTHING; BLOCK_ROWS]; blocks.len()];
    let mut of_panels = vec![NOTHING; panels.len()];
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
    of_panel: &mut Best,
) {
    let mut best = *of_panel;
    for (row, (products, of_row)) in (first..).zip(products.iter().zip(of_rows)) {
        *of_row = of_row.updated(products, &[panel; LANES]);
        best = best.updated(products, &[row; LANES]);
    }
    *of_panel = best;
}
