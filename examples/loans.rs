//! Long messages without a copy: the sender writes them where the receiver reads them.
//!
//! Run it with `cargo run --example loans`. It starts itself once more, as the receiver.

use std::process::Command;

use rsipc::{Namespace, Queue, QueueOptions, Result};

const FRAME: usize = 8 << 20;

fn main() -> Result<()> {
    if let Some(name) = std::env::args().nth(1) {
        let frames = Queue::open(&name)?;
        for _ in 0..3 {
            let frame = frames.recv_view()?; // Released when it is dropped.
            let mut title = [0; 7];
            frame.read(0, &mut title)?;
            println!("{} of {} bytes", String::from_utf8_lossy(&title), frame.len());
        }
        return Ok(());
    }

    let name = format!("example-loans-{}", std::process::id());
    // Two wait, one is filled, and one is read.
    let options = QueueOptions::new().capacity(2).max_message(FRAME).leases(2);
    let frames = Queue::create(&name, &options)?;
    let me = std::env::current_exe().expect("this program has a path");
    let mut receiver = Command::new(me).arg(&name).spawn().expect("it can be started again");
    let sent = (1..=3).try_for_each(|number| send(&frames, number));
    assert!(receiver.wait().expect("it was started").success());
    Namespace::default().unlink(&name)?;
    sent
}

fn send(frames: &Queue, number: u32) -> Result<()> {
    let mut frame = frames.loan(FRAME)?; // Waits while all memory is in use.
    frame.write(0, format!("frame {number}").as_bytes())?;
    Ok(frame.send()?)
}
