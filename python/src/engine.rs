//! The engine, for one process.

use std::sync::Arc;

use coregister::config::DeviceChoice;
use pyo3::prelude::*;
use pyo3::types::PyDict;

use crate::answer::to_dict;
use crate::config::read_config;
use crate::error::exception;
use crate::points::PointArray;
use crate::process::{OfOneProcess, check_cuda, remember_cuda};

/// A device that is ready to register pairs; any number of threads may use it at once.
#[pyclass(frozen, module = "coregister._core")]
pub struct Engine {
    engine: OfOneProcess<coregister::Engine>,
}

/// A cloud and what an engine has computed of it.
#[pyclass(frozen, module = "coregister._core")]
pub struct PreparedCloud {
    cloud: OfOneProcess<Arc<coregister::engine::PreparedCloud>>,
}

impl PreparedCloud {
    /// The cloud, in the process that prepared it.
    pub fn get(&self) -> PyResult<Arc<coregister::engine::PreparedCloud>> {
        self.cloud.get().cloned()
    }
}

#[pymethods]
impl Engine {
    #[new]
    fn new(py: Python<'_>, config: &Bound<'_, PyAny>) -> PyResult<Self> {
        let config = read_config(config)?;
        if config.device != DeviceChoice::Cpu {
            check_cuda()?;
        }
        let engine = py.detach(|| coregister::Engine::new(config)).map_err(exception)?;
        if engine.device() != "cpu" {
            remember_cuda();
        }
        Ok(Self { engine: OfOneProcess::new(engine) })
    }

    /// Registers two arrays; the fields of a Registration.
    fn register<'py>(
        &self,
        py: Python<'py>,
        source: PointArray<'py>,
        target: PointArray<'py>,
    ) -> PyResult<Bound<'py, PyDict>> {
        let engine = self.engine.get()?;
        let (source, target) = (source.view(), target.view());
        let answer = py.detach(|| engine.register(&source.cloud(), &target.cloud()));
        to_dict(py, &answer.map_err(exception)?)
    }

    /// Makes an array ready for many pairs; `role` is what errors call the cloud.
    fn prepare(&self, py: Python<'_>, cloud: PointArray<'_>, role: &str) -> PyResult<PreparedCloud> {
        let engine = self.engine.get()?;
        let points = cloud.view();
        let role = match role {
            "source" => "source",
            "target" => "target",
            _ => "given",
        };
        let cloud = py.detach(|| engine.prepare_as(&points.cloud(), role)).map_err(exception)?;
        Ok(PreparedCloud { cloud: OfOneProcess::new(Arc::new(cloud)) })
    }

    /// Registers two clouds that this engine or one with the same settings has prepared; the fields of a Registration.
    fn register_prepared<'py>(
        &self,
        py: Python<'py>,
        source: &Bound<'py, PreparedCloud>,
        target: &Bound<'py, PreparedCloud>,
    ) -> PyResult<Bound<'py, PyDict>> {
        let engine = self.engine.get()?;
        let (source, target) = (source.get().get()?, target.get().get()?);
        let answer = py.detach(|| engine.register_prepared(&source, &target));
        to_dict(py, &answer.map_err(exception)?)
    }
}
