//! What several processes hold, wait for and are attached to.

pub(crate) mod bias;
pub(crate) mod counts;
pub(crate) mod holder;
pub(crate) mod life_table;
pub(crate) mod lives;
pub(crate) mod lock;
pub(crate) mod mutex;
pub(crate) mod peers;
pub(crate) mod permits;
pub(crate) mod quiet;
pub(crate) mod semaphore;
pub(crate) mod signals;
pub(crate) mod source;
pub(crate) mod spin;
pub(crate) mod strangers;
pub(crate) mod users;
pub(crate) mod watcher;

/// So many times in a row a thread takes a lock, nobody having come between, before the lock is biased to it (`bias`).
pub(crate) const BIAS_AFTER: u32 = 16;

/// So often in a row a process lets go of a loud lock, nobody having waited, before the lock is quiet again (`quiet`).
pub(crate) const QUIET_AFTER: u32 = 1000;
