//! Two processes share a table of numbers. Run it with `cargo run --example region`.

use rsipc::{Error, Region, Result};

fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    if let Some(name) = arguments.next() {
        // The other process: it opens the region by its name, and doubles each number.
        let view = Region::open(&name)?.view()?;
        for offset in (0..80).step_by(8) {
            let mut number = [0; 8];
            // SAFETY: nobody else uses the bytes while this process runs.
            unsafe {
                view.read(offset, &mut number)?;
                view.write(offset, &(2 * u64::from_le_bytes(number)).to_le_bytes())?;
            }
        }
        return Ok(());
    }

    let name = format!("example-region-{}", std::process::id());
    let region = Region::create(&name, 80)?;
    let view = region.view()?;
    for number in 0..10u64 {
        // SAFETY: nobody else has opened the region yet.
        unsafe { view.write(number as usize * 8, &number.to_le_bytes())? };
    }
    let me = std::env::current_exe().expect("this program has a path");
    let status = std::process::Command::new(me).arg(&name).status().expect("it can be started again");
    rsipc::Namespace::default().unlink(&name)?;
    if !status.success() {
        return Err(Error::Closed);
    }

    let mut last = [0; 8];
    // SAFETY: the other process has ended.
    unsafe { view.read(72, &mut last)? };
    println!("the last number is now {}", u64::from_le_bytes(last));
    assert_eq!(u64::from_le_bytes(last), 18);
    Ok(())
}
