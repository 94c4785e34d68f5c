//! Every thread of a model is a process of its own.

use crate::engine;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Identity(pub(crate) u64);

#[derive(Debug, Clone, Copy)]
pub(crate) struct Me {
    pub(crate) identity: Identity,
    pub(crate) namespace: u32,
}

pub(crate) fn me() -> Me {
    Me { identity: Identity(u64::from(engine::program())), namespace: 1 }
}

impl Identity {
    pub(crate) fn pid(self) -> u32 {
        self.0 as u32
    }

    pub(crate) fn life(self) -> Option<u32> {
        None
    }

    pub(crate) fn is_gone(self, _namespace: u32) -> bool {
        self.pid() != 0 && engine::is_over(self.pid())
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ThreadOf(pub(crate) u64);

impl ThreadOf {
    pub(crate) fn new(tid: u32, program: Identity) -> Self {
        Self(program.0 << 32 | u64::from(tid))
    }

    pub(crate) fn tid(self) -> u32 {
        self.0 as u32
    }

    pub(crate) fn program(self) -> Identity {
        Identity(self.0 >> 32)
    }
}

pub(crate) fn thread_is_gone(tid: u32) -> bool {
    engine::is_gone(tid)
}

pub(crate) fn has_one_cpu() -> bool {
    // Nobody spins.
    true
}
