//! What happens when something runs out, at each moment: memory of the file system, inodes, descriptors, address space, the size
//! of files, threads. Each time it is an error that names it, and nothing is lost, leaked, or broken for others; once there is
//! more, what failed succeeds.

#[path = "starved/work.rs"]
mod work;

mod support;

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::statvfs::statvfs;
use rsipc::{Endpoint, Error, Mutex, Namespace, Queue, QueueOptions, Region, Semaphore};
use support::{Board, LONG, Test, fork, wait_for};
use work::{PROGRAMS, Program, Shortage, Step};

/// A tmpfs of the test's own, unmounted at its end.
struct Disk {
    dir: PathBuf,
}

impl Disk {
    fn new(test: &Test, options: &str) -> Self {
        let dir = test.dir.join("disk");
        fs::create_dir_all(&dir).unwrap();
        mount(Some("tmpfs"), &dir, Some("tmpfs"), MsFlags::empty(), Some(options)).expect("the tests run as root");
        Self { dir }
    }

    fn space(&self, name: &str) -> Namespace {
        Namespace::at(self.dir.join(name))
    }

    /// Gives it other limits.
    fn limit(&self, limits: &str) {
        mount(None::<&str>, &self.dir, None::<&str>, MsFlags::MS_REMOUNT, Some(limits)).expect("the limits of the disk");
    }

    /// How many pages and inodes are in use.
    fn used(&self) -> (u64, u64) {
        let stat = statvfs(&self.dir).unwrap();
        ((stat.blocks() - stat.blocks_free()) * stat.fragment_size() / 4096, stat.files() - stat.files_free())
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        umount2(&self.dir, MntFlags::MNT_DETACH).unwrap();
    }
}

/// Objects that are there before something runs out, and have what they need.
struct Others {
    mutex: Mutex<u64>,
    semaphore: Semaphore,
    queue: Queue,
}

impl Others {
    fn new(space: &Namespace) -> Self {
        let others = Self {
            mutex: Mutex::create(space.name("m"), 0).unwrap(),
            semaphore: Semaphore::create_permits(space.name("s"), 1).unwrap(),
            queue: Queue::create(space.name("q"), &QueueOptions::new().capacity(2).max_message(6000).leases(1)).unwrap(),
        };
        // Each slot and block is used once.
        (0..4).for_each(|_| others.work());
        others
    }

    /// They work as if nothing were scarce.
    fn work(&self) {
        *self.mutex.lock().unwrap() += 1;
        self.semaphore.try_acquire().unwrap();
        self.semaphore.release().unwrap();
        for len in [10, 6000, 10, 6000] {
            self.queue.try_send(&vec![1; len]).unwrap();
            assert_eq!(self.queue.try_recv().unwrap().len(), len);
        }
    }
}

/// The open files of this process.
fn descriptors() -> Vec<(OsString, u64, u64)> {
    // Not by their names: what a child has from its parent by chance may be removed meanwhile.
    let entries = fs::read_dir("/proc/self/fd").unwrap().map(|entry| {
        let entry = entry.unwrap();
        // The directory that is being read has an inode that may be another one the next time.
        let file = fs::metadata(entry.path()).ok().filter(|file| !file.is_dir());
        let (device, inode) = file.map_or((0, 0), |file| (file.dev(), file.ino()));
        (entry.file_name(), device, inode)
    });
    let mut open: Vec<_> = entries.collect();
    open.sort();
    open
}

/// Runs a program in which a step may fail for the shortage, which begins with `amount` before step number `from`, and ends with
/// the step that failed. Says which that was, or 0, and how many steps there are.
fn survive(
    program: Program,
    space: &Namespace,
    others: &Others,
    shortage: &Shortage<'_>,
    (from, amount): (u64, u64),
) -> (u64, u64) {
    let (mut failed, mut count) = (0, 0);
    program(space, shortage, &mut |steps: Vec<Step<'_>>| {
        count = steps.len() as u64;
        for (number, (name, mut step)) in (1..).zip(steps) {
            if number == from {
                (shortage.begin)(amount);
            }
            let Err(first) = step() else { continue };
            shortage.expect(&first);
            others.work();
            // It fails again, and again leaves nothing.
            if let Err(again) = step() {
                shortage.expect(&again);
                (shortage.end)();
                step().unwrap_or_else(|e| panic!("{name}: {e}, once the shortage is over"));
            }
            (shortage.end)();
            failed = number;
        }
    });
    (shortage.end)();
    others.work();
    (failed, count)
}

