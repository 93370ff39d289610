//! CPU side: inner products in tiles that stay in the cache, the largest of each row and column kept as they pass.

use gemm::Parallelism;
use multiversion::multiversion;
use rayon::prelude::*;

use super::{Match, MatchMutual};
use crate::backend::Cpu;
use crate::error::Result;
use crate::stages::lanes::LANES;

/// Most source rows per task. Fixed, so that results do not depend on the number of threads.
const TILE_ROWS: usize = 96;
/// Most target rows per tile: 96 × 512 products are 192 KiB.
const TILE_COLUMNS: usize = 512;

/// Most products for which the matrix product would sum in another order than column by column.
const FEW_PRODUCTS: usize = 256;

/// Equally long pieces of a range, of which the last may overlap the one before. How products are rounded may depend on
/// the shape of a tile; since all tiles have one shape, equal rows have equal products wherever they are.
#[derive(Clone, Copy)]
struct Pieces {
    total: usize,
    length: usize,
    count: usize,
}

impl Pieces {
    /// As few as possible of at most `longest`; `total` must not be zero.
    fn of(total: usize, longest: usize) -> Self {
        let count = total.div_ceil(longest);
        Self { total, length: total.div_ceil(count), count }
    }

    fn start(&self, piece: usize) -> usize {
        (piece * self.length).min(self.total - self.length)
    }
}

/// The largest inner product seen and whose it was.
#[derive(Clone, Copy)]
struct Best {
    product: f32,
    index: u32,
}

const NOTHING: Best = Best { product: f32::NEG_INFINITY, index: u32::MAX };

impl Best {
    /// Keeps the larger product; on ties the one that was there first, which has the lower index.
    #[inline(always)]
    fn update(&mut self, product: f32, index: u32) {
        if product > self.product {
            *self = Best { product, index };
        }
    }
}

impl MatchMutual for Cpu {
    fn match_mutual(&self, source: &Vec<f32>, target: &Vec<f32>, width: usize) -> Result<Vec<Match>> {
        let (rows, columns) = (source.len() / width, target.len() / width);
        if rows == 0 || columns == 0 {
            return Ok(Vec::new());
        }
        let pieces = Pieces::of(rows, TILE_ROWS);
        let tasks: Vec<(Vec<Best>, Vec<Best>)> = self.run(|| {
            (0..pieces.count)
                .into_par_iter()
                .map_init(
                    || vec![0.0; TILE_ROWS * TILE_COLUMNS],
                    |products, task| {
                        let first = pieces.start(task);
                        let source = &source[first * width..][..pieces.length * width];
                        let (mut of_rows, of_columns) =
                            best_of_block(source, target, width, first as u32, products);
                        of_rows.drain(..task * pieces.length - first);
                        (of_rows, of_columns)
                    },
                )
                .collect()
        });
        let mut best_source = vec![NOTHING; columns];
        for (_, of_columns) in &tasks {
            for (best, new) in best_source.iter_mut().zip(of_columns) {
                best.update(new.product, new.index);
            }
        }
        let best_target = tasks.into_iter().flat_map(|(of_rows, _)| of_rows);
        Ok(best_target
            .enumerate()
            .filter(|(s, best)| best_source.get(best.index as usize).is_some_and(|b| b.index as usize == *s))
            .map(|(s, best)| [s as u32, best.index])
            .collect())
    }

    fn join_rows(&self, parts: &[(&Vec<f32>, usize)]) -> Result<Vec<f32>> {
        let rows = parts.first().map_or(0, |(part, width)| part.len() / width);
        let row = |i: usize| parts.iter().flat_map(move |&(part, width)| &part[i * width..][..width]);
        Ok((0..rows).flat_map(row).copied().collect())
    }
}

/// The best target of each row of `source` and the best of these rows for every target.
fn best_of_block(
    source: &[f32],
    target: &[f32],
    width: usize,
    first_row: u32,
    products: &mut [f32],
) -> (Vec<Best>, Vec<Best>) {
    let rows = source.len() / width;
    let mut of_rows = vec![NOTHING; rows];
    let mut of_columns = vec![NOTHING; target.len() / width];
    let pieces = Pieces::of(of_columns.len(), TILE_COLUMNS);
    let columns = pieces.length;
    for first_column in (0..pieces.count).map(|tile| pieces.start(tile)) {
        let target = &target[first_column * width..][..columns * width];
        inner_products(source, target, width, &mut products[..rows * columns]);
        for (row, products) in products[..rows * columns].chunks_exact(columns).enumerate() {
            if let Some(best) = largest(products) {
                of_rows[row].update(best.product, best.index + first_column as u32);
            }
            keep_larger(products, first_row + row as u32, &mut of_columns[first_column..][..columns]);
        }
    }
    (of_rows, of_columns)
}

/// `products[s · columns + t] = source[s] · target[t]`.
fn inner_products(source: &[f32], target: &[f32], width: usize, products: &mut [f32]) {
    let (rows, columns) = (source.len() / width, target.len() / width);
    assert_eq!(products.len(), rows * columns);
    if products.len() <= FEW_PRODUCTS || rows == 1 || columns == 1 {
        return few_products(source, target, width, products);
    }
    // SAFETY: `source` holds rows × width, `target` columns × width and `products` rows × columns values, and the
    // strides below address exactly these.
    unsafe {
        gemm::gemm(
            rows,
            columns,
            width,
            products.as_mut_ptr(),
            1,
            columns as isize,
            false,
            source.as_ptr(),
            1,
            width as isize,
            target.as_ptr(),
            width as isize,
            1,
            0.0,
            1.0,
            false,
            false,
            false,
            Parallelism::None,
        );
    }
}

/// The same one by one.
#[multiversion(targets("x86_64+avx512f+avx512bw+avx512cd+avx512dq+avx512vl+fma", "x86_64+avx2+fma"))]
fn few_products(source: &[f32], target: &[f32], width: usize, products: &mut [f32]) {
    let pairs = source.chunks_exact(width).flat_map(|s| target.chunks_exact(width).map(move |t| (s, t)));
    for (product, (s, t)) in products.iter_mut().zip(pairs) {
        *product = s.iter().zip(t).fold(0.0, |sum, (s, t)| s.mul_add(*t, sum));
    }
}

/// The first largest value; `None` when there is no number among them.
#[multiversion(targets("x86_64+avx512f+avx512bw+avx512cd+avx512dq+avx512vl+fma", "x86_64+avx2+fma"))]
fn largest(products: &[f32]) -> Option<Best> {
    let mut lanes = [f32::NEG_INFINITY; LANES];
    for chunk in products.chunks(LANES) {
        for (lane, product) in lanes.iter_mut().zip(chunk) {
            *lane = if *product > *lane { *product } else { *lane };
        }
    }
    let product = lanes.into_iter().fold(f32::NEG_INFINITY, f32::max);
    let index = products.iter().position(|p| *p == product);
    index.map(|index| Best { product, index: index as u32 })
}

/// Keeps, for every column, the larger of what was there and this row's product.
#[multiversion(targets("x86_64+avx512f+avx512bw+avx512cd+avx512dq+avx512vl+fma", "x86_64+avx2+fma"))]
fn keep_larger(products: &[f32], row: u32, best: &mut [Best]) {
    for (best, product) in best.iter_mut().zip(products) {
        let larger = *product > best.product;
        best.index = if larger { row } else { best.index };
        best.product = if larger { *product } else { best.product };
    }
}
