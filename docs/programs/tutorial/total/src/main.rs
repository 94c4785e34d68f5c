//! Adds up so many squares.

use std::collections::HashMap;

use rsipc::{Queue, QueueOptions};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let wanted: usize = std::env::args().nth(1).ok_or("how many?")?.parse()?;
    let queue = Queue::open_or_create("squares", &QueueOptions::new())?;
    let mut squares: HashMap<u64, u64> = HashMap::new();
    while squares.len() < wanted {
        let text = String::from_utf8(queue.recv()?)?;
        let (number, square) = text.split_once(' ').ok_or("that is no square")?;
        squares.insert(number.parse()?, square.parse()?); // one that comes twice counts once
    }
    println!("the sum of {wanted} squares is {}", squares.values().sum::<u64>());
    Ok(())
}
