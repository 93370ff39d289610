//! A point cloud as it comes from a file or a caller, before any processing.

/// One point in f32, relative to some origin that its owner knows.
pub type Point = [f32; 3];

/// Points in the file's own unit and frame: `origin + points[i]`.
///
/// The split keeps UTM-sized coordinates exact: one f32 step at 5·10⁶ m is half a metre, so clouds that come
/// in f64 store their offset once, in f64, and small f32 coordinates beside it. Clouds that come in f32 keep
/// `origin` at zero and their coordinates bit for bit.
///
/// Points may be NaN or infinite here; [`crate::stages::clean`] drops them.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Cloud {
    /// Added to every point, in f64.
    pub origin: [f64; 3],
    /// Coordinates relative to `origin`.
    pub points: Vec<Point>,
}

impl Cloud {
    /// A cloud of f32 points, taken as they are.
    pub fn from_f32(points: Vec<Point>) -> Self {
        Self { origin: [0.0; 3], points }
    }

    /// A cloud of f64 points, kept relative to the median of some of them (of the finite ones, axis by axis) in f32,
    /// so that one stray point costs the others no detail.
    pub fn from_f64(points: &[[f64; 3]]) -> Self {
        let origin = median(points).unwrap_or_default();
        let relative = |p: &[f64; 3]| [0, 1, 2].map(|k| (p[k] - origin[k]) as f32);
        Self { origin, points: points.iter().map(relative).collect() }
    }

    /// The same points, borrowed.
    pub fn view(&self) -> CloudView<'_> {
        CloudView { origin: self.origin, points: &self.points }
    }

    /// Number of points, finite or not.
    pub fn len(&self) -> usize {
        self.points.len()
    }

    /// True when there is no point at all.
    pub fn is_empty(&self) -> bool {
        self.points.is_empty()
    }

    /// The `i`-th point in the file's frame, f64.
    pub fn point(&self, i: usize) -> [f64; 3] {
        [0, 1, 2].map(|k| self.origin[k] + f64::from(self.points[i][k]))
    }
}

/// A [`Cloud`] whose points belong to somebody else, such as an array of another language.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct CloudView<'a> {
    /// Added to every point, in f64.
    pub origin: [f64; 3],
    /// Coordinates relative to `origin`.
    pub points: &'a [Point],
}

impl<'a> From<&'a Cloud> for CloudView<'a> {
    fn from(cloud: &'a Cloud) -> Self {
        cloud.view()
    }
}

/// Points that a median is taken of.
const MEDIAN_SAMPLE: usize = 255;

/// The median, axis by axis, of finite points that are spread evenly over the list; `None` if none is finite.
pub(crate) fn median(points: &[[f64; 3]]) -> Option<[f64; 3]> {
    let finite: Vec<&[f64; 3]> = points
        .iter()
        .step_by(points.len().div_ceil(MEDIAN_SAMPLE).max(1))
        .filter(|p| p.iter().all(|x| x.is_finite()))
        .collect();
    let middle = |axis: usize| {
        let mut values: Vec<f64> = finite.iter().map(|p| p[axis]).collect();
        let middle = values.len() / 2;
        *values.select_nth_unstable_by(middle, f64::total_cmp).1
    };
    if finite.is_empty() {
        return points.iter().find(|p| p.iter().all(|x| x.is_finite())).copied();
    }
    Some([0, 1, 2].map(middle))
}
