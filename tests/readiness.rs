//! Descriptors for event loops: readable when there may be something, and never missed.

mod support;

use std::collections::HashMap;
use std::fs;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use rsipc::{Endpoint, Error, Queue, QueueOptions, Semaphore};
use support::{Board, LONG, Random, Test, fork, message, number, wait_for};

fn small(test: &Test, name: &str) -> Queue {
    Queue::create(test.name(name), &QueueOptions::new().capacity(4).max_message(16)).unwrap()
}

/// Whether it becomes readable within this time.
fn readable_within(fd: BorrowedFd<'_>, time: Duration) -> bool {
    let mut fds = [PollFd::new(fd, PollFlags::POLLIN)];
    loop {
        match poll(&mut fds, PollTimeout::try_from(time).unwrap()) {
            Ok(count) => return count == 1,
            Err(Errno::EINTR) => {}
            Err(e) => panic!("{e}"),
        }
    }
}

fn is_readable(fd: BorrowedFd<'_>) -> bool {
    readable_within(fd, Duration::ZERO)
}

fn wait_readable(fd: BorrowedFd<'_>) {
    assert!(readable_within(fd, LONG), "the descriptor does not become readable");
}

#[test]
fn it_is_readable_until_an_attempt_finds_nothing() {
    let test = Test::new("level");
    let queue = small(&test, "q");
    queue.send(b"before").unwrap();
    let fd = queue.readiness_fd().unwrap();
    assert!(is_readable(fd), "there was a message before");
    assert_eq!(queue.readiness_fd().unwrap().as_raw_fd(), fd.as_raw_fd(), "each call gives the same");
    queue.recv().unwrap();
    assert!(is_readable(fd), "no attempt has found nothing yet");
    assert_eq!(queue.try_recv(), Err(Error::WouldBlock));
    assert!(!is_readable(fd));
    assert!(!readable_within(fd, Duration::from_millis(250)), "looking by itself finds nothing");
    for attempt in 0..4 {
        queue.send(b"x").unwrap();
        wait_readable(fd);
        queue.send(b"y").unwrap();
        assert_eq!(queue.try_recv().unwrap(), b"x");
        assert!(is_readable(fd));
        assert_eq!(queue.try_recv().unwrap(), b"y");
        // Each of these finds nothing.
        let result = match attempt {
            0 => queue.try_recv().map(drop),
            1 => queue.try_recv_into(&mut [0; 16]).map(drop),
            2 => queue.recv_timeout(Duration::from_millis(1)).map(drop),
            _ => queue.recv_into_timeout(&mut [0; 16], Duration::from_millis(1)).map(drop),
        };
        assert!(matches!(result, Err(Error::WouldBlock | Error::TimedOut)));
        assert!(!is_readable(fd));
    }
    // A new handle on an empty queue.
    let other = Queue::open(test.name("q")).unwrap();
    let others = other.readiness_fd().unwrap();
    assert!(!is_readable(others));
    queue.send(b"x").unwrap();
    wait_readable(others);
    wait_readable(fd);
    // Who was not the first finds nothing, and waits again.
    queue.recv().unwrap();
    assert_eq!(other.try_recv(), Err(Error::WouldBlock));
    assert!(!is_readable(others));
    queue.shutdown().unwrap();
    wait_readable(others);
    assert_eq!(other.try_recv(), Err(Error::Closed));
    assert!(is_readable(others), "a queue that was shut down stays ready");
}

#[test]
fn for_sending_it_is_readable_until_there_is_no_room() {
    let test = Test::new("room");
    let (queue, other) = (small(&test, "q"), Queue::open(test.name("q")).unwrap());
    let fd = queue.send_readiness_fd().unwrap();
    assert!(is_readable(fd), "there is room");
    for _ in 0..3 {
        while queue.try_send(b"x").is_ok() {}
        assert!(!is_readable(fd));
        assert!(!readable_within(fd, Duration::from_millis(250)), "looking by itself finds no room");
        other.recv().unwrap();
        wait_readable(fd);
    }
    queue.send(b"x").unwrap();
    assert_eq!(queue.try_send(b"x"), Err(Error::WouldBlock));
    assert!(!is_readable(fd));
    other.shutdown().unwrap();
    wait_readable(fd);
    assert_eq!(queue.try_send(b"x"), Err(Error::Closed));
    let unbounded = Queue::create(test.name("u"), &QueueOptions::new().unbounded_within(1 << 20)).unwrap();
    assert!(is_readable(unbounded.send_readiness_fd().unwrap()));
    let rendezvous = Queue::create(test.name("r"), &QueueOptions::new().capacity(0)).unwrap();
    assert!(matches!(rendezvous.send_readiness_fd(), Err(Error::Unsupported(_))));
}

