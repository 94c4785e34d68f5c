//! Takes jobs on lease, until the queue is shut down.

use rsipc::{Error, Queue, QueueOptions};

fn main() -> rsipc::Result<()> {
    let jobs = Queue::open_or_create("jobs", &QueueOptions::new())?;
    loop {
        let lease = match jobs.lease() {
            Err(Error::Closed) => return Ok(()),
            lease => lease?,
        };
        if std::env::args().len() > 1 {
            std::process::abort(); // dies over its job, if it is told to
        }
        println!("{} (delivery {})", String::from_utf8_lossy(lease.message()), lease.deliveries());
        lease.finish()?; // only now is the job gone
    }
}