/// From which of its steps on a program has too little.
#[derive(Clone, Copy, PartialEq)]
enum From {
    TheFirst,
    Each,
}

/// Runs programs with so much of what is scarce from a step on, each time with more, until they do not run out of it any more.
/// `left` says what they leave behind that others can see.
fn sweep(
    space: impl Fn(&str) -> Namespace,
    (names, from, more): (&[&str], From, fn(u64) -> u64),
    shortage: &Shortage<'_>,
    left: impl Fn() -> (u64, u64),
) {
    let dir = space("space").dir().unwrap();
    fs::create_dir_all(&dir).unwrap();
    // For those who become another user.
    fs::set_permissions(&dir, fs::Permissions::from_mode(0o777)).unwrap();
    let (others, space) = (Others::new(&space("others")), space("space"));
    for (name, program) in PROGRAMS.iter().filter(|(name, _)| names.contains(name)) {
        let (mut moments, mut steps, mut at, mut amount) = (0, BTreeSet::new(), 1, 0);
        loop {
            let (before, result) = (left(), Board::new(2));
            fork(format!("{name} with {amount} from step {at} on"), || {
                let before = descriptors();
                // What belongs to a thread goes with it.
                let work = || survive(*program, &space, &others, shortage, (at, amount));
                let (failed, count) = std::thread::scope(|scope| scope.spawn(work).join().unwrap());
                result.set(0, failed);
                result.set(1, count);
                wait_for("the descriptors to be closed", || descriptors() == before);
            })
            .join();
            (shortage.end)();
            others.work();
            clear(&dir);
            assert_eq!(left(), before, "{name} with {amount} from step {at} on leaves something");
            if result.get(0) != 0 {
                steps.insert(result.get(0));
                moments += 1;
                amount = more(amount);
            } else if from == From::Each && at < result.get(1) {
                at += 1;
                amount = 0;
            } else {
                break;
            }
        }
        println!("{name}: {moments} moments, in the steps {steps:?}");
        assert!(moments > 0, "{name} ran out of nothing");
    }
}

/// Takes away what is in a directory. Names of addresses have gone with their owners.
fn clear(dir: &Path) {
    let files: Vec<_> = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect();
    for file in files {
        let name = file.file_name().unwrap().to_str().unwrap();
        assert!(!name.starts_with('@') && name != "server", "{name} is left");
        fs::remove_file(file).unwrap();
    }
}

const ALL: [&str; 7] = ["small objects", "bounded queue", "unbounded queue", "leases", "rendezvous", "endpoints", "readiness"];

fn no_space(error: &Error) -> bool {
    matches!(error, Error::NoSpace(_)) && error.to_string().contains("file system")
}

#[test]
fn a_file_system_that_is_full_at_each_moment() {
    let test = Test::new("full at each moment");
    let disk = Disk::new(&test, "size=64m");
    let shortage = Shortage {
        begin: &|pages| disk.limit(&format!("size={}k", (disk.used().0 + pages) * 4)),
        end: &|| disk.limit("size=64m"),
        is: no_space,
    };
    sweep(|name| disk.space(name), (&ALL, From::TheFirst, |pages| pages + 1), &shortage, || disk.used());
}

#[test]
fn no_inode_left_at_each_moment() {
    let test = Test::new("no inode");
    let disk = Disk::new(&test, "size=64m,nr_inodes=1000");
    let shortage = Shortage {
        begin: &|inodes| disk.limit(&format!("nr_inodes={}", disk.used().1 + inodes)),
        end: &|| disk.limit("nr_inodes=1000"),
        is: |e| no_space(e) && e.to_string().contains("inodes"),
    };
    sweep(|name| disk.space(name), (&ALL, From::Each, |inodes| inodes + 1), &shortage, || disk.used());
}

/// Sets a limit of this process.
fn limit(resource: Resource, to: u64) {
    let (_, most) = getrlimit(resource).unwrap();
    setrlimit(resource, to.min(most), most).unwrap();
}

