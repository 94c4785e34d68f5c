//! Scenes for what the plays do not come to: what is there when they begin is put there by hand.

use std::rc::Rc;
use std::time::Duration;

use super::{Book, Buffer, Guarded, Kind, Play, ROOM, Scene, check_blocks, receive, receive_all, scene, text};
use crate::engine::{Model, is_mortal_from_here};
use crate::error::Error;
use crate::queue::blocks::State;
use crate::queue::options::CHUNK;
use crate::queue::sources::Receiving;
use crate::queue::store::{LeaseTicket, Store, Take};
use crate::shm::Shared;
use crate::shm::layout::{PermitsLayout, QueueLayout};
use crate::sync::lock::{GENERATION, LOOK, OWNER_DIED};
use crate::sync::permits::Permits;
use crate::sync::source::{Sleeper, Source};
use crate::sys::memory::Ordering::{Relaxed, Release};
use crate::sys::memory::set_obeys_barriers;
use crate::sys::process::Identity;
use crate::sys::thread::Call;
use crate::time::Deadline;

pub fn all() -> Vec<Scene> {
    vec![
        scene("log: memory is given back", 2, 0, log_gives_back),
        scene("log: one asks how long it is", 2, 0, log_length),
        scene("log: one asks how long it is, old values", 4, 0, log_length_of_old),
        scene("log: one asks how many went in", 2, 0, log_counts),
        scene("ring of 1: one asks how long it is, hints are behind", 3, 0, ring_length_behind),
        scene("ring of 1: one asks how long it is", 1, 0, |m| ring_length(m, 1, false, None)),
        scene("ring of 1: one asks how long it is, a sender dies", 0, 1, |m| ring_length(m, 1, false, Some("sends 0"))),
        scene("ring of 1: one asks how long it is, a receiver dies", 0, 1, |m| ring_length(m, 1, false, Some("receives 0"))),
        scene("ring of 2: one asks how long it is, batches", 1, 0, |m| ring_length(m, 2, true, None)),
        scene("ring of 4: one asks how long it is, batches", 1, 0, |m| ring_length(m, 4, true, None)),
        scene("ring of 2: two take from the dead", 3, 0, two_take_from_the_dead),
        scene("ring of 1: one returns a message", 2, 0, returns),
        scene("ring of 1: for a block, where another message comes", 0, 0, no_block_needed),
        scene("ring of 1: for a block, beside one that waits for room", 0, 1, block_beside_room),
        scene("rendezvous: who meets a receiver", 2, 0, meets),
        scene("rendezvous: one waits, another one for two queues, and dies", 1, 1, |m| {
            dies_beside_one_that_waits(m, Kind::Rendezvous)
        }),
        scene("rendezvous: a receiver dies with the lock that another wants", 1, 1, |m| {
            // The kernel wakes the sender, who sleeps there since before.
            let play = Play { kind: Kind::Rendezvous, senders: &[1], dies: Some("receives 0"), ..Play::default() };
            _ = Play { receivers: &[Take::Whole, Take::Whole], ..play }.set_up(m);
        }),
        scene("permits: one dies when it has given its own back", 1, 1, |m| dies_giving(m, &["takes"], false)),
        scene("permits: one dies when it has given its own back, and a third one looks", 0, 1, |m| {
            dies_giving(m, &["takes"], true)
        }),
        scene("rendezvous: two receive what is there", 1, 0, two_receive),
        scene("permits: one joins", 2, 0, joins),
    ]
}

fn stores<const N: usize>(shared: &Shared<QueueLayout>) -> [Store; N] {
    [0; N].map(|_| Store::new(shared.clone(), None).unwrap())
}

fn short(store: &Store, message: u8) {
    store.send(&[], &text(message, false), Deadline::Never, None).unwrap();
}

