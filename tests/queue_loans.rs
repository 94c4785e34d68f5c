//! Messages that are written and read where they lie: loans and views, in queues of every capacity.

mod support;

use std::time::{Duration, Instant};

use rsipc::{Error, Loan, MessageView, NotSent, Queue, QueueOptions};
use support::{Board, Child, LONG, Test, fork, message, number};

const SHORT: Duration = Duration::from_millis(20);

/// Queues that lend, with their names.
fn queues(test: &Test, leases: usize) -> Vec<(&'static str, Queue)> {
    let options = QueueOptions::new().leases(leases);
    [
        ("bounded", options.capacity(4)),
        ("rendezvous", options.capacity(0)),
        ("long", options.capacity(4).max_message(100_000)),
        ("one", options.capacity(1).max_message(5000)),
    ]
    .map(|(name, options)| (name, Queue::create(test.name(name), &options).unwrap()))
    .into()
}

/// The lengths that messages in tests have: some are longer than a slot.
fn len(queue: &Queue, i: u64) -> usize {
    [10, 5000, 60, 70_000][(i % 4) as usize].min(queue.max_message())
}

fn filled<'a>(queue: &'a Queue, i: u64) -> Loan<'a> {
    let bytes = message(i, len(queue, i));
    let mut loan = queue.loan_timeout(bytes.len(), LONG).unwrap();
    loan.write(0, &bytes).unwrap();
    loan
}

fn checked(view: &MessageView<'_>) -> u64 {
    let bytes = view.to_vec().unwrap();
    assert_eq!(bytes.len(), view.len());
    assert_eq!(bytes, message(number(&bytes), bytes.len()));
    number(&bytes)
}

/// A process that does something with a queue, and then sleeps.
fn holder(work: impl FnOnce(&Board)) -> Child {
    let board = Board::new(1);
    let child = fork("holder", || {
        work(&board);
        std::thread::sleep(LONG);
    });
    board.wait(0, 1);
    child
}

/// A process that holds this many loans.
fn lender(queue: &Queue, count: usize) -> Child {
    holder(|board| {
        let _loans: Vec<_> = (0..count).map(|_| queue.loan_timeout(10, LONG).unwrap()).collect();
        board.set(0, 1);
        std::thread::sleep(LONG);
    })
}

#[test]
fn loans_and_copies_are_received_by_views_and_copies_in_order() {
    let test = Test::new("order");
    for (name, queue) in queues(&test, 8) {
        let sender = fork("sender", || {
            for i in 0..16 {
                if i % 3 == 0 {
                    queue.send_timeout(&message(i, len(&queue, i)), LONG).unwrap();
                } else {
                    filled(&queue, i).send_timeout(LONG).unwrap();
                }
            }
        });
        for i in 0..16 {
            match i % 4 {
                0 | 1 => {
                    let view = queue.recv_view_timeout(LONG).unwrap();
                    assert_eq!((checked(&view), view.len()), (i, len(&queue, i)), "{name}");
                }
                2 => assert_eq!(queue.recv_timeout(LONG).unwrap(), message(i, len(&queue, i)), "{name}"),
                _ => {
                    let lease = queue.lease_timeout(LONG).unwrap();
                    assert_eq!(lease.message(), message(i, len(&queue, i)), "{name}");
                    lease.finish().unwrap();
                }
            }
        }
        sender.join();
        assert_eq!(queue.try_recv_view().err(), Some(Error::WouldBlock), "{name}");
        assert_eq!(queue.recv_view_timeout(SHORT).err(), Some(Error::TimedOut), "{name}");
    }
}

