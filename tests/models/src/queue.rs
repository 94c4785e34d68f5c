//! The library's own, but for the public face.

#[path = "../../../src/queue/batching.rs"]
pub(crate) mod batching;
#[path = "../../../src/queue/blocks.rs"]
pub(crate) mod blocks;
#[path = "../../../src/queue/claims.rs"]
pub(crate) mod claims;
#[path = "../../../src/queue/handoff.rs"]
pub(crate) mod handoff;
#[path = "../../../src/queue/log.rs"]
pub(crate) mod log;
#[path = "../../../src/queue/options.rs"]
pub(crate) mod options;
#[path = "../../../src/queue/receiving.rs"]
pub(crate) mod receiving;
#[path = "../../../src/queue/ring.rs"]
pub(crate) mod ring;
#[path = "../../../src/queue/sending.rs"]
pub(crate) mod sending;
#[path = "../../../src/queue/sources.rs"]
pub(crate) mod sources;
#[path = "../../../src/queue/store.rs"]
pub(crate) mod store;
#[path = "../../../src/queue/watch.rs"]
pub(crate) mod watch;

pub(crate) mod attached {
    pub(crate) const LEASES: u32 = 8;
}
