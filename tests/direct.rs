//! Endpoints: direct messages, who sent them, calls and their replies, and what happens when a peer dies.

mod support;

use std::fs;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use rsipc::{Address, Endpoint, Error, Namespace, Queue, QueueOptions};
use support::{Board, Child, LONG, Test, fork, wait_for};

/// How long a wait may last that something ended that a look every 100 ms would have found out, too, on a busy machine.
const SOON: Duration = Duration::from_secs(10);

fn options() -> QueueOptions {
    QueueOptions::new().capacity(4).max_message(256)
}

fn open(test: &Test) -> Endpoint {
    Endpoint::open(&test.space, &options()).unwrap()
}

fn named(test: &Test, name: &str) -> Endpoint {
    Endpoint::open_named(test.name(name), &options()).unwrap()
}

/// Answers each request with its bytes backwards, until a message that wants no reply.
fn serve(server: &Endpoint) {
    loop {
        let mut request = server.recv_timeout(LONG).unwrap();
        if !request.wants_reply() {
            return;
        }
        let reply: Vec<u8> = request.iter().rev().copied().collect();
        request.reply(&reply).unwrap();
    }
}

/// The files of addresses.
fn addresses(test: &Test) -> Vec<String> {
    test.files().into_iter().filter(|name| name.starts_with('@')).collect()
}

/// The address of the endpoint of that name, once it is open.
fn find(endpoint: &Endpoint, name: &str) -> Address {
    let mut found = None;
    wait_for("an endpoint to be open", || {
        found = endpoint.find(name).ok();
        found.is_some()
    });
    found.unwrap()
}

/// A child with an endpoint of that name, which does `work` with it.
fn child(test: &Test, name: &'static str, work: impl FnOnce(Endpoint)) -> Child {
    fork(name, || work(named(test, name)))
}

/// A child with an endpoint of that name that lives until it is killed, and receives nothing.
fn sleeper(test: &Test, name: &'static str) -> Child {
    child(test, name, |_endpoint| std::thread::sleep(LONG))
}

#[test]
fn messages_arrive_in_order_and_say_who_sent_them() {
    let test = Test::new("one way");
    let receiver = named(&test, "receiver");
    let senders = [0u8, 1].map(|n| {
        fork("sender", || {
            let mine = open(&test);
            let to = mine.find("receiver").unwrap();
            assert_eq!(mine.address_of(to.pid()), Ok(to));
            for i in 0..200u8 {
                mine.send(to, &[n, i]).unwrap();
            }
            // It stays until all has been received and answered.
            let last = mine.recv_timeout(LONG).unwrap();
            assert_eq!((last.from(), last.bytes(), last.wants_reply()), (to, &b"done"[..], false));
        })
    });
    let mut next = [0, 0];
    for _ in 0..400 {
        let message = receiver.recv_timeout(LONG).unwrap();
        let &[n, i] = message.bytes() else { panic!("a message of {} bytes", message.len()) };
        assert_eq!(i, next[n as usize]);
        next[n as usize] += 1;
        assert_eq!(message.from().pid(), senders[n as usize].pid.as_raw().unsigned_abs());
        if i == 199 {
            receiver.send(message.from(), b"done").unwrap();
        }
    }
    assert_eq!(receiver.try_recv().unwrap_err(), Error::WouldBlock);
    assert_eq!(receiver.recv_timeout(Duration::from_millis(10)).unwrap_err(), Error::TimedOut);
    senders.into_iter().for_each(Child::join);
}

