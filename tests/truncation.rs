//! Files that are cut short while they are used: an ordinary SIGBUS without [`rsipc::catch_truncation`], and an error with it.
//!
//! The handler is the whole process's, so each case is a process of its own.

mod support;

use std::fs::OpenOptions;
use std::io::Write;
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering::SeqCst};
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, raise, sigaction};
use nix::sys::wait::WaitStatus;
use rsipc::{Endpoint, Error, Mutex, Namespace, Queue, QueueOptions, Region, Result, Semaphore, WaitSet, catch_truncation};
use support::{Board, LONG, Random, Test, fork, wait_for};

/// Cuts the file of an object to `len` bytes.
fn cut(dir: &Path, name: &str, len: u64) {
    OpenOptions::new().write(true).open(dir.join(name)).unwrap().set_len(len).unwrap();
}

fn is_cut<T>(what: &str, result: Result<T>) {
    match result {
        Err(Error::Corrupted(why)) if why.contains("cut short") => {}
        Err(e) => panic!("{what}: {e}"),
        Ok(_) => panic!("{what} succeeded"),
    }
}

fn options() -> QueueOptions {
    QueueOptions::new().capacity(3).max_message(6000).leases(2)
}

#[test]
fn without_it_a_cut_file_is_an_ordinary_sigbus() {
    let test = Test::new("without it");
    let queue = Queue::create(test.name("q"), &options()).unwrap();
    let victim = fork("one that does not catch it", || {
        cut(&test.dir, "q", 0);
        let _ = queue.try_send(b"x");
    });
    assert!(matches!(victim.end(), WaitStatus::Signaled(_, Signal::SIGBUS, _)));
    std::mem::forget(queue);
}

/// Whatever is left of the file: every call fails, once one of them has met it.
#[test]
fn every_call_on_every_object_fails() {
    for len in [0, 4096] {
        let test = Test::new("every call");
        fork("one that catches it", || {
            catch_truncation().unwrap();
            catch_truncation().unwrap();
            let region = Region::create(test.name("r"), 3 * 4096).unwrap();
            let view = region.view().unwrap();
            let mutex = Mutex::create(test.name("m"), [1u64; 8]).unwrap();
            let (signals, permits) = (Semaphore::create(test.name("s"), 1), Semaphore::create_permits(test.name("p"), 2));
            let (signals, permits) = (signals.unwrap(), permits.unwrap());
            permits.acquire().unwrap();
            let queue = Queue::create(test.name("q"), &options()).unwrap();
            queue.send(b"a").unwrap();
            queue.send(&[1; 6000]).unwrap();
            let lease = queue.lease().unwrap();
            let unbounded = Queue::create(test.name("u"), &options().unbounded()).unwrap();
            (0..300).for_each(|_| unbounded.send(b"b").unwrap());
            let rendezvous = Queue::create(test.name("z"), &options().capacity(0)).unwrap();
            let other = Queue::create(test.name("other"), &options()).unwrap();
            for name in ["r", "m", "s", "p", "q", "u", "z"] {
                cut(&test.dir, name, len);
            }
            // SAFETY: nobody else uses it.
            unsafe {
                is_cut("reading a region", view.read(3 * 4096 - 1, &mut [0]));
                is_cut("writing to a region", view.write(2 * 4096, b"x"));
            }
            is_cut("a view", region.view().map(drop));
            is_cut("growing", region.grow(1 << 20));
            if len == 0 {
                is_cut("locking", mutex.lock_timeout(LONG).map(drop));
                is_cut("trying to lock", mutex.try_lock().map(drop));
                is_cut("acquiring", signals.try_acquire());
                is_cut("releasing", signals.release());
                is_cut("a value", signals.value().map(drop));
                is_cut("acquiring a permit", permits.acquire_timeout(LONG));
                is_cut("releasing a permit", permits.release());
                is_cut("a number of permits", permits.value().map(drop));
            }
            let queues = [("bounded", &queue), ("unbounded", &unbounded), ("rendezvous", &rendezvous)];
            // What a rendezvous that nobody has used yet has in its first page is enough to say that nobody is there.
            for (what, queue) in queues.into_iter().take(if len == 0 { 3 } else { 2 }) {
                let message = [2];
                is_cut(what, queue.try_recv().map(drop));
                is_cut(what, queue.send_timeout(&message, LONG));
                is_cut(what, queue.try_recv_into(&mut [0; 6000]).map(drop));
                is_cut(what, queue.recv_timeout(LONG).map(drop));
                is_cut(what, queue.lease_timeout(LONG).map(drop));
                is_cut(what, queue.len().map(drop));
                is_cut(what, queue.peers().map(drop));
                assert_eq!(WaitSet::new().recv(queue).wait_timeout(LONG).unwrap(), [0], "{what}");
                is_cut(what, queue.shutdown());
            }
            is_cut("finishing", lease.finish());
            is_cut("opening", Queue::open(test.name("q")).map(drop).map_err(|_| Error::Corrupted("cut short")));
            // Others go on.
            other.send(b"here").unwrap();
            assert_eq!(other.recv().unwrap(), b"here");
        })
        .join();
    }
}

