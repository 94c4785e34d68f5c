//! What it costs to pass messages between two processes, beside the limits of the machine and what others offer: `make bench`.
//!
//! The subjects of a scenario take turns, round by round, since machines drift; the figure is the median of the rounds, and its
//! ratio to the first subject. The two processes are not pinned: who may run on one processor only does not spin.
//! `cargo bench --bench passing -- --short` takes a fifth of the rounds' length; a word limits it to the scenarios whose name contains it.

use std::sync::atomic::{AtomicU64, Ordering::Acquire, Ordering::Relaxed, Ordering::Release};
use std::time::Instant;

use nix::sys::wait::waitpid;
use nix::unistd::{ForkResult, fork};
use rsipc::{Namespace, Queue, QueueOptions};
use serde_json::json;

const ROUNDS: usize = 7;

/// One way to do a scenario's work: does it so many times, and says how many nanoseconds each took.
type Subject = (&'static str, Box<dyn Fn(u64) -> f64>);

struct Scenario {
    name: &'static str,
    unit: &'static str,
    count: u64,
    /// The first one is the measure of the others.
    subjects: Vec<Subject>,
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let short = arguments.iter().any(|argument| argument == "--short");
    let only = arguments.iter().find(|argument| !argument.starts_with('-')).map_or("", String::as_str);
    let mut results = vec![];
    println!("{:<16} {:<28} {:>10} {:>10} {:>8}   unit", "scenario", "subject", "median", "worst", "ratio");
    for scenario in scenarios().iter().filter(|scenario| scenario.name.contains(only)) {
        let count = if short { scenario.count / 5 } else { scenario.count };
        let mut times = vec![vec![]; scenario.subjects.len()];
        for _ in 0..if short { 3 } else { ROUNDS } {
            for ((_, run), times) in scenario.subjects.iter().zip(&mut times) {
                times.push(run(count));
            }
        }
        times.iter_mut().for_each(|times| times.sort_by(f64::total_cmp));
        let median = |i: usize| times[i][times[i].len() / 2];
        for (i, (subject, _)) in scenario.subjects.iter().enumerate() {
            let (best, worst) = (times[i][0], times[i][times[i].len() - 1]);
            let ratio = median(i) / median(0);
            println!("{:<16} {subject:<28} {:>10.1} {worst:>10.1} {ratio:>8.2}   {}", scenario.name, median(i), scenario.unit);
            results.push(json!({
                "scenario": scenario.name, "subject": subject, "unit": scenario.unit, "median": median(i), "p99": worst,
                "spread": worst - best, "against": scenario.subjects[0].0, "ratio": ratio,
            }));
        }
    }
    let dir = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("target/bench");
    std::fs::create_dir_all(&dir).expect("target/bench can be made");
    std::fs::write(dir.join("results.json"), serde_json::to_string_pretty(&results).expect("numbers and words"))
        .expect("target/bench can be written to");
}

fn scenarios() -> Vec<Scenario> {
    let bounded = || QueueOptions::new().capacity(256).max_message(64);
    let unbounded = || QueueOptions::new().unbounded().max_message(64);
    let rendezvous = || QueueOptions::new().capacity(0).max_message(64);
    let subject = |name, run: Box<dyn Fn(u64) -> f64>| (name, run);
    vec![
        Scenario {
            name: "oneway-64-1p1c",
            unit: "ns/message",
            count: 1_000_000,
            subjects: vec![
                subject("bare ring, no safety", Box::new(bare_ring::<64>)),
                subject("rsipc bounded", Box::new(move |n| one_way(&bounded(), n))),
                subject("pipe", Box::new(|n| descriptors(n, pipe))),
                subject("seqpacket socket", Box::new(|n| descriptors(n, socket))),
            ],
        },
        Scenario {
            name: "oneway-8-1p1c",
            unit: "ns/message",
            count: 2_000_000,
            subjects: vec![
                subject("bare ring, no safety", Box::new(bare_ring::<8>)),
                subject("rsipc bounded", Box::new(move |n| one_way_of::<8>(&bounded(), n))),
            ],
        },
        Scenario {
            name: "oneway-48-1p1c",
            unit: "ns/message",
            count: 2_000_000,
            subjects: vec![
                subject("bare ring, no safety", Box::new(bare_ring::<48>)),
                subject("rsipc bounded", Box::new(move |n| one_way_of::<48>(&bounded(), n))),
            ],
        },
        Scenario {
            name: "unbounded-64",
            unit: "ns/message",
            count: 1_000_000,
            subjects: vec![
                subject("rsipc bounded", Box::new(move |n| one_way(&bounded(), n))),
                subject("rsipc unbounded", Box::new(move |n| one_way(&unbounded(), n))),
            ],
        },
        Scenario {
            name: "backlog-64",
            unit: "ns/message",
            count: 10_000_000,
            subjects: vec![
                subject("rsipc bounded, in turn", Box::new(move |n| in_turn(&bounded(), n))),
                subject("rsipc unbounded, in turn", Box::new(move |n| in_turn(&unbounded(), n))),
                subject("rsipc unbounded, all waiting", Box::new(move |n| backlog(&unbounded(), n))),
            ],
        },
        Scenario {
            name: "rtt-64-spin",
            unit: "ns/round trip",
            count: 200_000,
            subjects: vec![
                subject("one cache line bounced", Box::new(bounce)),
                subject("rsipc bounded", Box::new(move |n| round_trips(&bounded(), n))),
                subject("rsipc unbounded", Box::new(move |n| round_trips(&unbounded(), n))),
                subject("rsipc rendezvous", Box::new(move |n| round_trips(&rendezvous(), n))),
            ],
        },
        Scenario {
            name: "rendezvous-64",
            unit: "ns/message",
            count: 100_000,
            subjects: vec![
                subject("rsipc bounded, round trip", Box::new(move |n| round_trips(&bounded(), n))),
                subject("rsipc rendezvous, one way", Box::new(move |n| one_way(&rendezvous(), n))),
            ],
        },
    ]
}

/// A namespace of its own, removed at its end.
struct Space(Namespace);

impl Space {
    fn new() -> Self {
        let dir = format!("/dev/shm/rsipc-bench-{}", std::process::id());
        std::fs::create_dir_all(&dir).expect("a directory in /dev/shm can be made");
        Self(Namespace::at(dir))
    }
}

impl Drop for Space {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(self.0.dir().expect("it was made above"));
    }
}

