//! In the place of the library's `sys`: what its protocols do goes to the engine.

pub(crate) mod file;
pub(crate) mod futex;
pub(crate) mod memory;
pub(crate) mod process;
pub(crate) mod thread;
