//! Moves 10 from one account to the other. They add up to 0.

use rsipc::{Mutex, Region, View};

/// One of the two accounts, for who holds the mutex.
fn get(accounts: &View, which: usize) -> rsipc::Result<i64> {
    let mut bytes = [0; 8];
    // SAFETY: all who use these bytes hold the mutex.
    unsafe { accounts.read(8 * which, &mut bytes)? };
    Ok(i64::from_le_bytes(bytes))
}

/// As `get`.
fn set(accounts: &View, which: usize, value: i64) -> rsipc::Result<()> {
    // SAFETY: all who use these bytes hold the mutex.
    unsafe { accounts.write(8 * which, &value.to_le_bytes()) }
}

fn main() -> rsipc::Result<()> {
    let accounts = Region::open_or_create("accounts", 16)?.view()?;
    let mutex = Mutex::open_or_create("accounts-lock", ())?;

    let mut guard = mutex.lock()?;
    if guard.owner_died() {
        println!("somebody died: {} and {}", get(&accounts, 0)?, get(&accounts, 1)?);
        set(&accounts, 1, -get(&accounts, 0)?)?;
        guard.mark_consistent();
    }
    set(&accounts, 0, get(&accounts, 0)? - 10)?;
    if std::env::args().len() > 1 {
        std::process::abort(); // dies in the middle, if it is told to
    }
    set(&accounts, 1, get(&accounts, 1)? + 10)?;
    println!("{} and {}", get(&accounts, 0)?, get(&accounts, 1)?);
    Ok(())
}
