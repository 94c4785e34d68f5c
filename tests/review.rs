//! Scratch.
mod support;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::os::unix::fs::FileExt;
use std::time::{Duration, Instant};
use rsipc::{Error, Queue, QueueOptions, WaitSet, Endpoint};
use support::{Board, Child, LONG, Test, fork, now};

fn switches(child: &Child) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", child.pid)).unwrap();
    status.lines().filter(|l| l.contains("ctxt_switches")).map(|l| l.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap()).sum()
}

#[test]
fn t1_poll_after_dead_lessee() {
    let test = Test::new("t1");
    let queue = Queue::create(test.name("q"), &QueueOptions::new()).unwrap();
    queue.send(b"x").unwrap();
    queue.send(b"y").unwrap();
    let board = Board::new(2);
    let worker = fork("worker", || { let q = Queue::open(test.name("q")).unwrap(); let _l = q.lease().unwrap(); board.set(0, 1); std::thread::sleep(LONG); });
    board.wait(0, 1);
    worker.kill();
    assert_eq!(queue.recv_timeout(LONG).unwrap(), b"y");
    assert_eq!(queue.recv_timeout(LONG).unwrap(), b"x");
    queue.send(b"z").unwrap();
    let _other_lease = queue.lease().unwrap();
    let r = fork("receiver", || { let q = Queue::open(test.name("q")).unwrap(); let _ = q.recv_timeout(Duration::from_secs(4)); });
    r.wait_asleep();
    std::thread::sleep(Duration::from_millis(500));
    let a = switches(&r);
    std::thread::sleep(Duration::from_secs(1));
    println!("T1: {} switches in 1 s (a lease out)", switches(&r) - a);
    r.kill();
    _other_lease.finish().unwrap();
    let r = fork("receiver", || { let q = Queue::open(test.name("q")).unwrap(); let _ = q.recv_timeout(Duration::from_secs(4)); });
    r.wait_asleep();
    std::thread::sleep(Duration::from_millis(500));
    let a = switches(&r);
    std::thread::sleep(Duration::from_secs(1));
    println!("T1: {} switches in 1 s (no lease out)", switches(&r) - a);
}

#[test]
fn t2_room_waiter() {
    let test = Test::new("t2");
    for lessee_waits in [false, true] {
        let mut took = Vec::new();
        for round in 0..5 {
            let name = format!("q{lessee_waits}{round}");
            let queue = Queue::create(test.name(&name), &QueueOptions::new().capacity(2).leases(1)).unwrap();
            queue.send(b"0").unwrap();
            let board = Board::new(2);
            let c = fork("lessee", || {
                let q = Queue::open(test.name(&name)).unwrap();
                let _l = q.lease().unwrap();
                board.set(1, 1);
                if lessee_waits { board.wait(1, 2); let _ = q.lease_timeout(Duration::from_secs(2)); }
                std::thread::sleep(LONG);
            });
            board.wait(1, 1);
            queue.send(b"1").unwrap();
            queue.send(b"2").unwrap();
            if lessee_waits { board.set(1, 2); c.wait_asleep(); std::thread::sleep(Duration::from_millis(30)); c.wait_asleep(); }
            let s = fork("sender", || { let q = Queue::open(test.name(&name)).unwrap(); q.send(b"3").unwrap(); board.set(0, now()); });
            s.wait_asleep();
            let t = now();
            assert_eq!(queue.recv().unwrap(), b"1");
            board.wait(0, 1);
            took.push(Duration::from_nanos(board.get(0) - t));
        }
        println!("T2: lessee waits {lessee_waits}: sender awake after {took:?}");
    }
}

#[test]
fn t3_lessee_unknown() {
    let test = Test::new("t3");
    let queue = Queue::create(test.name("q"), &QueueOptions::new()).unwrap();
    queue.send(b"x").unwrap();
    let board = Board::new(2);
    // Somebody was stopped while joining.
    let stopped = fork("stopped", || std::thread::sleep(LONG));
    let file = std::fs::OpenOptions::new().read(true).write(true).open(test.dir.join("q")).unwrap();
    file.write_all_at(&(stopped.pid.as_raw() as u32).to_le_bytes(), 384).unwrap();
    let worker = fork("worker", || { let q = Queue::open(test.name("q")).unwrap(); let _l = q.lease().unwrap(); board.set(0, 1); std::thread::sleep(LONG); });
    board.wait(0, 1);
    let r = fork("receiver", || { let q = Queue::open(test.name("q")).unwrap(); let t = Instant::now(); println!("T3: {:?} after {:?}", q.recv_timeout(Duration::from_secs(3)), t.elapsed()); });
    std::thread::sleep(Duration::from_millis(300));
    worker.kill();
    println!("T3: killed");
    r.join();
}

#[test]
fn t4_rendezvous_sets() {
    let test = Test::new("t4");
    let mut took = Vec::new();
    for round in 0..5 {
        let name = format!("q{round}");
        let queue = Queue::create(test.name(&name), &QueueOptions::new().capacity(0)).unwrap();
        let board = Board::new(1);
        let s = fork("sender", || { let q = Queue::open(test.name(&name)).unwrap(); WaitSet::new().send(&q).wait().unwrap(); board.set(0, now()); });
        s.wait_asleep();
        let r = fork("receiver", || { let q = Queue::open(test.name(&name)).unwrap(); let _ = WaitSet::new().recv(&q).wait_timeout(Duration::from_secs(2)); });
        r.wait_asleep();
        let t = now();
        board.wait(0, 1);
        took.push(Duration::from_nanos(board.get(0).saturating_sub(t)));
        drop(queue);
    }
    println!("T4: {took:?}");
}

