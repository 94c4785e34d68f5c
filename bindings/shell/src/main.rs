//! The `rsipc` command: what shell scripts and people do with rsipc's objects.
//!
//! `cli` is what can be typed; `commands` does it, one file a command; `object` is what `ls`, `stat`, `watch` and `doctor` know
//! of an object, with what `processes` finds in `/proc`; `failure` is what the exit statuses mean.

mod child;
mod cli;
mod commands;
mod failure;
mod object;
mod output;
mod processes;

use std::process::ExitCode;

use clap::Parser;

use cli::{Cli, Command};
use failure::Failure;

fn main() -> ExitCode {
    let cli = Cli::parse();
    let space = cli.namespace();
    // Who writes into a pipe that nobody reads ends, as a shell's other commands do. Those that feed commands of their own get an error.
    if !matches!(cli.command, Command::Serve(_) | Command::Lock(_)) {
        // SAFETY: this is the only thread, and no handler is installed.
        unsafe { libc::signal(libc::SIGPIPE, libc::SIG_DFL) };
    }
    let done = match cli.command {
        Command::Ls(args) => commands::list::run(&space, &args),
        Command::Stat(args) => commands::stat::run(&space, &args),
        Command::Watch(args) => commands::watch::run(&space, &args),
        Command::Create(args) => commands::create::run(space, &args),
        Command::Send(args) => commands::send::run(&space, &args),
        Command::Recv(args) => commands::recv::run(&space, &args),
        Command::Shutdown(args) => commands::shutdown::run(&space, &args),
        Command::Call(args) => commands::call::run(&space, &args),
        Command::Serve(args) => commands::serve::run(&space, &args),
        Command::Lock(args) => commands::lock::run(&space, &args),
        Command::Rm(args) => commands::remove::run(&space, &args),
        Command::Doctor(args) => commands::doctor::run(&space, &args),
        Command::Bench(args) => commands::bench::run(&args),
        Command::BenchPeer(args) => commands::bench::peer(&space, &args),
        Command::Completions(args) => commands::pages::completions(&args),
        Command::Man(args) => commands::pages::man(&args),
    };
    match done {
        Ok(status) => status,
        Err(failure) => failure.report(),
    }
}

/// What a command gives: its exit status, or why it failed.
type Done = Result<ExitCode, Failure>;