#[test]
fn endpoints() {
    let test = Test::new("endpoints");
    let endpoint = Endpoint::open(&test.space, &QueueOptions::new()).unwrap();
    let fd = endpoint.readiness_fd().unwrap();
    for _ in 0..3 {
        assert!(!is_readable(fd));
        endpoint.send(endpoint.address(), b"x").unwrap();
        wait_readable(fd);
        assert_eq!(endpoint.try_recv().unwrap().bytes(), b"x");
        assert!(is_readable(fd), "no attempt has found nothing yet");
        assert!(matches!(endpoint.try_recv(), Err(Error::WouldBlock)));
    }
}

#[test]
fn semaphores_of_both_kinds() {
    let test = Test::new("semaphores");
    let signals = Semaphore::create(test.name("signals"), 0).unwrap();
    let permits = Semaphore::create_permits(test.name("permits"), 1).unwrap();
    let (units, permit) = (signals.readiness_fd().unwrap(), permits.readiness_fd().unwrap());
    assert!(!is_readable(units));
    assert!(is_readable(permit));
    signals.release().unwrap();
    wait_readable(units);
    assert_eq!(signals.try_acquire(), Ok(()));
    assert_eq!(signals.try_acquire(), Err(Error::WouldBlock));
    assert!(!is_readable(units));
    let board = Board::new(1);
    for killed in [false, true] {
        let holder = fork("holder", || {
            permits.acquire().unwrap();
            board.add(0, 1);
            wait_for("the parent to see that", || board.get(0) == 2);
            if killed {
                std::thread::sleep(LONG);
            }
            permits.release().unwrap();
        });
        board.wait(0, 1);
        assert_eq!(permits.try_acquire(), Err(Error::WouldBlock));
        assert!(!is_readable(permit));
        board.add(0, 1);
        if killed {
            holder.kill();
        } else {
            holder.join();
        }
        wait_readable(permit);
        permits.acquire().unwrap();
        permits.release().unwrap();
        board.set(0, 0);
    }
}

#[test]
fn a_million_messages() {
    const MESSAGES: u64 = 1_000_000;
    let test = Test::new("a million");
    let queue = Queue::create(test.name("q"), &QueueOptions::new().capacity(64).max_message(8)).unwrap();
    let sender = fork("sender", || {
        let mut random = Random(7);
        for i in 0..MESSAGES {
            // The receiver finds nothing now and then.
            if random.below(1000) == 0 {
                std::thread::sleep(Duration::from_micros(random.below(200)));
            }
            queue.send(&message(i, 8)).unwrap();
        }
    });
    let fd = queue.readiness_fd().unwrap();
    let mut next = 0;
    while next < MESSAGES {
        wait_readable(fd);
        loop {
            match queue.try_recv() {
                Ok(bytes) => {
                    assert_eq!(number(&bytes), next);
                    next += 1;
                }
                Err(e) => {
                    assert_eq!(e, Error::WouldBlock);
                    break;
                }
            }
        }
    }
    sender.join();
}

#[test]
fn one_message_for_each_time_it_becomes_readable() {
    const ROUNDS: u64 = 5_000;
    let test = Test::new("ping pong");
    let (there, back) = (small(&test, "there"), small(&test, "back"));
    let echo = fork("echo", || {
        let fd = there.readiness_fd().unwrap();
        for _ in 0..ROUNDS {
            let bytes = loop {
                match there.try_recv() {
                    Ok(bytes) => break bytes,
                    Err(_) => wait_readable(fd),
                }
            };
            back.send(&bytes).unwrap();
        }
    });
    for i in 0..ROUNDS {
        there.send(&message(i, 8)).unwrap();
        assert_eq!(number(&back.recv_timeout(LONG).unwrap()), i);
    }
    echo.join();
}

/// How many watching threads this process has.
fn watchers() -> usize {
    let tasks = fs::read_dir("/proc/self/task").unwrap();
    let names = tasks.filter_map(|task| fs::read_to_string(task.unwrap().path().join("comm")).ok());
    names.filter(|name| name.trim() == "rsipc-watcher").count()
}

fn descriptors() -> usize {
    fs::read_dir("/proc/self/fd").unwrap().count()
}

