//! The first call of a handle sets up what it needs later. Others who come in the middle of that do not wait for it for ever: a child of fork, which does not have
//! the thread that was at it, and a signal handler of that same thread.

mod support;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicU32, Ordering::Relaxed};
use std::time::Duration;

use rsipc::{Error, Queue, QueueOptions};
use support::{Test, fork, wait_for};

type Interruption = fn();

thread_local! {
    /// This thread's allocation with this number from here on is interrupted so.
    static INTERRUPTED: Cell<Option<(u32, Interruption)>> = const { Cell::new(None) };
}

/// The system's allocator, before which something else may be done.
struct Interrupting;

// SAFETY: memory comes from the system's allocator.
unsafe impl GlobalAlloc for Interrupting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if let Some((number, interruption)) = INTERRUPTED.get() {
            INTERRUPTED.set(number.checked_sub(1).map(|number| (number, interruption)));
            if number == 0 {
                interruption();
            }
        }
        // SAFETY: the caller's promise.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise, and it was allocated there.
        unsafe { System.dealloc(block, layout) };
    }
}

#[global_allocator]
static ALLOCATOR: Interrupting = Interrupting;

/// Makes a call with its allocation of that number interrupted; says whether it has so many.
fn interrupt(number: u32, interruption: Interruption, call: impl FnOnce()) -> bool {
    INTERRUPTED.set(Some((number, interruption)));
    call();
    INTERRUPTED.take().is_none()
}

type FirstCall = fn(&Queue) -> Result<(), Error>;

const FIRST_CALLS: [FirstCall; 7] = [
    |queue| queue.try_send(b"message"),
    |queue| queue.try_recv().map(drop),
    |queue| queue.peers().map(drop),
    |queue| queue.readiness_fd().map(drop),
    |queue| queue.try_lease().map(drop),
    |queue| queue.loan(5000).map(drop),
    |queue| queue.try_recv_view().map(drop),
];

fn is_served(result: Result<(), Error>) -> bool {
    matches!(result, Ok(()) | Err(Error::WouldBlock | Error::Reentrant))
}

static IS_INSIDE: AtomicBool = AtomicBool::new(false);
static MAY_GO_ON: AtomicBool = AtomicBool::new(false);

fn stay_inside() {
    IS_INSIDE.store(true, Relaxed);
    while !MAY_GO_ON.load(Relaxed) {
        std::thread::sleep(Duration::from_micros(100));
    }
}

#[test]
fn a_child_of_fork_is_served_whatever_another_thread_was_in_the_middle_of() {
    let test = Test::new("a fork in the middle of a first call");
    Queue::create(test.name("queue"), &QueueOptions::new().max_message(5000)).unwrap();
    for (which, first_call) in FIRST_CALLS.into_iter().enumerate() {
        for number in 0.. {
            let queue = Arc::new(Queue::open(test.name("queue")).unwrap());
            IS_INSIDE.store(false, Relaxed);
            MAY_GO_ON.store(false, Relaxed);
            let used = Arc::clone(&queue);
            let thread = std::thread::spawn(move || interrupt(number, stay_inside, || assert!(is_served(first_call(&used)))));
            wait_for("the thread to be inside, or done", || IS_INSIDE.load(Relaxed) || thread.is_finished());
            let child =
                fork(format!("a child at allocation {number} of call {which}"), || assert!(is_served(first_call(&queue))));
            child.join();
            MAY_GO_ON.store(true, Relaxed);
            if !thread.join().unwrap() {
                break;
            }
        }
    }
}

static HANDLE: AtomicPtr<Queue> = AtomicPtr::new(std::ptr::null_mut());
static CALL: AtomicU32 = AtomicU32::new(0);

fn call_again() {
    // SAFETY: it was set by who is interrupted, who has it still.
    let queue = unsafe { &*HANDLE.load(Relaxed) };
    assert!(is_served(FIRST_CALLS[CALL.load(Relaxed) as usize](queue)));
}

#[test]
fn a_handler_is_served_or_refused_whatever_its_thread_was_in_the_middle_of() {
    let test = Test::new("a handler in the middle of a first call");
    Queue::create(test.name("queue"), &QueueOptions::new().max_message(5000)).unwrap();
    let mut allocations = 0;
    for (which, first_call) in FIRST_CALLS.into_iter().enumerate() {
        for number in 0.. {
            let mut queue = Queue::open(test.name("queue")).unwrap();
            // What is done in a handler is done in the place of an allocation: that makes it come at a certain step.
            let child = fork(format!("interrupted at allocation {number} of call {which}"), || {
                HANDLE.store(&raw mut queue, Relaxed);
                CALL.store(which as u32, Relaxed);
                let queue = HANDLE.load(Relaxed);
                // SAFETY: it lives until the process exits.
                let first_call = || assert!(is_served(first_call(unsafe { &*queue })));
                support::exit(if interrupt(number, call_again, first_call) { 0 } else { 7 });
            });
            match child.end() {
                nix::sys::wait::WaitStatus::Exited(_, 0) => {}
                nix::sys::wait::WaitStatus::Exited(_, 7) => {
                    allocations += number;
                    break;
                }
                status => panic!("interrupted at allocation {number} of call {which}: {status:?}"),
            }
        }
    }
    assert!(allocations >= 10, "there is little to interrupt: {allocations}");
}
