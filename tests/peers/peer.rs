//! One process of the tests in which several languages meet. `RSIPC_DIR` names the namespace; every wait is bounded.
//!
//! `peer VERB NAME ...`: see `main` for the verbs. It exits with 0 for success, and with 1 after saying on standard error what failed.

#![allow(clippy::undocumented_unsafe_blocks, reason = "objects placed in a region are left the bytes that are theirs")]

use std::fs::File;
use std::io::Write;
use std::process::ExitCode;
use std::str::FromStr;
use std::time::Duration;

use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction};
use nix::time::{ClockId, clock_gettime};
use nix::unistd::alarm;
use rsipc::{Batch, Endpoint, Error, Mutex, Namespace, Queue, QueueOptions, Region, Semaphore};

type Outcome = Result<(), Box<dyn std::error::Error>>;

const LONG: Duration = Duration::from_secs(20);
/// Where `placed-create` puts the objects.
const SEMAPHORE_AT: usize = 128;
const PERMITS_AT: usize = 4096;
const QUEUE_AT: usize = 16384;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match run(&args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("peer {}: {e}", args.join(" "));
            ExitCode::FAILURE
        }
    }
}

fn run(args: &[String]) -> Outcome {
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    match args[..] {
        ["queue-create", name, capacity, max] => {
            let options = QueueOptions::new().max_message(number(max)?);
            let options = match capacity {
                "zero" => options.capacity(0),
                "unbounded" => options.unbounded(),
                _ => options.capacity(number(capacity)?),
            };
            Queue::create(name, &options)?;
        }
        ["queue-send", name, first, count] => {
            let queue = Queue::open(name)?;
            let first: u64 = number(first)?;
            for i in first..first + number::<u64>(count)? {
                queue.send_timeout(&message(i), LONG)?;
            }
        }
        ["queue-recv", name, first, count] => {
            let queue = Queue::open(name)?;
            let first: u64 = number(first)?;
            for i in first..first + number::<u64>(count)? {
                expect(number_of(&queue.recv_timeout(LONG)?)?, i)?;
            }
        }
        ["queue-sum", name, count] => {
            let queue = Queue::open(name)?;
            let mut sum = 0;
            for _ in 0..number::<u64>(count)? {
                sum += number_of(&queue.recv_timeout(LONG)?)?;
            }
            println!("{sum}");
        }
        ["queue-until-closed", name] => {
            let queue = Queue::open(name)?;
            let mut count = 0;
            loop {
                match queue.recv_timeout(LONG) {
                    Ok(_) => count += 1,
                    Err(Error::Closed) => break,
                    Err(e) => Err(e)?,
                }
            }
            println!("{count}");
        }
        ["queue-shutdown", name] => Queue::open(name)?.shutdown()?,
        ["queue-send-loans", name, first, count] => {
            let queue = Queue::open(name)?;
            let first: u64 = number(first)?;
            for i in first..first + number::<u64>(count)? {
                let bytes = message(i);
                let mut loan = queue.loan_timeout(bytes.len(), LONG)?;
                loan.write(0, &bytes)?;
                loan.send_timeout(LONG).map_err(Error::from)?;
            }
        }
        ["queue-recv-views", name, first, count] => {
            let queue = Queue::open(name)?;
            let first: u64 = number(first)?;
            for i in first..first + number::<u64>(count)? {
                expect(number_of(&queue.recv_view_timeout(LONG)?.to_vec()?)?, i)?;
            }
        }
        ["queue-view-die", name] => {
            let queue = Queue::open(name)?;
            let (_view, _loan) = (queue.recv_view_timeout(LONG)?, queue.loan_timeout(8, LONG)?);
            die("viewed")?;
        }
        ["queue-lease-die", name] => {
            let queue = Queue::open(name)?;
            let lease = queue.lease_timeout(LONG)?;
            number_of(lease.message())?;
            die("leased")?;
        }
        ["queue-lease-sum", name] => {
            let queue = Queue::open(name)?;
            let mut sum = 0;
            loop {
                match queue.lease_timeout(LONG) {
                    Ok(lease) => {
                        sum += number_of(lease.message())?;
                        lease.finish()?;
                    }
                    Err(Error::Closed) => break,
                    Err(e) => Err(e)?,
                }
            }
            println!("{sum}");
        }
        ["queue-history", name, log, first, role, seconds] => history(name, log, number(first)?, role, number(seconds)?)?,
        ["endpoint-serve", name, count] => {
            let endpoint = Endpoint::open_named(name, &QueueOptions::new())?;
            say("open")?;
            for _ in 0..number::<u64>(count)? {
                let mut request = endpoint.recv_timeout(LONG)?;
                let reply = message(number_of(&request)? + 1);
                request.reply(&reply)?;
            }
        }
        ["endpoint-die", name] => {
            let endpoint = Endpoint::open_named(name, &QueueOptions::new())?;
            say("open")?;
            let request = endpoint.recv_timeout(LONG)?;
            expect(request.wants_reply(), true)?;
            nix::sys::signal::kill(nix::unistd::getpid(), nix::sys::signal::Signal::SIGKILL)?;
        }
        ["endpoint-call", name, first, count] => {
            let endpoint = Endpoint::open(&Namespace::default(), &QueueOptions::new())?;
            let (to, first) = (endpoint.find(name)?, number::<u64>(first)?);
            for i in first..first + number::<u64>(count)? {
                expect(number_of(&endpoint.call_timeout(to, &message(i), LONG)?)?, i + 1)?;
            }
        }
        ["endpoint-gone", name] => {
            let endpoint = Endpoint::open(&Namespace::default(), &QueueOptions::new())?;
            expect(endpoint.call_timeout(endpoint.find(name)?, &message(0), LONG), Err(Error::PeerGone))?;
        }
        ["mutex-add", name, region, offset, count] => {
            let (mutex, region) = (Mutex::<()>::open(name)?, Region::open(region)?);
            let view = region.view()?;
            let offset: usize = number(offset)?;
            for _ in 0..number::<u64>(count)? {
                let guard = mutex.lock_timeout(LONG)?;
                let mut bytes = [0; 8];
                unsafe { view.read(offset, &mut bytes) }?;
                unsafe { view.write(offset, &(u64::from_le_bytes(bytes) + 1).to_le_bytes()) }?;
                drop(guard);
            }
        }
        ["mutex-die", name] => {
            let mutex = Mutex::<()>::open(name)?;
            let _guard = mutex.lock_timeout(LONG)?;
            die("locked")?;
        }
        ["mutex-recover", name] => {
            let mutex = Mutex::<()>::open(name)?;
            let mut guard = mutex.lock_timeout(LONG)?;
            expect(guard.owner_died(), true)?;
            guard.mark_consistent();
            drop(guard);
            expect(mutex.lock_timeout(LONG)?.owner_died(), false)?;
        }
        ["sem-acquire", name, count] => {
            let semaphore = Semaphore::open(name)?;
            for _ in 0..number::<u64>(count)? {
                semaphore.acquire_timeout(LONG)?;
            }
        }
        ["sem-release", name, count] => Semaphore::open(name)?.release_many(number(count)?)?,
        ["permit-die", name, count] => {
            let semaphore = Semaphore::open(name)?;
            for _ in 0..number::<u64>(count)? {
                semaphore.acquire_timeout(LONG)?;
            }
            die("held")?;
        }
        ["region-write", name, offset, text] => unsafe { Region::open(name)?.view()?.write(number(offset)?, text.as_bytes())? },
        ["region-read", name, offset, text] => {
            let mut bytes = vec![0; text.len()];
            unsafe { Region::open(name)?.view()?.read(number(offset)?, &mut bytes)? };
            expect(String::from_utf8_lossy(&bytes).as_ref(), text)?;
        }
        ["region-grow", name, len] => Region::open(name)?.grow(number(len)?)?,
        ["placed-create", name] => {
            let region = Region::create(name, 65536)?;
            unsafe { Mutex::<()>::create_in(&region, 0, ()) }?;
            unsafe { Semaphore::create_in(&region, SEMAPHORE_AT, 0) }?;
            unsafe { Semaphore::create_permits_in(&region, PERMITS_AT, 2) }?;
            unsafe { Queue::create_in(&region, QUEUE_AT, &QueueOptions::new().capacity(4).max_message(100).leases(0)) }?;
        }
        ["placed-use", name] => {
            let region = Region::open(name)?;
            drop(unsafe { Mutex::<()>::open_in(&region, 0) }?.lock_timeout(LONG)?);
            let semaphore = unsafe { Semaphore::open_in(&region, SEMAPHORE_AT) }?;
            semaphore.release()?;
            semaphore.acquire_timeout(LONG)?;
            let permits = unsafe { Semaphore::open_in(&region, PERMITS_AT) }?;
            permits.acquire_timeout(LONG)?;
            permits.release()?;
            let queue = unsafe { Queue::open_in(&region, QUEUE_AT) }?;
            queue.send_timeout(b"x", LONG)?;
            expect(queue.recv_timeout(LONG)?, b"x".to_vec())?;
        }
        _ => Err(format!("no such verb, or another number of arguments: {args:?}"))?,
    }
    Ok(())
}

