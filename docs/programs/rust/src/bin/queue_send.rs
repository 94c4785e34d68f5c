//! Sends its arguments to the queue that the first of them names.

use rsipc::Queue;

fn main() -> rsipc::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let queue = Queue::open(&*arguments.next().unwrap_or_default())?;
    for text in arguments {
        queue.send(text.as_bytes())?;
    }
    queue.shutdown() // nothing more will come
}