/// A log whose long part is used up but for one record: the next one goes where the memory is that receivers give back.
fn log_gives_back(model: &mut Model) {
    const KEPT: u64 = 64;
    const PAGE: u64 = 4096;
    let shared = Play { kind: Kind::Log, ..Play::default() }.queue();
    let long = 2 * CHUNK as u64 - KEPT;
    shared.log_size.store(long + KEPT, Relaxed);
    shared.log_kept.store(KEPT as u32, Relaxed);
    // In this round the pages of the places are those of the memory.
    let given_back = (PAGE / KEPT - 1) * long / PAGE * PAGE + PAGE;
    let begin = (given_back + long - 48) | 1;
    for side in [&shared.send, &shared.recv] {
        side.log.store(begin, Relaxed);
        side.log_seen.store(begin, Relaxed);
        side.log_given_back.store(given_back, Relaxed);
    }
    let book = Rc::new(Book::default());
    let [sends, receives] = stores(&shared);
    let (sender, receiver) = (Rc::clone(&book), Rc::clone(&book));
    model.thread("sends 0", move || {
        for message in [10, 11, 12] {
            match sends.send(&[], &text(message, false), Deadline::Never, None) {
                Ok(()) => sender.sent.borrow_mut().push(message),
                Err(Error::NoSpace(_)) => {}
                Err(e) => panic!("sending: {e:?}"),
            }
        }
        sends.shutdown(Deadline::Never).unwrap();
    });
    model.thread("receives 0", move || receive_all(0, &receives, Take::Whole, &receiver));
    model.finally(move |_| {
        let received: Vec<_> = book.received.borrow().iter().map(|(_, message)| *message).collect();
        assert_eq!(received, *book.sent.borrow());
    });
}

/// Never are there two messages in the log, but often one.
fn log_length(model: &mut Model) {
    let shared = Play { kind: Kind::Log, ..Play::default() }.queue();
    let [passes, asks] = stores(&shared);
    model.thread("passes", move || {
        for _ in 0..3 {
            short(&passes, 10);
            short(&passes, 11);
            assert_eq!(receive(&passes, Take::Whole, Deadline::Now).unwrap().0, 10);
            assert_eq!(receive(&passes, Take::Whole, Deadline::Now).unwrap().0, 11);
        }
    });
    model.thread("asks", move || {
        // One that is just being taken may be counted.
        let len = asks.log.as_ref().unwrap().len().unwrap();
        assert!(len <= 2, "{len} in the log");
        asks.len().unwrap();
    });
}

/// As `log_length`, in few steps: one has both sides of the log to itself.
fn log_length_of_old(model: &mut Model) {
    let shared = Play { kind: Kind::Log, ..Play::default() }.queue();
    let [passes, asks] = stores(&shared);
    model.thread("passes", move || {
        let log = passes.log.as_ref().unwrap();
        for _ in 0..2 {
            log.append(&[], &text(10, false)).unwrap();
        }
        for _ in 0..2 {
            log.take(&log.next().unwrap().unwrap()).unwrap();
        }
    });
    model.thread("asks", move || {
        let len = asks.log.as_ref().unwrap().len().unwrap();
        assert!(len <= 2, "{len} in the log");
    });
}

/// One fills and empties the ring, and leaves it in between as those do that die before they have moved the hint.
fn ring_length_behind(model: &mut Model) {
    let shared = Play { kind: Kind::Ring(1), ..Play::default() }.queue();
    let [passes, asks] = stores(&shared);
    model.thread("passes", move || {
        short(&passes, 10);
        receive(&passes, Take::Whole, Deadline::Now).unwrap();
        let (slot, _) = passes.ring.empty_at_hint().unwrap();
        slot.head().sequence.fetch_add(2, Release);
        short(&passes, 10);
        receive(&passes, Take::Whole, Deadline::Now).unwrap();
    });
    model.thread("asks", move || _ = asks.ring.len().unwrap());
}

fn log_counts(model: &mut Model) {
    let shared = Play { kind: Kind::Log, ..Play::default() }.queue();
    let [sends, asks] = stores(&shared);
    model.thread("sends 0", move || (0..3).for_each(|_| short(&sends, 10)));
    model.thread("asks", move || {
        let log = asks.log.as_ref().unwrap();
        let (first, second) = (log.put_in().unwrap(), log.put_in().unwrap());
        assert!(first <= second && second <= 2, "first {first}, then {second}");
    });
}

fn ring_length(model: &mut Model, capacity: usize, many: bool, dies: Option<&'static str>) {
    let play = Play { kind: Kind::Ring(capacity), senders: &[3], receivers: &[Take::Whole], many, dies, ..Play::default() };
    let play = if dies == Some("sends 0") { Play { senders: &[1, 1], ..play } } else { play };
    let play =
        if dies == Some("receives 0") { Play { senders: &[2], receivers: &[Take::Whole, Take::Whole], ..play } } else { play };
    let shared = play.set_up(model);
    let [asks] = stores(&shared);
    model.thread("asks", move || {
        for _ in 0..2 {
            asks.ring.len().unwrap();
        }
    });
}

