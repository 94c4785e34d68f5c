//! Processes of different pid namespaces that share objects: the ids of their threads are the same, and must not be taken for each other's.
//!
//! Each process is the first of a namespace of its own, but for those at home, in the test's. The test's own process uses no objects: its
//! children do. Making pid namespaces takes root.

mod support;

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use nix::mount::{MsFlags, mount};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sched::{CloneFlags, CpuSet, sched_getaffinity, sched_setaffinity, unshare};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::WaitStatus;
use nix::unistd::Pid;
use rsipc::{Endpoint, Error, Mutex, Namespace, Queue, QueueOptions, Region, Semaphore};
use support::{Board, Child, LONG, Random, Test, fork, message, now, number, wait_for};

/// A process of a namespace of its own.
struct Stranger {
    around: Child,
    pid: Pid,
}

fn stranger(what: &str, work: impl FnOnce()) -> Stranger {
    let started = Board::new(1);
    let around = fork(format!("around {what}"), || {
        unshare(CloneFlags::CLONE_NEWPID).expect("making a pid namespace takes root");
        let inner = fork(what, || {
            assert_eq!(std::process::id(), 1);
            work();
        });
        started.set(0, inner.pid.as_raw() as u64);
        // Its end says how that of the inner one came.
        let mut status = 0;
        // SAFETY: the place is valid.
        unsafe { libc::waitpid(inner.pid.as_raw(), &raw mut status, 0) };
        support::exit(i32::from(status != 0));
    });
    started.wait(0, 1);
    Stranger { around, pid: Pid::from_raw(started.get(0) as i32) }
}

impl Stranger {
    fn kill(&self) {
        let _ = kill(self.pid, Signal::SIGKILL);
        self.around.end();
    }

    fn join(self) {
        assert!(matches!(self.around.end(), WaitStatus::Exited(_, 0)), "a stranger failed");
    }
}

impl Drop for Stranger {
    fn drop(&mut self) {
        // The inner one is killed when the outer one ends.
        self.around.kill();
    }
}

fn kinds() -> [QueueOptions; 4] {
    let options = QueueOptions::new().max_message(10_000);
    [options.capacity(0), options.capacity(1), options.capacity(8), options.unbounded()]
}

/// Creates a queue at home, for those who come from elsewhere.
fn create_for_strangers(test: &Test) {
    fork("home", || drop(Queue::create(test.name("q"), &QueueOptions::new()).unwrap())).join();
}

#[test]
fn they_exchange_messages() {
    let test = Test::new("strangers exchange messages");
    for (i, options) in kinds().into_iter().enumerate() {
        let name = format!("q{i}");
        let open = || Queue::open_or_create(test.name(&name), &options).unwrap();
        let receiver = stranger("receiver", || {
            let queue = open();
            for n in 0..300 {
                assert_eq!(number(&queue.recv_timeout(LONG).unwrap()), n);
            }
        });
        let sender = stranger("sender", || {
            let queue = open();
            for n in 0..300 {
                queue.send_timeout(&message(n, if n % 7 == 0 { 9000 } else { 20 }), LONG).unwrap();
            }
        });
        sender.join();
        receiver.join();
    }
}

#[test]
fn a_queue_of_home_takes_strangers_in() {
    let test = Test::new("a queue takes strangers in");
    let board = Board::new(2);
    let home = fork("home", || {
        let queue = Queue::create(test.name("q"), &QueueOptions::new()).unwrap();
        // Taken while nobody is a stranger, given back when somebody is.
        queue.send(b"lease").unwrap();
        let lease = queue.lease().unwrap();
        board.set(0, 1);
        assert_eq!(queue.recv_timeout(LONG).unwrap(), b"from a stranger");
        lease.finish().unwrap();
        board.set(1, 1);
        queue.send(b"to a stranger").unwrap();
        board.wait(1, 2);
        let (peers, own) = (queue.peers().unwrap(), std::process::id());
        let mut pids: Vec<_> = peers.iter().map(|peer| peer.pid).collect();
        pids.sort_unstable();
        assert_eq!(pids, [1, own]);
        board.set(0, 2);
    });
    board.wait(0, 1);
    stranger("stranger", || {
        let queue = Queue::open(test.name("q")).unwrap();
        queue.send(b"from a stranger").unwrap();
        board.wait(1, 1);
        assert_eq!(queue.recv_timeout(LONG).unwrap(), b"to a stranger");
        board.set(1, 2);
        board.wait(0, 2);
        assert_eq!(queue.len().unwrap(), 0);
    })
    .join();
    home.join();
}

