//! Replies to each request with the same text in capital letters. An empty one ends it.

use rsipc::{Endpoint, QueueOptions};

fn main() -> rsipc::Result<()> {
    let server = Endpoint::open_named("shouter", &QueueOptions::new())?;
    loop {
        let mut request = server.recv()?;
        let reply = request.to_ascii_uppercase();
        if request.wants_reply() {
            request.reply(&reply)?;
        }
        if reply.is_empty() {
            return Ok(());
        }
    }
}