/// Lets `other` and `here` run in two processes at the same time; how long `here` took.
fn beside(other: impl FnOnce(), here: impl FnOnce()) -> f64 {
    let shared = Shared::new();
    let child = |work: &mut dyn FnMut()| {
        // SAFETY: the child only uses rsipc, memory and descriptors, and leaves by `_exit`.
        match unsafe { fork() }.expect("fork") {
            ForkResult::Parent { child } => child,
            ForkResult::Child => {
                shared.ready.fetch_add(1, Release);
                while shared.ready.load(Acquire) != 2 {
                    std::hint::spin_loop();
                }
                work();
                // SAFETY: no preconditions.
                unsafe { libc::_exit(0) }
            }
        }
    };
    let (mut other, mut here) = (Some(other), Some(here));
    let second = child(&mut || other.take().expect("once")());
    let first = child(&mut || {
        let start = Instant::now();
        here.take().expect("once")();
        shared.nanoseconds.store(start.elapsed().as_nanos() as u64, Release);
    });
    for pid in [first, second] {
        waitpid(pid, None).expect("it is our child");
    }
    shared.nanoseconds.load(Acquire) as f64
}

/// Memory that children share.
struct Shared {
    ready: AtomicU64,
    nanoseconds: AtomicU64,
    /// Each on a cache line of its own.
    lines: [Line; 512],
}

#[repr(align(64))]
struct Line {
    sequence: AtomicU64,
    payload: std::cell::UnsafeCell<[u8; 112]>,
}

impl Shared {
    fn new() -> &'static Self {
        let access = libc::PROT_READ | libc::PROT_WRITE;
        // SAFETY: a new anonymous mapping, zeroed, which is a value of this type and stays for good.
        unsafe {
            let at = libc::mmap(std::ptr::null_mut(), size_of::<Self>(), access, libc::MAP_SHARED | libc::MAP_ANONYMOUS, -1, 0);
            assert_ne!(at, libc::MAP_FAILED);
            &*at.cast()
        }
    }
}

fn one_way(options: &QueueOptions, count: u64) -> f64 {
    one_way_of::<64>(options, count)
}

fn one_way_of<const LEN: usize>(options: &QueueOptions, count: u64) -> f64 {
    let space = Space::new();
    let queue = Queue::create(space.0.name("q"), options).expect("a queue can be made");
    let receive = || {
        let mut buffer = [0; 64];
        for _ in 0..count {
            queue.recv_into(&mut buffer).expect("a message comes");
        }
    };
    let send = || (0..count).for_each(|_| queue.send(&[7; LEN]).expect("there will be room"));
    beside(send, receive) / count as f64
}

