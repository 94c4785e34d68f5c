//! Receives as many messages as are there, up to 64, in one call.

use rsipc::{Batch, Queue, QueueOptions};

fn main() -> rsipc::Result<()> {
    let numbers = Queue::open_or_create("numbers", &QueueOptions::new())?;
    let mut batch = Batch::new();
    numbers.recv_many(&mut batch, 64)?;
    for text in batch.iter() {
        println!("{}", String::from_utf8_lossy(text));
    }
    Ok(())
}
