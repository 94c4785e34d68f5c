//! `rsipc serve`

use std::io::{ErrorKind, Write};
use std::process::{ExitCode, Stdio};
use std::thread;

use rsipc::{Endpoint, Error, Message, Namespace, QueueOptions};

use crate::Done;
use crate::child;
use crate::cli::ServeArgs;
use crate::commands::mailbox;
use crate::failure::{Failure, NOT_RUN};

/// The longest request to an endpoint. Who wants another limit makes a queue.
const MAX_REQUEST: usize = 16 << 20;

pub fn run(space: &Namespace, args: &ServeArgs) -> Done {
    let queue = mailbox(space, &args.name)?;
    let options = QueueOptions::new().max_message(MAX_REQUEST);
    let endpoint = match &queue {
        Some(_) => Endpoint::open(space, &QueueOptions::new()),
        None => Endpoint::open_named(space.name(&args.name), &options),
    }?;
    let mut served = 0;
    while args.count.is_none_or(|count| served < count) {
        let request = match &queue {
            Some(queue) => endpoint.recv_mailbox(queue),
            None => endpoint.recv(),
        };
        match request {
            Ok(request) => answer(request, args)?,
            Err(Error::Closed) => break,
            Err(error) => return Err(Failure::from(error).about(&args.name)),
        }
        served += 1;
    }
    Ok(ExitCode::SUCCESS)
}

/// Runs the command for a request. Without a reply the caller is told when the request is dropped.
fn answer(mut request: Message, args: &ServeArgs) -> Result<(), Failure> {
    let mut command = child::command(&args.command);
    command.env("RSIPC_CALLER", request.from().pid().to_string()).stdin(Stdio::piped()).stdout(Stdio::piped());
    let about = |error: std::io::Error| Failure::from(error).about(args.command[0].display());
    let mut child = command.spawn().map_err(|error| about(error).with_status(NOT_RUN))?;
    let input = child.stdin.take();
    let output = thread::scope(|scope| {
        let bytes = request.bytes();
        // Beside reading what it writes: it may do both at once.
        let feed = scope.spawn(move || input.map_or(Ok(()), |mut input| input.write_all(bytes)));
        let output = child.wait_with_output();
        match feed.join() {
            // It need not read its input.
            Ok(Err(error)) if error.kind() != ErrorKind::BrokenPipe => Err(error),
            _ => output,
        }
    });
    let output = output.map_err(about)?;
    if !output.status.success() {
        eprintln!("rsipc: {}: {}: no reply is given", args.command[0].display(), output.status);
    } else if request.wants_reply()
        && let Err(error) = request.reply(&output.stdout)
    {
        eprintln!("rsipc: replying to {}: {error}", request.from());
    }
    Ok(())
}
