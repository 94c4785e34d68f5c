//! Peers that write anything over a queue's memory, and files that hold anything: an error, or a message of legal length; never a
//! crash, never a call that does not return.
//!
//! The numbers are the same in each run.

mod support;

use std::fs::{self, OpenOptions};
use std::os::unix::fs::FileExt;
use std::time::{Duration, Instant};

use rsipc::{Endpoint, Error, Mutex, Queue, QueueOptions, Region, Result, Semaphore};
use support::{Board, LONG, Random, Test, fork};

/// Shorter than a slot has room for.
const MAX_MESSAGE: usize = 20;
const SHORT: Duration = Duration::from_millis(1);

/// Where a queue's fields lie, up to the first entries of its table of peers.
const FIELDS: u64 = 512;
/// Of these: the locks, whose owners calls wait for; the positions; how far blocks are used, and where the log begins; what each side has
/// in transit, and of the log, and on lease.
const LOCKS: [u64; 3] = [128, 256, 384];
const POSITIONS: [u64; 2] = [136, 264];
const BLOCKS_AND_LOG: [u64; 4] = [64, 68, 72, 96];
const SIDES: [u64; 2] = [128, 256];
const SIDE: [u64; 8] = [16, 20, 24, 32, 40, 48, 56, 60];
/// Behind the table of peers are the slots; each begins with its sequence number and a message's length, or says in which block it is.
const SLOTS: u64 = 16512;
const SLOT: u64 = 64;
const IN_BLOCK: u64 = 0xffff_ffff;
/// Then come the heads of the blocks: their owners, lengths, offers and so on.
const HEAD: u64 = 64;
const HEAD_FIELDS: [u64; 8] = [0, 8, 16, 24, 28, 32, 36, 40];

/// The kinds of queues, each with its capacity in slots and its blocks.
fn kinds() -> Vec<(QueueOptions, Places)> {
    let options = QueueOptions::new().max_message(MAX_MESSAGE).leases(3);
    let places = |slots, blocks| Places { slots, blocks, log: false };
    vec![
        (options.capacity(1), places(1, 3)),
        (options.capacity(2), places(2, 3)),
        (options.capacity(3), places(3, 3)),
        // It has numbers of slots far beyond its end.
        (options.capacity(65), places(65, 3)),
        (options.capacity(0), places(0, 5)),
        (options.unbounded_within(1 << 20), Places { log: true, ..places(256, 3) }),
    ]
}

/// What there is in a queue's file.
#[derive(Clone, Copy)]
struct Places {
    slots: u64,
    blocks: u64,
    log: bool,
}

impl Places {
    fn heads(&self) -> u64 {
        SLOTS + self.slots * SLOT
    }

    /// A place worth writing to.
    fn any(&self, len: u64, random: &mut Random) -> u64 {
        let one_of = |random: &mut Random, of: &[u64]| of[random.below(of.len() as u64) as usize];
        match random.below(10) {
            0 => random.below(len / 4) * 4,
            1 => random.below(FIELDS / 4) * 4,
            2 => one_of(random, &POSITIONS),
            3 => one_of(random, &BLOCKS_AND_LOG),
            4 => one_of(random, &SIDES) + one_of(random, &SIDE),
            5 | 6 if self.slots != 0 => SLOTS + SLOT * random.below(self.slots.min(4)) + random.below(4) * 4,
            // The first records.
            7 if self.log => (self.heads() + self.blocks * HEAD).next_multiple_of(4096) + 8 * random.below(16),
            _ => self.heads() + HEAD * random.below(self.blocks) + one_of(random, &HEAD_FIELDS),
        }
    }
}

fn options(capacity: usize) -> QueueOptions {
    QueueOptions::new().capacity(capacity).max_message(MAX_MESSAGE)
}

/// A value that something may go wrong with.
fn evil(random: &mut Random) -> u64 {
    let small = random.below(70);
    match random.below(8) {
        0 => 0,
        1 => small,
        2 => u64::MAX - small,
        3 => 1 << small.min(63),
        4 => (1 << 63) - small,
        5 => u64::from(std::process::id()) | small << 30,
        // Always alive.
        6 => 1,
        _ => random.next(),
    }
}