#[test]
fn no_descriptor_left_at_each_moment() {
    let test = Test::new("no descriptor");
    let shortage = Shortage {
        begin: &|free| {
            let open = |fd: &u64| fs::exists(format!("/proc/self/fd/{fd}")).unwrap();
            limit(Resource::RLIMIT_NOFILE, (0..).filter(|fd| !open(fd)).nth(free as usize).unwrap());
        },
        end: &|| limit(Resource::RLIMIT_NOFILE, 1000),
        is: |e| matches!(e, Error::TooManyFiles(_)) && e.to_string().contains("ulimit -n"),
    };
    sweep(|name| Namespace::at(test.dir.join(name)), (&ALL, From::Each, |free| free + 1), &shortage, || (0, 0));
}

/// Growing amounts of bytes, by a page at first.
fn more_bytes(bytes: u64) -> u64 {
    bytes + (bytes / 8 / 4096 * 4096).max(4096)
}

#[test]
fn no_address_space_left_at_each_moment() {
    let test = Test::new("no address space");
    let shortage = Shortage {
        begin: &|bytes| {
            // What a thread allocates lies in what its C library has reserved for it, from its first allocation on.
            drop(std::hint::black_box(vec![0u8; 100_000]));
            let status = fs::read_to_string("/proc/self/status").unwrap();
            let size = status.lines().find_map(|line| line.strip_prefix("VmSize:")).unwrap();
            let size: u64 = size.trim().trim_end_matches(" kB").parse().unwrap();
            limit(Resource::RLIMIT_AS, size * 1024 + bytes);
        },
        end: &|| limit(Resource::RLIMIT_AS, u64::MAX),
        is: |e| matches!(e, Error::NoMemory(_)) && e.to_string().contains("ulimit -v"),
    };
    sweep(|name| Namespace::at(test.dir.join(name)), (&ALL, From::TheFirst, more_bytes), &shortage, || (0, 0));
}

#[test]
fn a_limit_on_the_size_of_files_at_each_size() {
    let test = Test::new("file size");
    let shortage = Shortage {
        begin: &|bytes| limit(Resource::RLIMIT_FSIZE, bytes),
        end: &|| limit(Resource::RLIMIT_FSIZE, u64::MAX),
        is: |e| matches!(e, Error::NoSpace(_)) && e.to_string().contains("RLIMIT_FSIZE"),
    };
    sweep(|name| Namespace::at(test.dir.join(name)), (&ALL, From::TheFirst, more_bytes), &shortage, || (0, 0));
}

/// Becomes a user who has limits: root may have as many threads, and lock as much memory, as it likes.
fn become_somebody() {
    let id = nix::unistd::Uid::from_raw(65_533);
    nix::unistd::setresuid(id, id, id).unwrap();
    // SAFETY: no preconditions. `/proc/self` belongs to root otherwise.
    assert_eq!(unsafe { libc::prctl(libc::PR_SET_DUMPABLE, 1) }, 0);
}

#[test]
fn no_thread_left_to_watch() {
    let test = Test::new("no thread");
    let shortage = Shortage {
        begin: &|threads| {
            become_somebody();
            limit(Resource::RLIMIT_NPROC, threads);
        },
        end: &|| limit(Resource::RLIMIT_NPROC, 1000),
        is: |e| matches!(e, Error::NoMemory(_)) && e.to_string().contains("ulimit -u"),
    };
    let one = |name: &str| Namespace::at(test.dir.join(name));
    sweep(one, (&["readiness"], From::TheFirst, |_| 1000), &shortage, || (0, 0));
}

#[test]
fn a_limit_on_locked_memory() {
    let test = Test::new("locked memory");
    let shortage = Shortage {
        begin: &|bytes| {
            become_somebody();
            limit(Resource::RLIMIT_MEMLOCK, 4096 + bytes);
            let lock = if bytes == u64::MAX / 2 { 0 } else { libc::MCL_FUTURE | libc::MCL_ONFAULT };
            // SAFETY: no preconditions.
            assert!(lock == 0 || unsafe { libc::mlockall(lock) } == 0);
        },
        end: &|| {
            // SAFETY: no preconditions.
            unsafe { libc::munlockall() };
        },
        is: |e| matches!(e, Error::NoMemory(_)) && e.to_string().contains("ulimit -l"),
    };
    let one = |name: &str| Namespace::at(test.dir.join(name));
    // Up to the least that a system lets everybody lock.
    let more = |bytes| if bytes < 60_000 { bytes + 4096 } else { u64::MAX / 2 };
    sweep(one, (&["small objects", "bounded queue", "endpoints"], From::TheFirst, more), &shortage, || (0, 0));
}