#[test]
fn who_is_killed_leaves_nobody_waiting() {
    let test = Test::lasting("strangers are killed", Duration::from_secs(240));
    let seed = now() | 1;
    println!("seed {seed}");
    let mut random = Random(seed);
    for round in 0..24_u64 {
        let options = kinds()[(round % 4) as usize];
        let (leases, len) = (round % 3 == 2, [20, 3000, 9000][(round / 4 % 3) as usize]);
        killing_round(&test, &mut random, &options, leases, len);
    }
}

/// Victims that send and receive, each of a namespace of its own, are killed; what was accepted arrives at the others.
fn killing_round(test: &Test, random: &mut Random, options: &QueueOptions, leases: bool, len: usize) {
    const MOST: u64 = 3000;
    const SENDERS: u64 = 16;
    let taken = Board::new((MOST * SENDERS) as usize);
    let sent = Board::new(SENDERS as usize * 2);
    let state = Board::new(1);
    let note = |bytes: &[u8]| taken.add(number(bytes) as usize, 1);
    let receive = |queue: &Queue| -> rsipc::Result<()> {
        if leases {
            let lease = queue.lease_timeout(Duration::from_millis(50))?;
            note(lease.message());
            lease.finish()
        } else {
            note(&queue.recv_timeout(Duration::from_millis(50))?);
            Ok(())
        }
    };
    let work = |sender: Option<u64>| {
        let queue = Queue::open(test.name("q")).unwrap();
        match sender {
            Some(sender) => {
                for i in 0..MOST {
                    sent.set(2 * sender as usize, i + 1);
                    queue.send_timeout(&message(sender * MOST + i, len), LONG).unwrap();
                    sent.set(2 * sender as usize + 1, i + 1);
                }
            }
            None => loop {
                match receive(&queue) {
                    Ok(()) | Err(Error::TimedOut) => {}
                    Err(Error::Closed) => return,
                    Err(e) => panic!("{e}"),
                }
            },
        }
    };
    let home = fork("home", || {
        let queue = Queue::create(test.name("q"), options).unwrap();
        state.set(0, 1);
        let mut closing = None;
        loop {
            match receive(&queue) {
                Ok(()) | Err(Error::TimedOut) => {}
                Err(Error::Closed) => break,
                Err(e) => panic!("{e}"),
            }
            if state.get(0) == 2 && closing.is_none() {
                closing = Some(Instant::now());
                queue.shutdown().unwrap();
            }
            assert!(closing.is_none_or(|since| since.elapsed() < LONG), "the queue does not come to its end");
        }
        assert_eq!(queue.try_recv(), Err(Error::Closed));
        test.unlink("q").unwrap();
    });
    state.wait(0, 1);
    let (mut victims, mut senders, mut killed_receivers) = (vec![], 0, 0);
    let start = |sender: Option<u64>| (sender, stranger("a victim", || work(sender)));
    for is_sender in [true, true, false] {
        victims.push(start(is_sender.then_some(senders)));
        senders += u64::from(is_sender);
    }
    for _ in 0..6 {
        std::thread::sleep(Duration::from_micros(random.below(4000)));
        let (sender, victim) = victims.swap_remove(random.below(victims.len() as u64) as usize);
        victim.kill();
        killed_receivers += u64::from(sender.is_none());
        victims.push(start(sender.map(|_| senders)));
        senders += u64::from(sender.is_some());
    }
    // Who is left goes on: somebody is not held up by the dead.
    for (sender, victim) in &victims {
        if let Some(sender) = sender {
            let before = sent.get(2 * *sender as usize + 1);
            wait_for("a sender that lives to go on", || {
                let now = sent.get(2 * *sender as usize + 1);
                now > before || now == MOST
            });
            victim.kill();
        }
    }
    state.set(0, 2);
    home.join();
    victims.into_iter().filter(|(sender, _)| sender.is_none()).for_each(|(_, receiver)| receiver.join());
    let (mut lost, mut twice) = (0, 0);
    for sender in 0..senders {
        let (intended, accepted) = (sent.get(2 * sender as usize), sent.get(2 * sender as usize + 1));
        for i in 0..MOST {
            let times = taken.get((sender * MOST + i) as usize);
            assert!(times == 0 || i < intended, "message {i} of sender {sender} was received and not sent");
            lost += u64::from(times == 0 && i < accepted);
            twice += times.saturating_sub(1);
        }
    }
    // A receiver that was killed took one with it; a lessee may have worked on one and not said so.
    let (may_lose, may_repeat) = if leases { (0, killed_receivers) } else { (killed_receivers, 0) };
    assert!(lost <= may_lose && twice <= may_repeat, "{lost} lost, {twice} twice; {killed_receivers} receivers were killed");
}

