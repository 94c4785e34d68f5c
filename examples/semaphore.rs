//! At most two of five processes work at a time, and a killed one's permit comes back. Run it with `cargo run --example semaphore`.

use std::process::Command;
use std::time::Duration;

use rsipc::{Namespace, Result, Semaphore};

fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    if let (Some(name), Some(number)) = (arguments.next(), arguments.next()) {
        let permits = Semaphore::open(&name)?;
        permits.acquire_timeout(Duration::from_secs(10))?;
        println!("worker {number} has a permit");
        if number == "2" {
            std::process::abort(); // Its permit comes back all the same.
        }
        std::thread::sleep(Duration::from_millis(20));
        return permits.release();
    }

    let name = format!("example-semaphore-{}", std::process::id());
    let permits = Semaphore::create_permits(&name, 2)?;
    let me = std::env::current_exe().expect("this program has a path");
    let start = |number: u32| Command::new(&me).arg(&name).arg(number.to_string()).spawn();
    let workers: Vec<_> = (1..=5).map(|number| start(number).expect("it can be started again")).collect();
    for mut worker in workers {
        worker.wait().expect("it is our child");
    }
    println!("all done; {} permits are free", permits.value()?);
    assert_eq!(permits.value()?, 2);
    Namespace::default().unlink(&name)
}
