//! Prints what comes out of a queue, until all who have sent are gone.

use rsipc::{Error, Queue, QueueOptions};

fn main() -> rsipc::Result<()> {
    let numbers = Queue::open_or_create("numbers", &QueueOptions::new())?;
    numbers.end_with_peers(true);
    loop {
        match numbers.recv() {
            Ok(text) => println!("{}", String::from_utf8_lossy(&text)),
            Err(Error::Disconnected(_)) => break,
            Err(error) => return Err(error),
        }
    }
    println!("all senders are gone");
    Ok(())
}