/// Runs on one processor from here on: the first of this process's, or the last.
fn pin(last: bool) {
    let all = sched_getaffinity(Pid::from_raw(0)).unwrap();
    let mut cpus = (0..CpuSet::count()).filter(|cpu| all.is_set(*cpu).unwrap());
    let mut one = CpuSet::new();
    one.set(if last { cpus.next_back() } else { cpus.next() }.unwrap()).unwrap();
    sched_setaffinity(Pid::from_raw(0), &one).unwrap();
}

#[test]
fn who_joins_while_another_one_dies_does_not_die_with_it() {
    const THREADS: usize = 24;
    let names: Vec<_> = (0..=THREADS).map(|i| format!("m{i}")).collect();
    for round in 0..60 {
        // Its lives are in a table of their own.
        let test = Test::new("one joins while another dies");
        let name = |i: usize| test.name(&names[i]);
        fork("home", || (0..=THREADS).for_each(|i| drop(Mutex::create(name(i), ()).unwrap()))).join();
        let board = Board::new(2);
        let dying = stranger("who dies", || {
            pin(false);
            let mutex = Mutex::<()>::open(name(THREADS)).unwrap();
            let _guard = mutex.lock().unwrap();
            board.set(0, 1);
            std::thread::sleep(LONG);
        });
        board.wait(0, 1);
        // Lets others on that processor do a few microseconds' work at a time: so a death takes some milliseconds.
        let hog = fork("the hog", || {
            pin(false);
            let first = libc::sched_param { sched_priority: 1 };
            // SAFETY: the place is valid.
            let set = unsafe { libc::sched_setscheduler(0, libc::SCHED_FIFO, &raw const first) };
            assert_eq!(set, 0, "real-time scheduling takes root");
            board.set(0, 2);
            for _ in 0..60 {
                let start = Instant::now();
                while start.elapsed() < Duration::from_micros(200) {
                    std::hint::spin_loop();
                }
                std::thread::sleep(Duration::from_micros(2 + round / 3));
            }
            support::exit(0);
        });
        let joining = stranger("who joins", || {
            pin(true);
            let mutexes: Vec<_> = (0..THREADS).map(|i| Mutex::<()>::open(name(i)).unwrap()).collect();
            board.set(1, 1);
            board.wait(1, 2);
            std::thread::scope(|scope| {
                for mutex in &mutexes {
                    scope.spawn(|| {
                        std::mem::forget(mutex.lock().unwrap());
                        board.add(1, 1);
                        std::thread::sleep(LONG);
                    });
                    std::thread::sleep(Duration::from_micros(100));
                }
            });
        });
        board.wait(1, 1);
        board.wait(0, 2);
        let _ = kill(dying.pid, Signal::SIGKILL);
        board.set(1, 2);
        board.wait(1, 2 + THREADS as u64);
        hog.join();
        dying.kill();
        stranger("another", || {
            for i in 0..THREADS {
                let mutex = Mutex::<()>::open(name(i)).unwrap();
                assert_eq!(mutex.try_lock().err(), Some(Error::WouldBlock), "the owner of {i} lives");
            }
        })
        .join();
        joining.kill();
    }
}

