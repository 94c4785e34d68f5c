//! Writes a text where region_read finds it.

fn main() -> rsipc::Result<()> {
    let board = rsipc::Region::open_or_create("board", 4096)?.view()?;
    // SAFETY: nobody else uses these bytes at the same time.
    unsafe { board.write(0, b"written in Rust\0") }
}