#[test]
fn a_process_can_have_several_endpoints() {
    let test = Test::new("several");
    let [first, second] = [open(&test), open(&test)];
    assert_eq!((first.address().serial(), second.address().serial()), (0, 1));
    assert_eq!(first.address().pid(), std::process::id());
    assert_ne!(first.address(), second.address());
    assert_eq!(first.address().to_string(), format!("{}.0", std::process::id()));
    first.send(second.address(), b"to the second").unwrap();
    second.send(first.address(), b"to the first").unwrap();
    let mut buffer = [0; 20];
    assert_eq!(first.recv_into(&mut buffer[..3]), Err(Error::BufferTooSmall { len: 3, needed: 12 }));
    assert_eq!(first.recv_into(&mut buffer), Ok((12, second.address())));
    assert_eq!(&buffer[..12], b"to the first");
    assert_eq!(first.try_recv_into(&mut buffer), Err(Error::WouldBlock));
    assert_eq!(second.recv().unwrap().bytes(), b"to the second");
    // Another namespace is another one.
    let elsewhere = Namespace::at(test.dir.join("elsewhere"));
    assert_eq!(Endpoint::open(&elsewhere, &options()).unwrap().address().serial(), 0);
    // A number is free again when its endpoint is closed, and the address is then that of another one.
    let old = first.address();
    second.send(old, b"never received").unwrap();
    drop(first);
    assert_eq!(second.send(old, b"x"), Err(Error::PeerGone));
    let again = open(&test);
    assert_eq!(again.address(), old);
    second.send(old, b"x").unwrap();
    assert_eq!(again.recv().unwrap().bytes(), b"x");
    drop((again, second));
    assert_eq!(addresses(&test), Vec::<String>::new());
}

#[test]
fn names_are_those_of_living_processes() {
    let test = Test::new("names");
    let mine = named(&test, "mine");
    let taken = Endpoint::open_named(test.name("mine"), &options()).unwrap_err();
    assert!(matches!(&taken, Error::AlreadyExists { name, .. } if name == "mine"), "{taken}");
    assert_eq!(addresses(&test).len(), 1);
    assert_eq!(mine.find("mine"), Ok(mine.address()));
    assert!(matches!(mine.find("nobody"), Err(Error::NotFound { .. })));
    assert!(matches!(mine.find("a/b"), Err(Error::InvalidArgument(_))));
    assert!(matches!(mine.address_of(1 << 21), Err(Error::NotFound { .. })));
    let queue = Queue::create(test.name("queue"), &options()).unwrap();
    assert!(matches!(mine.find("queue"), Err(Error::WrongKind { .. })));
    assert!(matches!(Endpoint::open_named(test.name("queue"), &options()), Err(Error::AlreadyExists { .. })));
    drop(queue);
    // Names that begin as the files of addresses do are refused.
    for name in ["@1.2.0", "@x"] {
        assert!(matches!(Queue::create(test.name(name), &options()), Err(Error::InvalidArgument(_))));
        assert!(matches!(Queue::open(test.name(name)), Err(Error::InvalidArgument(_))));
        assert!(matches!(test.unlink(name), Err(Error::InvalidArgument(_))));
        assert!(matches!(Endpoint::open_named(test.name(name), &options()), Err(Error::InvalidArgument(_))));
    }
    // The name of a dead process is free, for who looks and for who takes it.
    for _ in 0..3 {
        let other = sleeper(&test, "other");
        let address = find(&mine, "other");
        assert_eq!(address.pid(), other.pid.as_raw().unsigned_abs());
        assert_eq!(mine.address_of(address.pid()), Ok(address));
        other.kill();
        assert!(matches!(mine.find("other"), Err(Error::NotFound { .. })));
        assert_eq!(addresses(&test).len(), 1);
        assert!(!test.files().contains(&"other".to_owned()));
        let other = sleeper(&test, "other");
        let address = find(&mine, "other");
        other.kill();
        assert!(matches!(mine.address_of(address.pid()), Err(Error::NotFound { .. })));
        sleeper(&test, "other").wait_name(&mine, "other").kill();
        drop(named(&test, "other"));
    }
    assert_eq!(addresses(&test).len(), 1);
    drop(mine);
    assert!(!test.files().contains(&"mine".to_owned()));
}

trait WaitName {
    /// Waits until the child's endpoint is open.
    fn wait_name(self, endpoint: &Endpoint, name: &str) -> Self;
}