#[test]
fn a_lock_is_not_taken_from_a_living_owner_of_the_same_thread_id() {
    let test = Test::new("a lock among strangers");
    let board = Board::new(2);
    let owner = stranger("owner", || {
        let mutex = Mutex::create(test.name("m"), 0_u64).unwrap();
        let mut guard = mutex.lock().unwrap();
        board.set(0, 1);
        board.wait(1, 1);
        *guard = 7;
    });
    board.wait(0, 1);
    // It has the owner's thread id, and dies busy with the word.
    for n in 0..20 {
        let (victim, waiting) = (Board::new(1), n % 2 == 0);
        let victim_process = stranger("victim", || {
            let mutex = Mutex::<u64>::open(test.name("m")).unwrap();
            victim.set(0, 1);
            if waiting {
                drop(mutex.lock());
                panic!("it got the lock");
            }
            loop {
                assert_eq!(mutex.try_lock().err(), Some(Error::WouldBlock));
            }
        });
        victim.wait(0, 1);
        std::thread::sleep(Duration::from_millis(5));
        victim_process.kill();
    }
    fork("home", || {
        let mutex = Mutex::<u64>::open(test.name("m")).unwrap();
        assert_eq!(mutex.lock_timeout(Duration::from_millis(300)).err(), Some(Error::TimedOut));
        board.set(1, 1);
        let guard = mutex.lock_timeout(LONG).unwrap();
        assert_eq!((*guard, guard.owner_died()), (7, false));
    })
    .join();
    owner.join();
}

#[test]
fn the_next_owner_of_a_mutex_is_told_of_a_death() {
    let test = Test::new("a death among strangers");
    let board = Board::new(1);
    for by_thread in [false, true] {
        let victim = stranger("victim", || {
            let mutex = Mutex::open_or_create(test.name("m"), 0_u64).unwrap();
            let lock = || {
                let mut guard = mutex.lock().unwrap();
                *guard += 1;
                std::mem::forget(guard);
            };
            if by_thread {
                std::thread::scope(|scope| {
                    scope.spawn(lock);
                });
            } else {
                lock();
            }
            board.add(0, 1);
            std::thread::sleep(LONG);
        });
        board.wait(0, 1 + u64::from(by_thread));
        let told = |who: &str| {
            let start = Instant::now();
            let mutex = Mutex::<u64>::open(test.name("m")).unwrap();
            let mut guard = mutex.lock_timeout(LONG).unwrap();
            println!("{who} has it after {:?}", start.elapsed());
            assert!(guard.owner_died());
            guard.mark_consistent();
        };
        if !by_thread {
            victim.kill();
        }
        if by_thread { fork("home", || told("home")).join() } else { stranger("another", || told("another")).join() }
    }
}

