//! Sends three messages in one call.

use rsipc::{Queue, QueueOptions};

fn main() -> rsipc::Result<()> {
    let numbers = Queue::open_or_create("numbers", &QueueOptions::new())?;
    let sent = numbers.send_many(&["one", "two", "three"])?;
    println!("{sent} sent");
    Ok(())
}
