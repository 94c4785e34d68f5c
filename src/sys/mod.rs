//! What the kernel and the C library give: the only rooms that call them.

pub(crate) mod event;
pub(crate) mod file;
pub(crate) mod futex;
pub(crate) mod memory;
pub(crate) mod process;
pub(crate) mod spawn;
pub(crate) mod thread;
pub(crate) mod truncation;
