//! `rsipc create`

use std::process::ExitCode;

use rsipc::{Mutex, Namespace, Queue, QueueOptions, Region, Semaphore};

use crate::Done;
use crate::cli::{Create, CreateArgs};
use crate::failure::Failure;

pub fn run(space: Namespace, args: &CreateArgs) -> Done {
    let space = space.mode(args.mode);
    match &args.what {
        Create::Queue { name, capacity, unbounded, limit, max_message, leases } => {
            let options = QueueOptions::new().max_message(size(*max_message)?).leases(*leases);
            let options = match (limit, unbounded) {
                (Some(limit), _) => options.unbounded_within(size(*limit)?),
                (None, true) => options.unbounded(),
                (None, false) => options.capacity(*capacity),
            };
            let name = space.name(name);
            if args.exist_ok {
                Queue::open_or_create(name, &options)?
            } else {
                Queue::create(name, &options)?
            };
        }
        Create::Mutex { name } => {
            let name = space.name(name);
            if args.exist_ok {
                Mutex::<()>::open_or_create(name, ())?
            } else {
                Mutex::create(name, ())?
            };
        }
        Create::Semaphore { name, value, permits } => {
            let name = space.name(name);
            match (permits, args.exist_ok) {
                (Some(permits), true) => Semaphore::open_or_create_permits(name, *permits)?,
                (Some(permits), false) => Semaphore::create_permits(name, *permits)?,
                (None, true) => Semaphore::open_or_create(name, *value)?,
                (None, false) => Semaphore::create(name, *value)?,
            };
        }
        Create::Region { name, size: len } => {
            let (name, len) = (space.name(name), size(*len)?);
            if args.exist_ok {
                Region::open_or_create(name, len)?
            } else {
                Region::create(name, len)?
            };
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn size(bytes: u64) -> Result<usize, Failure> {
    usize::try_from(bytes).map_err(|_| Failure::usage(format!("{bytes} bytes are more than there are addresses for")))
}
