//! `rsipc call`

use std::io::{Read, Write, stdin, stdout};
use std::os::unix::ffi::OsStrExt;
use std::process::ExitCode;

use rsipc::{Endpoint, Namespace, QueueOptions};

use crate::Done;
use crate::cli::CallArgs;
use crate::commands::mailbox;
use crate::failure::Failure;

pub fn run(space: &Namespace, args: &CallArgs) -> Done {
    let mut request = Vec::new();
    match &args.request {
        Some(text) => request.extend(text.as_bytes()),
        None => stdin().lock().read_to_end(&mut request).map(drop)?,
    }
    let endpoint = Endpoint::open(space, &QueueOptions::new())?;
    let reply = match mailbox(space, &args.name)? {
        Some(queue) => match args.timeout {
            None => endpoint.call_mailbox(&queue, &request),
            Some(timeout) => endpoint.call_mailbox_timeout(&queue, &request, timeout),
        },
        None => {
            let server = endpoint.find(&args.name)?;
            match args.timeout {
                None => endpoint.call(server, &request),
                Some(timeout) => endpoint.call_timeout(server, &request, timeout),
            }
        }
    };
    let reply = reply.map_err(|error| Failure::from(error).about(&args.name))?;
    let mut out = stdout().lock();
    out.write_all(&reply)?;
    if !args.raw && !reply.ends_with(b"\n") {
        out.write_all(b"\n")?;
    }
    out.flush()?;
    Ok(ExitCode::SUCCESS)
}
