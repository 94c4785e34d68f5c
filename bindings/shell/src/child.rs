//! Commands that are run for somebody.

use std::ffi::OsString;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Command, ExitStatus};

use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::{SigSet, Signal};
use nix::unistd::getppid;

/// A command that is killed if this process is: what it does is done under a lock that others then get, or for a caller who is
/// told otherwise.
pub fn command(words: &[OsString]) -> Command {
    let mut command = Command::new(&words[0]);
    command.args(&words[1..]);
    let parent = nix::unistd::getpid();
    // This process may block some while it waits for the command, which is not to inherit that.
    let signals = SigSet::thread_get_mask();
    let end_with_parent = move || {
        set_pdeathsig(Signal::SIGKILL)?;
        signals?.thread_set_mask()?;
        // It may have been killed before that.
        if getppid() == parent { Ok(()) } else { Err(nix::errno::Errno::ESRCH.into()) }
    };
    // SAFETY: it makes system calls only.
    unsafe { command.pre_exec(end_with_parent) };
    command
}

/// The exit status as shells tell it.
pub fn status(status: ExitStatus) -> u8 {
    let code = status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or_default());
    u8::try_from(code).unwrap_or(u8::MAX)
}
