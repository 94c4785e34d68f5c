//! The scenarios in Python: benches/python does the work, and this asks for it.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde::Deserialize;

use crate::harness::{Better, Scenario, Subject, Wanted};
use crate::processes::Measured;
use crate::scenarios::Ground;

/// How benches/python says that a module is not installed.
const NOT_INSTALLED: i32 = 77;

pub fn all(ground: &Ground) -> Vec<Scenario> {
    let subject = |scenario: &'static str, name: &'static str, against: &'static str| {
        let ground = ground.clone();
        Subject::maybe(name, against, move |n| run(&ground, scenario, name, n))
    };
    let zmq = "pyzmq over ipc (sleeps; batches inside)";
    let iceoryx = "iceoryx2 (spins)";
    let lock = "multiprocessing.Lock, not robust";
    let loaned = "iceoryx2, loaned (spins)";
    vec![
        Scenario {
            name: "py-oneway-64",
            title: "Python: 64 bytes one way",
            unit: "messages per s",
            better: Better::Higher,
            count: 2_000,
            whole: false,
            subjects: vec![
                subject("py-oneway-64", zmq, zmq),
                subject("py-oneway-64", "rsipc (spins first)", zmq).wanted(Wanted::Figure(4e6)),
                subject("py-oneway-64", iceoryx, zmq),
                subject("py-oneway-64", "os.pipe (sleeps)", zmq),
                subject("py-oneway-64", "multiprocessing.Pipe (sleeps)", zmq),
                subject("py-oneway-64", "multiprocessing.Queue (sleeps)", zmq),
                subject("py-oneway-64", "posix_ipc queue (sleeps)", zmq),
            ],
        },
        Scenario {
            name: "py-batch-64",
            title: "Python: 64 bytes one way, 64 messages at a time",
            unit: "messages per s",
            better: Better::Higher,
            count: 20_000,
            whole: false,
            subjects: vec![
                subject("py-batch-64", zmq, zmq),
                subject("py-batch-64", "rsipc, send_many and recv_many (spins first)", zmq).wanted(Wanted::Figure(10e6)),
                subject("py-batch-64", "os.pipe, joined and split (sleeps)", zmq),
            ],
        },
        Scenario {
            name: "py-rtt-64",
            title: "Python: round trip of 64 bytes",
            unit: "ns per round trip",
            better: Better::Lower,
            count: 500,
            whole: false,
            subjects: vec![
                subject("py-rtt-64", iceoryx, iceoryx),
                subject("py-rtt-64", "rsipc (spins first)", iceoryx).wanted(Wanted::Figure(1500.0)),
                subject("py-rtt-64", "os.pipe (sleeps)", iceoryx),
                subject("py-rtt-64", "multiprocessing.Pipe (sleeps)", iceoryx),
                subject("py-rtt-64", "multiprocessing.Queue (sleeps)", iceoryx),
                subject("py-rtt-64", "posix_ipc queue (sleeps)", iceoryx),
                subject("py-rtt-64", zmq, iceoryx),
            ],
        },
        Scenario {
            name: "py-mutex-pair",
            title: "Python: lock and unlock a mutex that nobody else wants",
            unit: "ns per pair",
            better: Better::Lower,
            count: 20_000,
            whole: false,
            subjects: vec![
                subject("py-mutex-pair", lock, lock),
                subject("py-mutex-pair", "rsipc.Mutex", lock).wanted(Wanted::Ratio(1.2)),
                subject("py-mutex-pair", "posix_ipc.Semaphore, not robust", lock),
            ],
        },
        Scenario {
            name: "py-numpy-8m",
            title: "Python: numpy arrays of 8 MB, in place",
            unit: "arrays per s",
            better: Better::Higher,
            count: 20,
            whole: false,
            subjects: vec![
                subject("py-numpy-8m", loaned, loaned),
                subject("py-numpy-8m", "rsipc, loaned (spins first)", loaned).wanted(Wanted::Ratio(1.0)),
                subject("py-numpy-8m", "rsipc, a region, and queues that say which part (spins first)", loaned),
                subject("py-numpy-8m", "shared_memory and semaphores (sleeps)", loaned),
                subject("py-numpy-8m", "multiprocessing.Queue, pickled (sleeps)", loaned),
            ],
        },
    ]
}

#[derive(Deserialize)]
struct Answer {
    elapsed: f64,
    done: f64,
    samples: Vec<f64>,
}

fn run(ground: &Ground, scenario: &str, subject: &str, count: u64) -> Result<Option<Measured>> {
    let Some(python) = &ground.python else { return Ok(None) };
    let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("python/run.py");
    let space = ground.space()?;
    let output = Command::new(python)
        .arg(program)
        .args([scenario, subject, &count.to_string()])
        .arg(space.path())
        .arg(ground.dir.prefix())
        .output()
        .with_context(|| format!("running {}", python.display()))?;
    if output.status.code() == Some(NOT_INSTALLED) {
        return Ok(None);
    }
    ensure!(output.status.success(), "Python: {}\n{}", output.status, String::from_utf8_lossy(&output.stderr));
    let Answer { elapsed, done, samples } =
        serde_json::from_slice(&output.stdout).context("benches/python prints its figures")?;
    Ok(Some(Measured { elapsed, done, samples }))
}
