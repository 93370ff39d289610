//! Registrations as Python values.

use coregister::Registration;
use numpy::{PyArray1, PyArray2};
use pyo3::prelude::*;
use pyo3::types::PyDict;

/// The fields of a `coregister.Registration`.
pub fn to_dict<'py>(py: Python<'py>, answer: &Registration) -> PyResult<Bound<'py, PyDict>> {
    let matrix = answer.target_from_source.to_matrix();
    let rows = std::array::from_fn(|r| std::array::from_fn(|c| matrix[(r, c)]));
    let fields = PyDict::new(py);
    fields.set_item("T_target_source", square::<4>(py, &rows)?)?;
    fields.set_item("status", answer.status.as_str())?;
    fields.set_item("reason", &answer.reason)?;
    fields.set_item("confidence", answer.confidence)?;
    fields.set_item("overlap", answer.overlap)?;
    fields.set_item("inliers", answer.inliers)?;
    fields.set_item("inlier_rmse", answer.inlier_rmse)?;
    fields.set_item("information", square::<6>(py, &answer.information)?)?;
    fields.set_item("information_centre", PyArray1::from_slice(py, &answer.information_centre))?;
    fields.set_item("unobserved", &answer.unobserved)?;
    fields.set_item("warnings", &answer.warnings)?;
    fields.set_item("timings_ms", timings(py, answer)?)?;
    fields.set_item("device", &answer.device)?;
    fields.set_item("seed", answer.seed)?;
    Ok(fields)
}

fn square<'py, const N: usize>(py: Python<'py>, rows: &[[f64; N]; N]) -> PyResult<Bound<'py, PyArray2<f64>>> {
    let rows: Vec<Vec<f64>> = rows.iter().map(|row| row.to_vec()).collect();
    Ok(PyArray2::from_vec2(py, &rows)?)
}

fn timings<'py>(py: Python<'py>, answer: &Registration) -> PyResult<Bound<'py, PyDict>> {
    let milliseconds = PyDict::new(py);
    for (stage, spent) in &answer.timings.stages {
        milliseconds.set_item(*stage, 1e3 * spent.as_secs_f64())?;
    }
    Ok(milliseconds)
}