/// A sender has died that was passing on a block. One sends, and so sees to the block; another one looks at the same time for
/// what the dead had, and then takes a block.
fn two_take_from_the_dead(model: &mut Model) {
    let shared = Play { kind: Kind::Ring(2), long: true, ..Play::default() }.queue();
    let [main, sends, takes] = stores(&shared);
    main.blocks.head(0).unwrap().owner.store(State::Held.of_owner(Identity(999)), Relaxed);
    shared.claimed.store(1, Relaxed);
    shared.send.transit.store(1, Relaxed);
    shared.send.lock.store(OWNER_DIED, Relaxed);
    model.thread("sends 0", move || short(&sends, 10));
    model.thread("sends 1", move || {
        takes.gets_back();
        takes.send(&[], &text(11, true), Deadline::Never, None).unwrap();
    });
    model.finally(move |outcome| {
        let mut received = [(); 2].map(|()| receive(&main, Take::Whole, Deadline::Now).unwrap().0);
        received.sort_unstable();
        assert_eq!(received, [10, 11]);
        check_blocks(&main, outcome);
    });
}

/// One gives back a message that it has on lease, while another one finds that none was returned: that is not to be forgotten.
fn returns(model: &mut Model) {
    let shared = Play { kind: Kind::Ring(1), ..Play::default() }.queue();
    let [main, finishes, receives] = stores(&shared);
    shared.claimed.store(1, Relaxed);
    shared.recv.leased.store(1, Relaxed);
    let head = main.blocks.head(0).unwrap();
    // The first thread.
    head.owner.store(State::Leased.of_owner(Identity(101)), Relaxed);
    head.len.store(8, Relaxed);
    main.blocks.data().write(0, &text(10, false)).unwrap();
    model.thread("returns", move || {
        finishes.finish(&LeaseTicket { block: 0, order: 0, deliveries: 0 }, false).unwrap();
    });
    model.thread("receives 0", move || {
        let side = &receives.shared.recv;
        let call = receives.users.enter(&side.lock).unwrap();
        Store::acquire(&call, side, Deadline::Never).unwrap();
        receives.blocks.first_returned();
        Store::release(&call, side);
    });
    model.finally(move |_| {
        assert_ne!(shared.recv.returned.load(Relaxed), 0, "a message that was returned is forgotten");
        assert_eq!(receive(&main, Take::Whole, Deadline::Now).unwrap().0, 10);
    });
}

/// One that takes messages on lease waits for the only block, which is lent. Another one takes the message that it wants it for;
/// the next message needs none.
fn no_block_needed(model: &mut Model) {
    let shared = Play { kind: Kind::Ring(1), long: true, blocks: 1, ..Play::default() }.queue();
    let [lends, leases, receives] = stores(&shared);
    model.thread("sends 0", move || {
        let held = lends.lend(60, Deadline::Never, None).unwrap();
        short(&lends, 10);
        let message = text(11, true);
        lends.blocks.data().write(lends.blocks.offset(held.block, 0), &message).unwrap();
        lends.send_held(&held, message.len(), Deadline::Never, None).unwrap();
    });
    model.thread("receives 0", move || {
        let (_, block) = receive(&leases, Take::OnLease, Deadline::Never).unwrap();
        let (block, head) = (block.unwrap(), leases.blocks.head(block.unwrap()).unwrap());
        let (order, deliveries) = (head.order.load(Relaxed), head.deliveries.load(Relaxed));
        leases.finish(&LeaseTicket { block, order, deliveries }, true).unwrap();
    });
    model.thread("receives 1", move || {
        receive(&receives, Take::Whole, Deadline::Never).unwrap();
    });
}

/// One waits for the only block, and another one for room. The kernel wakes the first one where a receiver dies that has made room.
fn block_beside_room(model: &mut Model) {
    let shared = Play { kind: Kind::Ring(1), long: true, blocks: 1, ..Play::default() }.queue();
    let [main, long, sends, receives] = stores(&shared);
    // The second thread's.
    main.blocks.head(0).unwrap().owner.store(State::Held.of_owner(Identity(102)), Relaxed);
    shared.claimed.store(1, Relaxed);
    model.thread("sends 0", move || long.send(&[], &text(10, true), Deadline::Never, None).unwrap());
    model.thread("sends 1", move || {
        [20, 21].into_iter().for_each(|message| short(&sends, message));
        drop(sends.blocks.held(0).unwrap());
        assert_eq!(receive(&sends, Take::Whole, Deadline::Never).unwrap().0, 21);
        assert_eq!(receive(&sends, Take::Whole, Deadline::Never).unwrap().0, 10);
    });
    model.thread("receives 0", move || {
        let source = Receiving(&receives);
        let mut sleeper = Sleeper::new();
        while !source.ready(true) {
            sleeper.sleep(&[&source], None, LOOK).unwrap();
        }
        let side = &receives.shared.recv;
        let call = receives.users.enter(&side.lock).unwrap();
        Store::acquire(&call, side, Deadline::Never).unwrap();
        receives.ring.take_at_hint(ROOM, &mut Buffer::default()).unwrap();
        is_mortal_from_here();
        Store::release(&call, side);
    });
}

