//! Fills a frame where the receiver will read it, and sends it.

use rsipc::{Queue, QueueOptions};

const SIZE: usize = 8 << 20;

fn main() -> rsipc::Result<()> {
    // Of the two leases one is for a frame that is filled, and one for a frame that is read.
    let options = QueueOptions::new().capacity(2).max_message(SIZE).leases(2);
    let frames = Queue::open_or_create("frames", &options)?;
    let mut frame = frames.loan(SIZE)?;
    frame.write(0, &vec![7; SIZE])?;
    frame.send()?;
    Ok(())
}
