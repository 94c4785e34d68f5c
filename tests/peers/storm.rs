//! The Rust side of the storm: one process that works on objects which others in other languages work on, too.
//!
//! `storm ROLE OBJECT LOG FIRST SECONDS`: as tests/python/storm.py, which says what it does, and as tests/c/storm.c. Those keep
//! most of their handles; this one opens objects anew for each operation.

#![allow(
    clippy::undocumented_unsafe_blocks,
    reason = "handlers of signals, and reading the bytes of a region that nobody changes"
)]

use std::fmt::Display;
use std::fs::File;
use std::io::Write;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction};
use nix::time::{ClockId, clock_gettime};
use nix::unistd::alarm;
use rsipc::{
    Batch, Endpoint, Error, MessageView, Mutex, MutexGuard, Namespace, Queue, QueueOptions, Region, Semaphore, SemaphoreKind,
    WaitSet,
};

type Outcome<T = ()> = Result<T, Box<dyn std::error::Error>>;

const LONG: Duration = Duration::from_secs(60);
/// For how long something is held, at most.
const SHORT: Duration = Duration::from_millis(2);
/// How long a request takes, at most.
const WORK: Duration = Duration::from_millis(50);
const LONGEST: usize = 4000;
/// The most messages in one call.
const MANY: u64 = 5;
const REPLY: u64 = 500_000_000;
const PROCESS: u64 = 1_000_000_000;
const IDENTITIES: u64 = 1000;

static STOPPED: AtomicBool = AtomicBool::new(false);

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match run(&args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("storm {}: {e}", args.join(" "));
            ExitCode::FAILURE
        }
    }
}

fn run(args: &[String]) -> Outcome {
    extern "C" fn interrupt(_: i32) {}
    extern "C" fn stop(_: i32) {
        STOPPED.store(true, Relaxed);
    }
    let [role, name, log, first, seconds] = args else { Err("usage: storm ROLE OBJECT LOG FIRST SECONDS")? };
    alarm::set(seconds.parse()?);
    for (signal, handler) in [(Signal::SIGUSR1, interrupt as extern "C" fn(i32)), (Signal::SIGTERM, stop)] {
        let action = SigAction::new(SigHandler::Handler(handler), SaFlags::empty(), SigSet::empty());
        unsafe { sigaction(signal, &action) }?;
    }
    let first: u64 = first.parse()?;
    let mut storm = Storm {
        name: name.clone(),
        record: File::create_new(log)?,
        seed: first | 1,
        number: first,
        identity: first / PROCESS * IDENTITIES,
        closed: false,
    };
    storm.play(role)
}

struct Storm {
    name: String,
    record: File,
    seed: u64,
    number: u64,
    identity: u64,
    closed: bool,
}

/// How long an attempt may wait: as long as need be, not at all, a moment.
type Way = (&'static str, Duration, &'static str);

impl Storm {
    fn play(&mut self, role: &str) -> Outcome {
        let queue = if matches!(role, "send" | "recv" | "lease") { Some(Queue::open(&self.name)?) } else { None };
        let mut endpoint = match role {
            "serve" => Some(self.open_endpoint()?),
            "call" => Some(Endpoint::open(&Namespace::default(), &QueueOptions::new())?),
            _ => None,
        };
        while !STOPPED.load(Relaxed) && !self.closed {
            match (role, &queue, &mut endpoint) {
                ("send", Some(queue), _) => self.send(queue)?,
                ("recv", Some(queue), _) => self.recv(queue)?,
                ("lease", Some(queue), _) => self.lease(queue)?,
                ("lock", ..) => self.lock()?,
                ("serve", _, endpoint @ Some(_)) => {
                    if self.below(64) == 0 {
                        self.close_endpoint(endpoint)?;
                        *endpoint = Some(self.open_endpoint()?);
                    }
                    self.serve(endpoint.as_ref().ok_or("no endpoint")?)?;
                }
                ("call", _, Some(endpoint)) => self.call(endpoint)?,
                ("names", ..) => self.names()?,
                _ => Err("no such role")?,
            }
            if self.below(8) == 0 {
                let signals = Semaphore::open("signals")?;
                self.attempt("release signals", || signals.release(), ok)?;
            }
            if self.below(16) == 0 {
                self.names()?;
            }
            if self.below(4) == 0 {
                std::thread::sleep(Duration::from_micros(self.below(8000)));
            }
        }
        if role == "serve" {
            self.close_endpoint(&mut endpoint)?;
        }
        Ok(())
    }

