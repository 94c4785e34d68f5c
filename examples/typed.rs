//! A sensor sends its samples, a structure each, and is killed in the middle. Run it with `cargo run --example typed`.

use std::process::Command;

use bytemuck::{Pod, Zeroable};
use rsipc::{Namespace, QueueOptions, Result, TypedQueue};

/// In C: `struct sample { uint32_t sensor; uint32_t number; double celsius; };`
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct Sample {
    sensor: u32,
    number: u32,
    celsius: f64,
}

fn main() -> Result<()> {
    if let Some(name) = std::env::args().nth(1) {
        let samples = TypedQueue::<Sample>::open(&name)?;
        for number in 1.. {
            samples.send(&Sample { sensor: 7, number, celsius: 20.0 + f64::from(number) / 10.0 })?; // Waits while four samples wait.
        }
    }

    let name = format!("example-typed-{}", std::process::id());
    let samples = TypedQueue::<Sample>::create(&name, &QueueOptions::new().capacity(4))?;
    let me = std::env::current_exe().expect("this program has a path");
    let mut sensor = Command::new(&me).arg(&name).spawn().expect("it can be started again");
    let first: Result<Vec<Sample>> = samples.iter().take(5).collect();
    sensor.kill().expect("it is our child");
    sensor.wait().expect("it is our child");
    for Sample { sensor, number, celsius } in first? {
        println!("sensor {sensor}, sample {number}: {celsius:.1} degrees");
    }
    // What it had sent is there, whole; and nothing else is.
    let left = samples.try_iter().collect::<Result<Vec<_>>>()?;
    assert!(left.iter().zip(6..).all(|(sample, number)| sample.number == number));
    Namespace::default().unlink(&name)
}
