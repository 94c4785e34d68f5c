//! Prints what comes out of a queue, until it is told to stop.

use rsipc::{Error, Queue, QueueOptions, Semaphore, WaitSet};

fn main() -> rsipc::Result<()> {
    let numbers = Queue::open_or_create("numbers", &QueueOptions::new())?;
    let stop = Semaphore::open_or_create("stop", 0)?;
    let set = WaitSet::new().recv(&numbers).acquire(&stop);
    loop {
        let ready = set.wait()?;
        // Another process may have been faster: then there is nothing to be had without waiting.
        if ready.contains(&0) {
            match numbers.try_recv() {
                Err(Error::WouldBlock) => {}
                text => println!("{}", String::from_utf8_lossy(&text?)),
            }
        } else if stop.try_acquire().is_ok() {
            break;
        }
    }
    println!("stopped");
    Ok(())
}
