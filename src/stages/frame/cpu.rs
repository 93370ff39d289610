//! CPU side.
