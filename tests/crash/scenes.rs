//! The scenes of the stepper: which operation is killed, and who sleeps meanwhile.

use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::time::Duration;

use rsipc::{Mutex, Queue, QueueOptions, Region, Semaphore};

use crate::batches::{
    self,
    Act::{RecvMany, SendMany},
    Asleep, batch,
};
use crate::capacities::Act::{
    DropLoan, Finish, GiveBack, Lease, Recv, Send, SendLoan, Shutdown, TryRecv, TrySend, View, Withdraw,
};
use crate::capacities::Kind::{Bounded, Long, LongOne, Rendezvous, Unbounded};
use crate::capacities::{before, scene};
use crate::creation::creation;
use crate::direct::{self, direct};
use crate::handles;
use crate::locks::{Before, Comes, Hold, Take, mutex, mutex_used, permits, signals, signals_meanwhile};
use crate::queues::{
    Act, User, another, another_meanwhile, biased, biased_another, biased_meanwhile, biased_woken, meanwhile, queue, woken,
};
use crate::step::Scene;
use crate::strangers::{join, strangers};
use crate::support::{Test, message};
use crate::twice::{self, Barge, What};
use crate::waits::{self, Beside, Ready};

/// A scene's name, and how it is made in a test's namespace.
pub type Entry = (&'static str, fn(&Test) -> Box<dyn Scene + '_>);