/// Writes such a value to a place worth it. Locks are left alone mostly: what is to be seen behind them would never be seen.
fn scribble(file: &fs::File, len: u64, places: &Places, random: &mut Random) {
    let at = places.any(len, random);
    let is_length = (SLOTS..places.heads()).contains(&at) && (at - SLOTS) % SLOT == 8;
    let value = match at {
        at if LOCKS.contains(&at) && random.below(16) != 0 => 0,
        // The longest lengths that the slot, but not the queue, has room for; or a block, if with the next four bytes a likely one.
        _ if is_length && random.below(2) == 0 => random.below(SLOT),
        _ if is_length => IN_BLOCK | random.below(places.blocks + 1) << 32,
        // The states of a block, with this process or another as its owner.
        at if at >= places.heads() && (at - places.heads()).is_multiple_of(HEAD) && random.below(2) == 0 => {
            random.below(6) << 61 | [0, 1, u64::from(std::process::id())][random.below(3) as usize]
        }
        // An offer that is open.
        at if at >= places.heads() && (at - places.heads()) % HEAD == 16 && random.below(2) == 0 => random.below(9),
        _ => evil(random),
    };
    let width = 8.min(len - at) as usize;
    file.write_all_at(&value.to_le_bytes()[..width], at).unwrap();
}

/// Makes every call there is, and looks at what comes back.
fn use_it(queue: &Queue, what: &str) {
    let legal = |result: Result<usize>| match result {
        Ok(len) => assert!(len <= MAX_MESSAGE, "{what}: a message of {len} bytes"),
        Err(Error::NoMemory(_) | Error::BufferTooSmall { .. }) => panic!("{what}: {result:?}"),
        Err(_) => {}
    };
    let start = Instant::now();
    let _ = queue.try_send(&[7; MAX_MESSAGE]);
    let lease = queue.try_lease();
    legal(queue.try_recv().map(|message| message.len()));
    let _ = queue.send_timeout(&[8; 3], SHORT);
    legal(queue.recv_timeout(SHORT).map(|message| message.len()));
    legal(queue.try_recv_into(&mut [0; MAX_MESSAGE]));
    if let Ok(lease) = lease {
        assert!(lease.message().len() <= MAX_MESSAGE, "{what}: a message on lease");
        let _ = if lease.message().len() % 2 == 0 { lease.finish() } else { lease.give_back() };
    }
    let _ = queue.lease_timeout(SHORT).map(rsipc::Lease::finish);
    let (view, loan) = (queue.try_recv_view(), queue.try_loan(MAX_MESSAGE));
    if let Ok(mut loan) = loan {
        loan.write(0, &[9; MAX_MESSAGE]).unwrap();
        let _ = loan.try_send();
    }
    legal(view.and_then(|view| view.to_vec()).map(|message| message.len()));
    legal(queue.recv_view_timeout(SHORT).map(|view| view.len()));
    if let (Ok(len), Some(capacity)) = (queue.len(), queue.capacity()) {
        // And those that were given back.
        assert!(len <= capacity + 256 + 3, "{what}: {len} messages");
    }
    let _ = queue.peers();
    let _ = queue.is_shut_down();
    assert!(start.elapsed() < LONG, "{what}");
}