#[test]
fn those_who_wait_are_told() {
    let test = Test::new("waiting");
    let board = Board::new(1);
    let wait = |name: &str, act: &dyn Fn(&str)| {
        let waiter = fork(format!("waiting for {name}"), || {
            catch_truncation().unwrap();
            act(name);
        });
        waiter.wait_asleep();
        cut(&test.dir, name, 0);
        waiter.join();
    };
    let queue = |name: &str, options: &QueueOptions| Queue::open_or_create(test.name(name), options).unwrap();
    queue("recv", &options());
    wait("recv", &|name| is_cut(name, queue(name, &options()).recv().map(drop)));
    queue("lease", &options());
    wait("lease", &|name| is_cut(name, queue(name, &options()).lease().map(drop)));
    (0..3).for_each(|_| queue("send", &options()).send(b"x").unwrap());
    wait("send", &|name| is_cut(name, queue(name, &options()).send(b"x")));
    queue("unbounded", &options().unbounded());
    wait("unbounded", &|name| is_cut(name, queue(name, &options()).recv().map(drop)));
    for name in ["offer", "await an offer"] {
        queue(name, &options().capacity(0));
    }
    wait("offer", &|name| is_cut(name, queue(name, &options()).send(b"x")));
    wait("await an offer", &|name| is_cut(name, queue(name, &options()).recv().map(drop)));
    Semaphore::create(test.name("acquire"), 0).unwrap();
    wait("acquire", &|name| is_cut(name, Semaphore::open(test.name(name)).unwrap().acquire()));
    let holder = Semaphore::create_permits(test.name("permit"), 1).unwrap();
    holder.acquire().unwrap();
    wait("permit", &|name| is_cut(name, Semaphore::open(test.name(name)).unwrap().acquire()));
    // This process does not catch it.
    std::mem::forget(holder);
    Mutex::create(test.name("lock"), ()).unwrap();
    let holder = fork("a holder", || {
        catch_truncation().unwrap();
        let mutex = Mutex::<()>::open(test.name("lock")).unwrap();
        let _guard = mutex.lock().unwrap();
        board.set(0, 1);
        std::thread::sleep(LONG);
    });
    board.wait(0, 1);
    wait("lock", &|name| is_cut(name, Mutex::<()>::open(test.name(name)).unwrap().lock().map(drop)));
    drop(holder);
    queue("set", &options());
    wait("set", &|name| {
        let (queue, other) = (queue(name, &options()), queue("other", &options()));
        assert_eq!(WaitSet::new().recv(&other).recv(&queue).wait().unwrap(), [1]);
        is_cut(name, queue.try_recv().map(drop));
    });
    // A descriptor for an event loop, which a thread sees to that blocks signals.
    queue("fd", &options());
    let polling = fork("polling", || {
        catch_truncation().unwrap();
        let queue = queue("fd", &options());
        let fd = queue.readiness_fd().unwrap();
        let poll_it = |time: u16| poll(&mut [PollFd::new(fd.as_fd(), PollFlags::POLLIN)], PollTimeout::from(time)).unwrap();
        assert_eq!(queue.try_recv(), Err(Error::WouldBlock));
        assert_eq!(poll_it(0), 0);
        board.set(0, 2);
        assert_eq!(poll_it(20_000), 1);
        is_cut("polling", queue.try_recv().map(drop));
    });
    board.wait(0, 2);
    cut(&test.dir, "fd", 0);
    polling.join();
}