#[test]
fn a_small_dev_shm_as_containers_have_it() {
    let test = Test::new("64 MB");
    let disk = Disk::new(&test, "size=64m");
    let space = disk.space("space");
    let free = disk.used();
    // Each kind, with what it takes by default.
    let unbounded = Queue::create(space.name("unbounded"), &QueueOptions::new().unbounded()).unwrap();
    let bounded = Queue::create(space.name("bounded"), &QueueOptions::new().capacity(1000).max_message(1 << 20)).unwrap();
    let rendezvous = Queue::create(space.name("rendezvous"), &QueueOptions::new().capacity(0)).unwrap();
    let [server, client] = ["server", "client"].map(|name| Endpoint::open_named(space.name(name), &QueueOptions::new()).unwrap());
    Mutex::create(space.name("mutex"), ()).unwrap();
    assert!(disk.used().0 - free.0 < 256, "an object costs what it has needed so far");
    let mut sent = 0;
    let refused = loop {
        match unbounded.send(&vec![sent as u8; 4000]) {
            Ok(()) => sent += 1,
            Err(e) => break e,
        }
    };
    assert!(no_space(&refused), "{refused}");
    assert!(sent * 4000 > 60 << 20, "only {sent} messages");
    assert!(no_space(&bounded.send(&vec![0; 1 << 20]).unwrap_err()));
    assert!(no_space(&Region::create(space.name("r"), 1 << 20).unwrap_err()));
    // Somebody takes what there is, and all go on.
    (0..sent).for_each(|i| assert_eq!(unbounded.try_recv().unwrap(), vec![i as u8; 4000]));
    for _ in 0..20 {
        bounded.send(&vec![1; 1 << 20]).unwrap();
    }
    (0..20).for_each(|_| assert_eq!(bounded.try_recv().unwrap().len(), 1 << 20));
    assert_eq!(rendezvous.try_send(b"x"), Err(Error::WouldBlock));
    std::thread::scope(|scope| {
        scope.spawn(|| server.recv_timeout(LONG).unwrap().reply(b"reply").unwrap());
        assert_eq!(client.call_timeout(server.address(), b"request", LONG).unwrap(), b"reply");
    });
    unbounded.send(b"x").unwrap();
}

/// A caller is told what becomes of its request, also where the server has no memory to tell it with.
#[test]
fn a_request_that_is_dropped_on_a_full_file_system_ends_its_callers_wait() {
    let test = Test::new("dropped on a full file system");
    let disk = Disk::new(&test, "size=8m");
    let space = disk.space("space");
    let server = Endpoint::open_named(space.name("server"), &QueueOptions::new()).unwrap();
    let mailbox = Queue::create(space.name("mailbox"), &QueueOptions::new()).unwrap();
    let (to, board) = (server.address(), Board::new(1));
    // What a mailbox needs to hand out a request, it has.
    for _ in 0..2 {
        mailbox.send(b"x").unwrap();
        server.recv_mailbox(&mailbox).unwrap();
    }
    for by_mailbox in [false, true] {
        board.set(0, 0);
        let caller = fork("caller", || {
            let mine = Endpoint::open(&space, &QueueOptions::new()).unwrap();
            // Each comes at another place in the inbox for replies.
            for round in 0..40 {
                let mut call = if by_mailbox {
                    mine.begin_call_mailbox(&mailbox, b"request", LONG).unwrap()
                } else {
                    mine.begin_call(to, b"request", LONG).unwrap()
                };
                board.set(0, 2 * round + 1);
                assert_eq!(call.wait_timeout(LONG), Err(Error::NoReply), "round {round}");
                board.wait(0, 2 * round + 2);
            }
        });
        for round in 0..40 {
            board.wait(0, 2 * round + 1);
            disk.limit(&format!("size={}k", disk.used().0 * 4));
            let request = if by_mailbox { server.recv_mailbox_timeout(&mailbox, LONG) } else { server.recv_timeout(LONG) };
            let mut request = request.unwrap();
            assert_eq!(request.bytes(), b"request");
            // Too long for what there is.
            assert!(no_space(&request.reply(&vec![1; 1 << 20]).unwrap_err()));
            assert!(request.wants_reply());
            drop(request);
            disk.limit("size=8m");
            board.set(0, 2 * round + 2);
        }
        caller.join();
    }
}

