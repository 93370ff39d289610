//! Arrays of points.

use std::borrow::Cow;

use coregister::cloud::{Cloud, CloudView, Point};
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
    /// The cloud of these points: single precision that lies N×3 in memory is not copied.
    pub fn cloud(&self) -> ArrayCloud<'_> {
        match self {
            Self::Single(view) => ArrayCloud { origin: [0.0; 3], points: rows(view) },
            Self::Double(view) => {
                let Cloud { origin, points } = Cloud::from_f64(&rows(view));
                ArrayCloud { origin, points: Cow::Owned(points) }
            }
        }
    }
}

/// A cloud that borrows its points where it can.
pub struct ArrayCloud<'a> {
    origin: [f64; 3],
    points: Cow<'a, [Point]>,
}

impl<'c> From<&'c ArrayCloud<'_>> for CloudView<'c> {
    fn from(cloud: &'c ArrayCloud<'_>) -> Self {
        Self { origin: cloud.origin, points: &cloud.points }
    }
}

/// The first three numbers of every row: of rows that lie side by side the memory itself, of others a copy.
fn rows<'a, T: Copy>(view: &ArrayView2<'a, T>) -> Cow<'a, [[T; 3]]> {
    match view.to_slice() {
        Some(numbers) if view.ncols() == 3 => Cow::Borrowed(numbers.as_chunks().0),
        _ => Cow::Owned(view.rows().into_iter().map(|row| [row[0], row[1], row[2]]).collect()),
    }
}