#[test]
fn whatever_is_written_into_a_queue() {
    let test = Test::new("scribbling");
    for (i, (options, places)) in kinds().into_iter().enumerate() {
        let name = format!("q{i}");
        let queue = Queue::create(test.name(&name), &options).unwrap();
        let before = b"there before";
        let mut expected = Err(Error::WouldBlock);
        if queue.capacity() != Some(0) {
            queue.send(before).unwrap();
            expected = Ok(before.to_vec());
        }
        if places.log {
            (0..258).for_each(|_| queue.send(before).unwrap());
        }
        let file = OpenOptions::new().read(true).write(true).open(test.dir.join(&name)).unwrap();
        let whole = fs::read(test.dir.join(&name)).unwrap();
        if queue.capacity() != Some(0) {
            assert_eq!(whole[SLOTS as usize + 12..][..12], *before, "the slots lie elsewhere");
        }
        // The last positions of all, in slots that say the same: what comes after them?
        for value in [u64::MAX, u64::MAX - 1, i64::MAX as u64, i64::MAX as u64 - 1] {
            file.write_all_at(&whole, 0).unwrap();
            POSITIONS.iter().for_each(|&at| file.write_all_at(&value.to_le_bytes(), at).unwrap());
            let sequence = (value / places.slots.next_power_of_two()).wrapping_mul(2) + 1;
            for slot in 0..places.slots {
                file.write_all_at(&sequence.to_le_bytes(), SLOTS + slot * SLOT).unwrap();
            }
            (0..3).for_each(|_| use_it(&queue, &format!("queue {i}, position {value:#x}")));
        }
        // The log's numbers, likewise.
        for value in [u64::MAX, u64::MAX - 15, u64::MAX - 4095, 1 << 63, (1 << 22) - 16, 8] {
            file.write_all_at(&whole, 0).unwrap();
            [160, 288, 296].iter().for_each(|&at| file.write_all_at(&value.to_le_bytes(), at).unwrap());
            (0..3).for_each(|_| use_it(&queue, &format!("queue {i}, log {value:#x}")));
        }
        for seed in 1..=if places.log { 250 } else { 500 } {
            file.write_all_at(&whole, 0).unwrap();
            let mut random = Random(seed * 0x9e37_79b9);
            for _ in 0..=random.below(6) {
                scribble(&file, whole.len() as u64, &places, &mut random);
            }
            use_it(&queue, &format!("queue {i}, seed {seed}"));
        }
        // The handle is none the worse for it.
        file.write_all_at(&whole, 0).unwrap();
        assert_eq!(queue.try_recv(), expected);
    }
}

#[test]
fn while_somebody_writes_into_it() {
    for (options, places) in kinds().into_iter().skip(2) {
        let test = Test::new("scribbling meanwhile");
        let queue = Queue::create(test.name("q"), &options).unwrap();
        let whole = fs::read(test.dir.join("q")).unwrap();
        let board = Board::new(1);
        let users = [(); 2].map(|()| {
            fork("a user", || {
                while board.get(0) == 0 {
                    use_it(&queue, "a user");
                }
            })
        });
        let scribbler = fork("a scribbler", || {
            let file = OpenOptions::new().write(true).open(test.dir.join("q")).unwrap();
            let mut random = Random(0x5eed);
            let end = Instant::now() + Duration::from_secs(3);
            for round in 0..100_000u32 {
                scribble(&file, whole.len() as u64, &places, &mut random);
                if round.is_multiple_of(8) {
                    file.write_all_at(&whole[..whole.len().min(1 << 16)], 0).unwrap();
                }
                if Instant::now() > end {
                    break;
                }
            }
            board.set(0, 1);
        });
        while board.get(0) == 0 {
            use_it(&queue, "the first user");
        }
        scribbler.join();
        users.into_iter().for_each(support::Child::join);
    }
}