#[test]
fn callers_and_servers_are_told() {
    let test = Test::new("endpoints");
    let board = Board::new(1);
    let server = fork("server", || {
        catch_truncation().unwrap();
        let server = Endpoint::open_named(test.name("server"), &QueueOptions::new()).unwrap();
        let request = server.recv().unwrap();
        board.set(0, 1);
        is_cut("an endpoint", server.recv().map(drop));
        drop(request);
    });
    let caller = fork("caller", || {
        catch_truncation().unwrap();
        let caller = Endpoint::open(&test, &QueueOptions::new()).unwrap();
        wait_for("the server", || caller.find("server").is_ok());
        is_cut("a call", caller.call(caller.find("server").unwrap(), b"request").map(drop));
    });
    board.wait(0, 1);
    server.wait_asleep();
    caller.wait_asleep();
    for name in test.files() {
        cut(&test.dir, &name, 0);
    }
    server.join();
    caller.join();
}

/// What a message is copied into, or from, goes in the middle of the copy.
#[test]
fn inside_a_long_copy() {
    const LEN: usize = 16 << 20;
    let test = Test::new("a long copy");
    for round in 0..6 {
        let name = format!("q{round}");
        let options = [options().capacity(1), options().unbounded(), options()][round % 3].max_message(LEN);
        drop(Queue::create(test.name(&name), &options).unwrap());
        let board = Board::new(1);
        let copier = fork("one that copies", || {
            catch_truncation().unwrap();
            let queue = Queue::open(test.name(&name)).unwrap();
            let (message, mut buffer) = (vec![7; LEN], vec![0; LEN]);
            let error = loop {
                board.add(0, 1);
                if let Err(e) = queue.try_send(&message) {
                    break e;
                }
                match queue.try_recv_into(&mut buffer) {
                    Ok(len) => assert!(buffer[..len] == message, "what was received is whole"),
                    Err(e) => break e,
                }
            };
            // Where the system was asked for memory before it was touched, it cannot say why there is none.
            assert!(
                matches!(&error, Error::Corrupted(_) | Error::NoSpace(_)) && error.to_string().contains("cut short"),
                "{error}"
            );
        });
        board.wait(0, 2);
        std::thread::sleep(Duration::from_micros(Random(0x5eed + round as u64).below(9000)));
        cut(&test.dir, &name, if round < 3 { 0 } else { 1 << 20 });
        copier.join();
    }
}

