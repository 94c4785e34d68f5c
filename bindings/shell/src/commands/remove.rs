//! `rsipc rm`

use std::process::ExitCode;

use rsipc::{Error, Namespace};

use crate::Done;
use crate::cli::RemoveArgs;
use crate::failure::Failure;

pub fn run(space: &Namespace, args: &RemoveArgs) -> Done {
    let mut status = ExitCode::SUCCESS;
    for name in &args.names {
        match space.unlink(name) {
            Err(Error::NotFound { .. }) if args.force => {}
            // The others are taken away nevertheless.
            Err(error) => status = Failure::from(error).report(),
            Ok(()) => {}
        }
    }
    Ok(status)
}
