//! Descriptors that are readable once something happened.
//!
//! `eventfd(2)`.

use std::os::fd::{AsFd, BorrowedFd};

use nix::sys::eventfd::{EfdFlags, EventFd};

use crate::error::{Error, Result};
use crate::sys::thread::Uncancelled;

/// Readable while it is set. Closed on exec.
pub(crate) struct Event(EventFd);

impl Event {
    pub(crate) fn new_set() -> Result<Self> {
        let event = EventFd::from_value_and_flags(1, EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK);
        event.map(Self).map_err(|e| Error::os(e as i32, "making an eventfd"))
    }

    pub(crate) fn set(&self) {
        // Fails where it has been set as often as it can count.
        let _uncancelled = Uncancelled::new();
        let _ = self.0.write(1);
    }

    pub(crate) fn clear(&self) {
        // Fails where it is not set.
        let _uncancelled = Uncancelled::new();
        let _ = self.0.read();
    }
}

impl AsFd for Event {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