/// Each of them gets a number of its own.
fn two_receive(model: &mut Model) {
    let shared = Play { kind: Kind::Rendezvous, ..Play::default() }.queue();
    // So that the second one finds the word as those do who take it simply.
    shared.recv.generation.store(GENERATION, Relaxed);
    for (name, store, message) in [("sends 0", stores(&shared), 10), ("sends 1", stores(&shared), 20)] {
        let [store] = store;
        model.thread(name, move || short(&store, message));
    }
    for (name, store) in [("receives 0", stores(&shared)), ("receives 1", stores(&shared))] {
        let [store] = store;
        model.thread(name, move || _ = receive(&store, Take::Whole, Deadline::Never).unwrap());
    }
    model.finally(move |_| assert_eq!(shared.recv.leases.load(Relaxed), 2, "two have one number"));
}

/// Who was met by a receiver sees what that did before.
fn meets(model: &mut Model) {
    let shared = Play { kind: Kind::Rendezvous, ..Play::default() }.queue();
    let [sends, receives] = stores(&shared);
    let data = Guarded::new();
    let before = Rc::clone(&data);
    model.thread("receives 0", move || {
        before.increment();
        _ = receive(&receives, Take::Whole, Deadline::after(Duration::from_secs(1)));
    });
    model.thread("sends 0", move || {
        if sends.send(&[], &text(10, false), Deadline::after(Duration::from_secs(1)), None).is_ok() {
            data.increment();
        }
    });
}

/// The kernel passes on what the death of one that waits for two queues takes from the first of them, and not from the second.
pub(super) fn dies_beside_one_that_waits(model: &mut Model, kind: Kind) {
    let play = Play { kind, ..Play::default() };
    let (first, second) = (play.queue(), play.queue());
    let ([sends, receives, watches], [other]) = (stores(&second), stores(&first));
    model.mortal("watches", move || {
        let sources = [Receiving(&other), Receiving(&watches)];
        let sources: Vec<&dyn Source> = sources.iter().map(|source| source as &dyn Source).collect();
        // The message may have come and gone.
        Sleeper::new().sleep(&sources, None, LOOK / 2).unwrap();
    });
    model.thread("receives 0", move || {
        receive(&receives, Take::Whole, Deadline::Never).unwrap();
    });
    model.thread("sends 0", move || short(&sends, 10));
}

/// As many as there are permits wait for those of another one, who dies before it gives them back, or when it has and has told nobody.
fn dies_giving(model: &mut Model, takers: &[&'static str], one_looks: bool) {
    set_obeys_barriers(true);
    let (shared, total) = (Shared::<PermitsLayout>::new(0), takers.len() as u32);
    shared.total.store(total, Relaxed);
    for (index, value) in (0..=takers.len()).map(|index| (index, if index == 0 { total } else { 0 })) {
        let peer = &shared.holders.table[index];
        peer.identity.store(101 + index as u64, Relaxed);
        peer.value.store(value, Relaxed);
    }
    let gives = Permits::new(shared.clone());
    model.mortal("gives", move || {
        let word = &gives.shared.lives[0].word;
        let call = Call::enter(word).unwrap();
        word.fetch_or(call.tid(), Relaxed);
        // SAFETY: nothing is needed here.
        unsafe { call.link(word) };
        drop(call);
        gives.release(total, Deadline::Never).unwrap();
    });
    for name in takers {
        let takes = Permits::new(shared.clone());
        model.thread(name, move || takes.acquire(Deadline::Never).unwrap());
    }
    if one_looks {
        let looks = Permits::new(shared.clone());
        model.thread("looks", move || _ = looks.free());
    }
    model.finally(move |_| assert_eq!(Permits::new(shared).free(), Ok(total)));
}

/// Who sees somebody on a table sees who it is.
fn joins(model: &mut Model) {
    let shared = Shared::<PermitsLayout>::new(0);
    shared.total.store(1, Relaxed);
    shared.free.store(1, Relaxed);
    let permits = Permits::new(shared.clone());
    model.thread("joins", move || permits.acquire(Deadline::Never).unwrap());
    model.thread("looks", move || {
        let peer = &shared.holders.table[0];
        assert!(peer.identity().is_none() || peer.pid.load(Relaxed) != 0, "somebody has joined who is nobody");
    });
}