    /// Looks random.
    fn below(&mut self, end: u64) -> u64 {
        self.seed ^= self.seed << 13;
        self.seed ^= self.seed >> 7;
        self.seed ^= self.seed << 17;
        self.seed % end
    }

    /// Writes a line with one call.
    fn note(&mut self, what: &str) -> Outcome {
        let time = clock_gettime(ClockId::CLOCK_MONOTONIC)?;
        let line = format!("{}{:09} {what}\n", time.tv_sec(), time.tv_nsec());
        if self.record.write(line.as_bytes())? == line.len() { Ok(()) } else { Err("a line of the log was cut short".into()) }
    }

    /// Does something, and says what came of it, unless it was refused.
    fn attempt<T, S: Display>(
        &mut self,
        what: &str,
        act: impl FnOnce() -> rsipc::Result<T>,
        tell: impl FnOnce(&T) -> S,
    ) -> Outcome<Option<T>> {
        self.note(what)?;
        let result = act();
        let refusal = match &result {
            Ok(done) => {
                let outcome = tell(done).to_string();
                self.note(&outcome)?;
                return Ok(result.ok());
            }
            Err(Error::WouldBlock) => "would_block",
            Err(Error::TimedOut) => "timed_out",
            Err(Error::Closed) => "closed",
            Err(Error::Interrupted) => "interrupted",
            Err(Error::NotFound { .. }) => "not_found",
            Err(Error::AlreadyExists { .. }) => "exists",
            Err(Error::PeerGone) => "peer_gone",
            Err(Error::NoReply) => "no_reply",
            Err(e) => Err(format!("{what}: {e}"))?,
        };
        self.note(refusal)?;
        self.closed |= refusal == "closed";
        if refusal == "timed_out" && !what.contains("_timeout") {
            Err(format!("a {what} hangs"))?;
        }
        Ok(None)
    }

    fn way(&mut self) -> Way {
        match self.below(3) {
            0 => ("", LONG, ""),
            1 => ("try_", Duration::ZERO, ""),
            _ => ("", Duration::from_micros(1 + self.below(3000)), "_timeout"),
        }
    }

    fn send(&mut self, queue: &Queue) -> Outcome {
        let form = self.below(4);
        if form == 0 {
            return self.send_many(queue);
        }
        self.number += 1;
        let message = recorded_message(self.number);
        if form == 1 && queue.capacity().is_some() {
            return self.send_loan(queue, &message);
        }
        let (before, timeout, after) = self.way();
        let what = format!("{before}send{after} {} {}", self.name, self.number);
        self.attempt(&what, || queue.send_timeout(&message, timeout), ok)?;
        Ok(())
    }

    fn send_many(&mut self, queue: &Queue) -> Outcome {
        let (before, timeout, after) = self.way();
        let (first, count) = (self.number + 1, 1 + self.below(MANY));
        self.number += count;
        let messages: Vec<_> = (first..first + count).map(recorded_message).collect();
        let what = format!("{before}send_many{after} {} {first} {count}", self.name);
        self.attempt(&what, || queue.send_many_timeout(&messages, timeout), |sent| format!("ok {sent}"))?;
        Ok(())
    }