#[test]
fn the_programs_own_access_to_a_region_goes_on() {
    let test = Test::new("a region");
    let region = Region::create(test.name("r"), 8 * 4096).unwrap();
    // SAFETY: these bytes are left to it.
    let mutex = unsafe { Mutex::create_in(&region, 64, ()).unwrap() };
    let board = Board::new(2);
    let user = fork("user", || {
        catch_truncation().unwrap();
        let view = region.view().unwrap();
        // SAFETY: the bytes lie in the view.
        let byte = |i: usize| unsafe { &*view.as_ptr().add(i).cast::<std::sync::atomic::AtomicU8>() };
        let guard = mutex.lock().unwrap();
        byte(0).store(1, SeqCst);
        byte(7 * 4096).store(7, SeqCst);
        let gone: Vec<_> = (0..4)
            .map(|i| {
                let view = view.clone();
                std::thread::spawn(move || {
                    // SAFETY: as above.
                    let byte = unsafe { &*view.as_ptr().add((4 + i) * 4096).cast::<std::sync::atomic::AtomicU8>() };
                    wait_for("the end", || byte.swap(9, SeqCst) != 9);
                })
            })
            .collect();
        board.set(0, 1);
        board.wait(0, 2);
        assert_eq!(byte(7 * 4096 + 1).load(SeqCst), 0);
        drop(gone);
        byte(7 * 4096).store(8, SeqCst);
        assert_eq!(byte(7 * 4096).load(SeqCst), 8, "memory of this process");
        // What comes before the cut is still everybody's.
        assert_eq!(byte(0).load(SeqCst), 2);
        byte(1).store(3, SeqCst);
        is_cut("a view", region.view().map(drop));
        is_cut("growing", region.grow(1 << 20));
        // So is the mutex.
        drop(guard);
        is_cut("locking", mutex.lock().map(drop));
        board.set(0, 3);
        board.wait(0, 4);
    });
    board.wait(0, 1);
    // The first page is the region's own.
    cut(&test.dir, "r", 4 * 4096);
    // SAFETY: as above.
    unsafe { region.view().unwrap().write(0, &[2]).unwrap() };
    assert_eq!(mutex.try_lock().err(), Some(Error::WouldBlock));
    board.set(0, 2);
    assert!(!mutex.lock_timeout(LONG).unwrap().owner_died());
    board.wait(0, 3);
    assert!(!mutex.lock_timeout(LONG).unwrap().owner_died());
    board.set(0, 4);
    user.join();
    let mut bytes = [0; 2];
    // SAFETY: as above.
    unsafe { region.view().unwrap().read(0, &mut bytes).unwrap() };
    assert_eq!(bytes, [2, 3]);
}

/// The thread's list of what it holds leads through the memory that is gone.
#[test]
fn a_mutex_that_is_held_meanwhile() {
    let test = Test::new("held");
    let names = ["a", "b", "c", "d"];
    for order in [[0, 1, 2, 3], [3, 2, 1, 0], [1, 0, 3, 2], [2, 3, 0, 1]] {
        for gone in [vec![1], vec![1, 2], vec![0, 3], vec![3]] {
            names.iter().for_each(|name| drop(Mutex::open_or_create(test.name(name), 0u64).unwrap()));
            Mutex::open_or_create(test.name("last"), 0u64).unwrap();
            let holder = fork("holder", || {
                catch_truncation().unwrap();
                let mutexes = names.map(|name| Some(Mutex::<u64>::open(test.name(name)).unwrap()));
                for mutex in mutexes.iter().flatten() {
                    std::mem::forget(mutex.lock().unwrap());
                }
                gone.iter().for_each(|&i| cut(&test.dir, names[i], 0));
                let mut mutexes = mutexes;
                for i in order {
                    let mutex = mutexes[i].take().unwrap();
                    // SAFETY: the guard was forgotten.
                    let result = unsafe { mutex.force_unlock() };
                    if gone.contains(&i) {
                        is_cut(names[i], result)
                    } else {
                        result.unwrap()
                    }
                    // From here on its memory is not mapped any more.
                    drop(mutex);
                }
                // The list is in order: the kernel still sees to what is on it.
                let last = Mutex::<u64>::open(test.name("last")).unwrap();
                std::mem::forget(last.lock().unwrap());
                support::die();
            });
            let end = holder.end();
            assert!(matches!(end, WaitStatus::Signaled(_, Signal::SIGKILL, _)), "{order:?}, {gone:?}: {end:?}");
            let last = Mutex::<u64>::open(test.name("last")).unwrap();
            assert!(last.lock_timeout(LONG).unwrap().owner_died(), "{order:?}, {gone:?}");
            names.iter().chain(&["last"]).for_each(|name| test.unlink(name).unwrap());
        }
    }
}

