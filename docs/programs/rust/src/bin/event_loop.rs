//! Prints what comes out of a queue, in a task beside which others may run.

use rsipc::{Error, Queue};

async fn show(name: &str) -> rsipc::Result<()> {
    let queue = Queue::open(name)?;
    loop {
        match queue.recv_async().await {
            Ok(text) => println!("{}", String::from_utf8_lossy(&text)),
            Err(Error::Closed) => return Ok(()),
            Err(error) => return Err(error),
        }
    }
}

fn main() -> rsipc::Result<()> {
    let name = std::env::args().nth(1).unwrap_or_default();
    pollster::block_on(show(&name)) // or any other runtime
}
