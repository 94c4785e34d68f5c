//! Receiving in async programs.

#![cfg(feature = "async")]

mod support;

use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use futures_core::Stream;
use nix::poll::{PollFd, PollFlags, PollTimeout};
use rsipc::{Error, Queue, QueueOptions};
use support::{LONG, Test, fork, message, number, wait_for};

fn small(test: &Test, name: &str) -> Queue {
    Queue::create(test.name(name), &QueueOptions::new().capacity(4).max_message(16)).unwrap()
}

/// A runtime in a few lines: one task, whose thread sleeps until it is woken.
struct Sleeper(std::thread::Thread);

impl Wake for Sleeper {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

fn block_on<F: Future>(future: F) -> F::Output {
    let waker = Waker::from(Arc::new(Sleeper(std::thread::current())));
    let mut future = pin!(future);
    loop {
        match future.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(output) => return output,
            Poll::Pending => std::thread::park_timeout(LONG),
        }
    }
}

fn next<S: Stream + Unpin>(stream: &mut S) -> impl Future<Output = Option<S::Item>> {
    std::future::poll_fn(|context| Pin::new(&mut *stream).poll_next(context))
}

/// Counts how often its task was woken.
#[derive(Default)]
struct Count(AtomicU64);

impl Wake for Count {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, SeqCst);
    }
}

#[test]
fn a_task_is_woken_by_another_process() {
    let test = Test::new("task");
    let queue = small(&test, "q");
    let sender = fork("sender", || {
        for i in 0..1000 {
            if i % 100 == 0 {
                std::thread::sleep(Duration::from_millis(2));
            }
            queue.send(&message(i, 16)).unwrap();
        }
        queue.shutdown().unwrap();
    });
    block_on(async {
        for i in 0..1000 {
            assert_eq!(number(&queue.recv_async().await.unwrap()), i);
        }
        assert_eq!(queue.recv_async().await, Err(Error::Closed));
    });
    sender.join();
}

#[test]
fn a_stream_ends_with_the_shutdown() {
    let test = Test::new("stream");
    let queue = small(&test, "q");
    let sender = fork("sender", || {
        for i in 0..100_000 {
            queue.send(&message(i, 16)).unwrap();
        }
        queue.shutdown().unwrap();
    });
    block_on(async {
        let mut stream = queue.stream();
        let mut count = 0;
        while let Some(bytes) = next(&mut stream).await {
            assert_eq!(number(&bytes.unwrap()), count);
            count += 1;
        }
        assert_eq!(count, 100_000);
        assert_eq!(next(&mut stream).await, None);
    });
    sender.join();
}

#[test]
fn a_future_that_is_dropped_takes_nothing() {
    let test = Test::new("dropped");
    let queue = small(&test, "q");
    let count = Arc::new(Count::default());
    let waker = Waker::from(Arc::clone(&count));
    let mut context = Context::from_waker(&waker);
    for i in 0..100 {
        let mut future = Box::pin(queue.recv_async());
        assert_eq!(future.as_mut().poll(&mut context), Poll::Pending);
        let woken = count.0.load(SeqCst);
        queue.send(&message(i, 16)).unwrap();
        wait_for("the task to be woken", || count.0.load(SeqCst) > woken);
        drop(future);
        assert_eq!(number(&queue.try_recv().unwrap()), i);
        assert_eq!(queue.try_recv(), Err(Error::WouldBlock));
    }
    // Nobody wakes a task whose future is gone, nor keeps it.
    for _ in 0..10 {
        let mut future = Box::pin(queue.recv_async());
        assert_eq!(future.as_mut().poll(&mut context), Poll::Pending);
    }
    drop(waker);
    assert_eq!(Arc::strong_count(&count), 1);
}

/// Ends its task when it is woken.
struct Ending(std::sync::Mutex<Option<Pin<Box<dyn Future<Output = ()> + Send>>>>);

impl Wake for Ending {
    fn wake(self: Arc<Self>) {
        let task = self.0.lock().unwrap().take();
        drop(task);
    }
}

