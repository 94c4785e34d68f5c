//! Why a command failed, and the exit status that says so to scripts.

use std::fmt;
use std::process::ExitCode;

use rsipc::Error;

/// The statuses, as the help tells them.
pub const HELP: &str = "Exit status:
  0  done
  1  it would have to wait (-n), or the time has passed (-w); doctor: something is wrong
  2  wrong arguments
  3  the queue has been shut down, and nothing is left in it
  4  there is no object of that name
  5  there is an object of that name already
  6  the other process is gone, or gave no reply
  7  anything else: the message says what
`lock` gives the status of its command, 128 and the signal's number if a signal ended that, and 127 if it could not be run.";

pub const WOULD_WAIT: u8 = 1;
const USAGE: u8 = 2;
const CLOSED: u8 = 3;
const NOT_FOUND: u8 = 4;
const EXISTS: u8 = 5;
const NO_PEER: u8 = 6;
const OTHER: u8 = 7;
/// A command could not be run, as shells say it.
pub const NOT_RUN: u8 = 127;

/// What went wrong, to be told on standard error.
#[derive(Debug)]
pub struct Failure {
    what: String,
    status: u8,
}

impl Failure {
    pub fn new(what: impl Into<String>) -> Self {
        Self { what: what.into(), status: OTHER }
    }

    pub fn usage(what: impl Into<String>) -> Self {
        Self { what: what.into(), status: USAGE }
    }

    pub fn with_status(self, status: u8) -> Self {
        Self { status, ..self }
    }

    /// Says what it was about.
    pub fn about(self, subject: impl fmt::Display) -> Self {
        Self { what: format!("{subject}: {}", self.what), ..self }
    }

    pub fn is_wait(&self) -> bool {
        self.status == WOULD_WAIT
    }

    /// Tells it, and gives the exit status.
    pub fn report(&self) -> ExitCode {
        eprintln!("rsipc: {}", self.what);
        self.status.into()
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let status = match error {
            Error::WouldBlock | Error::TimedOut => WOULD_WAIT,
            Error::InvalidArgument(_) => USAGE,
            Error::Closed => CLOSED,
            Error::NotFound { .. } => NOT_FOUND,
            Error::AlreadyExists { .. } => EXISTS,
            Error::PeerGone | Error::NoReply | Error::Disconnected(_) => NO_PEER,
            _ => OTHER,
        };
        Self { what: error.to_string(), status }
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        Self::new(error.to_string())
    }
}
