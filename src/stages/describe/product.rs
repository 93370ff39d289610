//! Matrix products of row-major matrices.

use gemm::Parallelism;

/// A row-major matrix whose rows may be parts of longer ones, or overlap.
#[derive(Clone, Copy)]
pub(in crate::stages) struct Rows<'a> {
    pub values: &'a [f32],
    pub columns: usize,
    /// Values from the start of one row to the start of the next.
    pub stride: usize,
}

/// What becomes of the values that the outputs had before.
#[derive(Clone, Copy, PartialEq)]
pub(in crate::stages) enum Before {
    Replaced,
    Kept,
}

impl<'a> Rows<'a> {
    /// Rows without gaps.
    pub fn dense(values: &'a [f32], columns: usize) -> Self {
        Self { values, columns, stride: columns }
    }
}

/// `outputs[r, o] = Σᵢ inputs[r, i] · weights[i, o]` for the first `rows` rows, plus what was there if it is to be
/// kept. `weights` and `outputs` have no gaps and `width` columns.
pub(in crate::stages) fn multiply(
    rows: usize,
    inputs: Rows,
    weights: &[f32],
    width: usize,
    outputs: &mut [f32],
    before: Before,
) {
    let Rows { values, columns, stride } = inputs;
    if rows == 0 || columns == 0 || width == 0 {
        return;
    }
    assert!(values.len() >= (rows - 1) * stride + columns);
    assert_eq!(weights.len(), columns * width);
    assert_eq!(outputs.len(), rows * width);
    // SAFETY: `values` holds (rows - 1) · stride + columns values or more, `weights` columns × width and `outputs`
    // rows × width, as asserted above, and the strides below address exactly these.
    unsafe {
        gemm::gemm(
            rows,
            width,
            columns,
            outputs.as_mut_ptr(),
            1,
            width as isize,
            before == Before::Kept,
            values.as_ptr(),
            1,
            stride as isize,
            weights.as_ptr(),
            1,
            width as isize,
            1.0,
            1.0,
            false,
            false,
            false,
            Parallelism::None,
        );
    }
}