impl WaitName for Child {
    fn wait_name(self, endpoint: &Endpoint, name: &str) -> Self {
        wait_for("the child's endpoint", || endpoint.find(name).is_ok_and(|at| at.pid() == self.pid.as_raw().unsigned_abs()));
        self
    }
}

#[test]
fn each_call_gets_its_own_reply() {
    let test = Test::new("calls");
    let mine = open(&test);
    let server = child(&test, "server", |server| serve(&server));
    let to = find(&mine, "server");
    assert_eq!(mine.call(to, b"abc").unwrap(), b"cba");
    assert_eq!(mine.call_timeout(to, b"", LONG).unwrap(), b"");
    // From several processes, and from several threads of one endpoint.
    let callers = [(); 3].map(|()| {
        fork("caller", || {
            let mine = open(&test);
            std::thread::scope(|scope| {
                for thread in 0..3u8 {
                    let mine = &mine;
                    scope.spawn(move || {
                        for i in 0..100 {
                            assert_eq!(mine.call_timeout(to, &[thread, i], LONG).unwrap(), [i, thread]);
                        }
                    });
                }
            });
        })
    });
    callers.into_iter().for_each(Child::join);
    mine.send(to, b"end").unwrap();
    server.join();
    assert_eq!(mine.call(to, b"x"), Err(Error::PeerGone));
    // The inboxes for replies go with their threads.
    drop(mine);
    // (Of threads that had ended when their processes did.)
    drop(open(&test));
    assert_eq!(addresses(&test).len(), 1, "this thread's own");
}

#[test]
fn requests_are_answered_in_any_order_by_any_thread() {
    let test = Test::new("any order");
    let server = named(&test, "server");
    let callers: Vec<Child> = (0..4u8)
        .map(|i| {
            let test = &test;
            fork("caller", move || {
                let mine = open(test);
                let to = mine.find("server").unwrap();
                assert_eq!(mine.call_timeout(to, &[i], LONG).unwrap(), [i, i]);
            })
        })
        .collect();
    let mut requests: Vec<_> = (0..4).map(|_| server.recv_timeout(LONG).unwrap()).collect();
    requests.sort_by_key(|request| std::cmp::Reverse(request[0]));
    std::thread::scope(|scope| {
        for mut request in requests {
            scope.spawn(move || {
                let reply = [request[0], request[0]];
                request.reply(&reply).unwrap();
                assert!(!request.wants_reply());
                assert!(matches!(request.reply(b"again"), Err(Error::InvalidArgument(_))));
            });
        }
    });
    callers.into_iter().for_each(Child::join);
    let mine = open(&test);
    mine.send(server.address(), b"no request").unwrap();
    let mut message = server.recv().unwrap();
    assert!(matches!(message.reply(b"x"), Err(Error::InvalidArgument(_))));
}

#[test]
fn who_is_killed_ends_the_waits_for_it() {
    let test = Test::new("callee killed");
    let mine = named(&test, "mine");
    for round in 0..10 {
        let server = sleeper(&test, "server");
        let to = find(&mine, "server");
        // Two wait for replies, one for room.
        let board = Board::new(3);
        let callers = [0, 1].map(|i| {
            let (test, board) = (&test, &board);
            fork("caller", move || {
                let mine = open(test);
                assert_eq!(mine.call(to, b"x"), Err(Error::PeerGone));
                board.set(i, support::now());
            })
        });
        callers.iter().for_each(Child::wait_asleep);
        let sender = fork("sender", || {
            let mine = open(&test);
            // The callers' requests and two of these fill the inbox.
            for _ in 0..2 {
                mine.send(to, b"x").unwrap();
            }
            assert_eq!(mine.send(to, b"x"), Err(Error::PeerGone));
            board.set(2, support::now());
        });
        sender.wait_asleep();
        let start = support::now();
        server.kill();
        callers.into_iter().for_each(Child::join);
        sender.join();
        let took = [0, 1, 2].map(|i| Duration::from_nanos(board.get(i).saturating_sub(start)));
        println!("round {round}: the waits ended {took:?} after the kill");
        assert!(took.iter().all(|took| *took < SOON));
        assert_eq!(mine.send(to, b"x"), Err(Error::PeerGone));
        assert_eq!(mine.call(to, b"x"), Err(Error::PeerGone));
        assert_eq!(mine.try_send(to, b"x"), Err(Error::PeerGone));
    }
}