pub const SCENES: &[Entry] = &[
    ("send, empty queue", |t| queue(t, Act::Send, 0, (Act::Recv, 0))),
    ("send, part full", |t| queue(t, Act::Send, 2, (Act::Recv, 0))),
    ("send, receiver asleep", |t| queue(t, Act::Send, 0, (Act::Recv, 1))),
    ("send, two receivers asleep", |t| queue(t, Act::Send, 0, (Act::Recv, 2))),
    ("send, a receiver comes meanwhile", |t| meanwhile(t)),
    ("send, another sender comes meanwhile", |t| another_meanwhile(t)),
    ("send, another sender comes", |t| another(t)),
    ("send, full, waits", |t| queue(t, Act::Send, CAPACITY, (Act::Recv, 0))),
    ("send, full, waits beside a sender", |t| queue(t, Act::Send, CAPACITY, (Act::Send, 1))),
    ("send, full, woken before a sender", |t| woken(t, Act::Send, CAPACITY, (Act::Send, 1))),
    ("recv, part full", |t| queue(t, Act::Recv, 2, (Act::Send, 0))),
    ("recv, full", |t| queue(t, Act::Recv, CAPACITY, (Act::Send, 0))),
    ("recv, sender asleep", |t| queue(t, Act::Recv, CAPACITY, (Act::Send, 1))),
    ("recv, two senders asleep", |t| queue(t, Act::Recv, CAPACITY, (Act::Send, 2))),
    ("recv, empty, waits", |t| queue(t, Act::Recv, 0, (Act::Send, 0))),
    ("recv, empty, waits beside a receiver", |t| queue(t, Act::Recv, 0, (Act::Recv, 1))),
    ("recv, empty, woken before a receiver", |t| woken(t, Act::Recv, 0, (Act::Recv, 1))),
    ("shutdown, receivers asleep", |t| queue(t, Act::Shutdown, 0, (Act::Recv, 2))),
    ("shutdown, senders asleep", |t| queue(t, Act::Shutdown, CAPACITY, (Act::Send, 2))),
    ("open and send", |t| queue(t, Act::Join, 1, (Act::Recv, 0))),
    ("biased: send, empty queue", |t| biased(t, User::Victim, Act::Send, 0, (Act::Recv, 0))),
    ("biased: send, receiver asleep", |t| biased(t, User::Victim, Act::Send, 0, (Act::Recv, 1))),
    ("biased: send, two receivers asleep", |t| biased(t, User::Victim, Act::Send, 0, (Act::Recv, 2))),
    ("biased: send, a receiver comes meanwhile", |t| biased_meanwhile(t, false)),
    ("biased: send, another sender comes meanwhile", |t| biased_meanwhile(t, true)),
    ("biased: send, another sender comes", |t| biased_another(t)),
    ("biased: recv, part full", |t| biased(t, User::Victim, Act::Recv, 2, (Act::Send, 0))),
    ("biased: recv, sender asleep", |t| biased(t, User::Victim, Act::Recv, CAPACITY, (Act::Send, 1))),
    ("biased: recv, two senders asleep", |t| biased(t, User::Victim, Act::Recv, CAPACITY, (Act::Send, 2))),
    ("biased: recv, empty, waits", |t| biased(t, User::Victim, Act::Recv, 0, (Act::Send, 0))),
    ("biased: recv, empty, waits beside a receiver", |t| biased(t, User::Victim, Act::Recv, 0, (Act::Recv, 1))),
    ("biased: recv, empty, woken before a receiver", |t| biased_woken(t, Act::Recv, 0, (Act::Recv, 1))),
    ("biased: shutdown, receivers asleep", |t| biased(t, User::Victim, Act::Shutdown, 0, (Act::Recv, 2))),
    ("biased to another: send", |t| biased(t, User::Parent, Act::Send, 0, (Act::Recv, 0))),
    ("biased to another: send, receiver asleep", |t| biased(t, User::Parent, Act::Send, 0, (Act::Recv, 1))),
    ("biased to another: recv", |t| biased(t, User::Parent, Act::Recv, 2, (Act::Send, 0))),
    ("biased to another: recv, sender asleep", |t| biased(t, User::Parent, Act::Recv, CAPACITY, (Act::Send, 1))),
    ("biased to another: recv, empty, waits", |t| biased(t, User::Parent, Act::Recv, 0, (Act::Send, 0))),
    ("biased to another: lease", |t| scene(t, Bounded, Lease, before::alone_and_two, (Recv, 0))),
    ("biased to another: send a long message", |t| scene(t, Long, Send, before::alone, (Recv, 0))),
    ("biased to another: send a long message, receiver asleep", |t| scene(t, Long, Send, before::alone, (Recv, 1))),
    ("biased to another: in place: send a loan, receiver asleep", |t| scene(t, Bounded, SendLoan, before::alone, (Recv, 1))),
    ("biased to another: in place: view", |t| scene(t, Bounded, View, before::alone_and_two, (Recv, 0))),
    ("biased to another: shutdown, receivers asleep", |t| biased(t, User::Parent, Act::Shutdown, 0, (Act::Recv, 2))),
    ("rendezvous: send, no receiver", |t| scene(t, Rendezvous, Send, before::nothing, (Recv, 0))),
    ("rendezvous: send, receiver asleep", |t| scene(t, Rendezvous, Send, before::nothing, (Recv, 1))),
    ("rendezvous: send, two receivers asleep", |t| scene(t, Rendezvous, Send, before::nothing, (Recv, 2))),
    ("rendezvous: send, two lessees asleep", |t| scene(t, Rendezvous, Send, before::nothing, (Lease, 2))),
    ("rendezvous: send, another sender asleep", |t| scene(t, Rendezvous, Send, before::nothing, (Send, 1))),
    ("rendezvous: send, taken, a sender behind", |t| scene(t, Rendezvous, Send, before::nothing, (Send, 1)).woken()),
    ("rendezvous: try_send, receiver asleep", |t| scene(t, Rendezvous, TrySend, before::nothing, (Recv, 1))),
    ("rendezvous: send, withdrawn", |t| scene(t, Rendezvous, Withdraw, before::nothing, (Recv, 0))),
    ("rendezvous: send, withdrawn before a sender", |t| scene(t, Rendezvous, Withdraw, before::nothing, (Send, 1))),
    ("rendezvous: recv, an offer", |t| scene(t, Rendezvous, Recv, before::nothing, (Send, 1))),
    ("rendezvous: recv, two offers", |t| scene(t, Rendezvous, Recv, before::nothing, (Send, 2))),
    ("rendezvous: recv, empty, waits", |t| scene(t, Rendezvous, Recv, before::nothing, (Recv, 1))),
    ("rendezvous: recv, empty, then offered", |t| scene(t, Rendezvous, Recv, before::nothing, (Recv, 1)).woken()),
    ("rendezvous: recv, two offers, all woken before", |t| scene(t, Rendezvous, Recv, before::all_woken, (Send, 2))),
    ("rendezvous: lease, two offers", |t| scene(t, Rendezvous, Lease, before::nothing, (Send, 2))),
    ("rendezvous: lease, two offers, all woken before", |t| scene(t, Rendezvous, Lease, before::all_woken, (Send, 2))),
    ("rendezvous: finish a lease", |t| scene(t, Rendezvous, Finish, before::nothing, (Recv, 0))),
    ("rendezvous: give back, receiver asleep", |t| scene(t, Rendezvous, GiveBack, before::nothing, (Recv, 1))),
    ("rendezvous: shutdown, receivers asleep", |t| scene(t, Rendezvous, Shutdown, before::nothing, (Recv, 2))),
    ("rendezvous: shutdown, senders asleep", |t| scene(t, Rendezvous, Shutdown, before::nothing, (Send, 2))),
    ("unbounded: send into the ring", |t| scene(t, Unbounded, Send, before::two, (Recv, 0))),
    ("unbounded: send, receiver asleep", |t| scene(t, Unbounded, Send, before::nothing, (Recv, 1))),
    ("unbounded: send, ring full", |t| scene(t, Unbounded, Send, before::ring_full, (Recv, 0))),
    ("unbounded: send into the log", |t| scene(t, Unbounded, Send, before::in_log, (Recv, 0))),
    ("unbounded: send, the log drained", |t| scene(t, Unbounded, Send, before::log_drained, (Recv, 0))),
    ("unbounded: send, drained, receivers asleep", |t| scene(t, Unbounded, Send, before::log_drained, (Recv, 2))),
    ("unbounded: send, at the log's end", |t| scene(t, Unbounded, Send, before::end_of_log, (Recv, 0))),
    ("unbounded: send, the kept part full", |t| scene(t, Unbounded, Send, before::kept_full, (Recv, 0))),
    ("unbounded: send, at the kept part's end", |t| scene(t, Unbounded, Send, before::end_of_kept, (Recv, 0))),
    ("unbounded: send, back to the kept part", |t| scene(t, Unbounded, Send, before::little_in_long, (Recv, 0))),
    ("unbounded: recv, empty, woken before a receiver", |t| scene(t, Unbounded, Recv, before::log_drained, (Recv, 1)).woken()),
    ("unbounded: recv from the ring", |t| scene(t, Unbounded, Recv, before::in_log, (Recv, 0))),
    ("unbounded: recv from the log", |t| scene(t, Unbounded, Recv, before::only_in_log, (Recv, 0))),
    ("unbounded: recv, end of a chunk", |t| scene(t, Unbounded, Recv, before::end_of_chunk, (Recv, 0))),
    ("unbounded: recv, over the log's end", |t| scene(t, Unbounded, Recv, before::over_the_end_of_log, (Recv, 0))),
    ("unbounded: recv, over the kept part's end", |t| scene(t, Unbounded, Recv, before::over_the_end_of_kept, (Recv, 0))),
    ("unbounded: recv, from the kept part again", |t| scene(t, Unbounded, Recv, before::kept_again, (Recv, 0))),
    ("unbounded: recv, the ring fills meanwhile", |t| {
        scene(t, Unbounded, TryRecv, before::log_drained, (Recv, 0)).standing_still()
    }),
    ("unbounded: lease from the log", |t| scene(t, Unbounded, Lease, before::only_in_log, (Recv, 0))),
    ("unbounded: lease, end of a chunk", |t| scene(t, Unbounded, Lease, before::end_of_chunk, (Recv, 0))),
    ("unbounded: shutdown, receivers asleep", |t| scene(t, Unbounded, Shutdown, before::log_drained, (Recv, 2))),
    ("long: send", |t| scene(t, Long, Send, before::one, (Recv, 0))),
    ("long: send, receivers asleep", |t| scene(t, Long, Send, before::nothing, (Recv, 2))),
    ("long: send, full, waits", |t| scene(t, Long, Send, before::two, (Send, 1)).woken()),
    ("long: recv", |t| scene(t, Long, Recv, before::two, (Recv, 0))),
    ("long: recv, senders asleep", |t| scene(t, Long, Recv, before::two, (Send, 2))),
    ("long: recv, one block, sender asleep", |t| scene(t, LongOne, Recv, before::one, (Send, 1))),
    ("long: recv, empty, woken before a receiver", |t| scene(t, Long, Recv, before::nothing, (Recv, 1)).woken()),
    ("long: lease", |t| scene(t, Long, Lease, before::two, (Recv, 0))),
    ("long: lease, sender asleep", |t| scene(t, Long, Lease, before::two, (Send, 1))),
    ("long: finish a lease", |t| scene(t, Long, Finish, before::one, (Recv, 0))),
    ("lease", |t| scene(t, Bounded, Lease, before::two, (Recv, 0))),
    ("lease, full, sender asleep", |t| scene(t, Bounded, Lease, before::full, (Send, 1))),
    ("lease, empty, woken before a lessee", |t| scene(t, Bounded, Lease, before::nothing, (Lease, 1)).woken()),
    ("lease, all leased by the dead", |t| scene(t, Bounded, Lease, before::all_leased_by_the_dead, (Recv, 0))),
    ("recv, all leased by the dead", |t| scene(t, Bounded, Recv, before::all_leased_by_the_dead, (Recv, 0))),
    ("finish a lease", |t| scene(t, Bounded, Finish, before::two, (Recv, 0))),
    ("give a lease back", |t| scene(t, Bounded, GiveBack, before::two, (Recv, 0))),
    ("give a lease back, receiver asleep", |t| scene(t, Bounded, GiveBack, before::nothing, (Recv, 1))),
    ("give a lease back, lessee asleep", |t| scene(t, Bounded, GiveBack, before::nothing, (Lease, 1))),
    ("in place: send a loan", |t| scene(t, Long, SendLoan, before::one, (Recv, 0))),
    ("in place: send a loan, receivers asleep", |t| scene(t, Long, SendLoan, before::nothing, (Recv, 2))),
    ("in place: send a loan, full, waits", |t| scene(t, Long, SendLoan, before::two, (Send, 1)).woken()),
    ("in place: send a short loan", |t| scene(t, Bounded, SendLoan, before::one, (Recv, 0))),
    ("in place: give a loan back", |t| scene(t, Bounded, DropLoan, before::one, (Recv, 0))),
    ("in place: give the only block back, sender asleep", |t| scene(t, LongOne, DropLoan, before::nothing, (Send, 1))),
    ("in place: view", |t| scene(t, Long, View, before::two, (Recv, 0))),
    ("in place: view, senders asleep", |t| scene(t, Long, View, before::two, (Send, 2))),
    ("in place: view, one block, sender asleep", |t| scene(t, LongOne, View, before::one, (Send, 1))),
    ("in place: view, empty, woken before a receiver", |t| scene(t, Long, View, before::nothing, (Recv, 1)).woken()),
    ("in place: view of a short message", |t| scene(t, Bounded, View, before::two, (Recv, 0))),
    ("in place: view, all leased by the dead", |t| scene(t, Bounded, View, before::all_leased_by_the_dead, (Recv, 0))),
    ("in place: unbounded: view of what is in the log", |t| scene(t, Unbounded, View, before::only_in_log, (Recv, 0))),
    ("in place: rendezvous: send a loan, receiver asleep", |t| scene(t, Rendezvous, SendLoan, before::nothing, (Recv, 1))),
    ("in place: rendezvous: give a loan back", |t| scene(t, Rendezvous, DropLoan, before::nothing, (Recv, 0))),
    ("in place: rendezvous: view, two offers", |t| scene(t, Rendezvous, View, before::nothing, (Send, 2))),
    ("in place: rendezvous: view, two offers, all woken before", |t| scene(t, Rendezvous, View, before::all_woken, (Send, 2))),
    ("send a batch, empty queue", |t| batch(t, batches::Kind::Bounded, SendMany, 0, (Asleep::Recv, 0))),
    ("send a batch, part full, waits", |t| batch(t, batches::Kind::Bounded, SendMany, 2, (Asleep::Recv, 0))),
    ("send a batch, full, waits beside a sender", |t| batch(t, batches::Kind::Bounded, SendMany, 3, (Asleep::Send, 1))),
    ("send a batch, receiver asleep", |t| batch(t, batches::Kind::Bounded, SendMany, 0, (Asleep::Recv, 1))),
    ("send a batch, three receivers asleep", |t| batch(t, batches::Kind::Bounded, SendMany, 0, (Asleep::Recv, 3))),
    ("receive a batch, part full", |t| batch(t, batches::Kind::Bounded, RecvMany, 2, (Asleep::Send, 0))),
    ("receive a batch, sender asleep", |t| batch(t, batches::Kind::Bounded, RecvMany, 3, (Asleep::Send, 1))),
    ("receive a batch, three senders asleep", |t| batch(t, batches::Kind::Bounded, RecvMany, 3, (Asleep::Send, 3))),
    ("receive a batch, empty, waits beside a receiver", |t| batch(t, batches::Kind::Bounded, RecvMany, 0, (Asleep::Recv, 1))),
    ("unbounded: send a batch, two receivers asleep", |t| batch(t, batches::Kind::Log, SendMany, 0, (Asleep::Recv, 2))),
    ("unbounded: send a batch, ring nearly full", |t| batch(t, batches::Kind::Log, SendMany, 255, (Asleep::Recv, 0))),
    ("unbounded: send a batch into the log", |t| batch(t, batches::Kind::Log, SendMany, 257, (Asleep::Recv, 0))),
    ("unbounded: receive a batch", |t| batch(t, batches::Kind::Log, RecvMany, 257, (Asleep::Recv, 0))),
    ("rendezvous: send a batch, receiver asleep", |t| batch(t, batches::Kind::Rendezvous, SendMany, 0, (Asleep::Recv, 1))),
    ("rendezvous: receive a batch, two offers", |t| batch(t, batches::Kind::Rendezvous, RecvMany, 0, (Asleep::Send, 2))),
    ("lock", |t| mutex(t, Hold::Lock, 0)),
    ("lock, change, unlock", |t| mutex(t, Hold::Both, 0)),
    ("unlock", |t| mutex(t, Hold::Unlock, 0)),
    ("unlock, waiter asleep", |t| mutex(t, Hold::Unlock, 1)),
    ("unlock, two waiters asleep", |t| mutex(t, Hold::Unlock, 2)),
    ("give up, two waiters asleep", |t| mutex(t, Hold::GiveUp, 2)),
    ("lock, woken before a waiter", |t| mutex(t, Hold::Woken, 1)),
    ("quiet: lock, change, unlock", |t| mutex_used(t, Before::Quiet, Hold::Both, Comes::Nobody)),
    ("quiet: lock, change, unlock, a waiter comes", |t| mutex_used(t, Before::Quiet, Hold::Both, Comes::One)),
    ("quiet: unlock, a waiter comes", |t| mutex_used(t, Before::Quiet, Hold::Unlock, Comes::One)),
    ("quiet: unlock, a waiter comes meanwhile", |t| mutex_used(t, Before::Quiet, Hold::Unlock, Comes::Meanwhile)),
    ("quiet: unlock, a waiter comes, a third barges", |t| mutex_used(t, Before::Quiet, Hold::Unlock, Comes::OneAndThird)),
    ("becoming quiet: unlock, a waiter comes", |t| mutex_used(t, Before::AlmostQuiet, Hold::Unlock, Comes::One)),
    ("becoming quiet: unlock, a waiter comes meanwhile", |t| mutex_used(t, Before::AlmostQuiet, Hold::Unlock, Comes::Meanwhile)),
    ("becoming quiet: unlock, a waiter comes, a third barges", |t| {
        mutex_used(t, Before::AlmostQuiet, Hold::Unlock, Comes::OneAndThird)
    }),
    ("acquire a unit", |t| signals(t, true, 2, 0)),
    ("acquire a unit, woken before a waiter", |t| signals(t, true, 0, 1)),
    ("release a unit", |t| signals(t, false, 0, 0)),
    ("release a unit, waiter asleep", |t| signals(t, false, 0, 1)),
    ("release a unit, two waiters asleep", |t| signals(t, false, 0, 2)),
    ("release a unit, a waiter comes meanwhile", |t| signals_meanwhile(t)),
    ("acquire a first permit", |t| permits(t, Take::First, 2, 0)),
    ("acquire a permit", |t| permits(t, Take::Acquire, 2, 0)),
    ("acquire a permit, woken before a waiter", |t| permits(t, Take::Woken, 1, 1)),
    ("release a permit", |t| permits(t, Take::Release, 1, 0)),
    ("release a permit, waiter asleep", |t| permits(t, Take::Release, 1, 1)),
    ("release one of two, two waiters asleep", |t| permits(t, Take::Release, 2, 2)),
    ("release a permit, from a dead one's place", |t| permits(t, Take::ReleaseInherited, 1, 1)),
    ("release a permit, two waiters asleep", |t| permits(t, Take::Release, 1, 2)),
    ("release two permits, two waiters asleep", |t| permits(t, Take::ReleaseAll, 2, 2)),
    ("create a queue", |t| creation(t, "create_queue", |space| drop(Queue::create(space.name("new"), &options()).unwrap()))),
    ("open a queue", |t| creation(t, "open_queue", |space| drop(Queue::open(space.name("old")).unwrap()))),
    ("create a mutex", |t| creation(t, "-", |space| drop(Mutex::create(space.name("m"), 7u64).unwrap()))),
    ("create permits", |t| creation(t, "create_permits", |space| drop(Semaphore::create_permits(space.name("p"), 1).unwrap()))),
    ("create in a region", |t| {
        creation(t, "create_in_region", |space| {
            drop(unsafe { Queue::create_in(&Region::open(space.name("region")).unwrap(), 0, &options().leases(0)) }.unwrap())
        })
    }),
    ("open an endpoint", |t| direct(t, direct::Act::Open)),
    ("close an endpoint, caller asleep", |t| direct(t, direct::Act::Close)),
    ("receive a request and reply", |t| direct(t, direct::Act::Serve)),
    ("receive from a mailbox and reply", |t| direct(t, direct::Act::ServeMailbox)),
    ("send to an endpoint", |t| direct(t, direct::Act::Send)),
    ("call an endpoint", |t| direct(t, direct::Act::Call)),
    ("create a mutex that guards nothing", |t| {
        creation(t, "create_mutex", |space| drop(Mutex::create(space.name("bare"), ()).unwrap()))
    }),
    ("create units", |t| creation(t, "create_units", |space| drop(Semaphore::create(space.name("u"), 2).unwrap()))),
    ("create a region", |t| {
        creation(t, "create_region", |space| drop(Region::create(space.name("new-region"), 1 << 16).unwrap()))
    }),
    ("open a mutex", |t| creation(t, "open_mutex old-mutex", |space| drop(Mutex::<()>::open(space.name("old-mutex")).unwrap()))),
    ("open units", |t| creation(t, "open_semaphore old-units", |space| drop(Semaphore::open(space.name("old-units")).unwrap()))),
    ("open permits", |t| {
        creation(t, "open_semaphore old-permits", |space| drop(Semaphore::open(space.name("old-permits")).unwrap()))
    }),
    ("open a region", |t| creation(t, "open_region", |space| drop(Region::open(space.name("region")).unwrap()))),
    ("grow a region", |t| creation(t, "grow_region", |space| Region::open(space.name("region")).unwrap().grow(1 << 20).unwrap())),
    ("unlink a queue", |t| handles::unlink(t, handles::Kind::Queue)),
    ("unlink a mutex", |t| handles::unlink(t, handles::Kind::Mutex)),
    ("unlink units", |t| handles::unlink(t, handles::Kind::Units)),
    ("unlink permits", |t| handles::unlink(t, handles::Kind::Permits)),
    ("unlink a region", |t| handles::unlink(t, handles::Kind::Region)),
    ("unlink an endpoint's name", |t| handles::unlink(t, handles::Kind::Endpoint)),
    ("close a queue, receivers asleep", |t| handles::close(t, handles::Kind::Queue, 2)),
    ("close a queue, its last sender", |t| handles::close_last_sender(t, 2)),
    ("close a mutex", |t| handles::close(t, handles::Kind::Mutex, 0)),
    ("close a mutex, held, a waiter asleep", |t| handles::close_held(t, handles::Kind::Mutex, 1)),
    ("close units, waiters asleep", |t| handles::close(t, handles::Kind::Units, 2)),
    ("close permits", |t| handles::close(t, handles::Kind::Permits, 0)),
    ("close permits, one held, a waiter asleep", |t| handles::close_held(t, handles::Kind::Permits, 1)),
    ("close a region", |t| handles::close(t, handles::Kind::Region, 0)),
    ("wait, a message is there", |t| waits::ready(t, Ready::Message)),
    ("wait, room is there", |t| waits::ready(t, Ready::Room)),
    ("wait, a unit is there", |t| waits::ready(t, Ready::Unit)),
    ("wait, a permit is there", |t| waits::ready(t, Ready::Permit)),
    ("wait, an endpoint has a message", |t| waits::ready(t, Ready::Endpoint)),
    ("wait, woken by a message before receivers", |t| waits::woken(t, Ready::Message, (Beside::Alone, 1))),
    ("wait, woken by a message before a wait", |t| waits::woken(t, Ready::Message, (Beside::Several, 1))),
    ("wait, woken by room before a sender", |t| waits::woken(t, Ready::Room, (Beside::Alone, 1))),
    ("wait, woken by a unit before waiters", |t| waits::woken(t, Ready::Unit, (Beside::Alone, 1))),
    ("wait, woken by a permit before a waiter", |t| waits::woken(t, Ready::Permit, (Beside::Alone, 1))),
    ("wait, woken by a message to an endpoint", |t| waits::woken(t, Ready::Endpoint, (Beside::Alone, 0))),
    ("wait and receive, before a receiver", |t| waits::taken(t, Ready::Message, (Beside::Alone, 1))),
    ("wait and receive, before a wait", |t| waits::taken(t, Ready::Message, (Beside::Several, 1))),
    ("wait and send, before a wait", |t| waits::taken(t, Ready::Room, (Beside::Several, 1))),
    ("wait and acquire a unit, before a wait", |t| waits::taken(t, Ready::Unit, (Beside::Several, 1))),
    ("wait and acquire a permit, before a wait", |t| waits::taken(t, Ready::Permit, (Beside::Several, 1))),
    ("lock, woken, a third takes the lock at once", |t| twice::barged(t, What::Lock, Barge::AtOnce)),
    ("lock, woken, a third takes the lock", |t| twice::barged(t, What::Lock, Barge::Late)),
    ("recv, woken, a third takes the message at once", |t| twice::barged(t, What::Message, Barge::AtOnce)),
    ("recv, woken, a third takes the message", |t| twice::barged(t, What::Message, Barge::Late)),
    ("send, woken, a third takes the room at once", |t| twice::barged(t, What::Room, Barge::AtOnce)),
    ("send, woken, a third takes the room", |t| twice::barged(t, What::Room, Barge::Late)),
    ("acquire a unit, woken, a third takes the unit at once", |t| twice::barged(t, What::Unit, Barge::AtOnce)),
    ("acquire a unit, woken, a third takes the unit", |t| twice::barged(t, What::Unit, Barge::Late)),
    ("acquire a permit, woken, a third takes the permit at once", |t| twice::barged(t, What::Permit, Barge::AtOnce)),
    ("acquire a permit, woken, a third takes the permit", |t| twice::barged(t, What::Permit, Barge::Late)),
    ("unlock, then who was woken dies", |t| twice::pair(t, What::Lock, Barge::Never)),
    ("unlock, who was woken dies, a third barges", |t| twice::pair(t, What::Lock, Barge::Late)),
    ("send, then who was woken dies", |t| twice::pair(t, What::Message, Barge::Never)),
    ("send, who was woken dies, a third barges", |t| twice::pair(t, What::Message, Barge::Late)),
    ("recv, then who was woken dies", |t| twice::pair(t, What::Room, Barge::Never)),
    ("recv, who was woken dies, a third barges", |t| twice::pair(t, What::Room, Barge::Late)),
    ("release a unit, then who was woken dies", |t| twice::pair(t, What::Unit, Barge::Never)),
    ("release a unit, who was woken dies, a third barges", |t| twice::pair(t, What::Unit, Barge::Late)),
    ("release a permit, then who was woken dies", |t| twice::pair(t, What::Permit, Barge::Never)),
    ("release a permit, who was woken dies, a third barges", |t| twice::pair(t, What::Permit, Barge::Late)),
    ("strangers: begin a life and lock", |t| join(t)),
    ("strangers: send, receiver asleep", |t| strangers(t, queue(t, Act::Send, 0, (Act::Recv, 1)))),
    ("strangers: send, full, waits", |t| strangers(t, queue(t, Act::Send, CAPACITY, (Act::Recv, 0)))),
    ("strangers: send, another sender comes", |t| strangers(t, another(t))),
    ("strangers: recv, sender asleep", |t| strangers(t, queue(t, Act::Recv, CAPACITY, (Act::Send, 1)))),
    ("strangers: recv, empty, woken before a receiver", |t| strangers(t, woken(t, Act::Recv, 0, (Act::Recv, 1)))),
    ("strangers: shutdown, receivers asleep", |t| strangers(t, queue(t, Act::Shutdown, 0, (Act::Recv, 2)))),
    ("strangers: rendezvous: send, receiver asleep", |t| strangers(t, scene(t, Rendezvous, Send, before::nothing, (Recv, 1)))),
    ("strangers: rendezvous: recv, two offers", |t| strangers(t, scene(t, Rendezvous, Recv, before::nothing, (Send, 2)))),
    ("strangers: unbounded: send into the log", |t| strangers(t, scene(t, Unbounded, Send, before::in_log, (Recv, 0)))),
    ("strangers: long: send", |t| strangers(t, scene(t, Long, Send, before::one, (Recv, 0)))),
    ("strangers: long: send, ONE block", |t| strangers(t, scene(t, LongOne, Send, before::nothing, (Recv, 0)))),
    ("long: send, ONE block", |t| scene(t, LongOne, Send, before::nothing, (Recv, 0))),
    ("strangers: long: recv, senders asleep", |t| strangers(t, scene(t, Long, Recv, before::two, (Send, 2)))),
    ("strangers: lease", |t| strangers(t, scene(t, Bounded, Lease, before::two, (Recv, 0)))),
    ("strangers: finish a lease", |t| strangers(t, scene(t, Bounded, Finish, before::two, (Recv, 0)))),
    ("strangers: give a lease back, lessee asleep", |t| strangers(t, scene(t, Bounded, GiveBack, before::nothing, (Lease, 1)))),
    ("strangers: in place: send a loan", |t| strangers(t, scene(t, Long, SendLoan, before::one, (Recv, 0)))),
    ("strangers: in place: give the only block back, sender asleep", |t| {
        strangers(t, scene(t, LongOne, DropLoan, before::nothing, (Send, 1)))
    }),
    ("strangers: in place: view, senders asleep", |t| strangers(t, scene(t, Long, View, before::two, (Send, 2)))),
    ("strangers: lock, change, unlock", |t| strangers(t, mutex(t, Hold::Both, 0))),
    ("strangers: unlock, two waiters asleep", |t| strangers(t, mutex(t, Hold::Unlock, 2))),
];

pub const CAPACITY: usize = 3;
pub const SHORT: Duration = Duration::from_millis(1);

pub fn options() -> QueueOptions {
    QueueOptions::new().capacity(CAPACITY).max_message(200).leases(4)
}

/// A name that no scene before had.
pub fn fresh() -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    format!("o{}", COUNT.fetch_add(1, Relaxed))
}

/// The number of a message; 0 where it is torn.
pub fn checked(bytes: &[u8]) -> u64 {
    let number = bytes.get(..8).map_or(0, |bytes| u64::from_le_bytes(bytes.try_into().unwrap()));
    if bytes == message(number, 150) { number } else { 0 }
}
