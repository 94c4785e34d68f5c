//! What the calls cost in one process, beside what others offer for the same: `cargo bench`.
//!
//! Figures are ratios to what is measured in the same run, on the same machine: compare columns, not machines.

use std::cell::UnsafeCell;

use divan::{Bencher, black_box};
use rsipc::{Mutex, Namespace, Queue, QueueOptions, Region, Semaphore};

fn main() {
    divan::main();
}

/// A namespace of its own for each bench, removed at its end.
struct Space(Namespace);

impl Space {
    fn new(name: &str) -> Self {
        let dir = format!("/dev/shm/rsipc-bench-{}-{name}", std::process::id());
        std::fs::create_dir_all(&dir).expect("a directory in /dev/shm can be made");
        Self(Namespace::at(dir))
    }
}

impl Drop for Space {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(self.0.dir().expect("it was made above"));
    }
}

mod create_and_open {
    use super::*;

    #[divan::bench]
    fn queue_create_and_unlink(bencher: Bencher) {
        let space = Space::new("create");
        bencher.bench(|| {
            Queue::create(space.0.name("q"), &QueueOptions::new()).unwrap();
            space.0.unlink("q").unwrap();
        });
    }

    #[divan::bench(args = [1, 100])]
    fn queue_open_beside(bencher: Bencher, attached: usize) {
        let space = Space::new("open");
        let _queue = Queue::create(space.0.name("q"), &QueueOptions::new()).unwrap();
        let _others: Vec<_> = (1..attached).map(|_| Queue::open(space.0.name("q")).unwrap()).collect();
        bencher.bench(|| Queue::open(space.0.name("q")).unwrap());
    }

    #[divan::bench]
    fn mutex_open(bencher: Bencher) {
        let space = Space::new("mutex");
        let _mutex = Mutex::create(space.0.name("m"), ()).unwrap();
        bencher.bench(|| Mutex::<()>::open(space.0.name("m")).unwrap());
    }

    #[divan::bench]
    fn region_open(bencher: Bencher) {
        let space = Space::new("region");
        let _region = Region::create(space.0.name("r"), 1 << 20).unwrap();
        bencher.bench(|| Region::open(space.0.name("r")).unwrap());
    }
}

mod lock_and_unlock {
    use super::*;

    #[divan::bench]
    fn rsipc_mutex(bencher: Bencher) {
        let space = Space::new("pair");
        let mutex = Mutex::create(space.0.name("m"), 0u64).unwrap();
        bencher.bench_local(|| *mutex.lock().unwrap() += 1);
    }

    /// The C library's mutex with the same promises: shared between processes, and robust.
    #[divan::bench]
    fn pthread_robust(bencher: Bencher) {
        let mutex = UnsafeCell::new(libc::PTHREAD_MUTEX_INITIALIZER);
        // SAFETY: one thread makes and uses it, at one address.
        unsafe {
            let mut attributes = std::mem::zeroed();
            libc::pthread_mutexattr_init(&raw mut attributes);
            libc::pthread_mutexattr_setpshared(&raw mut attributes, libc::PTHREAD_PROCESS_SHARED);
            libc::pthread_mutexattr_setrobust(&raw mut attributes, libc::PTHREAD_MUTEX_ROBUST);
            libc::pthread_mutex_init(mutex.get(), &raw const attributes);
        }
        // SAFETY: as above.
        bencher.bench_local(|| unsafe {
            libc::pthread_mutex_lock(black_box(mutex.get()));
            libc::pthread_mutex_unlock(mutex.get());
        });
    }

    /// Between threads of one process only, and not robust.
    #[divan::bench]
    fn parking_lot(bencher: Bencher) {
        let mutex = parking_lot::Mutex::new(0u64);
        bencher.bench_local(|| *black_box(&mutex).lock() += 1);
    }
}

mod acquire_and_release {
    use super::*;

    #[divan::bench]
    fn rsipc_signals(bencher: Bencher) {
        let space = Space::new("signals");
        let semaphore = Semaphore::create(space.0.name("s"), 1).unwrap();
        bencher.bench_local(|| {
            semaphore.acquire().unwrap();
            semaphore.release().unwrap();
        });
    }

