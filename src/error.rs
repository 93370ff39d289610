//! What can go wrong, said so that the reader knows what to do next.

use std::path::PathBuf;

/// Result of every fallible function of this library.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Errors of the library. Each message names the input, the number and the remedy.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The file could not be opened, read or written.
    #[error("cannot {action} {}: {source}", path.display())]
    File {
        /// What was tried: "read", "write", "create".
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// The operating system's reason.
        source: std::io::Error,
    },
    /// The file was read, but its content is not what its format promises.
    #[error("{}: {reason}", path.display())]
    Format {
        /// The file.
        path: PathBuf,
        /// What is wrong and where.
        reason: String,
    },
    /// A cloud cannot be registered: too few points, all points equal, and the like.
    #[error("the {role} cloud {reason}")]
    Cloud {
        /// "source", "target" or, where its role is not known yet, "given".
        role: &'static str,
        /// What is wrong and what to do.
        reason: String,
    },
    /// A setting is out of its range.
    #[error("{0}")]
    Config(String),
    /// The asked-for device is missing or failed.
    #[error("{0}")]
    Device(String),
    /// The device has no room for what the pair needs.
    #[error("{0}")]
    OutOfMemory(String),
    /// The library has failed in a way that it should not.
    #[error("this is a bug in coregister, please report it with the clouds: {0}")]
    Bug(String),
    /// The operating system refused to start the worker threads.
    #[error("cannot start {threads} worker threads: {source}; ask for fewer threads")]
    Threads {
        /// The number asked for.
        threads: usize,
        /// The reason given.
        source: rayon::ThreadPoolBuildError,
    },
}

impl Error {
    /// A [`Error::Format`] for `path`.
    pub fn format(path: impl Into<PathBuf>, reason: impl Into<String>) -> Self {
        Self::Format { path: path.into(), reason: reason.into() }
    }

    /// A [`Error::File`] for `path`.
    pub fn file(action: &'static str, path: impl Into<PathBuf>, source: std::io::Error) -> Self {
        Self::File { action, path: path.into(), source }
    }
}
