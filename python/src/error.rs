//! The library's errors as the exceptions of `coregister._errors`.

use pyo3::{PyErr, import_exception};

import_exception!(coregister._errors, Error);
import_exception!(coregister._errors, CloudError);
import_exception!(coregister._errors, ConfigError);
import_exception!(coregister._errors, DeviceError);
import_exception!(coregister._errors, FileError);

/// The exception for an error of the library, with its message.
pub fn exception(error: coregister::Error) -> PyErr {
    let message = error.to_string();
    match error {
        coregister::Error::Cloud { .. } => CloudError::new_err(message),
        coregister::Error::Config(_) => ConfigError::new_err(message),
        coregister::Error::Device(_) | coregister::Error::OutOfMemory(_) => DeviceError::new_err(message),
        coregister::Error::File { .. } | coregister::Error::Format { .. } => FileError::new_err(message),
        _ => Error::new_err(message),
    }
}
