//! Reads a frame where the sender has written it.

use rsipc::Queue;

fn main() -> rsipc::Result<()> {
    let frames = Queue::open("frames")?;
    let frame = frames.recv_view()?;
    let mut last = [0];
    frame.read(frame.len() - 1, &mut last)?;
    println!("{} bytes, the last of them {}", frame.len(), last[0]);
    Ok(()) // another frame may be put there
}
