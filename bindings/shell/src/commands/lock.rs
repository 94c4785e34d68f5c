//! `rsipc lock`

use std::process::ExitCode;

use nix::sys::signal::{SigSet, Signal, kill};
use nix::unistd::Pid;
use rsipc::{Mutex, Namespace};

use crate::Done;
use crate::child;
use crate::cli::LockArgs;
use crate::failure::{Failure, NOT_RUN};

pub fn run(space: &Namespace, args: &LockArgs) -> Done {
    let mutex = Mutex::<()>::open_or_create(space.name(&args.name), ())?;
    let locked = match args.waiting.timeout() {
        None => mutex.lock(),
        Some(timeout) => mutex.lock_timeout(timeout),
    };
    let mut guard = locked.map_err(|error| {
        let failure = Failure::from(error).about(&args.name);
        if failure.is_wait() { failure.with_status(args.conflict_exit_code) } else { failure }
    })?;
    let mut command = child::command(&args.command);
    if guard.owner_died() {
        eprintln!("rsipc: {}: its last owner died with it: what it guards may be half changed", args.name);
        command.env("RSIPC_OWNER_DIED", "1");
    } else {
        command.env_remove("RSIPC_OWNER_DIED");
    }
    // From here on a signal does not end this process before the command has ended. The terminal's go to the command as well.
    let signals = [Signal::SIGCHLD, Signal::SIGTERM, Signal::SIGHUP, Signal::SIGINT, Signal::SIGQUIT];
    let signals: SigSet = signals.into_iter().collect();
    signals.thread_block().map_err(std::io::Error::from)?;
    let mut child =
        command.spawn().map_err(|error| Failure::from(error).about(args.command[0].display()).with_status(NOT_RUN))?;
    let status = loop {
        if let Some(status) = child.try_wait()? {
            break status;
        }
        let signal = signals.wait().map_err(std::io::Error::from)?;
        if matches!(signal, Signal::SIGTERM | Signal::SIGHUP) {
            // Its number is not another process's before it has been waited for.
            let _ = kill(Pid::from_raw(child.id().cast_signed()), signal);
        }
    };
    if status.success() {
        guard.mark_consistent();
    }
    drop(guard);
    Ok(ExitCode::from(child::status(status)))
}