    /// Fills memory of the queue and sends it, or gives it back.
    fn send_loan(&mut self, queue: &Queue, message: &[u8]) -> Outcome {
        let (name, number) = (self.name.clone(), self.number);
        let (before, timeout, after) = self.way();
        let lend = || queue.loan_timeout(LONGEST, timeout);
        let Some(mut loan) = self.attempt(&format!("{before}loan{after} {name}"), lend, ok)? else { return Ok(()) };
        loan.write(0, message)?;
        loan.truncate(message.len());
        self.hold(SHORT);
        let mut kept = Some(loan);
        if self.below(8) != 0 {
            let (before, timeout, after) = self.way();
            let send = || {
                let Some(loan) = kept.take() else { return Ok(()) };
                loan.send_timeout(timeout).map_err(|not_sent| {
                    kept = Some(not_sent.loan);
                    not_sent.error
                })
            };
            self.attempt(&format!("{before}send_loan{after} {name} {number}"), send, ok)?;
        }
        self.attempt(&format!("unlend {name}"), || end(kept), ok)?;
        Ok(())
    }

    fn recv(&mut self, queue: &Queue) -> Outcome {
        let name = self.name.clone();
        if self.below(8) == 0 {
            let (before, timeout, after) = self.way();
            let signals = Semaphore::open("signals")?;
            let set = WaitSet::new().recv(queue).acquire(&signals);
            self.attempt(&format!("{before}wait{after} {name},signals"), || set.wait_timeout(timeout), ok)?;
        }
        let form = self.below(4);
        let (before, timeout, after) = self.way();
        if form == 0 {
            let (most, mut batch) = (1 + self.below(MANY), Batch::new());
            let recv = || queue.recv_many_timeout(&mut batch, most as usize, timeout).map(|_| batch);
            self.attempt(&format!("{before}recv_many{after} {name} {most}"), recv, all_received)?;
        } else if form == 1 {
            self.recv_view(queue)?;
        } else {
            self.attempt(&format!("{before}recv{after} {name}"), || queue.recv_timeout(timeout), |bytes| received(bytes))?;
        }
        Ok(())
    }