#[test]
fn many_queues_in_one_event_loop() {
    const QUEUES: usize = 300;
    const MESSAGES: u64 = 20_000;
    let test = Test::new("many queues");
    let queues: Vec<Queue> = (0..QUEUES).map(|i| small(&test, &format!("q{i}"))).collect();
    let receiver = fork("receiver", || {
        assert_eq!(watchers(), 0);
        let before = descriptors();
        let queues: Vec<Queue> = (0..QUEUES).map(|i| Queue::open(test.name(&format!("q{i}"))).unwrap()).collect();
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC).unwrap();
        for (i, queue) in queues.iter().enumerate() {
            epoll.add(queue.readiness_fd().unwrap(), EpollEvent::new(EpollFlags::EPOLLIN, i as u64)).unwrap();
        }
        assert!((1..=3).contains(&watchers()), "{} threads", watchers());
        let mut next: HashMap<u64, u64> = HashMap::new();
        let mut received = 0;
        while received < MESSAGES {
            let mut events = [EpollEvent::empty(); 16];
            let count = epoll.wait(&mut events, EpollTimeout::try_from(LONG).unwrap()).unwrap();
            assert!(count > 0, "{received} of {MESSAGES} messages came");
            for event in &events[..count] {
                let i = event.data();
                while let Ok(bytes) = queues[i as usize].try_recv() {
                    let next = next.entry(i).or_default();
                    assert_eq!(number(&bytes), *next);
                    *next += 1;
                    received += 1;
                }
            }
        }
        drop((queues, epoll));
        wait_for("the descriptors to be closed", || descriptors() == before);
        wait_for("the threads to end", || watchers() == 0);
        // And from the start.
        let queue = Queue::open(test.name("q0")).unwrap();
        let fd = queue.readiness_fd().unwrap();
        assert!(!is_readable(fd));
        queue.send(b"x").unwrap();
        wait_readable(fd);
    });
    let mut random = Random(11);
    let mut next = [0; QUEUES];
    for _ in 0..MESSAGES {
        let i = random.below(QUEUES as u64) as usize;
        queues[i].send_timeout(&message(next[i], 8), LONG).unwrap();
        next[i] += 1;
    }
    receiver.join();
}

#[test]
fn a_child_of_fork_has_its_own() {
    let test = Test::new("forked");
    let queue = small(&test, "q");
    let board = Board::new(2);
    let fd = queue.readiness_fd().unwrap();
    assert!(!is_readable(fd));
    let child = fork("child", || {
        // What the child does without asking does nothing to its parent.
        assert_eq!(queue.try_recv(), Err(Error::WouldBlock));
        let own = queue.readiness_fd().unwrap();
        assert_ne!(own.as_raw_fd(), fd.as_raw_fd());
        assert!(!is_readable(own));
        board.set(0, 1);
        wait_readable(own);
        board.wait(0, 2);
        assert_eq!(queue.try_recv().unwrap(), b"for the child");
        assert_eq!(queue.try_recv(), Err(Error::WouldBlock));
        assert!(!is_readable(own));
        board.set(0, 3);
    });
    board.wait(0, 1);
    queue.send(b"for the child").unwrap();
    wait_readable(fd);
    board.set(0, 2);
    board.wait(0, 3);
    assert!(is_readable(fd), "the child has cleared its own only");
    assert_eq!(queue.try_recv(), Err(Error::WouldBlock));
    assert!(!is_readable(fd));
    child.join();
    queue.send(b"for the parent").unwrap();
    wait_readable(fd);
}

#[test]
fn a_sender_that_is_killed_leaves_readable_what_it_sent() {
    let test = Test::new("killed sender");
    let queue = small(&test, "q");
    let fd = queue.readiness_fd().unwrap();
    for i in 0..200 {
        assert!(!is_readable(fd));
        let sender = fork("sender", || {
            for n in 0.. {
                queue.send(&message(n, 8)).unwrap();
            }
        });
        wait_readable(fd);
        std::thread::sleep(Duration::from_micros(i * 5));
        sender.kill();
        while queue.try_recv().is_ok() {}
        assert!(!queue.peers().unwrap().is_empty());
    }
}

#[test]
fn the_descriptor_is_for_waiting_only() {
    let test = Test::new("flags");
    let queue = small(&test, "q");
    let fd = queue.readiness_fd().unwrap();
    let flags = nix::fcntl::fcntl(fd.as_fd(), nix::fcntl::FcntlArg::F_GETFD).unwrap();
    assert_eq!(flags, libc::FD_CLOEXEC);
}

#[test]
fn a_process_ends_with_its_own_last_thread_also_if_it_was_watching() {
    let test = Test::new("the last thread");
    let queue = small(&test, "q");
    let child = fork("child", || {
        queue.readiness_fd().unwrap();
        // SAFETY: ends this thread, the only one of the program's.
        unsafe { libc::syscall(libc::SYS_exit, 0) };
    });
    child.join();
}
