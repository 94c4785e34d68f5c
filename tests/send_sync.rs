//! What may go to other threads, and be used by several at a time: all but the guard of a mutex, which only others may look through.
//! (That it is not `Send` its documentation shows.)

mod support;

use rsipc::{
    Address, Batch, Call, Endpoint, Entry, Error, Inspection, Kind, Lease, Loan, Message, MessageView, Mutex, MutexGuard, Name,
    Namespace, NotSent, Peer, Queue, QueueInspection, QueueOptions, Region, Semaphore, SemaphoreKind, TypedQueue, User, View,
    WaitSet,
};
use support::Test;

const fn is_send_and_sync<T: Send + Sync>() {}
const fn is_sync<T: Sync>() {}

const _: () = {
    is_send_and_sync::<Address>();
    is_send_and_sync::<Batch>();
    is_send_and_sync::<Call>();
    is_send_and_sync::<Endpoint>();
    is_send_and_sync::<Entry>();
    is_send_and_sync::<Error>();
    is_send_and_sync::<Inspection>();
    is_send_and_sync::<Kind>();
    is_send_and_sync::<Lease<'_>>();
    is_send_and_sync::<Loan<'_>>();
    is_send_and_sync::<Message>();
    is_send_and_sync::<MessageView<'_>>();
    is_send_and_sync::<Mutex>();
    is_send_and_sync::<Mutex<[u64; 9]>>();
    is_send_and_sync::<Name<'_>>();
    is_send_and_sync::<Namespace>();
    is_send_and_sync::<NotSent<'_>>();
    is_send_and_sync::<Peer>();
    is_send_and_sync::<Queue>();
    is_send_and_sync::<QueueInspection>();
    is_send_and_sync::<QueueOptions>();
    is_send_and_sync::<Region>();
    is_send_and_sync::<Semaphore>();
    is_send_and_sync::<SemaphoreKind>();
    is_send_and_sync::<TypedQueue<u64>>();
    is_send_and_sync::<User>();
    is_send_and_sync::<View>();
    is_send_and_sync::<WaitSet<'_>>();
    is_sync::<MutexGuard<'_, u64>>();
};

#[cfg(feature = "async")]
const _: () = is_send_and_sync::<rsipc::Messages<'_>>();

/// Its values are written anew by whoever receives them, so that they need not be `Send` themselves.
#[cfg(feature = "serde")]
const _: () = is_send_and_sync::<TypedQueue<std::rc::Rc<u64>, rsipc::Postcard>>();

#[test]
fn what_one_thread_has_another_one_uses_and_ends() {
    let test = Test::new("threads");
    let queue = Queue::create(test.name("queue"), &QueueOptions::new()).unwrap();
    let mutex = Mutex::create(test.name("mutex"), 7u64).unwrap();
    let server = Endpoint::open(&test, &QueueOptions::new()).unwrap();
    queue.send_many(&["on lease", "in place"]).unwrap();

    let (lease, view, mut loan) = (queue.lease().unwrap(), queue.recv_view().unwrap(), queue.loan(4).unwrap());
    let mut call = server.begin_call(server.address(), b"a request", support::LONG).unwrap();
    let mut request = server.recv().unwrap();
    let guard = mutex.lock().unwrap();
    std::thread::scope(|scope| {
        let guard = &guard;
        scope.spawn(move || assert_eq!((**guard, guard.owner_died()), (7, false)));
        scope.spawn(move || lease.finish().unwrap());
        scope.spawn(move || assert_eq!(view.to_vec().unwrap(), b"in place"));
        scope.spawn(move || {
            loan.write(0, b"lent").unwrap();
            loan.send().unwrap();
        });
        scope.spawn(move || request.reply(b"a reply").unwrap());
        scope.spawn(move || assert_eq!(call.wait_timeout(support::LONG).unwrap(), b"a reply"));
    });
    assert_eq!(queue.recv().unwrap(), b"lent");
    assert!(queue.is_empty().unwrap());
    drop(guard);
    assert!(mutex.try_lock().is_ok());
}