#[test]
fn a_loan_is_written_within_its_bounds_and_can_be_made_shorter() {
    let test = Test::new("bounds");
    let queue = Queue::create(test.name("queue"), &QueueOptions::new().max_message(10_000)).unwrap();
    let mut loan = queue.loan(10_000).unwrap();
    assert!(loan.as_mut_ptr().addr().is_multiple_of(4096));
    loan.write(9_999, b"x").unwrap();
    loan.write(10_000, b"").unwrap();
    for (offset, bytes) in [(9_999, &b"xx"[..]), (10_001, b""), (usize::MAX, b"x")] {
        assert!(matches!(loan.write(offset, bytes), Err(Error::InvalidArgument(_))));
    }
    loan.write(0, b"short").unwrap();
    loan.truncate(20_000);
    assert_eq!(loan.len(), 10_000);
    loan.truncate(5);
    assert!(matches!(loan.write(5, b"x"), Err(Error::InvalidArgument(_))));
    loan.send().unwrap();
    let view = queue.recv_view().unwrap();
    assert_eq!(view.to_vec().unwrap(), b"short");
    let mut byte = [0];
    view.read(4, &mut byte).unwrap();
    assert_eq!(&byte, b"t");
    for offset in [5, usize::MAX] {
        assert!(matches!(view.read(offset, &mut byte), Err(Error::InvalidArgument(_))));
    }
    assert_eq!(queue.loan(10_001).err(), Some(Error::MessageTooLong { len: 10_001, max: 10_000 }));
    let empty = queue.loan(0).unwrap();
    assert!(empty.is_empty());
    empty.send().unwrap();
    assert!(queue.recv_view().unwrap().is_empty());
}

/// What is written through the pointer is what is read through the other, also of the longest messages.
#[test]
fn messages_are_not_copied() {
    let test = Test::new("pointers");
    const LEN: usize = 64 << 20;
    let queue = Queue::create(test.name("queue"), &QueueOptions::new().capacity(1).max_message(LEN).leases(1)).unwrap();
    let place = queue.loan(LEN).unwrap().as_mut_ptr();
    // As much memory as they have is not there twice.
    for round in 0..20u8 {
        let mut loan = queue.loan(LEN).unwrap();
        let start = loan.as_mut_ptr();
        assert_eq!(start, place, "memory that was used is used again");
        // SAFETY: the loan has so many bytes.
        unsafe { (start.add(LEN - 1).write(round), start.write(!round)) };
        loan.send().unwrap();
        let view = queue.recv_view().unwrap();
        assert_eq!(view.as_ptr(), start.cast_const());
        // SAFETY: the view has so many bytes.
        assert_eq!(unsafe { (view.as_ptr().add(LEN - 1).read(), view.as_ptr().read()) }, (round, !round));
    }
}

#[test]
fn waiting_for_memory_for_ever_not_at_all_or_for_a_time() {
    let test = Test::new("exhausted");
    let queue = Queue::create(test.name("queue"), &QueueOptions::new().capacity(2).max_message(5000).leases(1)).unwrap();
    let loans: Vec<_> = (0..3).map(|_| queue.try_loan(5000).unwrap()).collect();
    assert_eq!(queue.try_loan(1).err(), Some(Error::WouldBlock));
    let start = Instant::now();
    assert_eq!(queue.loan_timeout(1, SHORT).err(), Some(Error::TimedOut));
    assert!(start.elapsed() >= SHORT);
    assert_eq!(queue.loan_timeout(1, Duration::ZERO).err(), Some(Error::WouldBlock));
    let mut loans = loans.into_iter();
    // Memory comes back from a loan that is dropped, a message that is received, and a view that is dropped.
    for how in 0..3 {
        let view = (how == 2).then(|| {
            filled_and_sent(loans.next().unwrap());
            queue.recv_view().unwrap()
        });
        if how == 1 {
            filled_and_sent(loans.next().unwrap());
        }
        let board = Board::new(1);
        let waiter = fork("waiter", || {
            board.set(0, 1);
            drop(queue.loan(5000).unwrap());
        });
        board.wait(0, 1);
        waiter.wait_asleep();
        match how {
            0 => drop(loans.next()),
            1 => drop(queue.recv().unwrap()),
            _ => drop(view),
        }
        waiter.join();
        let again = queue.try_loan(5000).unwrap();
        loans = std::iter::once(again).chain(loans).collect::<Vec<_>>().into_iter();
        assert_eq!(queue.try_loan(1).err(), Some(Error::WouldBlock));
    }
}

