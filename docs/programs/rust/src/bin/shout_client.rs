//! Calls the server with its argument, and prints the reply.

use rsipc::{Endpoint, Error, Namespace, QueueOptions};

fn main() -> rsipc::Result<()> {
    let text = std::env::args().nth(1).unwrap_or_default();
    let client = Endpoint::open(&Namespace::default(), &QueueOptions::new())?;
    let server = client.find("shouter")?;
    match client.call(server, text.as_bytes()) {
        Err(Error::PeerGone) => println!("the server is gone"),
        reply => println!("{}", String::from_utf8_lossy(&reply?)),
    }
    Ok(())
}
