//! Arrays of points.

use std::borrow::Cow;

use coregister::Cloud;
use numpy::PyReadonlyArray2;
use numpy::ndarray::ArrayView2;
use pyo3::FromPyObject;

/// An array of N points that `coregister._points` has checked: aligned, N×3 or N×4, of either float type. It is only read.
#[derive(FromPyObject)]
pub enum PointArray<'py> {
    Single(PyReadonlyArray2<'py, f32>),
    Double(PyReadonlyArray2<'py, f64>),
}

impl PointArray<'_> {
    /// The points without the interpreter, which may do something else meanwhile.
    pub fn view(&self) -> PointView<'_> {
        match self {
            Self::Single(array) => PointView::Single(array.as_array()),
            Self::Double(array) => PointView::Double(array.as_array()),
        }
    }
}

/// The memory of a [`PointArray`].
pub enum PointView<'a> {
    Single(ArrayView2<'a, f32>),
    Double(ArrayView2<'a, f64>),
}

impl PointView<'_> {
    /// The cloud of these points.
    pub fn to_cloud(&self) -> Cloud {
        match self {
            Self::Single(view) => Cloud::from_f32(rows(view).into_owned()),
            Self::Double(view) => Cloud::from_f64(&rows(view)),
        }
    }
}

/// The first three numbers of every row: of rows that lie side by side the memory itself, of others a copy.
fn rows<'a, T: Copy>(view: &ArrayView2<'a, T>) -> Cow<'a, [[T; 3]]> {
    match view.to_slice() {
        Some(numbers) if view.ncols() == 3 => Cow::Borrowed(numbers.as_chunks().0),
        _ => Cow::Owned(view.rows().into_iter().map(|row| [row[0], row[1], row[2]]).collect()),
    }
}