fn round_trips(options: &QueueOptions, count: u64) -> f64 {
    let space = Space::new();
    let [there, back] = ["there", "back"].map(|name| Queue::create(space.0.name(name), options).expect("a queue can be made"));
    let answer = || {
        let mut buffer = [0; 64];
        for _ in 0..count {
            there.recv_into(&mut buffer).expect("a message comes");
            back.send(&buffer).expect("there is room");
        }
    };
    let ask = || {
        let mut buffer = [7; 64];
        for _ in 0..count {
            there.send(&buffer).expect("there is room");
            back.recv_into(&mut buffer).expect("a message comes");
        }
    };
    beside(answer, ask) / count as f64
}

/// One process sends and receives in turn.
fn in_turn(options: &QueueOptions, count: u64) -> f64 {
    let space = Space::new();
    let queue = Queue::create(space.0.name("q"), options).expect("a queue can be made");
    let mut buffer = [7; 64];
    let start = Instant::now();
    for _ in 0..count {
        queue.send(&buffer).expect("there is room");
        queue.recv_into(&mut buffer).expect("there is a message");
    }
    start.elapsed().as_nanos() as f64 / count as f64
}

/// One process sends everything, then receives it.
fn backlog(options: &QueueOptions, count: u64) -> f64 {
    let space = Space::new();
    let queue = Queue::create(space.0.name("q"), options).expect("a queue can be made");
    let mut buffer = [7; 64];
    let start = Instant::now();
    (0..count).for_each(|_| queue.send(&buffer).expect("there is memory"));
    assert_eq!(queue.len(), Ok(count as usize));
    for _ in 0..count {
        queue.recv_into(&mut buffer).expect("there is a message");
    }
    start.elapsed().as_nanos() as f64 / count as f64
}

/// A ring for one sender and one receiver, without any safety: sequence and payload side by side.
fn bare_ring<const LEN: usize>(count: u64) -> f64 {
    let ring = Shared::new();
    let line = |i: u64| &ring.lines[(i % 512) as usize];
    let send = || {
        for i in 0..count {
            let line = line(i);
            while line.sequence.load(Acquire) != i / 512 * 2 {
                std::hint::spin_loop();
            }
            // SAFETY: the sequence number says that the receiver has done with it.
            unsafe { line.payload.get().cast::<[u8; LEN]>().write(std::hint::black_box([7; LEN])) };
            line.sequence.store(i / 512 * 2 + 1, Release);
        }
    };
    let receive = || {
        for i in 0..count {
            let line = line(i);
            while line.sequence.load(Acquire) != i / 512 * 2 + 1 {
                std::hint::spin_loop();
            }
            // SAFETY: the sequence number says that it was filled.
            std::hint::black_box(unsafe { line.payload.get().cast::<[u8; LEN]>().read() });
            line.sequence.store(i / 512 * 2 + 2, Release);
        }
    };
    beside(send, receive) / count as f64
}

/// One cache line, there and back.
fn bounce(count: u64) -> f64 {
    let line = &Shared::new().lines[0].sequence;
    let turn = move |mine: u64| {
        move || {
            for i in 0..count {
                while line.load(Acquire) != 2 * i + mine {
                    std::hint::spin_loop();
                }
                line.store(2 * i + mine + 1, Release);
            }
        }
    };
    line.store(0, Relaxed);
    beside(turn(1), turn(0)) / count as f64
}

fn pipe() -> [i32; 2] {
    let mut ends = [0; 2];
    // SAFETY: the kernel fills in both ends.
    assert_eq!(unsafe { libc::pipe(ends.as_mut_ptr()) }, 0);
    ends
}

fn socket() -> [i32; 2] {
    let mut ends = [0; 2];
    // SAFETY: the kernel fills in both ends.
    assert_eq!(unsafe { libc::socketpair(libc::AF_UNIX, libc::SOCK_SEQPACKET, 0, ends.as_mut_ptr()) }, 0);
    ends
}

fn descriptors(count: u64, make: fn() -> [i32; 2]) -> f64 {
    let [reads, writes] = make();
    let send = || {
        for _ in 0..count {
            // SAFETY: the bytes are as long as said.
            assert_eq!(unsafe { libc::write(writes, [7u8; 64].as_ptr().cast(), 64) }, 64);
        }
    };
    let receive = || {
        let mut buffer = [0u8; 64];
        for _ in 0..count {
            // SAFETY: the buffer is as long as said.
            assert_eq!(unsafe { libc::read(reads, buffer.as_mut_ptr().cast(), 64) }, 64);
        }
    };
    let result = beside(send, receive) / count as f64;
    for end in [reads, writes] {
        // SAFETY: they are ours.
        unsafe { libc::close(end) };
    }
    result
}
