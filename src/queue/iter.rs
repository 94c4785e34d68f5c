//! Receiving in a `for` loop.

use crate::error::{Error, Result};
use crate::queue::Queue;

impl Queue {
    /// The messages to come: each step waits for the next one as [`Queue::recv`] does. It ends once the queue is shut down and
    /// empty, or after an error.
    ///
    /// ```
    /// # fn main() -> rsipc::Result<()> {
    /// # let namespace = rsipc::Namespace::at(std::env::temp_dir().join(format!("rsipc-doc-iter-{}", std::process::id())));
    /// let jobs = rsipc::Queue::create(namespace.name("jobs"), &rsipc::QueueOptions::new())?;
    /// jobs.send(b"first")?;
    /// jobs.send(b"second")?;
    /// jobs.shutdown()?;
    /// let mut done = Vec::new();
    /// for job in jobs.iter() {
    ///     done.push(job?);
    /// }
    /// assert_eq!(done, [&b"first"[..], b"second"]);
    /// # namespace.unlink("jobs")?;
    /// # std::fs::remove_dir_all(namespace.dir()?).ok();
    /// # Ok(())
    /// # }
    /// ```
    pub fn iter(&self) -> impl Iterator<Item = Result<Vec<u8>>> + '_ {
        until_over(|| self.recv())
    }

    /// The messages that are there: each step receives the next one as [`Queue::try_recv`] does. It ends where there is none, or
    /// after an error.
    ///
    /// ```
    /// # fn main() -> rsipc::Result<()> {
    /// # let namespace = rsipc::Namespace::at(std::env::temp_dir().join(format!("rsipc-doc-try-iter-{}", std::process::id())));
    /// let jobs = rsipc::Queue::create(namespace.name("jobs"), &rsipc::QueueOptions::new())?;
    /// jobs.send_many(&["first", "second"])?;
    /// assert_eq!(jobs.try_iter().count(), 2);
    /// assert!(jobs.is_empty()?);
    /// # namespace.unlink("jobs")?;
    /// # std::fs::remove_dir_all(namespace.dir()?).ok();
    /// # Ok(())
    /// # }
    /// ```
    pub fn try_iter(&self) -> impl Iterator<Item = Result<Vec<u8>>> + '_ {
        while_there(|| self.try_recv())
    }
}

/// What `recv` gives, until the queue is over, or after an error.
pub(super) fn until_over<T>(recv: impl FnMut() -> Result<T>) -> impl Iterator<Item = Result<T>> {
    steps(recv, |error| *error == Error::Closed)
}

/// What `try_recv` gives, while there is something, or until after an error.
pub(super) fn while_there<T>(try_recv: impl FnMut() -> Result<T>) -> impl Iterator<Item = Result<T>> {
    steps(try_recv, |error| matches!(error, Error::Closed | Error::WouldBlock))
}

fn steps<T>(mut recv: impl FnMut() -> Result<T>, is_end: impl Fn(&Error) -> bool) -> impl Iterator<Item = Result<T>> {
    let mut over = false;
    std::iter::from_fn(move || {
        if over {
            return None;
        }
        let received = recv();
        // A message of another type is no reason to leave those behind it.
        over = matches!(&received, Err(error) if !matches!(error, Error::WrongMessage { .. }));
        match received {
            Err(error) if is_end(&error) => None,
            received => Some(received),
        }
    })
}