#[test]
fn who_dies_with_a_request_ends_its_callers_wait() {
    let test = Test::new("killed with a request");
    let mine = open(&test);
    let server = child(&test, "server", |server| {
        let _request = server.recv().unwrap();
        support::die();
    });
    let to = find(&mine, "server");
    assert_eq!(mine.call(to, b"x"), Err(Error::PeerGone));
    server.end();
}

#[test]
fn a_dropped_request_ends_its_callers_wait() {
    let test = Test::new("dropped");
    let mine = open(&test);
    let board = Board::new(1);
    let server = child(&test, "server", |server| {
        drop(server.recv().unwrap());
        assert_eq!(server.recv_into(&mut [0; 8]).unwrap().0, 1);
        let mut request = server.recv().unwrap();
        board.set(0, 1);
        // What is in the inbox when it is closed is dropped, too, and what was received before can still be answered.
        server.recv_timeout(LONG).unwrap();
        drop(server);
        request.reply(b"late").unwrap();
    });
    let to = find(&mine, "server");
    assert_eq!(mine.call(to, b"1"), Err(Error::NoReply));
    assert_eq!(mine.call(to, b"2"), Err(Error::NoReply));
    std::thread::scope(|scope| {
        let early = scope.spawn(|| mine.call(to, b"3"));
        board.wait(0, 1);
        let sent = [4u8, 5].map(|i| {
            let mine = &mine;
            (i, scope.spawn(move || if i == 4 { mine.send(to, &[i]).map(|()| vec![]) } else { mine.call(to, &[i]) }))
        });
        assert_eq!(early.join().unwrap().as_deref(), Ok(&b"late"[..]));
        for (i, sent) in sent {
            let result = sent.join().unwrap();
            match i {
                4 => assert!(matches!(result, Ok(_) | Err(Error::PeerGone)), "{result:?}"),
                _ => assert!(matches!(result, Err(Error::NoReply | Error::PeerGone)), "{result:?}"),
            }
        }
    });
    server.join();
}

#[test]
fn a_reply_that_comes_too_late_is_thrown_away() {
    let test = Test::new("late");
    let server = named(&test, "server");
    let caller = fork("caller", || {
        let mine = open(&test);
        let to = mine.find("server").unwrap();
        let short = Duration::from_millis(20);
        for i in 0..3 {
            assert_eq!(mine.call_timeout(to, &[i], short), Err(Error::TimedOut));
        }
        assert_eq!(mine.call_timeout(to, &[3], Duration::ZERO), Err(Error::TimedOut));
        // Full by now.
        assert_eq!(mine.call_timeout(to, &[4], short), Err(Error::TimedOut));
        assert_eq!(mine.call_timeout(to, &[4], Duration::ZERO), Err(Error::TimedOut));
        mine.send_timeout(to, b"wait for me", LONG).unwrap();
        assert_eq!(mine.call_timeout(to, &[5], LONG).unwrap(), [5]);
        assert_eq!(mine.call_timeout(to, &[6], LONG).unwrap(), [6]);
    });
    // The inbox is full when the caller waits for room.
    wait_for("the caller to time out", || server.len() == Ok(4));
    std::thread::sleep(Duration::from_millis(60));
    let mut late: Vec<_> = (0..4).map(|_| server.recv_timeout(LONG).unwrap()).collect();
    assert_eq!(server.recv_timeout(LONG).unwrap().bytes(), b"wait for me");
    let mut fifth = server.recv_timeout(LONG).unwrap();
    for request in &mut late {
        let number = [request[0]];
        request.reply(&number).unwrap();
    }
    fifth.reply(&[5]).unwrap();
    let mut sixth = server.recv_timeout(LONG).unwrap();
    sixth.reply(&[6]).unwrap();
    caller.join();
}

