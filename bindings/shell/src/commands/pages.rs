//! `rsipc completions` and `rsipc man`

use std::fs;
use std::io::stdout;
use std::process::ExitCode;

use clap::CommandFactory;

use crate::Done;
use crate::cli::{Cli, CompletionsArgs, ManArgs};
use crate::failure::Failure;

pub fn completions(args: &CompletionsArgs) -> Done {
    clap_complete::generate(args.shell, &mut Cli::command(), "rsipc", &mut stdout());
    Ok(ExitCode::SUCCESS)
}

pub fn man(args: &ManArgs) -> Done {
    let about = |error: std::io::Error| Failure::from(error).about(args.dir.display());
    fs::create_dir_all(&args.dir).map_err(about)?;
    clap_mangen::generate_to(Cli::command().disable_help_subcommand(true), &args.dir).map_err(about)?;
    Ok(ExitCode::SUCCESS)
}
