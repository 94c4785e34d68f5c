//! One file a command.

pub mod bench;
pub mod call;
pub mod create;
pub mod doctor;
pub mod list;
pub mod lock;
pub mod pages;
pub mod recv;
pub mod remove;
pub mod send;
pub mod serve;
pub mod shutdown;
pub mod stat;
pub mod watch;

use rsipc::{Error, Namespace, Queue};

use crate::failure::Failure;

/// Opens a queue, of which the failure speaks.
fn open(space: &Namespace, name: &str) -> Result<Queue, Failure> {
    Ok(Queue::open(space.name(name))?)
}

/// Opens a queue of that name; None where there is none, or something else.
fn mailbox(space: &Namespace, name: &str) -> Result<Option<Queue>, Failure> {
    match Queue::open(space.name(name)) {
        Ok(queue) => Ok(Some(queue)),
        Err(Error::NotFound { .. } | Error::WrongKind { found: "endpoint", .. }) => Ok(None),
        Err(error) => Err(error.into()),
    }
}