/// The same without descriptors: then it is told when there are some again, and what is in a mailbox stays there.
#[test]
fn a_request_that_is_dropped_without_descriptors_ends_its_callers_wait_later() {
    let test = Test::new("dropped without descriptors");
    let mailbox = Queue::create(test.name("mailbox"), &QueueOptions::new()).unwrap();
    let board = Board::new(2);
    let server = fork("server", || {
        let server = Endpoint::open_named(test.name("server"), &QueueOptions::new()).unwrap();
        board.set(0, 1);
        let starve = |free| limit(Resource::RLIMIT_NOFILE, free);
        let none = |e: Error| assert!(matches!(e, Error::TooManyFiles(_)), "{e}");
        wait_for("the request", || server.len() == Ok(1));
        starve(0);
        let mut request = server.recv_timeout(LONG).unwrap();
        none(request.reply(b"reply").unwrap_err());
        drop(request);
        assert_eq!(server.try_recv().unwrap_err(), Error::WouldBlock);
        starve(1000);
        assert_eq!(server.try_recv().unwrap_err(), Error::WouldBlock);
        wait_for("the request in the mailbox", || mailbox.len() == Ok(1));
        starve(0);
        (0..3).for_each(|_| none(server.recv_mailbox_timeout(&mailbox, LONG).unwrap_err()));
        assert_eq!(mailbox.len(), Ok(1));
        starve(1000);
        server.recv_mailbox_timeout(&mailbox, LONG).unwrap().reply(b"reply").unwrap();
        board.wait(0, 2);
    });
    board.wait(0, 1);
    let caller = |ask: &dyn Fn(&Endpoint)| fork("caller", || ask(&Endpoint::open(&test, &QueueOptions::new()).unwrap())).join();
    caller(&|mine| assert_eq!(mine.call_timeout(mine.find("server").unwrap(), b"request", LONG), Err(Error::NoReply)));
    caller(&|mine| assert_eq!(mine.call_mailbox_timeout(&mailbox, b"request", LONG).unwrap(), b"reply"));
    board.set(0, 2);
    server.join();
}

/// It needs no further call: neither while its server waits for the next message, nor when that has closed its endpoint and lives on.
#[test]
fn a_request_that_was_dropped_without_descriptors_needs_no_further_call_of_its_server() {
    let test = Test::new("dropped, and then nothing");
    let board = Board::new(2);
    let server = fork("server", || {
        let server = Endpoint::open_named(test.name("server"), &QueueOptions::new()).unwrap();
        board.set(0, 1);
        let starve = |free| limit(Resource::RLIMIT_NOFILE, free);
        let drop_one = || {
            wait_for("the request", || server.len() == Ok(1));
            starve(0);
            assert!(server.recv().unwrap().wants_reply());
        };
        drop_one();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                // It waits meanwhile.
                std::thread::sleep(Duration::from_millis(50));
                starve(1000);
            });
            assert_eq!(server.recv_timeout(LONG).unwrap().bytes(), b"told");
        });
        drop_one();
        board.set(0, 2);
        // One is not even received.
        wait_for("another request", || server.len() == Ok(1));
        drop(server);
        starve(1000);
        board.wait(0, 3);
    });
    board.wait(0, 1);
    let caller = |name, when| {
        fork(name, || {
            let mine = Endpoint::open(&test, &QueueOptions::new()).unwrap();
            board.wait(0, when);
            assert_eq!(mine.call_timeout(mine.find("server").unwrap(), b"request", LONG), Err(Error::NoReply));
        })
    };
    caller("the first", 1).join();
    let mine = Endpoint::open(&test, &QueueOptions::new()).unwrap();
    mine.send(mine.find("server").unwrap(), b"told").unwrap();
    let (second, third) = (caller("the second", 1), caller("the third", 2));
    second.join();
    third.join();
    board.set(0, 3);
    server.join();
}

