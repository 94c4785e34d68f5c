//! `rsipc doctor`

use std::collections::HashSet;
use std::fs;
use std::io::{Write, stdout};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use nix::sys::resource::{RLIM_INFINITY, Resource, getrlimit};
use nix::sys::statfs::{TMPFS_MAGIC, statfs};
use nix::sys::statvfs::statvfs;
use nix::sys::utsname::uname;
use rsipc::{Endpoint, Inspection, Namespace, Queue, QueueOptions, Semaphore, WaitSet};
use serde::Serialize;

use crate::Done;
use crate::cli::DoctorArgs;
use crate::failure::{Failure, WOULD_WAIT};
use crate::object::{Object, State};
use crate::output;

/// How many descriptors a program should be able to have open: an endpoint keeps one for each process that it sends to.
const FEW_FILES: u64 = 1024;
/// Of a hundred: a file system that is as full as this is a problem soon.
const NEARLY_FULL: u64 = 90;

#[derive(Serialize)]
struct Report {
    healthy: bool,
    checks: Vec<Check>,
}

/// What was looked at, and found.
#[derive(Serialize)]
struct Check {
    check: &'static str,
    level: Level,
    found: String,
    advice: Option<String>,
    fixed: bool,
}

#[derive(Serialize, Clone, Copy, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
enum Level {
    Ok,
    /// Good to know; nothing has to be done.
    Note,
    Problem,
}

impl Check {
    fn ok(check: &'static str, found: impl Into<String>) -> Self {
        Self { check, level: Level::Ok, found: found.into(), advice: None, fixed: false }
    }

    fn note(check: &'static str, found: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { level: Level::Note, advice: Some(advice.into()), ..Self::ok(check, found) }
    }

    fn problem(check: &'static str, found: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { level: Level::Problem, ..Self::note(check, found, advice) }
    }
}

pub fn run(space: &Namespace, args: &DoctorArgs) -> Done {
    let dir = space.dir()?;
    let mut checks = vec![kernel(), proc(), files(), file_size()];
    checks.extend(directory(&dir));
    let before = left_by_the_dead(space, &dir)?;
    if args.fix && !before.is_empty() {
        fix(space, &before);
    }
    // What was found, and whether it is still so.
    let still: HashSet<String> = left_by_the_dead(space, &dir)?.into_iter().map(|left| left.check.found).collect();
    checks.extend(before.into_iter().map(|left| {
        let fixed = args.fix && !still.contains(&left.check.found);
        Check { fixed, ..left.check }
    }));
    let healthy = checks.iter().all(|check| check.level != Level::Problem || check.fixed);
    if args.json {
        output::json(&Report { healthy, checks })?;
    } else {
        let text: String = checks.iter().map(text).collect();
        stdout().write_all(text.as_bytes())?;
    }
    Ok(if healthy { ExitCode::SUCCESS } else { ExitCode::from(WOULD_WAIT) })
}

fn text(check: &Check) -> String {
    let mark = match check.level {
        _ if check.fixed => console::style("fixed  ").green(),
        Level::Ok => console::style("ok     ").green(),
        Level::Note => console::style("note   ").yellow(),
        Level::Problem => console::style("problem").red(),
    };
    let advice = check.advice.as_ref().filter(|_| !check.fixed);
    let advice = advice.map_or_else(String::new, |advice| format!("        {}\n", console::style(advice).dim()));
    format!("{mark} {}: {}\n{advice}", check.check, check.found)
}

fn kernel() -> Check {
    let release = uname().map(|name| name.release().to_string_lossy().into_owned()).unwrap_or_default();
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map_while(|number| number.parse::<u32>().ok());
    let version = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    let found = format!("Linux {release}");
    if version < (5, 14) {
        Check::problem("kernel", found, "rsipc needs Linux 5.14 or later")
    } else if version < (5, 16) {
        Check::note("kernel", found, "deaths are noticed sooner from Linux 5.16 on (futex_waitv)")
    } else {
        Check::ok("kernel", found)
    }
}

