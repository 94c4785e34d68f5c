//! Two workers take jobs from a queue until it is shut down. Run it with `cargo run --example queue`.

use std::process::Command;

use rsipc::{Error, Namespace, Queue, QueueOptions, Result};

fn main() -> Result<()> {
    if let Some(name) = std::env::args().nth(1) {
        let jobs = Queue::open(&name)?;
        loop {
            match jobs.recv() {
                Ok(job) => println!("process {}: {}", std::process::id(), String::from_utf8_lossy(&job)),
                Err(Error::Closed) => return Ok(()),
                Err(error) => return Err(error),
            }
        }
    }

    let name = format!("example-queue-{}", std::process::id());
    let jobs = Queue::create(&name, &QueueOptions::new().capacity(4).max_message(100))?;
    let me = std::env::current_exe().expect("this program has a path");
    let start = || Command::new(&me).arg(&name).spawn().expect("it can be started again");
    let workers = [start(), start()];
    for number in 1..=10 {
        jobs.send(format!("job {number}").as_bytes())?; // Waits while four jobs are waiting.
    }
    jobs.shutdown()?;
    for mut worker in workers {
        worker.wait().expect("it is our child");
    }
    assert!(jobs.is_empty()?);
    Namespace::default().unlink(&name)
}