#[test]
fn what_a_stranger_has_on_lease_comes_back() {
    let test = Test::new("leases of strangers");
    let board = Board::new(3);
    let home = fork("home", || {
        let queue = Queue::create(test.name("q"), &QueueOptions::new()).unwrap();
        queue.send(b"job").unwrap();
        board.set(0, 1);
        board.wait(1, 1);
        board.set(2, 1);
        let lease = queue.lease_timeout(LONG).unwrap();
        assert_eq!((lease.message(), lease.deliveries()), (&b"job"[..], 2));
        // And now a stranger gets it from the dead of another namespace, this one.
        std::mem::forget(lease);
        board.set(0, 2);
        std::thread::sleep(LONG);
    });
    board.wait(0, 1);
    let victim = stranger("victim", || {
        let queue = Queue::open(test.name("q")).unwrap();
        let _lease = queue.lease().unwrap();
        board.set(1, 1);
        std::thread::sleep(LONG);
    });
    board.wait(2, 1);
    std::thread::sleep(Duration::from_millis(20));
    assert_eq!(board.get(0), 1, "the message came back while the lessee lived");
    victim.kill();
    board.wait(0, 2);
    let heir = stranger("heir", || {
        let queue = Queue::open(test.name("q")).unwrap();
        let lease = queue.lease_timeout(LONG).unwrap();
        assert_eq!(lease.deliveries(), 3);
        lease.finish().unwrap();
    });
    std::thread::sleep(Duration::from_millis(20));
    home.kill();
    heir.join();
}

#[test]
fn the_offer_of_a_dead_stranger_is_gone() {
    let test = Test::new("offers of strangers");
    let board = Board::new(1);
    let victim = stranger("victim", || {
        let queue = Queue::create(test.name("q"), &QueueOptions::new().capacity(0)).unwrap();
        board.set(0, 1);
        queue.send(b"from the dead").unwrap();
    });
    board.wait(0, 1);
    std::thread::sleep(Duration::from_millis(20));
    victim.kill();
    stranger("receiver", || {
        let queue = Queue::open(test.name("q")).unwrap();
        assert_eq!(queue.try_recv(), Err(Error::WouldBlock));
    })
    .join();
}

#[test]
fn they_hear_of_each_others_end() {
    let test = Test::new("the end of strangers");
    let board = Board::new(1);
    let receiver = stranger("receiver", || {
        let queue = Queue::create(test.name("q"), &QueueOptions::new()).unwrap();
        queue.end_with_peers(true);
        board.set(0, 1);
        assert_eq!(queue.recv_timeout(LONG).unwrap(), b"last words");
        assert_eq!(queue.recv_timeout(LONG), Err(Error::Disconnected("sender")));
    });
    board.wait(0, 1);
    let sender = stranger("sender", || {
        Queue::open(test.name("q")).unwrap().send(b"last words").unwrap();
        support::exit(0);
    });
    sender.around.end();
    receiver.join();
}

#[test]
fn many_threads_come_and_go() {
    let test = Test::new("threads of strangers");
    let done = AtomicU64::new(0);
    create_for_strangers(&test);
    stranger("threads", || {
        let queue = Queue::open(test.name("q")).unwrap();
        for _ in 0..40 {
            std::thread::scope(|scope| {
                for _ in 0..8 {
                    scope.spawn(|| {
                        queue.send(b"x").unwrap();
                        queue.recv_timeout(LONG).unwrap();
                        done.fetch_add(1, Relaxed);
                    });
                }
            });
        }
        assert_eq!((done.load(Relaxed), queue.is_empty()), (320, Ok(true)));
        // They have left their entries to those who came after them.
        let memory =
            std::fs::metadata(test.dir.join(".strangers")).map(|meta| std::os::unix::fs::MetadataExt::blocks(&meta)).unwrap();
        assert!(memory < 400, "the table has {memory} blocks of 512 bytes");
    })
    .join();
}

#[test]
fn a_child_of_fork_is_another_one() {
    let test = Test::new("forks of strangers");
    create_for_strangers(&test);
    stranger("parent", || {
        let queue = Queue::open(test.name("q")).unwrap();
        queue.send(b"first").unwrap();
        let lease = queue.lease().unwrap();
        let child = fork("child", || {
            queue.send(b"from the child").unwrap();
            let own = queue.lease().unwrap();
            assert_eq!(own.message(), b"from the child");
            support::die();
        });
        child.end();
        // What the child had comes back; what its parent has does not.
        let again = queue.lease_timeout(LONG).unwrap();
        assert_eq!((again.message(), again.deliveries()), (&b"from the child"[..], 2));
        assert!(matches!(queue.try_lease(), Err(Error::WouldBlock)));
        lease.finish().unwrap();
        again.finish().unwrap();
    })
    .join();
}

