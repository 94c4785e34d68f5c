//! Many threads on one handle. `make tsan` runs this under ThreadSanitizer, which sees the accesses of one mapping only: so
//! threads, not processes.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use rsipc::{Error, Mutex, Namespace, Queue, QueueOptions, Semaphore};

const EACH: u64 = 400;

struct Directory(Namespace);

impl Directory {
    fn new(name: &str) -> Self {
        Self(Namespace::at(format!("/dev/shm/rsipc-threads-{name}-{}", std::process::id())))
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        if let Ok(dir) = self.0.dir() {
            std::fs::remove_dir_all(dir).ok();
        }
    }
}

/// A message says its number in every byte but the first eight.
fn message(number: u64, len: usize) -> Vec<u8> {
    let mut message = number.to_le_bytes().to_vec();
    message.resize(len, number as u8);
    message
}

fn number_of(message: &[u8]) -> u64 {
    let (number, rest) = message.split_first_chunk().expect("it has a number");
    let number = u64::from_le_bytes(*number);
    assert!(rest.iter().all(|byte| *byte == number as u8), "a message is torn");
    number
}

/// Two threads send, two receive, of which one on lease; each message is received once.
fn pass(name: &str, options: &QueueOptions, len: usize) {
    let directory = Directory::new(name);
    let queue = Queue::create(directory.0.name("queue"), options).unwrap();
    let (sum, count) = (AtomicU64::new(0), AtomicU64::new(0));
    std::thread::scope(|scope| {
        for leases in [false, true] {
            let (queue, sum, count) = (&queue, &sum, &count);
            scope.spawn(move || {
                loop {
                    let received = if leases {
                        queue.lease().and_then(|lease| {
                            let number = number_of(lease.message());
                            lease.finish().map(|()| number)
                        })
                    } else {
                        queue.recv().map(|message| number_of(&message))
                    };
                    match received {
                        Ok(number) => {
                            sum.fetch_add(number, Relaxed);
                            count.fetch_add(1, Relaxed);
                        }
                        Err(Error::Closed) => return,
                        Err(e) => panic!("{e}"),
                    }
                }
            });
        }
        let senders: Vec<_> = (0..2)
            .map(|sender| {
                let queue = &queue;
                scope.spawn(move || (0..EACH).for_each(|i| queue.send(&message(sender * EACH + i, len)).unwrap()))
            })
            .collect();
        senders.into_iter().for_each(|sender| sender.join().unwrap());
        queue.shutdown().unwrap();
    });
    assert_eq!((count.into_inner(), sum.into_inner()), (2 * EACH, EACH * (2 * EACH - 1)));
}

#[test]
fn threads_pass_messages_through_one_handle() {
    pass("bounded", &QueueOptions::new().capacity(4).max_message(64), 48);
    pass("one", &QueueOptions::new().capacity(1).max_message(64), 48);
    pass("unbounded", &QueueOptions::new().unbounded().max_message(64), 48);
    pass("rendezvous", &QueueOptions::new().capacity(0).max_message(64), 48);
    pass("long", &QueueOptions::new().capacity(4).max_message(10_000), 9_000);
}

#[test]
fn threads_take_turns_with_one_mutex() {
    let directory = Directory::new("mutex");
    let mutex = Mutex::create(directory.0.name("mutex"), [0_u64; 4]).unwrap();
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| (0..EACH).for_each(|_| mutex.lock().unwrap().iter_mut().for_each(|value| *value += 1)));
        }
    });
    assert_eq!(*mutex.lock().unwrap(), [3 * EACH; 4]);
}

#[test]
fn threads_share_one_semaphore() {
    let directory = Directory::new("semaphore");
    for permits in [false, true] {
        let semaphore = if permits {
            Semaphore::create_permits(directory.0.name("permits"), 1).unwrap()
        } else {
            Semaphore::create(directory.0.name("signals"), 1).unwrap()
        };
        let turns = AtomicU64::new(0);
        std::thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| {
                    for _ in 0..EACH {
                        semaphore.acquire_timeout(Duration::from_secs(60)).unwrap();
                        // Not one step, unlike what the semaphore keeps apart.
                        turns.store(turns.load(Relaxed) + 1, Relaxed);
                        semaphore.release().unwrap();
                    }
                });
            }
        });
        assert_eq!(turns.into_inner(), 3 * EACH);
    }
}