#[test]
fn an_endpoint_is_no_queue() {
    let test = Test::new("no queue");
    let _endpoint = named(&test, "server");
    assert!(matches!(Queue::open(test.name("server")), Err(Error::WrongKind { expected: "queue", found: "endpoint" })));
    assert_eq!(test.list().unwrap()[0].kind, rsipc::Kind::Endpoint);
    let queue = Queue::create(test.name("queue"), &QueueOptions::new()).unwrap();
    assert!(open(&test).find("queue").is_err());
    drop(queue);
}

#[test]
fn a_call_can_be_waited_for_in_steps() {
    let test = Test::new("steps");
    let mine = open(&test);
    let board = Board::new(1);
    let server = child(&test, "server", |server| {
        let mut requests: Vec<_> = (0..3).map(|_| server.recv_timeout(LONG).unwrap()).collect();
        board.wait(0, 1);
        // The last first.
        while let Some(mut request) = requests.pop() {
            if request[0] == 2 {
                support::die();
            }
            let number = [request[0]];
            request.reply(&number).unwrap();
        }
    });
    let to = find(&mine, "server");
    let [mut one, mut two, mut three] = [1, 2, 3].map(|i| mine.begin_call(to, &[i], LONG).unwrap());
    assert_eq!(one.wait_timeout(Duration::ZERO), Err(Error::WouldBlock));
    assert_eq!(one.wait_timeout(Duration::from_millis(10)), Err(Error::TimedOut));
    board.set(0, 1);
    assert_eq!(three.wait().unwrap(), [3]);
    let other = std::thread::scope(|scope| scope.spawn(|| two.wait_timeout(LONG)).join().unwrap());
    assert_eq!(other, Err(Error::PeerGone));
    assert_eq!(one.wait_timeout(LONG), Err(Error::PeerGone));
    assert_eq!(mine.begin_call(to, b"x", LONG).err(), Some(Error::PeerGone));
    server.end();
}

#[test]
fn replies_to_the_dead_are_no_error() {
    let test = Test::new("dead callers");
    let server = named(&test, "server");
    let caller = fork("caller", || {
        let mine = open(&test);
        let _ = mine.call(mine.find("server").unwrap(), b"x");
    });
    let mut request = server.recv_timeout(LONG).unwrap();
    let from = request.from();
    assert_eq!(addresses(&test).len(), 3);
    caller.kill();
    request.reply(b"y").unwrap();
    assert!(!request.wants_reply());
    // Whoever comes upon a dead process takes all its files away.
    assert_eq!(addresses(&test).len(), 1);
    assert_eq!(server.send(from, b"z"), Err(Error::PeerGone));
    // Also for callers that have ended in peace.
    let caller = fork("caller", || {
        let mine = open(&test);
        let to = mine.find("server").unwrap();
        std::thread::scope(|scope| {
            scope.spawn(|| assert_eq!(mine.call_timeout(to, b"x", Duration::from_millis(10)), Err(Error::TimedOut)));
        });
    });
    let mut request = server.recv_timeout(LONG).unwrap();
    caller.join();
    request.reply(b"y").unwrap();
}

#[test]
fn a_stopped_server_counts_as_alive() {
    let test = Test::new("stopped");
    let mine = open(&test);
    let server = child(&test, "server", |server| serve(&server));
    let to = find(&mine, "server");
    assert_eq!(mine.call(to, b"ab").unwrap(), b"ba");
    server.wait_asleep();
    server.signal(Signal::SIGSTOP);
    let start = Instant::now();
    let timeout = Duration::from_millis(300);
    assert_eq!(mine.call_timeout(to, b"cd", timeout), Err(Error::TimedOut));
    assert!(start.elapsed() >= timeout);
    server.signal(Signal::SIGCONT);
    assert_eq!(mine.call(to, b"ef").unwrap(), b"fe");
    mine.send(to, b"end").unwrap();
    server.join();
}