#[test]
fn a_fork_while_threads_join_leaves_both_sides_working() {
    let test = Test::new("forks among joining strangers");
    create_for_strangers(&test);
    stranger("parent", || {
        let queue = Queue::open(test.name("q")).unwrap();
        let over = AtomicU64::new(0);
        std::thread::scope(|scope| {
            // Each thread begins a life.
            scope.spawn(|| {
                while over.load(Relaxed) == 0 {
                    std::thread::scope(|inner| {
                        inner.spawn(|| drop(queue.try_recv()));
                    });
                }
            });
            for n in 0..100 {
                fork(format!("child {n}"), || queue.send_timeout(b"x", LONG).unwrap()).join();
            }
            over.store(1, Relaxed);
        });
    })
    .join();
}

#[test]
fn what_strangers_cannot_share_they_are_told() {
    let test = Test::new("what strangers cannot share");
    fork("home", || {
        Queue::create(test.name("q"), &QueueOptions::new()).unwrap();
        Semaphore::create(test.name("s"), 1).unwrap();
        Semaphore::create_permits(test.name("p"), 1).unwrap();
        let region = Region::create(test.name("r"), 1 << 20).unwrap();
        // SAFETY: the bytes are left to it.
        unsafe { Queue::create_in(&region, 0, &QueueOptions::new().capacity(4).max_message(8)) }.unwrap();
        Endpoint::open_named(test.name("e"), &QueueOptions::new()).unwrap();
    })
    .join();
    stranger("stranger", || {
        let refused = |error: Option<Error>| assert!(matches!(error, Some(Error::Unsupported(_))), "{error:?}");
        refused(Semaphore::open(test.name("p")).err());
        let region = Region::open(test.name("r")).unwrap();
        // SAFETY: as above.
        refused(unsafe { Queue::open_in(&region, 0) }.err());
        // It has no owner.
        Semaphore::open(test.name("s")).unwrap().acquire().unwrap();
        Queue::open(test.name("q")).unwrap().send(b"x").unwrap();
    })
    .join();
    // Those who come by another way than the others would know each other by another table.
    let elsewhere = Namespace::at(test.dir.join("elsewhere"));
    std::fs::create_dir(test.dir.join("elsewhere")).unwrap();
    std::fs::hard_link(test.dir.join("q"), test.dir.join("elsewhere/q")).unwrap();
    stranger("from elsewhere", || {
        assert!(matches!(Queue::open(elsewhere.name("q")), Err(Error::Unsupported(_))));
    })
    .join();
}

#[test]
fn what_a_stranger_held_comes_back_when_it_becomes_another_program() {
    let test = Test::new("exec of strangers");
    create_for_strangers(&test);
    let board = Board::new(1);
    let victim = stranger("victim", || {
        let queue = Queue::open(test.name("q")).unwrap();
        let mutex = Mutex::create(test.name("m"), ()).unwrap();
        queue.send(b"job").unwrap();
        board.set(0, 1);
        board.wait(0, 2);
        // Another thread than the first: exec gives it the first one's id.
        std::thread::scope(|scope| {
            scope.spawn(|| {
                std::mem::forget(mutex.lock().unwrap());
                std::mem::forget(queue.lease().unwrap());
                let (program, seconds) = (c"/bin/sleep".to_owned(), c"60".to_owned());
                board.set(0, 3);
                nix::unistd::execv(&program, &[&program, &seconds]).unwrap();
            });
        });
    });
    board.wait(0, 1);
    stranger("heir", || {
        let (queue, mutex) = (Queue::open(test.name("q")).unwrap(), Mutex::<()>::open(test.name("m")).unwrap());
        board.set(0, 2);
        board.wait(0, 3);
        assert!(mutex.lock_timeout(LONG).unwrap().owner_died());
        assert_eq!(queue.lease_timeout(LONG).unwrap().deliveries(), 2);
    })
    .join();
    drop(victim);
}

