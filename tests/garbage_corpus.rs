//! What the fuzzers found worth keeping (`make fuzz`), and what is like it: the same in each run.

mod garbage;
mod support;

use std::fs;
use std::path::Path;

use support::{Random, Test};

/// So many inputs more are made for each that was kept.
const VARIANTS: u64 = 4;

fn run(what: &'static str, corpus: &str, target: fn(&[u8])) {
    let _watchdog = Test::new(what);
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(corpus);
    let mut paths: Vec<_> = fs::read_dir(&dir).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    assert!(paths.len() >= 50, "the corpus is there");
    let inputs: Vec<_> = paths.iter().map(|path| fs::read(path).unwrap()).collect();
    let mut random = Random(0x5eed);
    for (input, path) in inputs.iter().zip(&paths) {
        // The last one that is named is the one that ended the program.
        println!("{}", path.display());
        target(input);
        for _ in 0..VARIANTS {
            let other = &inputs[random.below(inputs.len() as u64) as usize];
            let variant = vary(input, other, &mut random);
            println!("{variant:?}");
            target(&variant);
        }
    }
}

/// An input that is like `input`, with something of `other`.
fn vary(input: &[u8], other: &[u8], random: &mut Random) -> Vec<u8> {
    let mut bytes = input.to_vec();
    let mut below = |end: usize| random.below(end as u64 + 1) as usize;
    match below(2) {
        0 => {
            bytes.truncate(below(input.len()));
            bytes.extend(&other[below(other.len())..]);
        }
        1 => drop(bytes.splice(0..0, [below(255) as u8])),
        _ => {}
    }
    for _ in 0..=below(4) {
        let at = below(bytes.len().saturating_sub(1));
        let value = [0, 1, 255, below(255) as u8][below(3)];
        bytes.get_mut(at).into_iter().for_each(|byte| *byte = value);
    }
    bytes.truncate(256);
    bytes
}

#[test]
fn files_of_anything() {
    run("files of anything", "attach", garbage::attach);
}

#[test]
fn queues_that_somebody_writes_over() {
    run("queues that somebody writes over", "queues", garbage::queues);
}

#[test]
fn endpoints_that_somebody_writes_over() {
    run("endpoints that somebody writes over", "endpoints", garbage::endpoints);
}
