//! Prints three samples.

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
    for sample in samples.iter().take(3) {
        let Sample { sensor, number, celsius } = sample?;
        println!("sensor {sensor}, sample {number}: {celsius:.1} degrees");
    }
    Ok(())
}