#[test]
fn who_was_there_before_the_first_stranger_is_known_to_those_who_come() {
    let test = Test::new("home and strangers");
    let board = Board::new(2);
    let home = fork("home", || {
        let queue = Queue::create(test.name("q"), &QueueOptions::new()).unwrap();
        queue.send(b"a").unwrap();
        board.set(0, 1);
        board.wait(1, 1);
        queue.send(b"b").unwrap();
        board.set(0, 2);
        std::thread::sleep(LONG);
    });
    board.wait(0, 1);
    let receiver = stranger("receiver", || {
        let queue = Queue::open(test.name("q")).unwrap();
        queue.end_with_peers(true);
        board.set(1, 1);
        board.wait(0, 2);
        assert_eq!((queue.recv().unwrap(), queue.recv().unwrap()), (b"a".to_vec(), b"b".to_vec()));
        board.set(1, 2);
        assert_eq!(queue.recv_timeout(LONG), Err(Error::Disconnected("sender")));
        assert_eq!(queue.peers().unwrap().len(), 1);
    });
    board.wait(1, 2);
    home.kill();
    receiver.join();
}

#[test]
fn tables_in_two_directories_are_not_taken_for_each_other() {
    let test = Test::new("two tables");
    let none: Option<&str> = None;
    // Each in a file system of its own, where the inodes have the same numbers.
    let dirs = [test.dir.join("one"), test.dir.join("other")];
    let board = Board::new(1);
    fork("in a mount namespace", || {
        unshare(CloneFlags::CLONE_NEWNS).unwrap();
        mount(none, "/", none, MsFlags::MS_PRIVATE | MsFlags::MS_REC, none).unwrap();
        for dir in &dirs {
            std::fs::create_dir_all(dir).unwrap();
            mount(Some("tmpfs"), dir, Some("tmpfs"), MsFlags::empty(), none).unwrap();
        }
        let spaces = [Namespace::at(&dirs[0]), Namespace::at(&dirs[1])];
        fork("home", || drop(Mutex::create(spaces[0].name("m"), 0_u64).unwrap())).join();
        std::fs::write(dirs[1].join("m"), b"").unwrap();
        mount(Some(&dirs[0].join("m")), &dirs[1].join("m"), none, MsFlags::MS_BIND, none).unwrap();
        let owner = stranger("owner", || {
            let mutex = Mutex::<u64>::open(spaces[0].name("m")).unwrap();
            let guard = mutex.lock().unwrap();
            board.set(0, 1);
            board.wait(0, 2);
            drop(guard);
        });
        board.wait(0, 1);
        stranger("from elsewhere", || {
            assert!(matches!(Mutex::<u64>::open(spaces[1].name("m")), Err(Error::Unsupported(_))));
        })
        .join();
        board.set(0, 2);
        owner.join();
    })
    .join();
}

