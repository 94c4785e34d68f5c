//! The examples in Rust run, and end well.

mod support;

use std::path::PathBuf;
use std::process::Command;

use support::Test;

fn run(example: &'static str) -> String {
    let test = Test::new(example);
    // Cargo builds the examples beside the directory of the tests.
    let programs: PathBuf = std::env::current_exe().unwrap().parent().unwrap().parent().unwrap().join("examples");
    let output = Command::new(programs.join(example)).env("RSIPC_DIR", &test.dir).output();
    let output = output.expect("the examples are built: `cargo test`, or `cargo build --examples`");
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    // The table of lives stays.
    assert!(test.files().iter().all(|name| name.starts_with(".lives-")), "{example} left something behind");
    text
}

#[test]
fn region() {
    assert_eq!(run("region"), "the last number is now 18\n");
}

#[test]
fn mutex() {
    assert_eq!(run("mutex"), "after the death: 20 and 50\nrepaired: 20 and 80\n");
}

#[test]
fn semaphore() {
    let text = run("semaphore");
    assert_eq!(text.matches("has a permit").count(), 5);
    assert!(text.ends_with("all done; 2 permits are free\n"));
}

#[test]
fn queue() {
    let text = run("queue");
    for number in 1..=10 {
        assert_eq!(text.matches(&format!("job {number}\n")).count(), 1, "{text}");
    }
}

#[test]
fn typed() {
    let text = run("typed");
    assert!(text.starts_with("sensor 7, sample 1: 20.1 degrees\n"), "{text}");
    assert!(text.ends_with("sensor 7, sample 5: 20.5 degrees\n"), "{text}");
}

#[test]
fn leases() {
    assert_eq!(run("leases"), "a worker has \"resize cat.jpg\", and dies\n\"resize cat.jpg\" was handed out 2 times\n");
}

#[test]
fn loans() {
    assert_eq!(run("loans"), "frame 1 of 8388608 bytes\nframe 2 of 8388608 bytes\nframe 3 of 8388608 bytes\n");
}

#[test]
fn endpoint() {
    let text = run("endpoint");
    assert!(text.starts_with("HELLO\nthe request was dropped without a reply\nthe process at this address is gone"), "{text}");
}

#[test]
fn wait() {
    let text = run("wait");
    let mut lines: Vec<&str> = text.lines().collect();
    lines.sort_unstable();
    assert_eq!(lines, ["a letter of 5 bytes", "a parcel of 100000 bytes"]);
}
