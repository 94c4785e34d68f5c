//! What rsipc is measured beside, one file a family, each at its best settings.

pub mod iceoryx;
pub mod kernel;
pub mod locks;
pub mod raw;
pub mod rsipc;
pub mod threads;