#[test]
fn t5_set_eats_life() {
    let test = Test::new("t5");
    let mut took = Vec::new();
    for round in 0..5 {
        let (n1, n2) = (format!("a{round}"), format!("b{round}"));
        let q1 = Queue::create(test.name(&n1), &QueueOptions::new()).unwrap();
        let q2 = Queue::create(test.name(&n2), &QueueOptions::new()).unwrap();
        q1.send(b"1").unwrap();
        q2.send(b"2").unwrap();
        let board = Board::new(2);
        let worker = fork("worker", || {
            let q1 = Queue::open(test.name(&n1)).unwrap(); let q2 = Queue::open(test.name(&n2)).unwrap();
            let _l = q1.lease().unwrap(); let _m = q2.lease().unwrap(); board.set(0, 1); std::thread::sleep(LONG); });
        board.wait(0, 1);
        let set = fork("set", || { let q = Queue::open(test.name(&n1)).unwrap(); WaitSet::new().recv(&q).wait().unwrap(); });
        set.wait_asleep();
        let r = fork("receiver", || { let q = Queue::open(test.name(&n2)).unwrap(); q.recv().unwrap(); board.set(1, now()); });
        r.wait_asleep();
        let t = now();
        worker.kill();
        board.wait(1, 1);
        took.push(Duration::from_nanos(board.get(1) - t));
        set.join();
    }
    println!("T5: {took:?}");
}

#[test]
fn t6_ping_pong() {
    let test = Test::new("t6");
    let board = Board::new(8);
    let server = fork("server", || {
        let got = Arc::new(std::sync::Mutex::new(Vec::new()));
        let slot: Arc<std::sync::OnceLock<Endpoint>> = Arc::new(std::sync::OnceLock::new());
        let mut previous: Option<(Arc<AtomicBool>, std::thread::JoinHandle<()>)> = None;
        let b: &'static Board = unsafe { &*(&raw const board) };
        let space = test.space.clone();
        for k in 0..400u64 {
            let stop = Arc::new(AtomicBool::new(false));
            let (s, sl, g, sp) = (stop.clone(), slot.clone(), got.clone(), space.clone());
            let h = std::thread::spawn(move || {
                let e = sl.get_or_init(|| Endpoint::open_named(sp.name("server"), &QueueOptions::new()).unwrap());
                while !s.load(SeqCst) {
                    if let Ok(m) = e.try_recv() { let mut g = g.lock().unwrap(); g.push(m); b.set(0, g.len() as u64); }
                }
            });
            // From the second on, the one before ends while this one works.
            if let Some((stop, h)) = previous.take() {
                b.wait(0, 2);
                b.wait(1, k);
                std::thread::sleep(Duration::from_millis(1));
                stop.store(true, SeqCst);
                h.join().unwrap();
                b.set(2, k);
            }
            previous = Some((stop, h));
        }
        std::thread::sleep(LONG);
    });
    let caller = |_| fork("caller", || {
        let e = Endpoint::open(&test.space, &QueueOptions::new()).unwrap();
        let to = loop { match e.find("server") { Ok(to) => break to, Err(_) => std::thread::sleep(Duration::from_millis(1)) } };
        let r = e.call_timeout(to, b"x", Duration::from_secs(30));
        println!("{r:?}");
    });
    let callers: Vec<_> = (0..2).map(caller).collect();
    board.wait(0, 2);
    callers.iter().for_each(|c| c.wait_asleep());
    let mut rates = Vec::new();
    for k in 1..400 {
        board.set(1, k);
        board.wait(2, k);
        std::thread::sleep(Duration::from_millis(3));
        let a = switches(&callers[0]);
        std::thread::sleep(Duration::from_millis(7));
        rates.push(switches(&callers[0]) - a);
    }
    println!("T6: switches in 100 ms: {rates:?}");
    drop(server);
}

#[test]
fn t7_lives_lock() {
    let test = Test::new("t7");
    let e = Endpoint::open(&test.space, &QueueOptions::new()).unwrap();
    drop(e);
    let lives = std::fs::read_dir(&test.dir).unwrap().map(|e| e.unwrap().path()).find(|p| p.to_str().unwrap().contains(".lives")).unwrap();
    let file = std::fs::OpenOptions::new().read(true).write(true).open(lives).unwrap();
    let stopped = fork("stopped", || std::thread::sleep(LONG));
    file.write_all_at(&(stopped.pid.as_raw() as u32).to_le_bytes(), 8).unwrap();
    let c = fork("other", || {
        let e = Endpoint::open(&test.space, &QueueOptions::new()).unwrap();
        for _ in 0..3 { let t = Instant::now(); let r = e.try_recv().map(drop); println!("T7: try_recv {r:?} took {:?}", t.elapsed()); }
        let q = Queue::create(test.name("q"), &QueueOptions::new()).unwrap();
        for _ in 0..3 { let t = Instant::now(); let r = q.try_lease().map(drop); println!("T7: try_lease {r:?} took {:?}", t.elapsed()); }
        assert_eq!(q.try_recv(), Err(Error::WouldBlock));
    });
    c.join();
}