#[test]
fn a_process_id_that_is_used_again_is_another_process() {
    let test = Test::new("reused ids");
    let mine = named(&test, "mine");
    // A file as a dead process with this living one's id has left it: started at another time.
    let parent = nix::unistd::getppid().as_raw();
    let other = sleeper(&test, "other");
    let address = find(&mine, "other");
    let file = addresses(&test).into_iter().find(|file| file.starts_with(&format!("@{}.", other.pid))).unwrap();
    let numbers: Vec<u64> = file[1..].split('.').map(|number| number.parse().unwrap()).collect();
    let forged = format!("@{}.{}.0", numbers[0], numbers[1] - 1);
    fs::copy(test.dir.join(&file), test.dir.join(&forged)).unwrap();
    assert_eq!(mine.address_of(address.pid()), Ok(address));
    mine.send(address, b"x").unwrap();
    // Whoever opens an endpoint takes away what the dead have left, and nothing else.
    drop(open(&test));
    assert!(!test.files().contains(&forged));
    assert!(test.files().contains(&file));
    // Files that are no inboxes stay, and harm nobody.
    for strange in [format!("@{parent}.1.0"), "@1.2".into(), "@a.b.c".into(), "@4000000000.1.0".into()] {
        fs::write(test.dir.join(&strange), b"strange").unwrap();
    }
    drop(open(&test));
    mine.send(address, b"x").unwrap();
}

#[test]
fn an_endpoint_belongs_to_the_process_that_opened_it() {
    let test = Test::new("fork");
    let mine = named(&test, "mine");
    mine.send(mine.address(), b"x").unwrap();
    let to = mine.address();
    let replies = mine.call_timeout(to, b"y", Duration::from_millis(1));
    assert_eq!(replies, Err(Error::TimedOut));
    let shared = std::cell::Cell::new(Some(mine));
    fork("child", || {
        let mine = shared.take().unwrap();
        assert!(matches!(mine.send(to, b"x"), Err(Error::NotOwner(_))));
        assert!(matches!(mine.recv(), Err(Error::NotOwner(_))));
        assert!(matches!(mine.recv_into(&mut [0; 8]), Err(Error::NotOwner(_))));
        assert!(matches!(mine.call(to, b"x"), Err(Error::NotOwner(_))));
        assert!(matches!(mine.find("mine"), Err(Error::NotOwner(_))));
        // Its own has an address of its own, and dropping the parent's does nothing.
        let own = open(&test);
        assert_eq!((own.address().pid(), own.address().serial()), (std::process::id(), 0));
        drop(mine);
        assert_eq!(own.find("mine"), Ok(to));
        own.send(to, b"z").unwrap();
    })
    .join();
    let mine = shared.take().unwrap();
    let messages = [(); 3].map(|()| mine.recv().unwrap());
    assert_eq!(messages.each_ref().map(|message| message.bytes()), [&b"x"[..], b"y", b"z"]);
}

#[test]
fn threads_come_and_go_while_others_wait_for_the_process() {
    let test = Test::new("threads");
    let mine = open(&test);
    let server = fork("server", || {
        // The thread that opened it has ended when the others wait.
        let server = std::thread::scope(|scope| scope.spawn(|| named(&test, "server")).join().unwrap());
        let mut request = server.recv().unwrap();
        request.reply(b"y").unwrap();
        let _request = server.recv();
        std::thread::sleep(LONG);
    });
    let to = find(&mine, "server");
    assert_eq!(mine.call(to, b"x").unwrap(), b"y");
    let caller = fork("caller", || {
        let mine = open(&test);
        assert_eq!(mine.call(to, b"x"), Err(Error::PeerGone));
    });
    caller.wait_asleep();
    std::thread::sleep(Duration::from_millis(250));
    assert!(caller.is_alive());
    server.kill();
    caller.join();
}