#[test]
fn permits_that_are_held_meanwhile() {
    let test = Test::new("permits");
    Semaphore::create_permits(test.name("p"), 3).unwrap();
    let holder = fork("holder", || {
        catch_truncation().unwrap();
        let (first, second) = (Semaphore::open(test.name("p")).unwrap(), Semaphore::open(test.name("p")).unwrap());
        first.acquire().unwrap();
        std::thread::scope(|scope| scope.spawn(|| second.acquire().unwrap()).join().unwrap());
        cut(&test.dir, "p", 0);
        drop(first);
        is_cut("releasing", second.release());
        drop(second);
        // The list is in order.
        let mutex = Mutex::create(test.name("m"), ()).unwrap();
        std::mem::forget(mutex.lock().unwrap());
        support::die();
    });
    assert!(matches!(holder.end(), WaitStatus::Signaled(_, Signal::SIGKILL, _)));
    let mutex = Mutex::<()>::open(test.name("m")).unwrap();
    assert!(mutex.lock_timeout(LONG).unwrap().owner_died());
}

/// Memory of the program's own that is mapped from a file, which is then cut.
fn foreign(test: &Test) -> memmap2::MmapRaw {
    let file = OpenOptions::new().create(true).truncate(true).read(true).write(true).open(test.dir.join("foreign")).unwrap();
    file.set_len(8192).unwrap();
    let memory = memmap2::MmapRaw::map_raw(&file).unwrap();
    file.set_len(0).unwrap();
    memory
}

fn touch(memory: &memmap2::MmapRaw) -> u8 {
    // SAFETY: it is mapped.
    unsafe { memory.as_ptr().read_volatile() }
}

static SEEN: AtomicU32 = AtomicU32::new(0);

extern "C" fn note(_: i32) {
    SEEN.fetch_add(1, SeqCst);
}

extern "C" fn repair(signal: i32, info: *mut libc::siginfo_t, _: *mut libc::c_void) {
    SEEN.fetch_add(100, SeqCst);
    assert_eq!(signal, libc::SIGBUS);
    // SAFETY: as the kernel gave it; the page is the program's own.
    unsafe {
        let page = (*info).si_addr().map_addr(|address| address & !4095);
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_FIXED;
        libc::mmap(page, 4096, libc::PROT_READ, flags, -1, 0);
    }
}

fn handle(handler: SigHandler, flags: SaFlags) {
    // SAFETY: the handlers do what is allowed in one.
    unsafe { sigaction(Signal::SIGBUS, &SigAction::new(handler, flags, SigSet::empty())).unwrap() };
}

#[test]
fn the_handler_that_was_there_before_gets_what_is_its() {
    let test = Test::new("handlers");
    Region::create(test.name("r"), 4096).unwrap();
    let ended = |work: &dyn Fn()| {
        fork("handling", || {
            let region = Region::open_or_create(test.name("r"), 4096).unwrap();
            work();
            // Ours is still there.
            cut(&test.dir, "r", 4096);
            // SAFETY: nobody else uses it.
            is_cut("a region", unsafe { region.view().unwrap().write(0, b"x") });
            cut(&test.dir, "r", 8192);
        })
        .end()
    };
    let by_signal = |status| matches!(status, WaitStatus::Signaled(_, Signal::SIGBUS, _));
    let well = |status| matches!(status, WaitStatus::Exited(_, 0));
    assert!(well(ended(&|| {
        handle(SigHandler::SigAction(repair), SaFlags::SA_SIGINFO);
        catch_truncation().unwrap();
        assert_eq!(touch(&foreign(&test)), 0);
        assert_eq!(SEEN.load(SeqCst), 100);
    })));
    assert!(well(ended(&|| {
        handle(SigHandler::Handler(note), SaFlags::empty());
        catch_truncation().unwrap();
        raise(Signal::SIGBUS).unwrap();
        raise(Signal::SIGBUS).unwrap();
        assert_eq!(SEEN.load(SeqCst), 2);
    })));
    assert!(well(ended(&|| {
        handle(SigHandler::SigIgn, SaFlags::empty());
        catch_truncation().unwrap();
        raise(Signal::SIGBUS).unwrap();
    })));
    for handler in [SigHandler::SigDfl, SigHandler::SigIgn] {
        assert!(by_signal(ended(&|| {
            handle(handler, SaFlags::empty());
            catch_truncation().unwrap();
            touch(&foreign(&test));
        })));
    }
    assert!(by_signal(ended(&|| {
        handle(SigHandler::SigDfl, SaFlags::empty());
        catch_truncation().unwrap();
        raise(Signal::SIGBUS).unwrap();
    })));
    // What Rust programs have: it gives up, and the fault happens again.
    assert!(by_signal(ended(&|| {
        catch_truncation().unwrap();
        touch(&foreign(&test));
    })));
}

