//! Sends three samples, a structure each.

use bytemuck::{Pod, Zeroable};
use rsipc::{QueueOptions, TypedQueue};

#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct Sample {
    sensor: u32,
    number: u32,
    celsius: f64,
}

fn main() -> rsipc::Result<()> {
    let samples = TypedQueue::<Sample>::open_or_create("samples", &QueueOptions::new())?;
    for number in 1..=3 {
        samples.send(&Sample { sensor: 7, number, celsius: 20.0 + f64::from(number) / 2.0 })?;
    }
    Ok(())
}