#[test]
fn wake_ups_for_nothing_do_not_make_a_wait_longer() {
    let test = Test::new("wake-ups for nothing");
    let queue = Queue::create(test.name("q"), &options(1)).unwrap();
    let file = OpenOptions::new().read(true).write(true).open(test.dir.join("q")).unwrap();
    let memory = memmap2::MmapRaw::map_raw(&file).unwrap();
    let board = Board::new(1);
    let waiter = fork("waiter", || {
        assert_eq!(queue.recv_timeout(Duration::from_millis(300)), Err(Error::TimedOut));
        board.set(0, 1);
    });
    let end = Instant::now() + LONG;
    while board.get(0) == 0 && Instant::now() < end && waiter.is_alive() {
        for at in LOCKS {
            // SAFETY: the kernel only looks for sleepers at the address, which lies in the mapping.
            unsafe { libc::syscall(libc::SYS_futex, memory.as_ptr().add(at as usize), libc::FUTEX_WAKE, i32::MAX) };
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    assert_eq!(board.get(0), 1, "the wait did not end");
}

/// The inboxes in a namespace: those for replies, or those for messages.
fn inboxes(test: &Test, for_replies: bool) -> Vec<fs::File> {
    let serial = |name: &str| name.rsplit('.').next().and_then(|serial| serial.parse::<u32>().ok());
    let names = test.files().into_iter().filter(|name| name.starts_with('@'));
    let names = names.filter(|name| serial(name).is_some_and(|serial| (serial >= 1 << 31) == for_replies));
    names.map(|name| OpenOptions::new().read(true).write(true).open(test.dir.join(name)).unwrap()).collect()
}

#[test]
fn a_forged_number_of_replies_is_not_counted_to() {
    let test = Test::new("a forged number");
    fork("a caller", || {
        let endpoint = Endpoint::open(&test, &QueueOptions::new()).unwrap();
        let call = || endpoint.call_timeout(endpoint.address(), b"x", SHORT);
        assert_eq!(call(), Err(Error::TimedOut));
        let [inbox] = &inboxes(&test, true)[..] else { panic!("one inbox") };
        let size = |at: u64, len: usize| {
            let mut bytes = [0; 8];
            inbox.read_exact_at(&mut bytes[..len], at).unwrap();
            u64::from_le_bytes(bytes)
        };
        let heads = SLOTS + size(16, 4) * size(24, 8);
        let log = (heads + size(32, 4) * HEAD).next_multiple_of(4096);
        // The log ends behind its first record, and that is the message with this number.
        inbox.write_all_at(&16u64.to_le_bytes(), 160).unwrap();
        inbox.write_all_at(&(1u64 << 40).to_le_bytes(), log + 16 + 8).unwrap();
        let _ = call();
    })
    .join();
}

#[test]
fn closing_does_not_wait_for_a_lock_that_nobody_lets_go_of() {
    let test = Test::new("a forged lock");
    let use_endpoints = || {
        let endpoint = Endpoint::open(&test, &QueueOptions::new()).unwrap();
        assert_eq!(endpoint.call_timeout(endpoint.address(), b"x", SHORT), Err(Error::TimedOut));
        // The first process lives as long as the others do.
        let inboxes = inboxes(&test, true).into_iter().chain(inboxes(&test, false)).collect::<Vec<_>>();
        assert_eq!(inboxes.len(), 2);
        inboxes.iter().for_each(|inbox| inbox.write_all_at(&1u32.to_le_bytes(), LOCKS[0]).unwrap());
    };
    // The thread has an inbox for replies, until it ends.
    fork("one with endpoints", || std::thread::scope(|scope| scope.spawn(use_endpoints).join().unwrap())).join();
}

/// Opens a file as whatever it may be, and uses what is for peers that need not trust each other.
fn open_all(test: &Test, name: &str, what: &str) {
    let _ = (Mutex::<u64>::open(test.name(name)).map(drop), Semaphore::open(test.name(name)).map(drop));
    if let Ok(region) = Region::open(test.name(name)) {
        let len = region.len() as u64;
        assert!(len <= fs::metadata(test.dir.join(name)).unwrap().len(), "{what}: a region of {len} bytes");
    }
    if let Ok(queue) = Queue::open(test.name(name)) {
        let _ = queue.try_send(b"x");
        if let Ok(message) = queue.try_recv() {
            assert!(message.len() <= queue.max_message(), "{what}");
        }
    }
    assert!(test.list().is_ok(), "{what}");
}

#[test]
fn files_of_anything() {
    let test = Test::new("files of anything");
    let path = test.dir.join("x");
    Region::create(test.name("r"), 5000).unwrap();
    Mutex::create(test.name("m"), 7u64).unwrap();
    Semaphore::create(test.name("s"), 1).unwrap();
    Semaphore::create_permits(test.name("p"), 1).unwrap();
    Queue::create(test.name("q"), &options(3)).unwrap();
    let mut random = Random(0xf11e);
    let try_it = |bytes: &[u8], what: &str| {
        fs::write(&path, bytes).unwrap();
        open_all(&test, "x", what);
    };
    for name in ["r", "m", "s", "p", "q"] {
        let whole = fs::read(test.dir.join(name)).unwrap();
        // A header that is right, and anything behind it.
        for round in 0..40 {
            let keep = [0, 4, 8, 16, 32][random.below(5) as usize];
            let len = random.below(2 * whole.len() as u64) as usize;
            let bytes: Vec<u8> = (0..len).map(|i| if i < keep { whole[i % whole.len()] } else { random.next() as u8 }).collect();
            try_it(&bytes, &format!("{name}, {len} bytes, of which {keep} are right, round {round}"));
        }
        for len in (0..whole.len()).step_by(whole.len() / 40) {
            try_it(&whole[..len], &format!("{name}, cut to {len}"));
        }
        for bit in 0..8 * whole.len().min(128) {
            let mut bytes = whole.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            try_it(&bytes, &format!("{name}, bit {bit} flipped"));
        }
    }
}
