//! `rsipc shutdown`

use std::process::ExitCode;

use rsipc::Namespace;

use crate::Done;
use crate::cli::ShutdownArgs;
use crate::commands::open;

pub fn run(space: &Namespace, args: &ShutdownArgs) -> Done {
    open(space, &args.name)?.shutdown()?;
    Ok(ExitCode::SUCCESS)
}
