//! Says that it is time to stop.

use rsipc::Semaphore;

fn main() -> rsipc::Result<()> {
    Semaphore::open_or_create("stop", 0)?.release()
}
