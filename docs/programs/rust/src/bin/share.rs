//! Opens a queue that a group of users shares, or creates it for them.

use rsipc::{Namespace, Queue, QueueOptions};

fn main() -> rsipc::Result<()> {
    let directory = std::env::args().nth(1).unwrap_or("/dev/shm/team".into());
    let team = Namespace::at(directory).mode(0o660);
    let jobs = Queue::open_or_create(team.name("jobs"), &QueueOptions::new())?;
    jobs.send(b"for the team")
}
