//! Prints what has happened to a queue.

use rsipc::Queue;

fn main() -> rsipc::Result<()> {
    let counters = Queue::open("numbers")?.counters()?;
    println!("{} messages of {} bytes sent, {} received", counters.sent, counters.bytes_sent, counters.received);
    println!("{} deaths noticed", counters.deaths);
    Ok(())
}