#[test]
fn inboxes_have_any_capacity_and_messages_any_length() {
    let test = Test::new("capacities");
    let long = support::message(7, 3 << 20);
    for options in [QueueOptions::new().capacity(0), QueueOptions::new().unbounded(), QueueOptions::new().capacity(2)] {
        let options = options.max_message(4 << 20);
        let server = fork("server", || {
            let server = Endpoint::open_named(test.name("server"), &options).unwrap();
            serve(&server);
        });
        let mine = Endpoint::open(&test.space, &options).unwrap();
        let to = find(&mine, "server");
        let reply = mine.call_timeout(to, &long, LONG).unwrap();
        assert!(reply.iter().rev().eq(&long));
        assert_eq!(mine.call_timeout(to, b"ab", LONG).unwrap(), b"ba");
        mine.send_timeout(to, b"end", LONG).unwrap();
        server.join();
        assert_eq!(mine.send(to, b"x"), Err(Error::PeerGone));
    }
}

#[test]
fn a_sender_that_waits_for_a_rendezvous_learns_of_a_death() {
    let test = Test::new("rendezvous");
    let mine = open(&test);
    let server = fork("server", || {
        let _server = Endpoint::open_named(test.name("server"), &QueueOptions::new().capacity(0)).unwrap();
        std::thread::sleep(LONG);
    });
    let to = find(&mine, "server");
    assert_eq!(mine.try_send(to, b"x"), Err(Error::WouldBlock));
    let callers = [true, false].map(|calls| {
        let test = &test;
        fork("caller", move || {
            let mine = open(test);
            let result = if calls { mine.call(to, b"x").map(drop) } else { mine.send(to, b"x") };
            assert_eq!(result, Err(Error::PeerGone));
        })
    });
    callers.iter().for_each(Child::wait_asleep);
    server.kill();
    callers.into_iter().for_each(Child::join);
}

#[test]
fn bad_requests_are_refused() {
    let test = Test::new("bad");
    let mine = named(&test, "mine");
    let long = [0; 257];
    assert_eq!(mine.send(mine.address(), &long), Err(Error::MessageTooLong { index: None, len: 257, max: 256 }));
    assert_eq!(mine.call(mine.address(), &long), Err(Error::MessageTooLong { index: None, len: 257, max: 256 }));
    mine.send(mine.address(), &long[..256]).unwrap();
    assert_eq!(mine.recv().unwrap().bytes(), &long[..256]);
}

#[test]
fn many_servers_answer_the_requests_in_one_mailbox() {
    let test = Test::new("mailbox");
    let mailbox = Queue::create(test.name("mailbox"), &options()).unwrap();
    let servers = [0, 1, 2].map(|_| {
        fork("server", || {
            let (mine, mailbox) = (open(&test), Queue::open(test.name("mailbox")).unwrap());
            loop {
                let mut request = match mine.recv_mailbox_timeout(&mailbox, LONG) {
                    Err(Error::Closed) => return,
                    request => request.unwrap(),
                };
                if request.wants_reply() {
                    let reply: Vec<u8> = request.iter().rev().copied().collect();
                    request.reply(&reply).unwrap();
                } else {
                    assert_eq!((request.bytes(), request.from().pid()), (&b"plain"[..], 0));
                }
            }
        })
    });
    let callers = [0u8, 1].map(|n| {
        let test = &test;
        fork("caller", move || {
            let (mine, mailbox) = (open(test), Queue::open(test.name("mailbox")).unwrap());
            for i in 0..200 {
                mailbox.send(b"plain").unwrap();
                assert_eq!(mine.call_mailbox_timeout(&mailbox, &[n, i], LONG).unwrap(), [i, n]);
            }
        })
    });
    callers.into_iter().for_each(Child::join);
    mailbox.shutdown().unwrap();
    servers.into_iter().for_each(Child::join);
    let mine = open(&test);
    assert_eq!(mine.call_mailbox(&mailbox, b"x"), Err(Error::Closed));
    assert_eq!(mine.try_recv_mailbox(&mailbox).unwrap_err(), Error::Closed);
}