fn filled_and_sent(mut loan: Loan<'_>) {
    loan.write(0, &message(1, 100)).unwrap();
    loan.truncate(100);
    loan.send().unwrap();
}

#[test]
fn who_waits_for_memory_is_woken_when_its_holder_is_killed() {
    let test = Test::new("killed");
    for (name, queue) in queues(&test, 2) {
        if name == "rendezvous" {
            continue; // It has 256 more.
        }
        let most = queue.capacity().filter(|_| queue.max_message() > 4096).unwrap_or(0) + 2;
        for view in [false, true] {
            let holder = if view {
                filled(&queue, 1).send().unwrap();
                let rest = lender(&queue, most - 1);
                let viewer = holder(|board| {
                    let _view = queue.recv_view_timeout(LONG).unwrap();
                    board.set(0, 1);
                    std::thread::sleep(LONG);
                });
                (viewer, Some(rest))
            } else {
                (lender(&queue, most), None)
            };
            assert_eq!(queue.try_loan(10).err(), Some(Error::WouldBlock), "{name}");
            let waiter = fork("waiter", || drop(queue.loan_timeout(10, LONG).unwrap()));
            waiter.wait_asleep();
            holder.0.kill();
            waiter.join();
            if let Some(rest) = holder.1 {
                rest.kill();
            }
            // All of it is back.
            let loans: Vec<_> = (0..most).map(|_| queue.try_loan(10).unwrap()).collect();
            assert_eq!(queue.try_loan(10).err(), Some(Error::WouldBlock), "{name}");
            drop(loans);
            assert!(queue.is_empty().unwrap());
        }
    }
}

#[test]
fn a_loan_that_is_not_sent_is_still_there() {
    let test = Test::new("not-sent");
    for (name, queue) in queues(&test, 3) {
        let room = queue.capacity().unwrap();
        for i in 0..room as u64 {
            queue.send(&message(100 + i, 10)).unwrap();
        }
        let NotSent { loan, error } = filled(&queue, 5).try_send().unwrap_err();
        assert_eq!(error, Error::WouldBlock, "{name}");
        let NotSent { loan, error } = loan.send_timeout(SHORT).unwrap_err();
        assert_eq!(error, Error::TimedOut, "{name}");
        // It waits for room.
        let sender = fork("sender", || filled(&queue, 6).send_timeout(LONG).unwrap());
        sender.wait_asleep();
        for i in 0..room as u64 {
            assert_eq!(queue.recv_timeout(LONG).unwrap(), message(100 + i, 10), "{name}");
        }
        assert_eq!(checked(&queue.recv_view_timeout(LONG).unwrap()), 6, "{name}");
        sender.join();
        let receiver = fork("receiver", || assert_eq!(checked(&queue.recv_view_timeout(LONG).unwrap()), 5));
        loan.send_timeout(LONG).unwrap();
        receiver.join();
        // The error alone gives the memory back.
        queue.shutdown().unwrap();
        assert_eq!(queue.try_loan(1).err(), Some(Error::Closed), "{name}");
        assert_eq!(queue.try_recv_view().err(), Some(Error::Closed), "{name}");
    }
}

#[test]
fn what_is_lent_at_a_shutdown_is_not_sent() {
    let test = Test::new("shutdown");
    for (name, queue) in queues(&test, 3) {
        let loan = filled(&queue, 1);
        let waiter = fork("waiter", || assert_eq!(queue.recv_view_timeout(LONG).err(), Some(Error::Closed)));
        waiter.wait_asleep();
        queue.shutdown().unwrap();
        let not_sent = loan.send().unwrap_err();
        assert_eq!(Error::from(not_sent), Error::Closed, "{name}");
        waiter.join();
    }
}

#[test]
fn what_is_sent_before_a_shutdown_is_viewed_after_it() {
    let test = Test::new("shutdown-after");
    let queue = Queue::create(test.name("queue"), &QueueOptions::new().max_message(5000)).unwrap();
    filled(&queue, 1).send().unwrap();
    queue.shutdown().unwrap();
    let view = queue.recv_view().unwrap();
    assert_eq!(queue.try_recv_view().err(), Some(Error::Closed));
    assert_eq!(checked(&view), 1);
}

