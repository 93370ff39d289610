//! Chores of coregister's developers. It is a library as well, so that the tests of coregister can use parts of it.

pub mod install_c;
pub mod kernels;
