//! The run-time choice of a device: the only place where backends are matched on.

use crate::cloud::Cloud;
use crate::config::Config;
use crate::error::Result;
use crate::registration::Registration;

/// A device that is ready to register pairs. Make one, use it for many pairs.
pub struct Engine {
    config: Config,
}

impl Engine {
    /// Checks the settings and opens the device.
    pub fn new(config: Config) -> Result<Self> {
        Ok(Self { config })
    }

    /// Finds the transform that lays `source` onto `target`; see [`Registration`].
    pub fn register(&self, source: &Cloud, target: &Cloud) -> Result<Registration> {
        let _ = (&self.config, source, target);
        todo!()
    }
}
