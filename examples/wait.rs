//! Waiting for whichever of several things comes first. Run it with `cargo run --example wait`.

use rsipc::{Namespace, Queue, QueueOptions, Result, Semaphore, WaitSet};

fn main() -> Result<()> {
    let name = |what| format!("example-wait-{what}-{}", std::process::id());
    let letters = Queue::create(&name("letters"), &QueueOptions::new())?;
    let parcels = Queue::create(&name("parcels"), &QueueOptions::new().unbounded().max_message(1 << 20))?;
    let stop = Semaphore::create(&name("stop"), 0)?;
    parcels.send(&[7; 100_000])?;
    letters.send(b"hello")?;
    stop.release()?;

    let set = WaitSet::new().recv(&letters).recv(&parcels).acquire(&stop);
    let mut stopped = false;
    while !stopped || !letters.is_empty()? || !parcels.is_empty()? {
        // All that are ready at this moment. Which of them comes first takes turns.
        for ready in set.wait()? {
            match ready {
                0 => println!("a letter of {} bytes", letters.try_recv()?.len()),
                1 => println!("a parcel of {} bytes", parcels.try_recv()?.len()),
                _ => stopped = stop.try_acquire().is_ok(),
            }
        }
    }
    for what in ["letters", "parcels", "stop"] {
        Namespace::default().unlink(&name(what))?;
    }
    Ok(())
}
