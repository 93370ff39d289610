//! Files of points.

use std::path::PathBuf;

use coregister::Cloud;
use numpy::{IntoPyArray, PyArrayMethods};
use pyo3::prelude::*;

use crate::error::exception;

/// Reads a file into an N×3 array: of float32 where that is what its coordinates are, of float64 otherwise.
#[pyfunction]
pub fn read_cloud(py: Python<'_>, path: PathBuf) -> PyResult<Bound<'_, PyAny>> {
    let cloud = py.detach(|| coregister::io::read_cloud(&path)).map_err(exception)?;
    let points = [cloud.len(), 3];
    if cloud.origin == [0.0; 3] {
        return Ok(cloud.points.into_flattened().into_pyarray(py).reshape(points)?.into_any());
    }
    Ok(py.detach(|| in_double(&cloud)).into_pyarray(py).reshape(points)?.into_any())
}

fn in_double(cloud: &Cloud) -> Vec<f64> {
    (0..cloud.len()).flat_map(|i| cloud.point(i)).collect()
}
