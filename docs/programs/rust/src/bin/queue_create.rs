//! Creates a queue of each capacity.

use rsipc::{Queue, QueueOptions};

fn main() -> rsipc::Result<()> {
    let options = QueueOptions::new().max_message(1000);
    Queue::open_or_create("bounded", &options.capacity(4))?;
    Queue::open_or_create("unbounded", &options.unbounded())?;
    Queue::open_or_create("rendezvous", &options.capacity(0))?;
    Ok(())
}
