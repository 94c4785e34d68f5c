//! Calls that can wait: other Python threads run meanwhile, and signals are handled.

use std::time::{Duration, Instant};

use pyo3::prelude::*;
use rsipc::Error;

use crate::errors::{Doing, exception};

/// The longest wait without a look for signals, which another thread may have been interrupted by.
const LOOK: Duration = Duration::from_millis(100);

/// Calls `attempt`, which waits no longer than it is told, until it comes to an end other than time or a signal's. It is first told not
/// to wait, and stays attached to the interpreter; whenever it waits it is detached.
///
/// As in all of Python, a signal handler that raises ends the wait with that exception, and one that returns does not end it.
#[inline]
pub(crate) fn wait<T: Send>(
    py: Python<'_>,
    timeout: Option<Duration>,
    doing: Doing,
    mut attempt: impl FnMut(Duration) -> rsipc::Result<T> + Send,
) -> PyResult<T> {
    match attempt(Duration::ZERO) {
        Ok(done) => Ok(done),
        Err(Error::WouldBlock) if timeout != Some(Duration::ZERO) => wait_slow(py, timeout, doing, attempt),
        Err(Error::Interrupted) => wait_slow(py, timeout, doing, attempt),
        Err(e) => Err(exception(py, &e, doing)),
    }
}

#[cold]
fn wait_slow<T: Send>(
    py: Python<'_>,
    timeout: Option<Duration>,
    doing: Doing,
    mut attempt: impl FnMut(Duration) -> rsipc::Result<T> + Send,
) -> PyResult<T> {
    let end = end_of(timeout);
    loop {
        py.check_signals()?;
        let left = end.map_or(LOOK, |end| end.saturating_duration_since(Instant::now()));
        match py.detach(|| attempt(left.min(LOOK))) {
            Ok(done) => return Ok(done),
            Err(Error::TimedOut | Error::Interrupted) => {}
            // No time is left.
            Err(Error::WouldBlock) if timeout != Some(Duration::ZERO) => return Err(exception(py, &Error::TimedOut, doing)),
            Err(e) => return Err(exception(py, &e, doing)),
        }
    }
}

/// What is left of a timeout that ends then. Of a time that has passed a moment is left: the error is a timeout then, unless the call was
/// told not to wait.
pub(crate) fn left(timeout: Option<Duration>, end: Option<Instant>) -> Option<Duration> {
    let moment = Duration::from_nanos(1);
    end.map(|end| end.saturating_duration_since(Instant::now()).max(moment)).or(timeout).min(timeout)
}

/// When a timeout ends, unless that is never.
pub(crate) fn end_of(timeout: Option<Duration>) -> Option<Instant> {
    timeout.and_then(|timeout| Instant::now().checked_add(timeout))
}

/// Makes a call that may take a while, detached from the interpreter, and again where a signal handler interrupted it and returned.
pub(crate) fn call<T: Send>(py: Python<'_>, mut call: impl FnMut() -> rsipc::Result<T> + Send) -> PyResult<T> {
    call_attached(py, || py.detach(&mut call))
}

/// As `call`, but attached: no other thread of Python runs meanwhile. Of what the call locks it lets go before signal handlers run.
pub(crate) fn call_attached<T>(py: Python<'_>, mut call: impl FnMut() -> rsipc::Result<T>) -> PyResult<T> {
    loop {
        match call() {
            Ok(done) => return Ok(done),
            Err(Error::Interrupted) => py.check_signals()?,
            Err(e) => return Err(exception(py, &e, Doing::Other)),
        }
    }
}
