//! Jobs that outlive their workers: a message on lease comes back when the process that works on it dies.
//!
//! Run it with `cargo run --example leases`. The first worker dies over its job; the next one gets it.

use std::process::Command;

use rsipc::{Namespace, Queue, QueueOptions, Result};

fn main() -> Result<()> {
    if let Some(name) = std::env::args().nth(1) {
        let jobs = Queue::open(&name)?;
        let job = jobs.lease()?;
        println!("a worker has {:?}, and dies", String::from_utf8_lossy(job.message()));
        std::process::abort();
    }

    let name = format!("example-leases-{}", std::process::id());
    let jobs = Queue::create(&name, &QueueOptions::new())?;
    jobs.send(b"resize cat.jpg")?;
    let me = std::env::current_exe().expect("this program has a path");
    Command::new(me).arg(&name).status().expect("it can be started again");

    let job = jobs.lease()?;
    println!("{:?} was handed out {} times", String::from_utf8_lossy(job.message()), job.deliveries());
    job.finish()?; // Only now is it gone.
    assert!(jobs.is_empty()?);
    Namespace::default().unlink(&name)
}