fn proc() -> Check {
    let own = std::process::id().to_string();
    match fs::read_link("/proc/self") {
        Ok(shown) if shown.as_os_str() == own.as_str() => match fs::metadata("/proc/self/ns/pid") {
            Ok(namespace) => Check::ok("/proc", format!("shows this pid namespace ({})", namespace.ino())),
            Err(error) => Check::problem(
                "/proc",
                format!("does not tell the pid namespace: {error}"),
                "without it processes of several containers cannot be told apart",
            ),
        },
        Ok(_) => Check::problem(
            "/proc",
            "belongs to another pid namespace",
            "mount it anew in this one (mount -t proc proc /proc), or deaths are taken for life",
        ),
        Err(error) => Check::problem(
            "/proc",
            format!("is not mounted: {error}"),
            "mount it (mount -t proc proc /proc): objects cannot be named without it",
        ),
    }
}

fn files() -> Check {
    match getrlimit(Resource::RLIMIT_NOFILE) {
        Ok((soft, hard)) if soft < FEW_FILES => Check::problem(
            "open files",
            format!("at most {soft} (hard limit {hard})"),
            format!("raise the limit: ulimit -n {}", FEW_FILES.min(hard)),
        ),
        Ok((soft, _)) => Check::ok("open files", format!("at most {soft}")),
        Err(error) => Check::problem("open files", error.to_string(), "see getrlimit(2)"),
    }
}

fn file_size() -> Check {
    match getrlimit(Resource::RLIMIT_FSIZE) {
        Ok((RLIM_INFINITY, _)) => Check::ok("file size", "no limit"),
        Ok((soft, _)) => Check::problem(
            "file size",
            format!("at most {}", output::bytes(soft)),
            "no object can be longer, and an unbounded queue is as long as its file system: ulimit -f unlimited",
        ),
        Err(error) => Check::problem("file size", error.to_string(), "see getrlimit(2)"),
    }
}

/// The directory of the objects, and the file system that it is on.
fn directory(dir: &Path) -> Vec<Check> {
    let shown = dir.display();
    let existing = existing(dir);
    let mut checks = Vec::new();
    match fs::metadata(dir) {
        Err(_) => checks.push(Check::ok("directory", format!("{shown} is not there yet: it is made for the first object"))),
        Ok(meta) if !meta.is_dir() => {
            checks.push(Check::problem("directory", format!("{shown} is no directory"), "set RSIPC_DIR, or give --dir"));
        }
        Ok(meta) => {
            let mode = meta.mode() & 0o7777;
            let found = format!("{shown} (user {}, mode {mode:o})", meta.uid());
            checks.push(if mode & 0o002 != 0 && mode & 0o1000 == 0 {
                let advice = format!("anybody can replace the objects in it: chmod o-w {shown}");
                Check::problem("directory", found, advice)
            } else if nix::unistd::access(dir, nix::unistd::AccessFlags::W_OK | nix::unistd::AccessFlags::X_OK).is_err() {
                let advice = "this user cannot create or remove objects in it: choose another with RSIPC_DIR or --dir";
                Check::problem("directory", found, advice)
            } else {
                Check::ok("directory", found)
            });
        }
    }
    let shown = existing.display();
    match statfs(&existing) {
        Ok(stat) if stat.filesystem_type() == TMPFS_MAGIC => checks.push(Check::ok("file system", "tmpfs")),
        Ok(_) => checks.push(Check::problem(
            "file system",
            format!("{shown} is on no tmpfs"),
            "what is in it is written to disk now and then: choose a directory in /dev/shm",
        )),
        Err(error) => checks.push(Check::problem("file system", format!("{shown}: {error}"), "see statfs(2)")),
    }
    if let Ok(stat) = statvfs(&existing) {
        let unit = stat.fragment_size();
        let (all, free) = (stat.blocks() * unit, stat.blocks_available() * unit);
        let used = (all.saturating_sub(free) * 100).checked_div(all).unwrap_or(0);
        let found = format!("{shown} has {}, {} free ({used}% used)", output::bytes(all), output::bytes(free));
        checks.push(if used >= NEARLY_FULL {
            let advice = format!(
                "what does not fit is refused: look for large objects (rsipc ls), or enlarge it (mount -o remount,size={}M {shown})",
                (all * 2).div_ceil(1 << 20)
            );
            Check::problem("memory", found, advice)
        } else {
            Check::ok("memory", found)
        });
        if stat.files() != 0 && stat.files_available() * 100 / stat.files() < 100 - NEARLY_FULL {
            let found = format!("{} of {} files are free", stat.files_available(), stat.files());
            checks.push(Check::problem(
                "files",
                found,
                "no object can be created without one: remove some, or enlarge the file system",
            ));
        }
    }
    checks
}

