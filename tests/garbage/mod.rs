//! What a process may meet that is written by somebody else: files of any bytes, and memory that changes in any way, before, between and
//! during its calls. A row of bytes says all of it, so that a fuzzer can look for what goes wrong.
//!
//! Every call has to return soon, with an error or with a message of legal length, and touch nothing but the object.

#![allow(dead_code, reason = "each program uses a part of it")]

mod attach;
mod endpoints;
mod guards;
mod input;
mod queues;
mod scribbler;

#[allow(unused_imports, reason = "as above")]
pub use {attach::attach, endpoints::endpoints, queues::queues};

use std::path::PathBuf;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::time::{Duration, Instant};

use rsipc::{Namespace, QueueOptions};

/// No call lasts longer, on however slow a machine.
const LIMIT: Duration = Duration::from_secs(20);
/// For calls that may wait.
const SHORT: Duration = Duration::from_millis(1);

/// A directory of this program's own, which goes at its end.
fn directory(name: &str) -> Namespace {
    static DIRECTORIES: std::sync::Mutex<Vec<PathBuf>> = std::sync::Mutex::new(Vec::new());
    extern "C" fn remove() {
        for dir in DIRECTORIES.lock().iter().flat_map(|dirs| dirs.iter()) {
            let _ = std::fs::remove_dir_all(dir);
        }
    }
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let number = NUMBER.fetch_add(1, Relaxed);
    let dir = PathBuf::from(format!("/dev/shm/rsipc-garbage-{name}-{}-{number}", std::process::id()));
    std::fs::create_dir_all(&dir).unwrap();
    if number == 0 {
        // SAFETY: the function may be called at exit.
        unsafe { libc::atexit(remove) };
    }
    DIRECTORIES.lock().unwrap().push(dir.clone());
    Namespace::at(dir)
}

/// The kinds of queues.
fn kinds() -> Vec<QueueOptions> {
    let short = QueueOptions::new().max_message(20).leases(3);
    let long = QueueOptions::new().max_message(10_000).leases(2);
    vec![
        short.capacity(0),
        short.capacity(1),
        short.capacity(3),
        // It has numbers of slots far beyond its end.
        short.capacity(65),
        short.unbounded_within(1 << 18),
        long.capacity(2),
        long.capacity(0),
        long.unbounded_within(1 << 18),
        short.capacity(2).max_message(0).leases(0),
    ]
}

/// Makes a call, which must return soon.
fn timed<T>(what: &str, call: impl FnOnce() -> T) -> T {
    let start = Instant::now();
    let result = call();
    let lasted = start.elapsed();
    assert!(lasted < LIMIT, "{what} lasted {lasted:?}");
    result
}

/// The id of a process that is gone.
fn dead_id() -> u32 {
    static DEAD: OnceLock<u32> = OnceLock::new();
    *DEAD.get_or_init(|| {
        let mut child = std::process::Command::new("/bin/true").spawn().unwrap();
        child.wait().unwrap();
        child.id()
    })
}
