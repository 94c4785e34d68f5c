//! How long a call may wait: for ever, not at all, or until a moment on the monotonic clock (`clock_gettime(2)`).

use std::time::Duration;
pub(crate) use std::time::Instant;

use nix::time::{ClockId, clock_gettime};

use crate::error::{Error, Result};

/// When a wait must end. Made once at the start of a call, so that a wait that is taken up again keeps its end.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Deadline {
    /// Wait for ever.
    Never,
    /// Do not wait.
    Now,
    /// Wait until this moment.
    At(Instant),
}

impl Deadline {
    /// The moment `timeout` from now; one too far off for the clock is for ever, and no time at all is not to wait.
    pub(crate) fn after(timeout: Duration) -> Self {
        if timeout.is_zero() {
            return Self::Now;
        }
        Instant::now().checked_add(timeout).map_or(Self::Never, Self::At)
    }

    /// How long may still be waited, at most `slice`; the error that ends the call once no time is left.
    pub(crate) fn left(self, slice: Duration) -> Result<Duration> {
        match self {
            Self::Never => Ok(slice),
            Self::Now => Err(Error::WouldBlock),
            Self::At(end) => match end.checked_duration_since(Instant::now()) {
                Some(left) if !left.is_zero() => Ok(left.min(slice)),
                _ => Err(Error::TimedOut),
            },
        }
    }
}

/// The time on the monotonic clock in nanoseconds, to within some milliseconds; None where it cannot be read.
pub(crate) fn coarse_now() -> Option<u64> {
    let now = clock_gettime(ClockId::CLOCK_MONOTONIC_COARSE).ok()?;
    Some(now.tv_sec().unsigned_abs() * 1_000_000_000 + now.tv_nsec().unsigned_abs())
}
