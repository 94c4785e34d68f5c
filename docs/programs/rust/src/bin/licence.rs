//! Works while it has one of two licences.

use rsipc::Semaphore;

fn main() -> rsipc::Result<()> {
    let licences = Semaphore::open_or_create_permits("licences", 2)?;
    licences.acquire()?;
    println!("working");
    let _ = std::io::stdin().read_line(&mut String::new()); // until somebody presses Enter; or kills it
    licences.release()
}