#[test]
fn a_task_may_end_while_it_is_woken() {
    let test = Test::new("ending");
    let queue = Arc::new(small(&test, "q"));
    for i in 0..3 {
        let of_task = Arc::clone(&queue);
        let mut future: Pin<Box<dyn Future<Output = ()> + Send>> = Box::pin(async move { drop(of_task.recv_async().await) });
        let ending = Arc::new(Ending(std::sync::Mutex::new(None)));
        let waker = Waker::from(Arc::clone(&ending));
        assert_eq!(future.as_mut().poll(&mut Context::from_waker(&waker)), Poll::Pending);
        *ending.0.lock().unwrap() = Some(future);
        queue.send(&message(i, 16)).unwrap();
        wait_for("the task to end", || ending.0.try_lock().is_ok_and(|task| task.is_none()));
        // Others are woken as before.
        let count = Arc::new(Count::default());
        let waker = Waker::from(Arc::clone(&count));
        assert_eq!(number(&queue.try_recv().unwrap()), i);
        let mut future = Box::pin(queue.recv_async());
        assert_eq!(future.as_mut().poll(&mut Context::from_waker(&waker)), Poll::Pending);
        queue.send(&message(i, 16)).unwrap();
        wait_for("the next task to be woken", || count.0.load(SeqCst) > 0);
        assert_eq!(number(&queue.try_recv().unwrap()), i);
    }
}

/// Panics when its task is woken.
struct Panicking;

impl Wake for Panicking {
    fn wake(self: Arc<Self>) {
        // Not `panic!`, which says so on standard error.
        std::panic::resume_unwind(Box::new("on purpose"));
    }
}

#[test]
fn a_waker_that_panics_keeps_nobody_else_from_being_told() {
    let test = Test::new("panicking");
    let (queue, other) = (small(&test, "q"), small(&test, "other"));
    let fd = other.readiness_fd().unwrap();
    let panicking = Waker::from(Arc::new(Panicking));
    let count = Arc::new(Count::default());
    let waker = Waker::from(Arc::clone(&count));
    for i in 0..3 {
        assert_eq!(other.try_recv(), Err(Error::WouldBlock));
        let mut before = Box::pin(queue.recv_async());
        let mut future = Box::pin(queue.recv_async());
        assert_eq!(before.as_mut().poll(&mut Context::from_waker(&panicking)), Poll::Pending);
        assert_eq!(future.as_mut().poll(&mut Context::from_waker(&waker)), Poll::Pending);
        let woken = count.0.load(SeqCst);
        queue.send(&message(i, 16)).unwrap();
        wait_for("the other task to be woken", || count.0.load(SeqCst) > woken);
        assert_eq!(number(&queue.try_recv().unwrap()), i);
        other.send(&message(i, 16)).unwrap();
        let mut readable = [PollFd::new(fd, PollFlags::POLLIN)];
        assert_eq!(nix::poll::poll(&mut readable, PollTimeout::try_from(LONG).unwrap()), Ok(1));
        assert_eq!(number(&other.try_recv().unwrap()), i);
    }
}

#[test]
fn several_tasks_and_a_thread_receive_from_one_queue() {
    const EACH: u64 = 3_000;
    let test = Test::new("several tasks");
    let queue = small(&test, "q");
    let sum = AtomicU64::new(0);
    let take = |bytes: Vec<u8>| sum.fetch_add(number(&bytes), SeqCst);
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                block_on(async {
                    while let Ok(bytes) = queue.recv_async().await {
                        take(bytes);
                    }
                });
            });
        }
        scope.spawn(|| {
            while let Ok(bytes) = queue.recv_timeout(LONG) {
                take(bytes);
            }
        });
        for i in 0..EACH {
            queue.send(&message(i, 16)).unwrap();
        }
        queue.shutdown().unwrap();
    });
    assert_eq!(sum.load(SeqCst), EACH * (EACH - 1) / 2);
}