    #[divan::bench]
    fn rsipc_permits(bencher: Bencher) {
        let space = Space::new("permits");
        let semaphore = Semaphore::create_permits(space.0.name("s"), 1).unwrap();
        bencher.bench_local(|| {
            semaphore.acquire().unwrap();
            semaphore.release().unwrap();
        });
    }

    /// POSIX; a unit that a dead process held is lost.
    #[divan::bench]
    fn sem_t(bencher: Bencher) {
        // SAFETY: zeros are a place for a semaphore.
        let semaphore: UnsafeCell<libc::sem_t> = UnsafeCell::new(unsafe { std::mem::zeroed() });
        // SAFETY: one thread makes and uses it, at one address.
        unsafe { libc::sem_init(semaphore.get(), 1, 1) };
        // SAFETY: as above.
        bencher.bench_local(|| unsafe {
            libc::sem_wait(black_box(semaphore.get()));
            libc::sem_post(semaphore.get());
        });
    }

    /// System V; with SEM_UNDO the kernel gives back what a dead process held.
    #[divan::bench]
    fn semop_undo(bencher: Bencher) {
        // SAFETY: a private semaphore, removed below.
        let id = unsafe { libc::semget(libc::IPC_PRIVATE, 1, 0o600) };
        let step = |by: i16| {
            let mut operation = libc::sembuf { sem_num: 0, sem_op: by, sem_flg: libc::SEM_UNDO as i16 };
            // SAFETY: one operation, on this stack.
            assert_eq!(unsafe { libc::semop(id, &raw mut operation, 1) }, 0);
        };
        step(1);
        bencher.bench_local(|| {
            step(-1);
            step(1);
        });
        // SAFETY: it is ours.
        unsafe { libc::semctl(id, 0, libc::IPC_RMID) };
    }
}

mod send_and_receive {
    use super::*;

    const LENGTHS: [usize; 3] = [8, 64, 1024];

    #[divan::bench(args = LENGTHS)]
    fn rsipc_queue(bencher: Bencher, len: usize) {
        let space = Space::new("queue");
        let queue = Queue::create(space.0.name("q"), &QueueOptions::new().max_message(len)).unwrap();
        let (message, mut buffer) = (vec![7; len], vec![0; len]);
        bencher.bench_local(|| {
            queue.send(black_box(&message)).unwrap();
            queue.recv_into(&mut buffer).unwrap()
        });
    }

    #[divan::bench(args = LENGTHS)]
    fn posix_queue(bencher: Bencher, len: usize) {
        let name = std::ffi::CString::new(format!("/rsipc-bench-{}", std::process::id())).expect("it has no zero byte");
        // SAFETY: zeros are attributes.
        let mut attributes: libc::mq_attr = unsafe { std::mem::zeroed() };
        (attributes.mq_maxmsg, attributes.mq_msgsize) = (10, len as i64);
        // SAFETY: the name and the attributes outlive the call.
        let queue = unsafe { libc::mq_open(name.as_ptr(), libc::O_RDWR | libc::O_CREAT, 0o600, &raw const attributes) };
        assert!(queue >= 0, "{}", std::io::Error::last_os_error());
        let (message, mut buffer) = (vec![7u8; len], vec![0u8; len]);
        // SAFETY: the buffers are as long as said.
        bencher.bench_local(|| unsafe {
            libc::mq_send(queue, message.as_ptr().cast(), len, 0);
            libc::mq_receive(queue, buffer.as_mut_ptr().cast(), len, std::ptr::null_mut())
        });
        // SAFETY: they are ours.
        unsafe {
            libc::mq_close(queue);
            libc::mq_unlink(name.as_ptr());
        }
    }

    #[divan::bench(args = LENGTHS)]
    fn seqpacket(bencher: Bencher, len: usize) {
        let mut ends = [0; 2];
        // SAFETY: the kernel fills in both ends.
        assert_eq!(unsafe { libc::socketpair(libc::AF_UNIX, libc::SOCK_SEQPACKET, 0, ends.as_mut_ptr()) }, 0);
        let (message, mut buffer) = (vec![7u8; len], vec![0u8; len]);
        // SAFETY: the buffers are as long as said.
        bencher.bench_local(|| unsafe {
            libc::write(ends[0], message.as_ptr().cast(), len);
            libc::read(ends[1], buffer.as_mut_ptr().cast(), len)
        });
        for end in ends {
            // SAFETY: they are ours.
            unsafe { libc::close(end) };
        }
    }
}