/// A caller that gives up and asks again is told of what it waits for, in whatever order its requests are dropped.
#[test]
fn the_last_request_of_a_caller_is_the_one_that_it_is_told_of() {
    let test = Test::new("dropped out of order");
    let board = Board::new(1);
    let server = fork("server", || {
        let server = Endpoint::open_named(test.name("server"), &QueueOptions::new()).unwrap();
        board.set(0, 1);
        let mut requests: Vec<_> = (0..3).map(|_| server.recv_timeout(LONG).unwrap()).collect();
        limit(Resource::RLIMIT_NOFILE, 0);
        requests.swap(0, 2);
        drop(requests);
        limit(Resource::RLIMIT_NOFILE, 1000);
        board.wait(0, 2);
    });
    board.wait(0, 1);
    let mine = Endpoint::open(&test, &QueueOptions::new()).unwrap();
    let to = mine.find("server").unwrap();
    let begin = || mine.begin_call(to, b"request", LONG).unwrap();
    drop(begin());
    drop(begin());
    assert_eq!(begin().wait_timeout(LONG), Err(Error::NoReply));
    board.set(0, 2);
    server.join();
}

/// A process ends with its own last thread, also if it has not told a caller what it should.
#[test]
fn a_process_that_cannot_drop_a_request_ends_with_its_own_last_thread() {
    let test = Test::new("dropped, and then the end");
    for can_again in [false, true] {
        let board = Board::new(1);
        let server = fork("server", || {
            let server = Endpoint::open_named(test.name("server"), &QueueOptions::new()).unwrap();
            board.set(0, 1);
            let request = server.recv_timeout(LONG).unwrap();
            limit(Resource::RLIMIT_NOFILE, 0);
            drop(request);
            if can_again {
                limit(Resource::RLIMIT_NOFILE, 1000);
            }
            // SAFETY: ends this thread, the only one of the program's.
            unsafe { libc::syscall(libc::SYS_exit, 0) };
        });
        board.wait(0, 1);
        let mine = Endpoint::open(&test, &QueueOptions::new()).unwrap();
        let result = mine.call_timeout(mine.find("server").unwrap(), b"request", LONG);
        // It may still do so, if it can.
        assert!(result == Err(Error::PeerGone) || can_again && result == Err(Error::NoReply), "{result:?}");
        server.join();
    }
}

/// Nor where no thread can be started: the call that waits for the next message tries again.
#[test]
fn a_request_that_was_dropped_without_descriptors_or_threads_is_answered_while_its_server_waits() {
    let test = Test::new("dropped without threads");
    fs::create_dir(&test.dir).unwrap();
    fs::set_permissions(&test.dir, fs::Permissions::from_mode(0o777)).unwrap();
    let (space, board) = (Namespace::at(test.dir.join("space")), Board::new(1));
    let server = fork("server", || {
        become_somebody();
        let server = Endpoint::open_named(space.name("server"), &QueueOptions::new()).unwrap();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                board.wait(0, 2);
                std::thread::sleep(Duration::from_millis(50));
                limit(Resource::RLIMIT_NOFILE, 1000);
            });
            board.set(0, 1);
            wait_for("the request", || server.len() == Ok(1));
            limit(Resource::RLIMIT_NPROC, 0);
            limit(Resource::RLIMIT_NOFILE, 0);
            drop(server.recv().unwrap());
            board.set(0, 2);
            assert_eq!(server.recv_timeout(LONG).unwrap().bytes(), b"told");
        });
    });
    board.wait(0, 1);
    let caller = fork("caller", || {
        become_somebody();
        let mine = Endpoint::open(&space, &QueueOptions::new()).unwrap();
        let to = mine.find("server").unwrap();
        assert_eq!(mine.call_timeout(to, b"request", LONG), Err(Error::NoReply));
        mine.send(to, b"told").unwrap();
    });
    caller.join();
    server.join();
}

