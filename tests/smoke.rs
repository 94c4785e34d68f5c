//! Smoke.

mod support;
use rsipc::{Error, Queue, QueueOptions};
use std::time::{Duration, Instant};
use support::*;

#[test]
fn unbounded() {
    let test = Test::new("unbounded");
    let q = Queue::create(test.name("q"), &QueueOptions::new().unbounded().max_message(2000)).unwrap();
    assert_eq!(q.capacity(), None);
    let mut r = Random(77);
    let (mut s, mut t) = (0u64, 0u64);
    let memory = || test.list().unwrap()[0].memory;
    let m0 = memory();
    for _ in 0..300 {
        for _ in 0..r.below(3000) {
            q.send(&message(s, (s % 900) as usize)).unwrap();
            s += 1;
        }
        assert_eq!(q.len().unwrap() as u64, s - t);
        for _ in 0..r.below(3000).min(s - t) {
            assert_eq!(number(&q.recv().unwrap()), t);
            t += 1;
        }
    }
    println!("{s} {t} {} {m0}", memory());
    while t < s {
        assert_eq!(number(&q.recv().unwrap()), t);
        t += 1;
    }
    println!("end {}", memory());
    assert_eq!(q.try_recv(), Err(Error::WouldBlock));
    assert!(memory() < 4 << 20);
    let st = Instant::now();
    for i in 0..2_000_000u64 {
        q.send(&i.to_le_bytes()).unwrap();
    }
    println!("fill {:?}", st.elapsed());
    let st = Instant::now();
    for i in 0..2_000_000u64 {
        assert_eq!(number(&q.recv().unwrap()), i);
    }
    println!("drain {:?}", st.elapsed());
    let child = fork("x", || {
        for i in 0..200_000 {
            q.send(&message(i, 40)).unwrap();
        }
    });
    for i in 0..200_000 {
        assert_eq!(number(&q.recv_timeout(LONG).unwrap()), i);
    }
    child.join();
}

#[test]
fn unbounded_wraps() {
    let test = Test::new("unbounded wraps");
    let q = Queue::create(test.name("q"), &QueueOptions::new().unbounded_within(1 << 20).max_message(200_000)).unwrap();
    let mut r = Random(78);
    let (mut s, mut t) = (0u64, 0u64);
    for _ in 0..3000 {
        for _ in 0..r.below(20) {
            match q.send(&message(s, r.below(200_000) as usize)) {
                Ok(()) => s += 1,
                Err(Error::LimitReached(_)) => break,
                Err(e) => panic!("{e}"),
            }
        }
        assert_eq!(q.len().unwrap() as u64, s - t);
        for _ in 0..r.below(20).min(s - t) {
            assert_eq!(number(&q.recv().unwrap()), t);
            t += 1;
        }
    }
    println!("{s} {}", test.list().unwrap()[0].memory);
}

#[test]
fn long() {
    let test = Test::new("long");
    let q = Queue::create(test.name("q"), &QueueOptions::new().capacity(3).max_message(300 << 20)).unwrap();
    let mut r = Random(78);
    let child = fork("x", || {
        let mut r = Random(5);
        for i in 0..2000 {
            q.send_timeout(&message(i, r.below(100_000) as usize), LONG).unwrap();
        }
    });
    for i in 0..2000 {
        assert_eq!(number(&q.recv_timeout(LONG).unwrap()), i);
    }
    child.join();
    let big = vec![7u8; 200 << 20];
    q.send(&big).unwrap();
    println!("{}", test.list().unwrap()[0].memory);
    assert!(q.recv().unwrap() == big);
    println!("{}", test.list().unwrap()[0].memory);
    let _ = r.next();
    for i in 0..3 {
        q.send(&message(i, 10000)).unwrap();
    }
    assert_eq!(q.try_send(&message(3, 10000)), Err(Error::WouldBlock));
}

#[test]
fn leases() {
    let test = Test::new("leases");
    for (k, o) in [
        QueueOptions::new(),
        QueueOptions::new().unbounded(),
        QueueOptions::new().max_message(100_000),
        QueueOptions::new().capacity(0),
    ]
    .into_iter()
    .enumerate()
    {
        let name = format!("q{k}");
        let q = Queue::create(test.name(&name), &o).unwrap();
        for (i, len) in [10, 5000.min(q.max_message()), 20].into_iter().enumerate() {
            let i = i as u64;
            let sender = fork("s", || q.send_timeout(&message(i, len), LONG).unwrap());
            let l = q.lease_timeout(LONG).unwrap();
            assert_eq!((number(l.message()), l.deliveries()), (i, 1));
            sender.join();
            assert_eq!(q.try_recv(), Err(Error::WouldBlock));
            drop(l);
            assert_eq!(q.len(), Ok(1));
            let l = q.try_lease().unwrap();
            assert_eq!((number(l.message()), l.deliveries()), (i, 2));
            l.finish().unwrap();
            assert_eq!(q.len(), Ok(0));
            let sender = fork("s", || q.send_timeout(&message(i, len), LONG).unwrap());
            let worker = fork("w", || {
                std::mem::forget(q.lease().unwrap());
                die()
            });
            sender.join();
            worker.end();
            let st = Instant::now();
            let l = q.lease_timeout(LONG).unwrap();
            println!("{:?}", st.elapsed());
            assert_eq!((number(l.message()), l.deliveries()), (i, 2));
            drop(l);
            assert_eq!(number(&q.recv().unwrap()), i);
            assert_eq!(q.try_lease().err(), Some(Error::WouldBlock));
        }
    }
}

