//! All that can be found out about an object, by looking at it and at the processes that have it mapped.

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt;
use std::time::UNIX_EPOCH;

use rsipc::{Counters, Entry, Error, Inspection, Kind, Namespace, QueueInspection, SemaphoreKind, User};
use serde::Serialize;

use crate::processes::{self, Attached, FileId};

/// An object, with the keys that `--json` gives it.
#[derive(Serialize)]
pub struct Object {
    pub name: String,
    pub kind: &'static str,
    pub size: u64,
    pub memory: u64,
    pub problem: Option<String>,
    pub processes: Vec<Process>,
    #[serde(skip)]
    pub counters: Option<Counters>,
    #[serde(flatten)]
    counted: BTreeMap<&'static str, u64>,
    #[serde(flatten)]
    pub state: Option<State>,
}

/// A process that uses an object, or that died doing so.
#[derive(Serialize, Clone)]
pub struct Process {
    pub pid: u32,
    pub command: Option<String>,
    pub alive: bool,
    pub waiting: Option<bool>,
    pub sends: bool,
    pub receives: bool,
    pub holds: u32,
    pub since: Option<f64>,
}

#[derive(Serialize)]
#[serde(untagged)]
pub enum State {
    Endpoint {
        pid: u32,
        alive: bool,
        #[serde(flatten)]
        inbox: Queue,
    },
    Queue(Queue),
    Mutex {
        held: bool,
        holder: Option<u32>,
        owner_died: bool,
        given_up: bool,
    },
    Semaphore {
        counts: &'static str,
        value: u32,
        total: Option<u32>,
    },
    Region {
        len: u64,
    },
}

#[derive(Serialize)]
pub struct Queue {
    pub capacity: Option<usize>,
    pub max_message: usize,
    pub waiting: usize,
    pub leased: usize,
    pub shut_down: bool,
}

impl From<QueueInspection> for Queue {
    fn from(seen: QueueInspection) -> Self {
        Self {
            capacity: seen.capacity,
            max_message: seen.max_message,
            waiting: seen.len,
            leased: seen.leased,
            shut_down: seen.is_shut_down,
        }
    }
}

impl Object {
    /// All of a namespace, sorted by name, or those named.
    pub fn all(space: &Namespace, names: &[String]) -> rsipc::Result<Vec<Self>> {
        let mut entries = space.list()?;
        if !names.is_empty() {
            for name in names {
                if !entries.iter().any(|entry| entry.name == *name) {
                    // This says why: impossible, not there, no object.
                    space.inspect(name)?;
                    let dir = space.dir()?;
                    return Err(Error::NotFound { name: name.clone(), dir });
                }
            }
            entries.retain(|entry| names.contains(&entry.name));
        }
        let dir = space.dir()?;
        let file =
            |entry: &Entry| std::fs::symlink_metadata(dir.join(&entry.name)).map_or((0, 0), |meta| (meta.dev(), meta.ino()));
        let files: Vec<FileId> = entries.iter().map(file).collect();
        let mut attached = processes::attached(&files);
        let objects = entries.into_iter().zip(files).filter_map(|(entry, file)| {
            let seen = space.inspect(&entry.name);
            // It may have been unlinked meanwhile.
            let gone = matches!(seen, Err(Error::NotFound { .. }));
            (!gone).then(|| Self::new(entry, seen, attached.remove(&file).unwrap_or_default()))
        });
        Ok(objects.collect())
    }

    /// The one of that name.
    pub fn one(space: &Namespace, name: &str) -> rsipc::Result<Self> {
        let mut all = Self::all(space, &[name.to_owned()])?;
        let gone = || Error::NotFound { name: name.to_owned(), dir: space.dir().unwrap_or_default() };
        all.pop().ok_or_else(gone)
    }

    fn new(entry: Entry, seen: rsipc::Result<Inspection>, attached: Vec<Attached>) -> Self {
        let (seen, problem) = match seen {
            Ok(seen) => (Some(seen), None),
            Err(error) => (None, Some(error.to_string())),
        };
        let (state, users, counters) = seen.map(State::of).unwrap_or_default();
        let Entry { name, kind, size, memory, .. } = entry;
        let counted = counters.iter().flat_map(|counters| counted(kind, counters)).collect();
        Self { name, kind: kind.as_str(), size, memory, problem, processes: join(attached, users), counters, counted, state }
    }

    pub fn queue(&self) -> Option<&Queue> {
        match &self.state {
            Some(State::Queue(queue) | State::Endpoint { inbox: queue, .. }) => Some(queue),
            _ => None,
        }
    }

    /// How full it is.
    pub fn fill(&self) -> String {
        match &self.state {
            Some(State::Queue(queue) | State::Endpoint { inbox: queue, .. }) => match queue.capacity {
                Some(capacity) => format!("{}/{capacity}", queue.waiting),
                None => queue.waiting.to_string(),
            },
            Some(State::Semaphore { value, total: Some(total), .. }) => format!("{value}/{total}"),
            Some(State::Semaphore { value, .. }) => value.to_string(),
            _ => String::new(),
        }
    }