#[test]
fn a_child_of_fork_has_none_of_its_parents_loans_and_views() {
    let test = Test::new("fork");
    for (name, queue) in queues(&test, 3) {
        if name == "rendezvous" {
            continue; // Nothing can be sent without a receiver.
        }
        filled(&queue, 1).send().unwrap();
        let (view, mut loan) = (queue.recv_view().unwrap(), Some(filled(&queue, 2)));
        let child = fork("child", || {
            let NotSent { loan, error } = loan.take().unwrap().try_send().unwrap_err();
            assert!(matches!(error, Error::NotOwner(_)), "{name}: {error}");
            drop(loan);
            filled(&queue, 3).send_timeout(LONG).unwrap();
        });
        child.join();
        loan.take()
            .unwrap()
            .try_send()
            .map_err(Error::from)
            .or_else(|e| if e == Error::WouldBlock { Ok(()) } else { Err(e) })
            .unwrap();
        assert_eq!(checked(&view), 1, "{name}");
        assert_eq!(checked(&queue.recv_view().unwrap()), 3, "{name}");
    }
}

#[test]
fn several_hold_views_at_once_and_loans_are_sent_by_any_thread() {
    let test = Test::new("several");
    let queue = Queue::create(test.name("queue"), &QueueOptions::new().capacity(8).max_message(100_000).leases(8)).unwrap();
    std::thread::scope(|scope| {
        for i in 0..8 {
            let loan = filled(&queue, i);
            scope.spawn(move || loan.send().unwrap());
        }
    });
    let views: Vec<_> = (0..8).map(|_| queue.recv_view().unwrap()).collect();
    let mut numbers: Vec<_> = std::thread::scope(|scope| {
        let threads: Vec<_> = views.iter().map(|view| scope.spawn(move || checked(view))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    numbers.sort_unstable();
    assert_eq!(numbers, (0..8).collect::<Vec<_>>());
    // As much memory is left for others.
    let loans: Vec<_> = (0..8).map(|_| queue.try_loan(100).unwrap()).collect();
    assert_eq!(queue.try_loan(100).err(), Some(Error::WouldBlock));
    std::thread::scope(|scope| {
        scope.spawn(move || drop(views));
        scope.spawn(move || drop(loans));
    });
    assert!((0..16).map(|_| queue.try_loan(100)).collect::<Vec<_>>().iter().all(Result::is_ok));
}

#[test]
fn every_message_can_be_viewed() {
    let test = Test::new("any");
    let queue = Queue::create(test.name("queue"), &QueueOptions::new().unbounded().max_message(10_000).leases(0)).unwrap();
    // Through the ring, and through the log.
    for i in 0..600 {
        queue.send(&message(i, len(&queue, i))).unwrap();
    }
    for i in 0..600 {
        assert_eq!(checked(&queue.recv_view().unwrap()), i);
    }
    queue.send(b"").unwrap();
    assert!(queue.recv_view().unwrap().is_empty());
}

#[test]
fn what_cannot_lend_says_so() {
    let test = Test::new("unsupported");
    for (name, options) in [("unbounded", QueueOptions::new().unbounded()), ("no-leases", QueueOptions::new().leases(0))] {
        let queue = Queue::create(test.name(name), &options).unwrap();
        assert!(matches!(queue.loan(1), Err(Error::Unsupported(_))), "{name}");
    }
}

/// A queue in a region lends memory, too.
#[test]
fn in_a_region() {
    let region =
        rsipc::Region::anonymous(QueueOptions::new().max_message(5000).leases(2).capacity(2).size().unwrap() + 128).unwrap();
    // SAFETY: the region is left to it.
    let queue = unsafe { Queue::create_in(&region, 128, &QueueOptions::new().max_message(5000).leases(2).capacity(2)) }.unwrap();
    for i in 0..10 {
        let mut loan = filled(&queue, i);
        assert!(loan.as_mut_ptr().addr().is_multiple_of(64));
        loan.send().unwrap();
        assert_eq!(checked(&queue.recv_view().unwrap()), i);
    }
}
