//! Calls to a process's own address: requests, and their replies. Run it with `cargo run --example endpoint`.

use std::process::Command;

use rsipc::{Address, Endpoint, Error, Namespace, QueueOptions, Result};

fn main() -> Result<()> {
    if let Some(name) = std::env::args().nth(1) {
        let server = Endpoint::open_named(&name, &QueueOptions::new())?;
        loop {
            let mut request = server.recv()?;
            if request.is_empty() {
                return Ok(()); // Its sender gets no reply, and is told.
            }
            let reply = request.to_ascii_uppercase();
            request.reply(&reply)?;
        }
    }

    let name = format!("example-endpoint-{}", std::process::id());
    let me = std::env::current_exe().expect("this program has a path");
    let mut server = Command::new(me).arg(&name).spawn().expect("it can be started again");
    let talked = talk_to(&name);
    server.wait().expect("it is our child");
    let (client, address) = talked?;
    println!("{}", client.call(address, b"anybody there?").unwrap_err());
    Ok(())
}

fn talk_to(name: &str) -> Result<(Endpoint, Address)> {
    let client = Endpoint::open(&Namespace::default(), &QueueOptions::new())?;
    let address = loop {
        match client.find(name) {
            Err(Error::NotFound { .. }) => std::thread::yield_now(), // It has not started yet.
            address => break address?,
        }
    };
    println!("{}", String::from_utf8_lossy(&client.call(address, b"hello")?));
    println!("{}", client.call(address, b"").unwrap_err());
    Ok((client, address))
}
