//! What a call costs from C, and what it costs to begin.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use nix::mqueue::{MQ_OFlag, mq_close, mq_open, mq_unlink};
use nix::sys::stat::Mode;
use rsipc::{Namespace, Queue, QueueOptions};

use crate::channel::alone;
use crate::harness::{Better, Scenario, Subject, Wanted};
use crate::peers::iceoryx::first_publisher;
use crate::peers::rsipc::RsipcQueue;
use crate::processes::Measured;
use crate::scenarios::Ground;

pub fn all(ground: &Ground) -> Vec<Scenario> {
    vec![c_call(ground), open_queue(ground)]
}

fn c_call(ground: &Ground) -> Scenario {
    const LEN: usize = 64;
    let against = "rsipc from Rust";
    let [of_rust, of_c] = [ground.clone(), ground.clone()];
    Scenario {
        name: "c-call",
        title: "one call of a C program, sending or receiving 64 bytes",
        unit: "ns per call",
        better: Better::Lower,
        count: 100_000,
        whole: false,
        subjects: vec![
            Subject::new(against, against, move |n| {
                let queue = RsipcQueue::bounded(of_rust.space()?, LEN)?;
                let pairs = alone(n.div_ceil(2), || {
                    let (queue, mut buffer) = (queue.open(), [7; LEN]);
                    move || {
                        queue.send(&buffer).expect("there is room");
                        queue.recv_into(&mut buffer).expect("there is a message");
                    }
                })?;
                Ok(Measured { done: 2.0 * pairs.done, ..pairs })
            }),
            Subject::maybe("rsipc from C (librsipc.so)", against, move |n| {
                let Some(program) = &of_c.c_program else { return Ok(None) };
                let queue = RsipcQueue::bounded(of_c.space()?, LEN)?;
                Ok(Some(run_c(program, queue.0.path(), n)?))
            })
            .wanted(Wanted::More(5.0)),
        ],
    }
}

/// The C program makes so many calls, and prints how many nanoseconds they took.
fn run_c(program: &Path, dir: &Path, count: u64) -> Result<Measured> {
    let calls = count.next_multiple_of(2);
    let output = Command::new(program).arg(dir).arg((calls / 2).to_string()).output();
    let output = output.with_context(|| format!("running {}", program.display()))?;
    ensure!(output.status.success(), "{}: {}\n{}", program.display(), output.status, String::from_utf8_lossy(&output.stderr));
    let elapsed = String::from_utf8_lossy(&output.stdout).trim().parse().context("the C program prints a number")?;
    Ok(Measured { elapsed, done: calls as f64, ..Measured::default() })
}

fn open_queue(ground: &Ground) -> Scenario {
    let against = "iceoryx2, node, topic and publisher";
    let [of_create, of_open, of_iceoryx] = [ground.clone(), ground.clone(), ground.clone()];
    Scenario {
        name: "open-queue",
        title: "create or open a queue, and close it",
        unit: "ns per queue",
        better: Better::Lower,
        count: 20,
        whole: false,
        subjects: vec![
            Subject::new(against, against, move |n| {
                let place = of_iceoryx.iceoryx()?;
                alone(n, || || first_publisher(&place))
            }),
            Subject::new("rsipc, create and unlink", against, move |n| {
                let space = of_create.space()?;
                alone(n, || {
                    || {
                        drop(Queue::create(space.name("queue"), &QueueOptions::new()).expect("there is room"));
                        Namespace::at(space.path()).unlink("queue").expect("it was created");
                    }
                })
            })
            .wanted(Wanted::Figure(100_000.0)),
            Subject::new("rsipc, open", against, move |n| {
                let queue = RsipcQueue::new(of_open.space()?, &QueueOptions::new())?;
                alone(n, || || drop(queue.open()))
            })
            .wanted(Wanted::Figure(100_000.0)),
            Subject::new("POSIX queue, create and unlink", against, |n| {
                alone(n, || {
                    || {
                        let name = format!("/rsipc-bench-{}", std::process::id());
                        let flags = MQ_OFlag::O_RDWR | MQ_OFlag::O_CREAT | MQ_OFlag::O_EXCL;
                        let queue = mq_open(name.as_str(), flags, Mode::S_IRUSR | Mode::S_IWUSR, None).expect("it is allowed");
                        mq_unlink(name.as_str()).and_then(|()| mq_close(queue)).expect("it was created");
                    }
                })
            }),
        ],
    }
}
