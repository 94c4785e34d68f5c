//! Reads what region_write wrote.

fn main() -> rsipc::Result<()> {
    let board = rsipc::Region::open("board")?.view()?;
    let mut bytes = [0; 64];
    // SAFETY: nobody else uses these bytes at the same time.
    unsafe { board.read(0, &mut bytes)? };
    let text = bytes.split(|byte| *byte == 0).next().unwrap_or_default();
    println!("{}, in {} bytes", String::from_utf8_lossy(text), board.len());
    Ok(())
}