/// To drop a request takes no room for it, however long it is.
#[test]
fn requests_in_an_inbox_that_is_closed_are_dropped_without_room_for_them() {
    let test = Test::new("dropped without room");
    const MOST: usize = 64 << 20;
    for options in [QueueOptions::new().max_message(MOST), QueueOptions::new().unbounded().max_message(MOST)] {
        let board = Board::new(1);
        let server = fork("server", || {
            let server = Endpoint::open_named(test.name("server"), &options).unwrap();
            board.set(0, 1);
            // It knows both callers.
            (0..2).for_each(|_| server.recv_timeout(LONG).unwrap().reply(b"").unwrap());
            wait_for("the requests", || server.len() == Ok(2));
            limit(Resource::RLIMIT_AS, 0);
            drop(server);
            board.wait(0, 2);
        });
        board.wait(0, 1);
        let callers = [MOST, 8].map(|len| {
            fork("caller", || {
                let mine = Endpoint::open(&test, &QueueOptions::new()).unwrap();
                let to = mine.find("server").unwrap();
                assert_eq!(mine.call_timeout(to, b"first", LONG).unwrap(), b"");
                assert_eq!(mine.call_timeout(to, &vec![1; len], LONG), Err(Error::NoReply));
            })
        });
        callers.into_iter().for_each(|caller| caller.join());
        board.set(0, 2);
        server.join();
    }
}

/// A program whose first thread has ended, and others not, still tells a caller what it could not tell before.
#[test]
fn a_request_that_a_later_thread_dropped_without_descriptors_ends_its_callers_wait() {
    let test = Test::new("dropped by a later thread");
    let board = Board::new(1);
    let server = fork("server", || {
        std::thread::scope(|scope| {
            scope.spawn(|| {
                wait_for("the end of the first thread", || !Path::new("/proc/self/exe").exists());
                let server = Endpoint::open_named(test.name("server"), &QueueOptions::new()).unwrap();
                board.set(0, 1);
                wait_for("the request", || server.len() == Ok(1));
                limit(Resource::RLIMIT_NOFILE, 0);
                drop(server.recv().unwrap());
                // Who tries again looks meanwhile whether others are there.
                std::thread::sleep(Duration::from_millis(500));
                limit(Resource::RLIMIT_NOFILE, 1000);
                board.wait(0, 2);
                std::process::exit(0);
            });
            // SAFETY: ends this thread, whose stack stays.
            unsafe { libc::syscall(libc::SYS_exit, 0) };
        });
    });
    board.wait(0, 1);
    let mine = Endpoint::open(&test, &QueueOptions::new()).unwrap();
    assert_eq!(mine.call_timeout(mine.find("server").unwrap(), b"request", LONG), Err(Error::NoReply));
    board.set(0, 2);
    server.join();
}

/// Who it is a process finds out when it first needs it, and that needs a descriptor. What it holds is its own also where it had none then.
#[test]
fn a_child_of_fork_without_descriptors_keeps_what_it_takes() {
    let test = Test::new("identity without descriptors");
    let permits = Semaphore::create_permits(test.name("p"), 1).unwrap();
    let queue = Queue::create(test.name("q"), &QueueOptions::new().max_message(5000)).unwrap();
    queue.send(&[7; 5000]).unwrap();
    for dies in [false, true] {
        let child = fork("child", || {
            limit(Resource::RLIMIT_NOFILE, 0);
            permits.try_acquire().unwrap();
            let lease = queue.try_lease().unwrap();
            limit(Resource::RLIMIT_NOFILE, 1000);
            // It opens something, and looks who is there.
            assert_eq!(Queue::open(test.name("q")).unwrap().peers().unwrap().len(), 3);
            if dies {
                support::die();
            }
            permits.release().unwrap();
            assert_eq!(permits.value(), Ok(1));
            lease.give_back().unwrap();
        });
        if dies {
            child.end();
        } else {
            child.join();
        }
        permits.acquire_timeout(LONG).unwrap();
        permits.release().unwrap();
        assert_eq!(queue.lease_timeout(LONG).unwrap().message().len(), 5000);
    }
}

