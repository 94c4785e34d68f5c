//! Prints what comes out of a queue, until it is shut down.

use rsipc::{Error, Queue};

fn main() -> rsipc::Result<()> {
    let queue = Queue::open(&*std::env::args().nth(1).unwrap_or_default())?;
    loop {
        match queue.recv() {
            Ok(text) => println!("{}", String::from_utf8_lossy(&text)),
            Err(Error::Closed) => return Ok(()),
            Err(error) => return Err(error),
        }
    }
}
