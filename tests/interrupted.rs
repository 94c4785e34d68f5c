//! The first call of a handle sets up what it needs later. Others who come in the middle of that do not wait for it for ever: a
//! child of fork, which does not have the thread that was at it, and a signal handler of that same thread.

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

/// What C does, in the place of whose allocations a handler may do it as well.
#[cfg(feature = "capi")]
mod in_c {
    use std::ffi::CString;
    use std::mem::MaybeUninit;
    use std::os::unix::ffi::OsStrExt;
    use std::ptr::{null, null_mut};

    use rsipc::ffi::ipc_result::{IPC_ERR_REENTRANT, IPC_ERR_TIMED_OUT, IPC_OK};
    use rsipc::ffi::*;

    use super::*;

    /// Handles for each [`call`].
    struct Handles {
        watched: *mut ipc_queue,
        unwatched: *mut ipc_queue,
        endpoint: *mut ipc_endpoint,
        request: *mut ipc_request,
        /// One of all, and the address of another.
        common: *mut ipc_endpoint,
        elsewhere: ipc_address,
    }

    const CALLS: u32 = 5;

    /// Makes the call of that number.
    ///
    /// # Safety
    ///
    /// Nobody has closed the handles.
    unsafe fn call(number: u32, handles: &Handles) -> ipc_result {
        // SAFETY: the caller's promise, and the other places are there.
        unsafe {
            match number {
                0 => ipc_queue_readiness_fd(handles.unwatched, &mut 0),
                1 => ipc_queue_close(handles.watched),
                2 => ipc_endpoint_send(handles.common, handles.elsewhere, c"x".as_ptr().cast(), 1, 0),
                3 => ipc_request_close(handles.request),
                _ => ipc_endpoint_close(handles.endpoint),
            }
        }
    }

    fn open_endpoint(options: &ipc_options) -> (*mut ipc_endpoint, ipc_address) {
        let (mut endpoint, mut address) = (null_mut(), MaybeUninit::uninit());
        // SAFETY: the places are there.
        unsafe {
            assert_eq!(ipc_endpoint_open(null(), null(), options, &mut endpoint), IPC_OK);
            assert_eq!(ipc_endpoint_address(endpoint, address.as_mut_ptr()), IPC_OK);
            (endpoint, address.assume_init())
        }
    }

    fn open_queue(options: &ipc_options) -> *mut ipc_queue {
        let mut queue = null_mut();
        // SAFETY: the name is text, and the places are there.
        assert_eq!(unsafe { ipc_queue_open(c"queue".as_ptr(), options, &mut queue) }, IPC_OK);
        queue
    }

    impl Handles {
        fn open(options: &ipc_options, (common, own): (*mut ipc_endpoint, ipc_address), elsewhere: ipc_address) -> Self {
            let (watched, unwatched) = (open_queue(options), open_queue(options));
            let endpoint = open_endpoint(options).0;
            let (mut request, mut len) = (null_mut(), 0);
            // SAFETY: these are handles, and the places are there.
            unsafe {
                assert_eq!(ipc_queue_readiness_fd(watched, &mut 0), IPC_OK);
                // So many are watched that room for more is made in the middle of the next.
                assert_eq!(ipc_endpoint_readiness_fd(endpoint, &mut 0), IPC_OK);
                let called = ipc_endpoint_call(endpoint, own, null(), 0, null_mut(), 0, &mut len, 1000);
                assert_eq!(called, IPC_ERR_TIMED_OUT);
                assert_eq!(ipc_endpoint_recv(common, null_mut(), 0, &mut len, null_mut(), &mut request, 0), IPC_OK);
            }
            Self { watched, unwatched, endpoint, request, common, elsewhere }
        }
    }

    static IN_HANDLER: AtomicPtr<Handles> = AtomicPtr::new(null_mut());
    static REFUSED: AtomicBool = AtomicBool::new(false);

    fn call_in_handler() {
        // SAFETY: they were set by who is interrupted, who has them still.
        let result = unsafe { call(CALL.load(Relaxed), &*IN_HANDLER.load(Relaxed)) };
        assert!(matches!(result, IPC_OK | IPC_ERR_REENTRANT), "{result:?}");
        REFUSED.store(result == IPC_ERR_REENTRANT, Relaxed);
    }

    #[test]
    fn a_handler_that_closes_is_served_or_refused_whatever_its_thread_was_in_the_middle_of() {
        let test = Test::new("a handler that closes");
        Queue::create(test.name("queue"), &QueueOptions::new()).unwrap();
        let dir = CString::new(test.dir.as_os_str().as_bytes()).unwrap();
        let options = ipc_options { size: size_of::<ipc_options>(), dir: dir.as_ptr(), mode: 0, reserved: 0 };
        for interrupted in 0..CALLS {
            for handlers in 0..CALLS {
                for number in 0.. {
                    let child = fork(format!("call {handlers} at allocation {number} of call {interrupted}"), || {
                        let (common, elsewhere) = (open_endpoint(&options), open_endpoint(&options).1);
                        let handles = Handles::open(&options, common, elsewhere);
                        let mut in_handler = Handles::open(&options, common, elsewhere);
                        IN_HANDLER.store(&raw mut in_handler, Relaxed);
                        CALL.store(handlers, Relaxed);
                        // SAFETY: nobody else has closed these handles.
                        let own_call = || assert_eq!(unsafe { call(interrupted, &handles) }, IPC_OK);
                        let was_interrupted = interrupt(number, call_in_handler, own_call);
                        if REFUSED.load(Relaxed) {
                            // SAFETY: the handler did nothing.
                            assert_eq!(unsafe { call(handlers, &in_handler) }, IPC_OK);
                        }
                        support::exit(if was_interrupted { 0 } else { 7 });
                    });
                    match child.end() {
                        nix::sys::wait::WaitStatus::Exited(_, 0) => {}
                        nix::sys::wait::WaitStatus::Exited(_, 7) => break,
                        status => panic!("call {handlers} at allocation {number} of call {interrupted}: {status:?}"),
                    }
                }
            }
        }
    }
}
