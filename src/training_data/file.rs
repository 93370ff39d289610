//! Fields to bytes: safetensors.

use std::io::Write as _;
use std::path::Path;

use bytemuck::NoUninit;
use safetensors::Dtype;
use safetensors::tensor::TensorView;

use crate::error::{Error, Result};
use crate::io::replace;

/// What a file holds.
pub(super) struct Content {
    /// JSON, under the key `scene`. There is one key only: a map of several would be written in any order.
    pub metadata: String,
    pub tensors: Vec<Tensor>,
    /// Pairs or keypoints, for the record.
    pub rows: u64,
}

/// A named array.
pub(super) struct Tensor {
    name: &'static str,
    dtype: Dtype,
    shape: Vec<usize>,
    bytes: Vec<u8>,
}

/// What an array may consist of: numbers, or rows of them.
pub(super) trait Row: NoUninit {
    const DTYPE: Dtype;
    /// Numbers a row; `None` for plain numbers, which make an array of one dimension.
    const WIDTH: Option<usize> = None;
}

impl Row for i32 {
    const DTYPE: Dtype = Dtype::I32;
}

impl Row for f32 {
    const DTYPE: Dtype = Dtype::F32;
}

impl Row for i16 {
    const DTYPE: Dtype = Dtype::I16;
}

impl<T: Row, const N: usize> Row for [T; N]
where
    [T; N]: NoUninit,
{
    const DTYPE: Dtype = T::DTYPE;
    const WIDTH: Option<usize> = Some(N);
}

impl Tensor {
    pub fn of<T: Row>(name: &'static str, rows: &[T]) -> Self {
        let shape = std::iter::once(rows.len()).chain(T::WIDTH).collect();
        Self { name, dtype: T::DTYPE, shape, bytes: bytemuck::cast_slice(rows).to_vec() }
    }
}

/// Writes `content` to `path`, whole or not at all.
pub(super) fn write(path: &Path, content: &Content) -> Result<()> {
    let unfit = |error: safetensors::SafeTensorError| Error::format(path, error.to_string());
    let views = content
        .tensors
        .iter()
        .map(|t| Ok((t.name, TensorView::new(t.dtype, t.shape.clone(), &t.bytes)?)))
        .collect::<std::result::Result<Vec<_>, _>>()
        .map_err(unfit)?;
    let metadata = [("scene".to_owned(), content.metadata.clone())].into_iter().collect();
    let bytes = safetensors::serialize(views, Some(metadata)).map_err(unfit)?;
    replace(path, |out| out.write_all(&bytes))
}