    /// Receives a message and reads it in place, until it gives the memory back.
    fn recv_view(&mut self, queue: &Queue) -> Outcome {
        let (before, timeout, after) = self.way();
        let name = self.name.clone();
        let read = |view: &MessageView<'_>| view.to_vec().map_or("torn".into(), |bytes| received(&bytes));
        let mut seen = String::new();
        let tell = |view: &MessageView<'_>| {
            seen = read(view);
            seen.clone()
        };
        let what = format!("{before}recv_view{after} {name}");
        let Some(view) = self.attempt(&what, || queue.recv_view_timeout(timeout), tell)? else { return Ok(()) };
        self.hold(SHORT);
        if read(&view) != seen {
            Err("a message changes while it is read in place")?;
        }
        self.attempt(&format!("unview {name}"), || end(view), ok)?;
        Ok(())
    }

    fn lease(&mut self, queue: &Queue) -> Outcome {
        let (before, timeout, after) = self.way();
        let name = self.name.clone();
        let lease = self.attempt(
            &format!("{before}lease{after} {name}"),
            || queue.lease_timeout(timeout),
            |lease| format!("{} {}", received(lease.message()), lease.deliveries()),
        )?;
        let Some(lease) = lease else { return Ok(()) };
        let number = number_of(lease.message());
        self.hold(SHORT);
        if self.below(4) == 0 {
            self.attempt(&format!("give_back {name} {number}"), || lease.give_back(), ok)?;
        } else {
            self.attempt(&format!("finish {name} {number}"), || lease.finish(), ok)?;
        }
        Ok(())
    }

    /// Holds what it has for a while, or not at all.
    fn hold(&mut self, most: Duration) {
        if self.below(2) == 0 {
            std::thread::sleep(Duration::from_nanos(self.below(most.as_nanos() as u64)));
        }
    }

    fn lock(&mut self) -> Outcome {
        let (before, timeout, after) = self.way();
        match self.below(3) {
            0 => {
                let permits = Semaphore::open("permits")?;
                if self.attempt(&format!("{before}acquire{after} permits"), || permits.acquire_timeout(timeout), ok)?.is_some() {
                    self.hold(SHORT);
                    self.attempt("release permits", || permits.release(), ok)?;
                }
            }
            1 => {
                let signals = Semaphore::open("signals")?;
                self.attempt(&format!("{before}acquire{after} signals"), || signals.acquire_timeout(timeout), ok)?;
            }
            _ => {
                let mutex = Mutex::<()>::open("mutex")?;
                let tell = |guard: &MutexGuard<'_>| if guard.owner_died() { "owner_died" } else { "ok" };
                let Some(mut guard) =
                    self.attempt(&format!("{before}lock{after} mutex"), || mutex.lock_timeout(timeout), tell)?
                else {
                    return Ok(());
                };
                self.hold(SHORT);
                if guard.owner_died() && self.below(4) != 0 {
                    let mend = || {
                        guard.mark_consistent();
                        drop(guard);
                        Ok(())
                    };
                    self.attempt("mend mutex", mend, ok)?;
                } else {
                    self.attempt("unlock mutex", || end(guard), ok)?;
                }
            }
        }
        Ok(())
    }

    fn open_endpoint(&mut self) -> Outcome<Endpoint> {
        let name = self.name.clone();
        let open = || Endpoint::open_named(&name, &QueueOptions::new().capacity(4));
        self.attempt(&format!("open_endpoint {name}"), open, ok)?.ok_or_else(|| format!("the name {name} is not free").into())
    }

    fn close_endpoint(&mut self, endpoint: &mut Option<Endpoint>) -> Outcome {
        self.attempt(&format!("close_endpoint {}", self.name.clone()), || end(endpoint.take()), ok)?;
        Ok(())
    }

    fn serve(&mut self, endpoint: &Endpoint) -> Outcome {
        let timeout = Duration::from_millis([0, 3, 100][self.below(3) as usize]);
        let verb = if timeout.is_zero() { "try_serve" } else { "serve_timeout" };
        let (name, mailbox) = (self.name.clone(), Queue::open("mailbox")?);
        if self.below(4) == 0 {
            let set = WaitSet::new().endpoint(endpoint).recv(&mailbox);
            self.attempt(&format!("wait_timeout {name},mailbox"), || set.wait_timeout(timeout), ok)?;
        }
        let at_mailbox = self.below(2) == 0;
        let place = if at_mailbox { "mailbox" } else { &name };
        let receive =
            || if at_mailbox { endpoint.recv_mailbox_timeout(&mailbox, timeout) } else { endpoint.recv_timeout(timeout) };
        let request = self.attempt(&format!("{verb} {place}"), receive, |request| received(request))?;
        let Some(mut request) = request.filter(|request| request.wants_reply()) else { return Ok(()) };
        let number = number_of(&request);
        self.hold(WORK);
        if self.below(8) == 0 {
            self.attempt(&format!("drop {place} {number}"), || end(request), ok)?;
        } else {
            let reply = recorded_message(number + REPLY);
            // A process that was stopped holds up the caller's inbox.
            while self.attempt(&format!("reply {place} {number}"), || request.reply(&reply), ok)?.is_none() {}
        }
        Ok(())
    }

    fn call(&mut self, endpoint: &Endpoint) -> Outcome {
        self.number += 1;
        let message = recorded_message(self.number);
        let place = ["east", "west", "mailbox"][self.below(3) as usize];
        let (before, timeout, after) = self.way();
        if place != "mailbox" && self.below(4) == 0 {
            let post = || endpoint.send_timeout(endpoint.find(place)?, &message, timeout);
            self.attempt(&format!("{before}post{after} {place} {}", self.number), post, ok)?;
            return Ok(());
        }
        // A call that may not wait at all is one whose time has passed.
        let after = if timeout.is_zero() { "_timeout" } else { after };
        let mailbox = Queue::open("mailbox")?;
        let call = || match place {
            "mailbox" => endpoint.call_mailbox_timeout(&mailbox, &message, timeout),
            _ => endpoint.call_timeout(endpoint.find(place)?, &message, timeout),
        };
        self.attempt(&format!("call{after} {place} {}", self.number), call, |bytes| received(bytes))?;
        Ok(())
    }

    /// Creates, opens, or takes away an object of some kind.
    fn names(&mut self) -> Outcome {
        let kind = ["a-region", "a-mutex", "a-count", "a-limit", "a-queue"][self.below(5) as usize];
        let verb = ["create", "open", "open_or_create", "unlink"][self.below(4) as usize];
        let verb = if verb.contains("create") && (self.identity + 1).is_multiple_of(IDENTITIES) { "open" } else { verb };
        match verb {
            "unlink" => drop(self.attempt(&format!("unlink {kind}"), || Namespace::default().unlink(kind), ok)?),
            "open" => drop(self.attempt(&format!("open {kind}"), || make(verb, kind, 0), found)?),
            _ => {
                self.identity += 1;
                let identity = self.identity;
                self.attempt(&format!("{verb} {kind} {identity}"), || make(verb, kind, identity), found)?;
            }
        }
        Ok(())
    }
}

