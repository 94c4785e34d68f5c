//! `rsipc bench`

use std::fs;
use std::io::{Write, stdout};
use std::process::{Child, ExitCode};
use std::time::{Duration, Instant};

use comfy_table::CellAlignment::{Left, Right};
use rsipc::{Error, Namespace, Queue, QueueOptions};
use serde::Serialize;

use crate::Done;
use crate::child;
use crate::cli::{BenchArgs, BenchPeerArgs, PeerRole};
use crate::commands::open;
use crate::failure::Failure;
use crate::output;

const THERE: &str = "there";
const BACK: &str = "back";
/// A peer that does not come, or does not answer, is an error.
const PATIENCE: Duration = Duration::from_secs(30);
/// So many round trips are timed at most.
const MOST_TRIPS: usize = 5_000_000;
const CAPACITY: usize = 64;

#[derive(Serialize)]
struct Report {
    processors: usize,
    results: Vec<Figures>,
}

#[derive(Serialize)]
struct Figures {
    what: &'static str,
    bytes: usize,
    seconds: f64,
    messages: u64,
    per_second: f64,
    median_ns: Option<u64>,
    p99_ns: Option<u64>,
}

pub fn run(args: &BenchArgs) -> Done {
    let measurements =
        [(PeerRole::Echo, 64), (PeerRole::Echo, 4096), (PeerRole::Sink, 64), (PeerRole::Sink, 4096), (PeerRole::Sink, 1 << 20)];
    let bar = indicatif::ProgressBar::new(measurements.len() as u64);
    let mut results = Vec::new();
    for (role, bytes) in measurements {
        results.push(measure(role, bytes, args.seconds)?);
        bar.inc(1);
    }
    bar.finish_and_clear();
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    if args.json {
        output::json(&Report { processors, results })?;
    } else {
        stdout().write_all(text(processors, args.seconds, &results).as_bytes())?;
    }
    Ok(ExitCode::SUCCESS)
}

fn text(processors: usize, seconds: Duration, results: &[Figures]) -> String {
    let nanoseconds = |ns: Option<u64>| ns.map_or_else(String::new, |ns| format!("{ns} ns"));
    let row = |result: &Figures| {
        let bytes = (result.per_second * result.bytes as f64) as u64;
        vec![
            result.what.into(),
            format!("{} B", result.bytes),
            format!("{:.0}", result.per_second),
            format!("{}/s", output::bytes(bytes)),
            nanoseconds(result.median_ns),
            nanoseconds(result.p99_ns),
        ]
    };
    let head = [("WHAT", Left), ("MESSAGE", Right), ("MESSAGES/S", Right), ("BYTES", Right), ("MEDIAN", Right), ("P99", Right)];
    let table = output::table(&head, results.iter().map(row).collect());
    format!(
        "{table}\nTwo processes, queues of {CAPACITY} messages, {:.1} s each, {processors} processors, not pinned. Messages are copied in and out.\n\
         A round trip is a message there and its copy back; what else the machine did meanwhile is in these figures.\n",
        seconds.as_secs_f64()
    )
}

fn measure(role: PeerRole, bytes: usize, time: Duration) -> Result<Figures, Failure> {
    let dir = format!("/dev/shm/rsipc-bench-{}", std::process::id());
    let space = Namespace::at(&dir);
    let options = QueueOptions::new().capacity(CAPACITY).max_message(bytes);
    let there = Queue::create(space.name(THERE), &options)?;
    let back = Queue::create(space.name(BACK), &options)?;
    let peer = Peer::start(role, &dir).and_then(|peer| Ok((peer, back.recv_timeout(PATIENCE)?)));
    // From here on nothing is left if this process is killed.
    fs::remove_dir_all(&dir)?;
    let (mut peer, _ready) = peer?;
    let message = vec![b'x'; bytes];
    let result = match role {
        PeerRole::Sink => one_way(&there, &back, &message, time),
        PeerRole::Echo => round_trips(&there, &back, &message, time),
    }?;
    peer.0.wait()?;
    Ok(result)
}

fn one_way(there: &Queue, back: &Queue, message: &[u8], time: Duration) -> rsipc::Result<Figures> {
    let start = Instant::now();
    let mut messages = 0;
    while start.elapsed() < time {
        for _ in 0..CAPACITY {
            there.send_timeout(message, PATIENCE)?;
        }
        messages += CAPACITY as u64;
    }
    there.shutdown()?;
    // It has received all.
    back.recv_timeout(PATIENCE)?;
    let seconds = start.elapsed().as_secs_f64();
    let per_second = messages as f64 / seconds;
    Ok(Figures { what: "one way", bytes: message.len(), seconds, messages, per_second, median_ns: None, p99_ns: None })
}

fn round_trips(there: &Queue, back: &Queue, message: &[u8], time: Duration) -> rsipc::Result<Figures> {
    let (start, mut buffer, mut trips) = (Instant::now(), vec![0; message.len()], Vec::new());
    let mut last = start;
    while last.duration_since(start) < time && trips.len() < MOST_TRIPS {
        there.send_timeout(message, PATIENCE)?;
        back.recv_into_timeout(&mut buffer, PATIENCE)?;
        let now = Instant::now();
        trips.push(u64::try_from(now.duration_since(last).as_nanos()).unwrap_or(u64::MAX));
        last = now;
    }
    there.shutdown()?;
    trips.sort_unstable();
    let at = |percent: usize| trips.get(trips.len() * percent / 100).copied();
    let (seconds, messages) = (last.duration_since(start).as_secs_f64(), trips.len() as u64);
    let per_second = messages as f64 / seconds;
    let (median_ns, p99_ns) = (at(50), at(99));
    Ok(Figures { what: "round trip", bytes: message.len(), seconds, messages, per_second, median_ns, p99_ns })
}

/// The other process, killed if it has not ended when this is dropped.
struct Peer(Child);

impl Peer {
    fn start(role: PeerRole, dir: &str) -> Result<Self, Failure> {
        let role = match role {
            PeerRole::Sink => "sink",
            PeerRole::Echo => "echo",
        };
        let words = [std::env::current_exe()?.into(), "--dir".into(), dir.into(), "bench-peer".into(), role.into()];
        Ok(Self(child::command(&words).spawn()?))
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// What the other process does.
pub fn peer(space: &Namespace, args: &BenchPeerArgs) -> Done {
    let (there, back) = (open(space, THERE)?, open(space, BACK)?);
    let mut buffer = vec![0; there.max_message()];
    back.send(b"ready")?;
    loop {
        match there.recv_into_timeout(&mut buffer, PATIENCE) {
            Ok(len) => {
                if matches!(args.role, PeerRole::Echo) {
                    back.send_timeout(&buffer[..len], PATIENCE)?;
                }
            }
            Err(Error::Closed) => break,
            Err(error) => return Err(error.into()),
        }
    }
    if matches!(args.role, PeerRole::Sink) {
        back.send(b"done")?;
    }
    Ok(ExitCode::SUCCESS)
}
