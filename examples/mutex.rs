//! A process is killed while it changes what a mutex guards; the next owner is told and repairs it. Run it with
//! `cargo run --example mutex`.

use std::process::{Command, exit};
use std::time::Duration;

use rsipc::{Mutex, Namespace, Result};

/// The two numbers always add up to 100.
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(C)]
struct Accounts {
    mine: u64,
    yours: u64,
}

fn main() -> Result<()> {
    if let Some(name) = std::env::args().nth(1) {
        let accounts = Mutex::<Accounts>::open(&name)?;
        let mut guard = accounts.lock()?;
        guard.mine -= 30;
        std::process::abort(); // Dies before it has added 30 to the other account.
    }

    let name = format!("example-mutex-{}", std::process::id());
    let accounts = Mutex::create(&name, Accounts { mine: 50, yours: 50 })?;
    let me = std::env::current_exe().expect("this program has a path");
    Command::new(me).arg(&name).status().expect("it can be started again");

    let mut guard = accounts.lock_timeout(Duration::from_secs(10))?;
    println!("after the death: {} and {}", guard.mine, guard.yours);
    if !guard.owner_died() {
        eprintln!("nobody said that the owner died");
        exit(1);
    }
    guard.yours = 100 - guard.mine;
    guard.mark_consistent();
    println!("repaired: {} and {}", guard.mine, guard.yours);
    assert_eq!((guard.mine, guard.yours), (20, 80));
    drop(guard);
    Namespace::default().unlink(&name)
}