/// The directory, or the first above it that there is.
fn existing(dir: &Path) -> PathBuf {
    dir.ancestors().find(|dir| dir.is_dir()).unwrap_or(Path::new("/dev/shm")).to_owned()
}

/// What was found in an object, or an address, of the dead.
struct Left {
    check: Check,
    name: String,
    cure: Option<Cure>,
}

/// What `--fix` does about it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Cure {
    Permits,
    Leases,
    Addresses,
}

fn left_by_the_dead(space: &Namespace, dir: &Path) -> Result<Vec<Left>, Failure> {
    let mut left = Vec::new();
    for object in Object::all(space, &[])? {
        left.extend(left_in(&object));
    }
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        let Some(name) = entry.file_name().into_string().ok().filter(|name| name.starts_with('@')) else { continue };
        if let Ok(Inspection::Endpoint { pid, is_gone: true, .. }) = space.inspect(&name) {
            let found = format!("the address {name} of process {pid}, which is gone");
            let check = Check::note("dead", found, "it goes when somebody opens an endpoint here; or now, with --fix");
            left.push(Left { check, name, cure: Some(Cure::Addresses) });
        }
    }
    Ok(left)
}

fn left_in(object: &Object) -> Vec<Left> {
    let name = &object.name;
    let mut left = Vec::new();
    let mut add = |check: Check, cure: Option<Cure>| left.push(Left { check, name: name.clone(), cure });
    if let Some(problem) = &object.problem {
        let advice = format!("if nobody needs it any more: rsipc rm {name}");
        add(Check::problem("object", format!("{name}: {problem}"), advice), None);
    }
    match &object.state {
        Some(State::Mutex { given_up: true, .. }) => {
            let advice = format!("create it anew, with what it guards: rsipc rm {name}");
            add(Check::problem("object", format!("the mutex {name} was given up as not recoverable"), advice), None);
        }
        Some(State::Mutex { owner_died: true, .. }) => {
            let found = format!("an owner of the mutex {name} died with it");
            let advice = "the next owner is told: it repairs what the mutex guards, and says so (rsipc lock does, if its command succeeds)";
            add(Check::note("dead", found, advice), None);
        }
        Some(State::Endpoint { pid, alive: false, .. }) => {
            let found = format!("the endpoint {name} of process {pid}, which is gone");
            add(Check::note("dead", found, "its name is free for who wants it; it goes now with --fix"), Some(Cure::Addresses));
        }
        _ => {}
    }
    for process in object.processes.iter().filter(|process| !process.alive && process.holds != 0) {
        let (pid, holds) = (process.pid, process.holds);
        if object.kind == "semaphore" {
            let found = format!("process {pid}, which is gone, holds {holds} permits of {name}");
            add(Check::note("dead", found, "they come back to who wants one; or now, with --fix"), Some(Cure::Permits));
        } else {
            let found = format!("process {pid}, which is gone, has {holds} messages of {name} on lease");
            add(Check::note("dead", found, "they come back to the next who receives; or now, with --fix"), Some(Cure::Leases));
        }
    }
    left
}

/// Does what calls on the objects do as they come upon it. Where that fails, it is found again, and told.
fn fix(space: &Namespace, left: &[Left]) {
    for left in left {
        match left.cure {
            Some(Cure::Permits) => drop(Semaphore::open(space.name(&left.name)).and_then(|permits| permits.value())),
            Some(Cure::Leases) => {
                // Who waits for messages looks whether some come back; this one takes none.
                let look = |queue: Queue| drop(WaitSet::new().recv(&queue).wait_timeout(Duration::from_millis(200)));
                let _ = Queue::open(space.name(&left.name)).map(look);
            }
            Some(Cure::Addresses) | None => {}
        }
    }
    if left.iter().any(|left| left.cure == Some(Cure::Addresses)) {
        // Who opens one clears away those of the dead.
        if let Ok(endpoint) = Endpoint::open(space, &QueueOptions::new()) {
            for left in left.iter().filter(|left| left.cure == Some(Cure::Addresses) && !left.name.starts_with('@')) {
                let _ = endpoint.find(&left.name);
            }
        }
    }
}
