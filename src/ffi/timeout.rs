//! Waiting
//!
//! A call that can wait takes a `timeout_ns`: how long it may wait, in nanoseconds on the monotonic clock,
//! or one of the two constants below; any other negative number is IPC_ERR_INVALID_ARGUMENT. A short spin
//! comes first, then a sleep that costs no processor time.
//!
//! Where it would have to wait and may not, a call returns IPC_ERR_WOULD_BLOCK; when the time has passed,
//! IPC_ERR_TIMED_OUT. A signal whose handler was installed without SA_RESTART (before Linux 6.7: any signal
//! with a handler) ends a wait with IPC_ERR_INTERRUPTED. In all three cases nothing was done.

use std::time::Duration;

use crate::error::{Error, Result};
use crate::time::Deadline;

/// As `timeout_ns`: wait for ever.
pub const IPC_FOREVER: i64 = -1;
/// As `timeout_ns`: do not wait.
pub const IPC_DONT_WAIT: i64 = 0;

/// How long a call may wait.
pub(super) enum Wait {
    Forever,
    No,
    For(Duration),
}

impl Wait {
    pub(super) fn deadline(self) -> Deadline {
        match self {
            Self::Forever => Deadline::Never,
            Self::No => Deadline::Now,
            Self::For(timeout) => Deadline::after(timeout),
        }
    }
}

/// What `timeout_ns` means.
#[inline]
pub(super) fn wait(timeout_ns: i64) -> Result<Wait> {
    match timeout_ns {
        IPC_DONT_WAIT => Ok(Wait::No),
        IPC_FOREVER => Ok(Wait::Forever),
        1.. => Ok(Wait::For(Duration::from_nanos(timeout_ns.unsigned_abs()))),
        _ => Err(Error::invalid(format!(
            "timeout_ns is a number of nanoseconds, IPC_DONT_WAIT (0) or IPC_FOREVER (-1), not {timeout_ns}"
        ))),
    }
}