#[test]
fn the_death_of_the_server_that_has_a_request_ends_its_callers_wait() {
    let test = Test::new("mailbox deaths");
    let mailbox = Queue::create(test.name("mailbox"), &options()).unwrap();
    let mine = open(&test);
    assert_eq!(mine.call_mailbox_timeout(&mailbox, b"early", Duration::from_millis(20)), Err(Error::TimedOut));
    assert_eq!(mine.recv_mailbox(&mailbox).unwrap().bytes(), b"early");
    for round in 0..5 {
        let board = Board::new(2);
        let server = fork("server", || {
            let server = open(&test);
            let _request = server.recv_mailbox(&mailbox).unwrap();
            board.set(0, 1);
            std::thread::sleep(LONG);
        });
        let caller = fork("caller", || {
            let mine = open(&test);
            assert_eq!(mine.call_mailbox(&mailbox, b"x"), Err(Error::PeerGone));
            board.set(1, support::now());
        });
        board.wait(0, 1);
        caller.wait_asleep();
        let start = support::now();
        server.kill();
        caller.join();
        println!("round {round}: {:?} after the kill", Duration::from_nanos(board.get(1).saturating_sub(start)));
    }
    // Who drops a request says so, and who dies without having taken one is not missed.
    let idle = fork("idle server", || {
        let server = open(&test);
        let _ = server.recv_mailbox(&mailbox);
    });
    idle.wait_asleep();
    idle.kill();
    let caller = fork("caller", || {
        let mine = open(&test);
        assert_eq!(mine.call_mailbox(&mailbox, b"x"), Err(Error::NoReply));
        assert_eq!(mine.call_mailbox(&mailbox, b"y").unwrap(), b"z");
    });
    drop(mine.recv_mailbox_timeout(&mailbox, LONG).unwrap());
    mine.recv_mailbox_timeout(&mailbox, LONG).unwrap().reply(b"z").unwrap();
    caller.join();
}

#[test]
fn servers_are_killed_at_any_moment_and_every_call_ends() {
    let test = Test::new("random deaths");
    let mailbox = Queue::create(test.name("mailbox"), &options()).unwrap();
    let board = Board::new(1);
    let callers = [0u8, 1].map(|n| {
        let (test, mailbox, board) = (&test, &mailbox, &board);
        fork("caller", move || {
            let mine = open(test);
            let mut i = 0u8;
            while board.get(0) == 0 {
                match mine.call_mailbox_timeout(mailbox, &[n, i], LONG) {
                    Ok(reply) => assert_eq!(reply, [i, n]),
                    Err(e) => assert_eq!(e, Error::PeerGone),
                }
                match mine.find("server").and_then(|to| mine.call_timeout(to, &[n, i], LONG)) {
                    Ok(reply) => assert_eq!(reply, [i, n]),
                    Err(e) => assert!(matches!(e, Error::PeerGone | Error::NotFound { .. }), "{e}"),
                }
                i = i.wrapping_add(1);
            }
        })
    });
    let server = || {
        fork("server", || {
            let server = named(&test, "server");
            std::thread::scope(|scope| {
                for direct in [true, false] {
                    let (server, mailbox) = (&server, &mailbox);
                    scope.spawn(move || {
                        loop {
                            let request = if direct { server.recv() } else { server.recv_mailbox(mailbox) };
                            let mut request = request.unwrap();
                            let reply: Vec<u8> = request.iter().rev().copied().collect();
                            request.reply(&reply).unwrap();
                        }
                    });
                }
            });
        })
    };
    let mut random = support::Random(0x9e37_79b9);
    for _ in 0..100 {
        let server = server();
        std::thread::sleep(Duration::from_micros(500 + random.below(15_000)));
        server.kill();
    }
    // One that stays, until all callers have seen that it is over.
    board.set(0, 1);
    let last = server();
    callers.into_iter().for_each(Child::join);
    drop(last);
    drop(open(&test));
    assert_eq!(addresses(&test), Vec::<String>::new());
}