/// Does now this, now that, until the queue is shut down, and writes down each operation before and after it.
///
/// Its messages have the numbers from `first` on. `role`: send, recv or both. After so many seconds it ends in any case.
fn history(name: &str, log: &str, first: u64, role: &str, seconds: u32) -> Outcome {
    extern "C" fn interrupt(_: i32) {}
    alarm::set(seconds);
    let action = SigAction::new(SigHandler::Handler(interrupt), SaFlags::empty(), SigSet::empty());
    unsafe { sigaction(Signal::SIGUSR1, &action) }?;
    let queue = Queue::open(name)?;
    let mut record = File::create_new(log)?;
    let mut note = |what: &str| {
        let time = clock_gettime(ClockId::CLOCK_MONOTONIC)?;
        let line = format!("{}{:09} {what}\n", time.tv_sec(), time.tv_nsec());
        // One write for a line.
        expect(record.write(line.as_bytes())?, line.len())
    };
    // Looks random.
    let mut seed = first | 1;
    let mut below = |end: u64| {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        seed % end
    };
    let (mut i, mut closed) = (first, false);
    while !closed {
        let sends = role == "send" || (role == "both" && below(2) == 0);
        // One message, or so many in one call.
        let many = if below(4) == 0 { 1 + below(5) } else { 0 };
        let verb = format!("{}{}", if sends { "send" } else { "recv" }, if many == 0 { "" } else { "_many" });
        let (name, timeout) = match below(3) {
            0 => (verb, LONG),
            1 => (format!("try_{verb}"), Duration::ZERO),
            _ => (format!("{verb}_timeout"), Duration::from_micros(below(3000))),
        };
        let longest = queue.max_message();
        let result = match (sends, many) {
            (true, 0) => {
                i += 1;
                note(&format!("{name} {i}"))?;
                queue.send_timeout(&recorded_message(i, longest), timeout).map(|()| "ok".to_owned())
            }
            (true, _) => {
                let messages: Vec<_> = (i + 1..=i + many).map(|i| recorded_message(i, longest)).collect();
                note(&format!("{name} {} {many}", i + 1))?;
                i += many;
                queue.send_many_timeout(&messages, timeout).map(|sent| format!("ok {sent}"))
            }
            (false, 0) => {
                note(&name)?;
                queue.recv_timeout(timeout).map(|bytes| told([&*bytes], longest))
            }
            (false, _) => {
                note(&format!("{name} {many}"))?;
                let mut batch = Batch::new();
                queue.recv_many_timeout(&mut batch, many as usize, timeout).map(|_| told(batch.iter(), longest))
            }
        };
        closed = result == Err(Error::Closed);
        let hangs = result == Err(Error::TimedOut) && timeout == LONG;
        let outcome = match result {
            Err(Error::WouldBlock) => "would_block",
            Err(Error::TimedOut) => "timed_out",
            Err(Error::Closed) => "closed",
            Err(Error::Interrupted) => "interrupted",
            result => &result?,
        };
        note(outcome)?;
        if hangs {
            Err(format!("a {name} hangs"))?;
        }
        if below(16) == 0 {
            std::thread::sleep(Duration::from_micros(below(2000)));
        }
    }
    Ok(())
}