/// Does something in a process with a small file system of its own.
fn with_small_disk(test: &Test, work: impl FnOnce(&Path)) {
    fork("one with a small file system", || {
        catch_truncation().unwrap();
        nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNS).unwrap();
        let private = nix::mount::MsFlags::MS_REC | nix::mount::MsFlags::MS_PRIVATE;
        nix::mount::mount(None::<&str>, "/", None::<&str>, private, None::<&str>).unwrap();
        let dir = test.dir.join("disk");
        std::fs::create_dir_all(&dir).unwrap();
        nix::mount::mount(Some("tmpfs"), &dir, Some("tmpfs"), nix::mount::MsFlags::empty(), Some("size=1m")).unwrap();
        work(&dir);
    })
    .join();
}

fn fill(dir: &Path) {
    let mut rest = std::fs::File::create(dir.join("rest")).unwrap();
    while rest.write(&[0; 4096]).is_ok() {}
}

/// Of a full file system somebody has taken memory away that an object had.
#[test]
fn memory_that_was_taken_away_on_a_full_file_system() {
    let test = Test::new("full");
    with_small_disk(&test, |dir| {
        let space = Namespace::at(dir);
        let region = Region::create(space.name("r"), 100_000).unwrap();
        let queue = Queue::create(space.name("q"), &options()).unwrap();
        queue.send(&[1; 6000]).unwrap();
        assert_eq!(queue.recv().unwrap().len(), 6000);
        let intact = Queue::create(space.name("intact"), &options()).unwrap();
        intact.send(b"x").unwrap();
        for name in ["r", "q"] {
            let file = OpenOptions::new().write(true).open(dir.join(name)).unwrap();
            let (hole, len) = (nix::fcntl::FallocateFlags::FALLOC_FL_PUNCH_HOLE, file.metadata().unwrap().len() as i64);
            let keep = nix::fcntl::FallocateFlags::FALLOC_FL_KEEP_SIZE;
            nix::fcntl::fallocate(&file, hole | keep, 20_480, len - 20_480).unwrap();
        }
        fill(dir);
        // SAFETY: nobody else uses it.
        is_cut("a region", unsafe { region.view().unwrap().write(50_000, b"x") });
        is_cut("a queue", queue.send(&[1; 6000]));
        is_cut("a queue", queue.try_recv());
        assert_eq!(intact.recv().unwrap(), b"x");
    });
}

/// Somebody says in a queue that a block has memory, which it has not.
#[test]
fn a_forged_block_on_a_full_file_system() {
    /// Where the heads of the blocks begin, how long each is, and where in one the number of its pages is.
    const HEADS: u64 = 16_512 + 3 * 4160;
    const HEAD: u64 = 64;
    const PAGES: u64 = 36;
    let test = Test::new("forged");
    with_small_disk(&test, |dir| {
        let queue = Queue::create(Namespace::at(dir).name("q"), &options()).unwrap();
        queue.send(&[1; 6000]).unwrap();
        let file = OpenOptions::new().read(true).write(true).open(dir.join("q")).unwrap();
        let mut pages = [0; 4];
        file.read_exact_at(&mut pages, HEADS + PAGES).unwrap();
        assert_eq!(u32::from_le_bytes(pages), 2, "the heads lie elsewhere");
        fill(dir);
        assert!(matches!(queue.try_send(&[2; 6000]), Err(Error::NoSpace(_))));
        file.write_all_at(&2u32.to_le_bytes(), HEADS + HEAD + PAGES).unwrap();
        is_cut("a forged block", queue.try_send(&[2; 6000]));
        // For others nothing is lost.
        let again = Queue::open(Namespace::at(dir).name("q")).unwrap();
        assert_eq!(again.try_recv().unwrap(), [1; 6000]);
    });
}