#[test]
fn zero() {
    let test = Test::new("zero");
    let q = Queue::create(test.name("q"), &QueueOptions::new().capacity(0)).unwrap();
    assert_eq!(q.try_send(b"x"), Err(Error::WouldBlock));
    assert_eq!(q.try_recv(), Err(Error::WouldBlock));
    assert_eq!(q.send_timeout(b"x", Duration::from_millis(20)), Err(Error::TimedOut));
    assert_eq!(q.try_recv(), Err(Error::WouldBlock));
    let r = fork("r", || assert_eq!(q.recv().unwrap(), b"hello"));
    r.wait_asleep();
    q.try_send(b"hello").unwrap();
    r.join();
    let s = fork("s", || q.send(b"hi").unwrap());
    s.wait_asleep();
    assert_eq!(q.try_recv().unwrap(), b"hi");
    s.join();
    let s = fork("s", || q.send(b"hi").unwrap());
    s.wait_asleep();
    s.kill();
    assert_eq!(q.try_recv(), Err(Error::WouldBlock));
    // many
    let board = Board::new(4000);
    let st = Instant::now();
    let rs: Vec<_> = (0..2)
        .map(|_| {
            fork("r", || {
                loop {
                    match q.recv_timeout(LONG) {
                        Ok(m) => {
                            board.add(number(&m) as usize, 1);
                        }
                        Err(Error::Closed) => return,
                        Err(e) => panic!("{e}"),
                    }
                }
            })
        })
        .collect();
    let ss: Vec<_> = (0..4u64)
        .map(|k| {
            fork("s", || {
                for i in k * 1000..(k + 1) * 1000 {
                    q.send_timeout(&message(i, 20), LONG).unwrap()
                }
            })
        })
        .collect();
    ss.into_iter().for_each(|c| c.join());
    q.shutdown().unwrap();
    rs.into_iter().for_each(|c| c.join());
    for i in 0..4000 {
        assert_eq!(board.get(i), 1);
    }
    println!("{:?}", st.elapsed());
    let q = Queue::create(test.name("q2"), &QueueOptions::new().capacity(0)).unwrap();
    let st = Instant::now();
    let r = fork("r", || {
        for i in 0..20000 {
            assert_eq!(number(&q.recv().unwrap()), i);
        }
    });
    for i in 0..20000 {
        q.send(&message(i, 8)).unwrap();
    }
    r.join();
    println!("1:1 {:?}", st.elapsed() / 20000);
    let senders: Vec<_> = (0..3).map(|_| fork("s", || assert_eq!(q.send(b"x"), Err(Error::Closed)))).collect();
    senders.iter().for_each(Child::wait_asleep);
    q.shutdown().unwrap();
    senders.into_iter().for_each(|c| c.join());
}

#[test]
fn lessee_dies_while_another_waits() {
    let test = Test::new("lessee");
    for (k, o) in [QueueOptions::new(), QueueOptions::new().unbounded(), QueueOptions::new().capacity(0)].into_iter().enumerate()
    {
        let name = format!("q{k}");
        let q = Queue::create(test.name(&name), &o).unwrap();
        let board = Board::new(2);
        let mut worst = Duration::ZERO;
        for round in 0..10 {
            let worker = fork("w", || {
                let l = q.lease().unwrap();
                board.set(1, 1);
                std::thread::sleep(LONG);
                drop(l)
            });
            if round % 2 == 0 {
                q.send_timeout(b"x", LONG).unwrap();
                board.wait(1, 1);
            }
            let early = round % 2 == 1;
            if early {
                worker.wait_asleep();
                q.send_timeout(b"x", LONG).unwrap();
                board.wait(1, 1);
            }
            let waiting = fork("waits", || {
                let l = q.lease().unwrap();
                board.set(0, now());
                assert_eq!(l.deliveries(), 2);
                l.finish().unwrap();
            });
            waiting.wait_asleep();
            board.set(1, 0);
            std::thread::sleep(Duration::from_millis(20));
            let t = now();
            worker.kill();
            waiting.join();
            worst = worst.max(Duration::from_nanos(board.get(0) - t));
            board.set(0, 0);
        }
        println!("{k}: {worst:?}");
    }
}