/// What is said of messages that were received: their numbers.
fn told<'a>(messages: impl IntoIterator<Item = &'a [u8]>, longest: usize) -> String {
    let number = |bytes: &[u8]| {
        let i = u64::from_le_bytes(*bytes.first_chunk()?);
        (bytes == recorded_message(i, longest)).then(|| format!(" {i}"))
    };
    let numbers: Option<String> = messages.into_iter().map(number).collect();
    numbers.map_or("torn".into(), |numbers| format!("ok{numbers}"))
}

/// Eight bytes of the number, and from none to as many bytes as there is room for, in a pattern that follows from it.
fn recorded_message(i: u64, longest: usize) -> Vec<u8> {
    let len = (i % 61).pow(1 + (i % 3) as u32).min(longest as u64 - 8);
    i.to_le_bytes().into_iter().chain((0..len).map(|k| ((i % 251 + k) % 251) as u8)).collect()
}

fn message(i: u64) -> Vec<u8> {
    let mut bytes = i.to_le_bytes().to_vec();
    bytes.resize(8 + (i % 50) as usize, i as u8);
    bytes
}

fn number_of(bytes: &[u8]) -> Result<u64, Box<dyn std::error::Error>> {
    let i = u64::from_le_bytes(bytes.get(..8).ok_or("a message is too short")?.try_into()?);
    expect(bytes, &message(i)[..])?;
    Ok(i)
}

fn number<T: FromStr>(text: &str) -> Result<T, String> {
    text.parse().map_err(|_| format!("{text:?} is not a number"))
}

fn expect<T: PartialEq + std::fmt::Debug>(found: T, wanted: T) -> Outcome {
    if found == wanted { Ok(()) } else { Err(format!("found {found:?}, wanted {wanted:?}").into()) }
}

fn say(word: &str) -> Outcome {
    let mut out = std::io::stdout();
    writeln!(out, "{word}")?;
    out.flush()?;
    Ok(())
}

/// Says a word, and ends as SIGKILL ends a process.
fn die(word: &str) -> Outcome {
    say(word)?;
    nix::sys::signal::kill(nix::unistd::getpid(), nix::sys::signal::Signal::SIGKILL)?;
    unreachable!("SIGKILL cannot be survived")
}