    /// How many of its processes wait; None where that cannot be known of any.
    pub fn waiting(&self) -> Option<usize> {
        let known = self.processes.iter().filter_map(|process| process.waiting);
        let known: Vec<bool> = known.collect();
        let alive = self.processes.iter().any(|process| process.alive);
        (!known.is_empty() || !alive).then(|| known.into_iter().filter(|waiting| *waiting).count())
    }

    /// What there is to say about it besides, and whether that is bad news.
    pub fn notes(&self) -> Vec<(String, bool)> {
        let mut notes = Vec::new();
        if let Some(problem) = &self.problem {
            notes.push((problem.clone(), true));
        }
        match &self.state {
            Some(State::Mutex { held, holder, owner_died, given_up }) => {
                match holder {
                    Some(pid) => notes.push((format!("held by {}", named(*pid)), false)),
                    None if *held => notes.push(("held".into(), false)),
                    None => {}
                }
                if *given_up {
                    notes.push(("given up as not recoverable".into(), true));
                } else if *owner_died {
                    notes.push(("an owner died with it".into(), true));
                }
            }
            Some(State::Endpoint { pid, alive, .. }) => {
                let text = if *alive { format!("of {}", named(*pid)) } else { format!("its process {pid} is gone") };
                notes.push((text, !alive));
            }
            _ => {}
        }
        if let Some(queue) = self.queue() {
            if queue.capacity == Some(0) {
                notes.push(("rendezvous".into(), false));
            } else if queue.capacity.is_none() {
                notes.push(("unbounded".into(), false));
            }
            if queue.shut_down {
                notes.push(("shut down".into(), false));
            }
            if queue.leased != 0 {
                notes.push((format!("{} on lease", queue.leased), false));
            }
        }
        for process in self.processes.iter().filter(|process| !process.alive && process.holds != 0) {
            notes.push((format!("dead process {} holds {}", process.pid, process.holds), true));
        }
        notes
    }
}

impl State {
    fn of(seen: Inspection) -> (Option<Self>, Vec<User>, Option<Counters>) {
        match seen {
            Inspection::Region { len, .. } => (Some(Self::Region { len }), Vec::new(), None),
            Inspection::Mutex { held, holder, owner_died, given_up, counters, .. } => {
                let holder = holder.and_then(processes::process_of);
                (Some(Self::Mutex { held, holder, owner_died, given_up }), Vec::new(), Some(counters))
            }
            Inspection::Semaphore { kind, value, total, users, counters, .. } => {
                let counts = if kind == SemaphoreKind::Permits { "permits" } else { "signals" };
                (Some(Self::Semaphore { counts, value, total }), users, Some(counters))
            }
            Inspection::Queue(mut queue) => {
                let (users, counters) = (std::mem::take(&mut queue.users), queue.counters);
                (Some(Self::Queue(queue.into())), users, Some(counters))
            }
            Inspection::Endpoint { pid, is_gone, inbox, .. } => {
                let counters = inbox.counters;
                (Some(Self::Endpoint { pid, alive: !is_gone, inbox: inbox.into() }), Vec::new(), Some(counters))
            }
            _ => (None, Vec::new(), None),
        }
    }
}

/// What was counted, with the keys that `--json` gives it: of messages only where there are any.
fn counted(kind: Kind, counters: &Counters) -> Vec<(&'static str, u64)> {
    let mut counted = vec![
        ("waits", counters.waits),
        ("wakeups", counters.wakeups),
        ("recoveries", counters.recoveries),
        ("deaths", counters.deaths),
    ];
    if matches!(kind, Kind::Queue | Kind::Endpoint) {
        counted.extend([
            ("sent", counters.sent),
            ("received", counters.received),
            ("bytes_sent", counters.bytes_sent),
            ("bytes_received", counters.bytes_received),
        ]);
    }
    counted
}

/// A process, with its name if it can be known.
fn named(pid: u32) -> String {
    processes::command(pid).map_or_else(|| pid.to_string(), |command| format!("{command}({pid})"))
}

/// Those who have an object mapped, and those who stand in its tables.
fn join(attached: Vec<Attached>, users: Vec<User>) -> Vec<Process> {
    let mut processes: BTreeMap<(u32, bool), Process> = BTreeMap::new();
    for Attached { pid, command, waiting } in attached {
        let (sends, receives, holds, since) = (false, false, 0, None);
        let process = Process { pid, command: Some(command), alive: true, waiting, sends, receives, holds, since };
        processes.insert((pid, true), process);
    }
    for user in users {
        let (pid, alive) = (user.pid, !user.is_gone);
        let process = processes.entry((pid, alive)).or_insert_with(|| {
            let command = if alive { processes::command(pid) } else { None };
            Process { pid, command, alive, waiting: None, sends: false, receives: false, holds: 0, since: None }
        });
        process.sends |= user.sends;
        process.receives |= user.receives;
        process.holds = process.holds.saturating_add(user.holds);
        process.since = process.since.or(user.since.and_then(|at| Some(at.duration_since(UNIX_EPOCH).ok()?.as_secs_f64())));
    }
    processes.into_values().collect()
}