/// Says which object it is; 0 for a mutex, which cannot be told from another.
fn make(verb: &str, kind: &str, identity: u64) -> rsipc::Result<u64> {
    let (size, value) = (identity as usize, identity as u32);
    let options = QueueOptions::new().capacity(1).max_message(size);
    Ok(match (kind, verb) {
        ("a-mutex", "create") => Mutex::create(kind, ()).map(|_| 0)?,
        ("a-mutex", "open") => Mutex::<()>::open(kind).map(|_| 0)?,
        ("a-mutex", _) => Mutex::open_or_create(kind, ()).map(|_| 0)?,
        ("a-queue", _) => match verb {
            "create" => Queue::create(kind, &options)?,
            "open" => Queue::open(kind)?,
            _ => Queue::open_or_create(kind, &options)?,
        }
        .max_message() as u64,
        ("a-region", _) => {
            let region = match verb {
                "create" => Region::create(kind, size)?,
                "open" => Region::open(kind)?,
                _ => Region::open_or_create(kind, size)?,
            };
            let mut last = [1];
            unsafe { region.view()?.read(region.len() - 1, &mut last)? };
            assert_eq!(last, [0], "a new region is zero");
            region.len() as u64
        }
        _ => {
            let semaphore = match (kind, verb) {
                (_, "open") => Semaphore::open(kind)?,
                ("a-count", "create") => Semaphore::create(kind, value)?,
                ("a-count", _) => Semaphore::open_or_create(kind, value)?,
                (_, "create") => Semaphore::create_permits(kind, value)?,
                _ => Semaphore::open_or_create_permits(kind, value)?,
            };
            assert_eq!(semaphore.kind() == SemaphoreKind::Permits, kind == "a-limit", "the semaphore is of the other kind");
            semaphore.value()?.into()
        }
    })
}

/// Ends something by dropping it.
fn end<T>(thing: T) -> rsipc::Result<()> {
    drop(thing);
    Ok(())
}

fn ok<T>(_: &T) -> &'static str {
    "ok"
}

fn found(identity: &u64) -> String {
    format!("ok {identity}")
}

fn number_of(bytes: &[u8]) -> u64 {
    bytes.first_chunk().map_or(0, |number| u64::from_le_bytes(*number))
}

fn received(bytes: &[u8]) -> String {
    let number = number_of(bytes);
    if bytes == recorded_message(number) { format!("ok {number}") } else { "torn".into() }
}

fn all_received(batch: &Batch) -> String {
    let numbers: String = batch.iter().map(|bytes| format!(" {}", number_of(bytes))).collect();
    if batch.iter().all(|bytes| received(bytes) != "torn") { format!("ok{numbers}") } else { "torn".into() }
}

/// Eight bytes of the number, and from none to as many bytes as there is room for, in a pattern that follows from it.
fn recorded_message(i: u64) -> Vec<u8> {
    let len = (i % 61).pow(1 + (i % 3) as u32).min(LONGEST as u64 - 8);
    i.to_le_bytes().into_iter().chain((0..len).map(|k| ((i % 251 + k) % 251) as u8)).collect()
}
