//! `rsipc recv`

use std::fmt::Write as _;
use std::io::{Write, stdout};
use std::os::fd::AsFd;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{Signal, raise};
use rsipc::{Error, Namespace, Queue};
use serde::Serialize;

use crate::Done;
use crate::cli::RecvArgs;
use crate::commands::open;
use crate::failure::Failure;
use crate::output;

/// How often it looks whether anybody reads what it writes.
const LOOK: Duration = Duration::from_millis(500);

/// A message, as `--json` gives it.
#[derive(Serialize)]
struct Message<'a> {
    len: usize,
    deliveries: u32,
    text: Option<&'a str>,
    hex: Option<String>,
}

pub fn run(space: &Namespace, args: &RecvArgs) -> Done {
    let queue = open(space, &args.name)?;
    // On a terminal, the messages are the progress.
    let bar = output::bar(args.raw && !console::user_attended(), None);
    let mut taken = 0;
    while args.follow || taken < args.count {
        match receive(&queue, args) {
            Ok(len) => bar.inc(len as u64),
            Err(Outcome::Over) if args.follow => break,
            Err(Outcome::Over) => return Err(Failure::from(Error::Closed).about(&args.name)),
            Err(Outcome::Failed(failure)) => return Err(failure.about(&args.name)),
        }
        taken += 1;
    }
    Ok(ExitCode::SUCCESS)
}

enum Outcome {
    /// The queue was shut down, and is empty.
    Over,
    Failed(Failure),
}

impl From<Error> for Outcome {
    fn from(error: Error) -> Self {
        if error == Error::Closed { Self::Over } else { Self::Failed(error.into()) }
    }
}

/// Receives a message, and lets go of it once it is written; says how long it was.
fn receive(queue: &Queue, args: &RecvArgs) -> Result<usize, Outcome> {
    match waiting(args, |timeout| queue.lease_timeout(timeout)) {
        Ok(lease) => {
            write(lease.message(), lease.deliveries(), args)?;
            let len = lease.message().len();
            lease.finish()?;
            Ok(len)
        }
        // A queue that was made for no leases.
        Err(Error::Unsupported(_)) => {
            let message = waiting(args, |timeout| queue.recv_timeout(timeout))?;
            write(&message, 1, args)?;
            Ok(message.len())
        }
        Err(error) => Err(error.into()),
    }
}

/// Waits as long as it was told to. Meanwhile it looks whether anybody still reads what this process writes, and ends if nobody
/// does, as it would if it wrote.
fn waiting<T>(args: &RecvArgs, receive: impl Fn(Duration) -> rsipc::Result<T>) -> rsipc::Result<T> {
    let end = args.waiting.timeout().map(|timeout| Instant::now() + timeout);
    loop {
        let left = end.map_or(LOOK, |end| end.saturating_duration_since(Instant::now()));
        match receive(left.min(LOOK)) {
            Err(Error::TimedOut) if left >= LOOK => {
                if nobody_reads() {
                    let _ = raise(Signal::SIGPIPE);
                }
            }
            result => return result,
        }
    }
}

/// Whether standard output is a pipe that nobody reads any more.
fn nobody_reads() -> bool {
    let out = stdout();
    let mut polled = [PollFd::new(out.as_fd(), PollFlags::empty())];
    poll(&mut polled, PollTimeout::ZERO).is_ok() && polled[0].revents().is_some_and(|events| events.contains(PollFlags::POLLERR))
}

fn write(message: &[u8], deliveries: u32, args: &RecvArgs) -> Result<(), Outcome> {
    let failed = |error: std::io::Error| Outcome::Failed(error.into());
    if args.json {
        let text = std::str::from_utf8(message).ok();
        let hex = text.is_none().then(|| {
            message.iter().fold(String::with_capacity(2 * message.len()), |mut hex, byte| {
                let _ = write!(hex, "{byte:02x}");
                hex
            })
        });
        return output::json_line(&Message { len: message.len(), deliveries, text, hex }).map_err(Outcome::Failed);
    }
    let mut out = stdout().lock();
    if args.framed {
        // No message is longer than 2^30 bytes.
        out.write_all(&(message.len() as u32).to_le_bytes()).map_err(failed)?;
    }
    out.write_all(message).map_err(failed)?;
    if !args.framed && !args.raw {
        out.write_all(b"\n").map_err(failed)?;
    }
    out.flush().map_err(failed)
}