#[test]
fn a_directory_that_is_removed_while_objects_are_open() {
    let test = Test::new("removed directory");
    fs::create_dir(&test.dir).unwrap();
    let space = Namespace::at(test.dir.join("space"));
    let others = Others::new(&space);
    let queue = Queue::create(space.name("rendezvous"), &QueueOptions::new().capacity(0)).unwrap();
    let region = Region::create(space.name("r"), 100).unwrap();
    let [server, client] = ["server", "client"].map(|name| Endpoint::open_named(space.name(name), &QueueOptions::new()).unwrap());
    let to = server.address();
    client.send(to, b"before").unwrap();
    fs::remove_dir_all(space.dir().unwrap()).unwrap();
    // What is open goes on, in all processes.
    let another = fork("another", || {
        others.work();
        queue.send_timeout(b"x", LONG).unwrap();
        region.grow(100_000).unwrap();
        others.semaphore.acquire().unwrap();
        others.queue.try_send(b"left").unwrap();
    });
    assert_eq!(queue.recv_timeout(LONG).unwrap(), b"x");
    another.join();
    assert_eq!((region.len(), region.view().unwrap().len()), (100_000, 100_000));
    assert_eq!(others.queue.recv_timeout(LONG).unwrap(), b"left");
    others.work();
    client.send(to, b"after").unwrap();
    assert_eq!([(); 2].map(|()| server.recv_timeout(LONG).unwrap().bytes().to_vec()), [b"before".to_vec(), b"after".to_vec()]);
    // What was there is not found, and can be made anew.
    assert_eq!(space.list(), Ok(vec![]));
    assert!(matches!(Queue::open(space.name("q")), Err(Error::NotFound { .. })));
    assert!(matches!(space.unlink("q"), Err(Error::NotFound { .. })));
    assert!(matches!(client.find("server"), Err(Error::NotFound { .. })));
    assert!(matches!(client.address_of(std::process::id()), Err(Error::NotFound { .. } | Error::Os { .. })));
    drop((server, client));
    Others::new(&space).work();
    others.work();
    let again = Endpoint::open_named(space.name("server"), &QueueOptions::new()).unwrap();
    again.send(again.address(), b"x").unwrap();
    // One that cannot be made, since what it is to be in is missing.
    let missing = Namespace::at(test.dir.join("missing/space"));
    let refused = Mutex::create(missing.name("m"), ()).unwrap_err();
    assert!(refused.to_string().contains("missing/space") && refused.to_string().contains("No such file"), "{refused}");
}

#[test]
fn a_directory_that_cannot_be_written_to() {
    let test = Test::new("read-only");
    let disk = Disk::new(&test, "size=8m");
    let space = disk.space("space");
    let others = Others::new(&space);
    let server = Endpoint::open_named(space.name("server"), &QueueOptions::new()).unwrap();
    let denied = |what: Option<Error>, dir: &Path| {
        let is = matches!(&what, Some(Error::PermissionDenied(why)) if why.contains(dir.to_str().unwrap()));
        assert!(is, "{what:?}");
    };
    let all_denied = |space: &Namespace| {
        let dir = space.dir().unwrap();
        denied(Queue::create(space.name("new"), &QueueOptions::new()).err(), &dir);
        denied(Queue::open(space.name("q")).err(), &dir);
        denied(Mutex::<u64>::open_or_create(space.name("m"), 0).err(), &dir);
        denied(Semaphore::open(space.name("s")).err(), &dir);
        denied(Region::create(space.name("r"), 10).err(), &dir);
        denied(Endpoint::open(space, &QueueOptions::new()).err(), &dir);
    };
    // The same file system, mounted to be read only.
    let view = test.dir.join("view");
    fs::create_dir(&view).unwrap();
    mount(Some(&disk.dir), &view, None::<&str>, MsFlags::MS_BIND, None::<&str>).unwrap();
    let view = Disk { dir: view };
    let flags = MsFlags::MS_BIND | MsFlags::MS_REMOUNT | MsFlags::MS_RDONLY;
    mount(None::<&str>, &view.dir, None::<&str>, flags, None::<&str>).unwrap();
    all_denied(&view.space("space"));
    assert!(matches!(view.space("space").unlink("q"), Err(Error::PermissionDenied(_))));
    others.work();
    // Another user, who may look into it or not; and who was let in before, and keeps what is open.
    for mode in [0o755, 0o700] {
        fs::set_permissions(space.dir().unwrap(), fs::Permissions::from_mode(mode)).unwrap();
        fork("another user", || {
            become_somebody();
            all_denied(&space);
            match space.list() {
                Ok(list) => assert!(mode == 0o755 && list.is_empty()),
                Err(e) => assert!(mode == 0o700 && matches!(e, Error::PermissionDenied(_)), "{e}"),
            }
            others.work();
        })
        .join();
    }
    server.send(server.address(), b"x").unwrap();
    assert_eq!(server.recv_timeout(LONG).unwrap().bytes(), b"x");
    assert_eq!(space.list().unwrap().len(), 4);
}