#[test]
fn what_was_begun_before_the_first_stranger_came_can_be_ended() {
    let test = Test::new("over the change");
    let board = Board::new(1);
    let home = fork("home", || {
        let queue = Queue::create(test.name("q"), &QueueOptions::new()).unwrap();
        let mutex = Mutex::create(test.name("m"), ()).unwrap();
        queue.send(b"job").unwrap();
        let (lease, guard) = (queue.lease().unwrap(), mutex.lock().unwrap());
        board.set(0, 1);
        board.wait(0, 2);
        assert_eq!(mutex.lock_timeout(LONG).err(), Some(Error::Deadlock));
        drop(guard);
        drop(mutex.lock_timeout(LONG).unwrap());
        // Also where it cannot become a stranger.
        let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
        let other = Queue::open(test.name("q")).unwrap();
        setrlimit(Resource::RLIMIT_NOFILE, 3, hard).unwrap();
        std::thread::scope(|scope| {
            scope.spawn(|| lease.give_back().unwrap());
        });
        setrlimit(Resource::RLIMIT_NOFILE, soft, hard).unwrap();
        assert_eq!(other.lease_timeout(LONG).unwrap().deliveries(), 2);
    });
    board.wait(0, 1);
    stranger("stranger", || {
        drop(Queue::open(test.name("q")).unwrap());
        drop(Mutex::<()>::open(test.name("m")).unwrap());
    })
    .join();
    board.set(0, 2);
    home.join();
}

#[test]
fn a_stranger_may_close_all_descriptors() {
    let test = Test::new("closed descriptors of strangers");
    create_for_strangers(&test);
    stranger("daemon", || {
        let queue = Queue::open(test.name("q")).unwrap();
        queue.send(b"x").unwrap();
        // SAFETY: nothing is used of what is closed.
        unsafe { libc::syscall(libc::SYS_close_range, 3_u32, u32::MAX, 0_u32) };
        // What has the number now is another file.
        let other = std::fs::File::create(test.dir.join("other")).unwrap();
        std::thread::scope(|scope| {
            scope.spawn(|| queue.send(b"y").unwrap());
        });
        assert_eq!((queue.recv().unwrap(), queue.recv().unwrap()), (b"x".to_vec(), b"y".to_vec()));
        drop(other);
    })
    .join();
}

#[test]
fn descriptors_of_readiness_work_among_strangers() {
    let test = Test::new("readiness among strangers");
    create_for_strangers(&test);
    stranger("stranger", || {
        let queue = Queue::open(test.name("q")).unwrap();
        let is_readable = |timeout: u16| {
            let mut set = [PollFd::new(queue.readiness_fd().unwrap(), PollFlags::POLLIN)];
            poll(&mut set, PollTimeout::from(timeout)).unwrap() == 1
        };
        assert!(!is_readable(0));
        queue.send(b"x").unwrap();
        assert!(is_readable(20_000));
        queue.send_readiness_fd().unwrap();
    })
    .join();
}

#[test]
fn a_process_in_another_time_namespace_is_not_taken_for_dead() {
    for has_asked_before in [false, true] {
        another_time_namespace(has_asked_before);
    }
}

/// `has_asked_before`: the process around the namespace has found out what its own time is.
fn another_time_namespace(has_asked_before: bool) {
    let test = Test::new("time namespaces");
    let board = Board::new(1);
    let around = fork("around", || {
        if has_asked_before {
            Queue::create(test.name("before"), &QueueOptions::new()).unwrap().send(b"job").unwrap();
            fork("another", || drop(Queue::open(test.name("before")).unwrap().lease().unwrap())).join();
            Queue::open(test.name("before")).unwrap().lease().unwrap().finish().unwrap();
        }
        // SAFETY: no preconditions. CLONE_NEWTIME is for the children alone.
        assert_eq!(unsafe { libc::unshare(0x80) }, 0, "making a time namespace");
        std::fs::write("/proc/self/timens_offsets", "boottime 1000 0").unwrap();
        fork("lessee", || {
            let queue = Queue::create(test.name("q"), &QueueOptions::new()).unwrap();
            queue.send(b"job").unwrap();
            let lease = queue.lease().unwrap();
            board.set(0, 1);
            board.wait(0, 2);
            lease.finish().unwrap();
        })
        .join();
    });
    board.wait(0, 1);
    fork("other", || {
        let queue = Queue::open(test.name("q")).unwrap();
        assert_eq!(queue.lease_timeout(Duration::from_millis(400)).err(), Some(Error::TimedOut));
    })
    .join();
    board.set(0, 2);
    around.join();
}
