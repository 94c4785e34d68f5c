//! A side of a queue that one thread uses alone keeps its lock: others who come, and deaths, must not notice.

mod support;

use std::time::{Duration, Instant};

use rsipc::{Queue, QueueOptions};
use support::{Board, Child, LONG, Random, Test, die, fork, message, number};

/// So many messages make one the only user.
const ALONE: u64 = 500;

fn options() -> QueueOptions {
    QueueOptions::new().capacity(16).max_message(100)
}

/// Sends numbers, while the parent receives them.
fn send(queue: &Queue, numbers: std::ops::Range<u64>) {
    numbers.for_each(|i| queue.send_timeout(&message(i, 40), LONG).unwrap());
}

/// Receives so many messages, each of another number.
fn receive(queue: &Queue, count: u64, seen: &mut Vec<u64>) {
    for _ in 0..count {
        seen.push(number(&queue.recv_timeout(LONG).unwrap()));
    }
}

fn each_once(mut seen: Vec<u64>, count: u64) {
    seen.sort_unstable();
    assert_eq!(seen, (0..count).collect::<Vec<_>>());
}

#[test]
fn who_comes_to_what_one_has_used_alone_uses_it_as_well() {
    let test = Test::new("comes");
    let queue = Queue::create(test.name("q"), &options()).unwrap();
    // How often each message was received, and behind those, whether the first sender was alone for long enough.
    let (board, go) = (Board::new(3 * ALONE as usize + 1), 3 * ALONE as usize);
    let receive = |count: u64| {
        (0..count).for_each(|_| {
            board.add(number(&queue.recv_timeout(LONG).unwrap()) as usize, 1);
        })
    };
    let first = fork("first", || {
        send(&queue, 0..ALONE);
        board.set(go, 1);
        send(&queue, ALONE..2 * ALONE);
    });
    let second = fork("second", || {
        let queue = Queue::open(test.name("q")).unwrap();
        board.wait(go, 1);
        send(&queue, 2 * ALONE..3 * ALONE);
    });
    receive(2 * ALONE);
    let third = fork("third", || receive(ALONE / 2));
    receive(ALONE / 2);
    [first, second, third].into_iter().for_each(Child::join);
    assert!(queue.is_empty().unwrap());
    assert!((0..go).all(|i| board.get(i) == 1));
}

#[test]
fn what_a_thread_that_has_ended_used_alone_others_go_on_with() {
    let test = Test::new("ended");
    let queue = Queue::create(test.name("q"), &options()).unwrap();
    let mut seen = vec![];
    let sender = fork("sender", || {
        for i in 0..3 {
            std::thread::scope(|scope| scope.spawn(|| send(&queue, i * ALONE..(i + 1) * ALONE)).join().unwrap());
        }
        send(&queue, 3 * ALONE..4 * ALONE);
        die();
    });
    receive(&queue, 4 * ALONE, &mut seen);
    sender.end();
    // Where the dead one is still the only user, who has ever sent.
    let heir = fork("heir", || send(&queue, 4 * ALONE..5 * ALONE));
    receive(&queue, ALONE, &mut seen);
    heir.join();
    each_once(seen, 5 * ALONE);
}

#[test]
fn a_child_of_fork_uses_what_its_parent_used_alone() {
    let test = Test::new("fork");
    let queue = Queue::create(test.name("q"), &options()).unwrap();
    let mut seen = vec![];
    for i in 0..ALONE {
        send(&queue, i..i + 1);
        receive(&queue, 1, &mut seen);
    }
    let child = fork("child", || send(&queue, ALONE..2 * ALONE));
    receive(&queue, ALONE, &mut seen);
    child.join();
    for i in 2 * ALONE..3 * ALONE {
        send(&queue, i..i + 1);
        receive(&queue, 1, &mut seen);
    }
    each_once(seen, 3 * ALONE);
}

#[test]
fn an_idle_user_holds_up_nobody() {
    let test = Test::new("idle");
    let queue = Queue::create(test.name("q"), &options()).unwrap();
    let (board, mut seen) = (Board::new(1), vec![]);
    let user = fork("user", || {
        send(&queue, 0..ALONE);
        board.set(0, 1);
        board.wait(0, 2);
    });
    receive(&queue, ALONE, &mut seen);
    board.wait(0, 1);
    user.signal(nix::sys::signal::Signal::SIGSTOP);
    let start = Instant::now();
    for i in ALONE..2 * ALONE {
        send(&queue, i..i + 1);
        receive(&queue, 1, &mut seen);
    }
    assert!(start.elapsed() < LONG / 2, "{:?}", start.elapsed());
    user.kill();
    each_once(seen, 2 * ALONE);
}

#[test]
fn users_that_are_killed_at_random_lose_nothing() {
    const ROUNDS: u64 = 40;
    let test = Test::new("killed");
    let queue = Queue::create(test.name("q"), &options()).unwrap();
    // How far each round's sender came.
    let board = Board::new(ROUNDS as usize);
    let (mut random, mut next) = (Random(11), vec![0; ROUNDS as usize]);
    let mut check = |bytes: &[u8]| {
        let (round, i) = ((number(bytes) >> 32) as usize, number(bytes) & u64::from(u32::MAX));
        assert_eq!(i, next[round], "of round {round}");
        next[round] += 1;
    };
    for round in 0..ROUNDS {
        let sender = fork("sender", || {
            for i in 0.. {
                queue.send(&message(round << 32 | i, 40)).unwrap();
                board.set(round as usize, i + 1);
            }
        });
        let end = Instant::now() + Duration::from_micros(random.below(3000));
        while Instant::now() < end {
            if let Ok(bytes) = queue.recv_timeout(Duration::from_millis(1)) {
                check(&bytes);
            }
        }
        sender.kill();
    }
    while let Ok(bytes) = queue.try_recv() {
        check(&bytes);
    }
    for (round, received) in next.into_iter().enumerate() {
        let sent = board.get(round);
        assert!(received == sent || received == sent + 1, "round {round}: {received} of {sent}");
    }
}

#[test]
fn where_a_process_may_not_call_membarrier_the_others_work_with_it() {
    let test = Test::new("forbidden");
    let queue = Queue::create(test.name("q"), &options()).unwrap();
    let mut seen = vec![];
    for i in 0..ALONE {
        send(&queue, i..i + 1);
        receive(&queue, 1, &mut seen);
    }
    let forbidden = fork("forbidden", || {
        forbid_membarrier();
        let queue = Queue::open(test.name("q")).unwrap();
        send(&queue, ALONE..2 * ALONE);
    });
    receive(&queue, ALONE, &mut seen);
    forbidden.join();
    each_once(seen, 2 * ALONE);
}

/// From here on the system call gives EPERM in this process (`seccomp(2)`).
fn forbid_membarrier() {
    let load = libc::BPF_LD | libc::BPF_W | libc::BPF_ABS;
    let equal = libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K;
    let give = libc::BPF_RET | libc::BPF_K;
    let step = |code: u32, jt, jf, k| libc::sock_filter { code: code as u16, jt, jf, k };
    let mut steps = [
        step(load, 0, 0, 0),
        step(equal, 0, 1, libc::SYS_membarrier as u32),
        step(give, 0, 0, libc::SECCOMP_RET_ERRNO | libc::EPERM as u32),
        step(give, 0, 0, libc::SECCOMP_RET_ALLOW),
    ];
    let program = libc::sock_fprog { len: steps.len() as u16, filter: steps.as_mut_ptr() };
    // SAFETY: the program is there during the calls, and as long as it says.
    unsafe {
        assert_eq!(libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
        assert_eq!(libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &raw const program), 0);
    }
}