#[test]
fn disconnected() {
    let test = Test::new("disconnected");
    for (k, o) in [QueueOptions::new(), QueueOptions::new().unbounded(), QueueOptions::new().capacity(0)].into_iter().enumerate()
    {
        let name = format!("q{k}");
        let q = Queue::create(test.name(&name), &o).unwrap();
        q.end_with_peers(true);
        assert_eq!(q.recv_timeout(Duration::from_millis(10)), Err(Error::TimedOut));
        let s = fork("s", || {
            let q = Queue::open(test.name(&name)).unwrap();
            q.will_send().unwrap();
            q.send(b"1").unwrap();
            std::thread::sleep(LONG)
        });
        let pid = s.pid;
        assert_eq!(q.recv().unwrap(), b"1");
        let st = now();
        let at = std::sync::atomic::AtomicU64::new(0);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                std::thread::sleep(Duration::from_millis(30));
                at.store(now(), std::sync::atomic::Ordering::Relaxed);
                nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL).unwrap();
            });
            assert_eq!(q.recv(), Err(Error::Disconnected("sender")));
            println!("{k} {:?}", Duration::from_nanos(now() - at.load(std::sync::atomic::Ordering::Relaxed)));
        });
        let _ = st;
        q.end_with_peers(false);
        let s = fork("s", || {
            let q = Queue::open(test.name(&name)).unwrap();
            q.will_send().unwrap();
            q.send(b"1").unwrap();
            std::thread::sleep(Duration::from_millis(30));
            at.store(1, std::sync::atomic::Ordering::Relaxed)
        });
        assert_eq!(q.recv().unwrap(), b"1");
        q.end_with_peers(true);
        assert_eq!(q.recv(), Err(Error::Disconnected("sender")));
        s.join();
    }
}

#[test]
fn speed() {
    let test = Test::lasting("speed", Duration::from_secs(300));
    for round in 0..3 {
        for (k, o) in [
            QueueOptions::new().capacity(256),
            QueueOptions::new().unbounded(),
            QueueOptions::new().capacity(256).max_message(1 << 20),
        ]
        .into_iter()
        .enumerate()
        {
            let name = format!("q{round}{k}");
            let q = Queue::create(test.name(&name), &o).unwrap();
            const N: u64 = 1_000_000;
            let st = Instant::now();
            let r = fork("r", || {
                let mut b = [0; 64];
                for _ in 0..N {
                    q.recv_into(&mut b).unwrap();
                }
            });
            let m = [7u8; 64];
            let mut most = 0;
            for i in 0..N {
                q.send(&m).unwrap();
                if i % 1024 == 0 {
                    most = most.max(q.len().unwrap());
                }
            }
            r.join();
            println!("{k}: one way {:?} most {most}", st.elapsed() / N as u32);
            let p = Queue::create(test.name(&format!("p{round}{k}")), &o).unwrap();
            let r = fork("r", || {
                let mut b = [0; 64];
                for _ in 0..200_000 {
                    q.recv_into(&mut b).unwrap();
                    p.send(&b).unwrap();
                }
            });
            let st = Instant::now();
            let mut b = [0; 64];
            for _ in 0..200_000 {
                q.send(&m).unwrap();
                p.recv_into(&mut b).unwrap();
            }
            println!("{k}: round trip {:?}", st.elapsed() / 200_000);
            r.join();
        }
    }
}

#[test]
fn few_leases() {
    let test = Test::new("few");
    let q = Queue::create(test.name("q"), &QueueOptions::new().leases(1)).unwrap();
    q.send(b"a").unwrap();
    q.send(b"b").unwrap();
    let l = q.lease().unwrap();
    assert_eq!(q.try_lease().err(), Some(Error::WouldBlock));
    let other = fork("o", || {
        let l = q.lease().unwrap();
        assert_eq!(l.message(), b"b");
        l.finish().unwrap();
    });
    other.wait_asleep();
    l.finish().unwrap();
    other.join();
    q.send(b"c").unwrap();
    fork("dies", || {
        std::mem::forget(q.lease().unwrap());
        die()
    })
    .end();
    let l = q.try_lease().or_else(|_| q.lease()).unwrap();
    assert_eq!((l.message(), l.deliveries()), (&b"c"[..], 2));
    let other = fork("o", || {
        let l = q.lease().unwrap();
        assert_eq!((l.message(), l.deliveries()), (&b"c"[..], 3));
        l.finish().unwrap();
    });
    other.wait_asleep();
    drop(l);
    other.join();
    // Shut down with leases out.
    let q = Queue::create(test.name("p"), &QueueOptions::new()).unwrap();
    q.send(b"x").unwrap();
    let w = fork("w", || {
        let l = q.lease().unwrap();
        std::thread::sleep(LONG);
        drop(l)
    });
    wait_for("lease", || q.is_empty().unwrap());
    q.shutdown().unwrap();
    let o = fork("o", || {
        let l = q.lease().unwrap();
        assert_eq!(l.deliveries(), 2);
        l.finish().unwrap();
        assert_eq!(q.lease().err(), Some(Error::Closed))
    });
    o.wait_asleep();
    let c0 = std::fs::read_to_string(format!("/proc/{}/stat", o.pid)).unwrap();
    std::thread::sleep(Duration::from_millis(200));
    println!("{c0} {}", std::fs::read_to_string(format!("/proc/{}/stat", o.pid)).unwrap());
    w.kill();
    o.join();
}
