//! Messages one way, as fast as they go.

use anyhow::Result;

use crate::channel::{OneWay, batches, round_trips};
use crate::harness::{Better, Scenario, Space, Subject, Wanted};
use crate::peers::iceoryx::Spinning;
use crate::peers::kernel::{Descriptors, PosixQueue};
use crate::peers::raw::{BareBatches, BareRing};
use crate::peers::rsipc::{CAPACITY, RsipcQueue};
use crate::peers::threads::{Crossbeam, Rtrb};
use crate::processes::{Cpus, Measured, Role, Turn, processes};
use crate::scenarios::Ground;

const LEN: usize = 64;

pub fn all(ground: &Ground) -> Vec<Scenario> {
    vec![
        one_way::<64>(ground, "oneway-64-1p1c", "64 bytes one way, one sender, one receiver", [0.85, 1.0]),
        one_way::<8>(ground, "oneway-8-1p1c", "8 bytes one way, one sender, one receiver", [0.3, 0.8]),
        one_way::<48>(ground, "oneway-48-1p1c", "48 bytes one way, one sender, one receiver", [0.3, 0.8]),
        two_pairs(ground),
        rendezvous(ground),
        unbounded(ground),
        backlog(ground),
    ]
}

fn one_way<const N: usize>(ground: &Ground, name: &'static str, title: &'static str, [single, batched]: [f64; 2]) -> Scenario {
    let against = "bare ring, no safety (spins)";
    let [of_calls, of_batches, of_iceoryx] = [ground.clone(), ground.clone(), ground.clone()];
    Scenario {
        name,
        title,
        unit: "messages per s",
        better: Better::Higher,
        count: 50_000,
        whole: false,
        subjects: vec![
            Subject::new(against, against, |n| OneWay::PAIR.processes(&BareRing::<N>::new(), n)),
            Subject::new("rsipc (spins first)", against, move |n| {
                OneWay::PAIR.processes::<N>(&RsipcQueue::bounded(of_calls.space()?, N)?, n)
            })
            .wanted(Wanted::Ratio(single)),
            Subject::new("bare ring in batches of 64 (spins)", against, |n| batches(&BareBatches::<N>::new(), n)),
            Subject::new("rsipc in batches of 64 (spins first)", against, move |n| {
                batches::<N>(&RsipcQueue::bounded(of_batches.space()?, N)?, n)
            })
            .wanted(Wanted::Ratio(batched)),
            Subject::new("rtrb between threads (spins)", against, |n| OneWay::PAIR.threads(&Rtrb::<N>::new(CAPACITY), n)),
            Subject::new("crossbeam between threads (spins first)", against, |n| {
                OneWay::PAIR.threads(&Crossbeam::<N>::new(CAPACITY), n)
            }),
            Subject::new("iceoryx2 (spins)", against, move |n| OneWay::PAIR.processes::<N>(&Spinning(of_iceoryx.iceoryx()?), n)),
            Subject::new("pipe (sleeps)", against, |n| OneWay::PAIR.processes::<N>(&Descriptors::pipe()?, n)),
            Subject::new("seqpacket socket (sleeps)", against, |n| OneWay::PAIR.processes::<N>(&Descriptors::seqpacket()?, n)),
            Subject::new("stream socket (sleeps)", against, |n| OneWay::PAIR.processes::<N>(&Descriptors::stream()?, n)),
            Subject::new("POSIX queue (sleeps)", against, |n| OneWay::PAIR.processes::<N>(&PosixQueue::new(N)?, n)),
        ],
    }
}

/// Each message goes to one receiver: what publishes to all of them has no place here.
fn two_pairs(ground: &Ground) -> Scenario {
    let against = "crossbeam between threads (spins first)";
    let of_calls = ground.clone();
    Scenario {
        name: "oneway-64-2p2c",
        title: "64 bytes one way, two senders, two receivers",
        unit: "messages per s",
        better: Better::Higher,
        count: 50_000,
        whole: false,
        subjects: vec![
            Subject::new(against, against, |n| OneWay::TWO_PAIRS.threads(&Crossbeam::<LEN>::new(CAPACITY), n)),
            Subject::new("rsipc (spins first)", against, move |n| {
                OneWay::TWO_PAIRS.processes::<LEN>(&RsipcQueue::bounded(of_calls.space()?, LEN)?, n)
            })
            .wanted(Wanted::Ratio(1.5)),
            Subject::new("pipe (sleeps)", against, |n| OneWay::TWO_PAIRS.processes::<LEN>(&Descriptors::pipe()?, n)),
            Subject::new("seqpacket socket (sleeps)", against, |n| {
                OneWay::TWO_PAIRS.processes::<LEN>(&Descriptors::seqpacket()?, n)
            }),
            Subject::new("POSIX queue (sleeps)", against, |n| OneWay::TWO_PAIRS.processes::<LEN>(&PosixQueue::new(LEN)?, n)),
        ],
    }
}

fn rendezvous(ground: &Ground) -> Scenario {
    let against = "rsipc, bounded round trip (spins first)";
    let [of_trips, of_calls] = [ground.clone(), ground.clone()];
    Scenario {
        name: "rendezvous-64",
        title: "64 bytes from hand to hand, without any room between",
        unit: "ns per message",
        better: Better::Lower,
        count: 10_000,
        whole: false,
        subjects: vec![
            Subject::new(against, against, move |n| {
                let [there, back] = [of_trips.space()?, of_trips.space()?];
                round_trips::<LEN>(Cpus::Any, &RsipcQueue::bounded(there, LEN)?, &RsipcQueue::bounded(back, LEN)?, n)
            }),
            Subject::new("rsipc, rendezvous (spins first)", against, move |n| {
                OneWay::PAIR.processes::<LEN>(&RsipcQueue::rendezvous(of_calls.space()?, LEN)?, n)
            })
            .wanted(Wanted::Ratio(2.0)),
            Subject::new("crossbeam between threads (spins first)", against, |n| {
                OneWay::PAIR.threads(&Crossbeam::<LEN>::new(0), n)
            }),
        ],
    }
}

const STEADY: &str = "rsipc, bounded (spins first)";

fn steady(ground: &Ground) -> Subject {
    let ground = ground.clone();
    Subject::new(STEADY, STEADY, move |n| OneWay::PAIR.processes::<LEN>(&RsipcQueue::bounded(ground.space()?, LEN)?, n))
}

fn unbounded(ground: &Ground) -> Scenario {
    let of_calls = ground.clone();
    Scenario {
        name: "unbounded-64",
        title: "64 bytes one way through an unbounded queue, steadily",
        unit: "messages per s",
        better: Better::Higher,
        count: 50_000,
        whole: false,
        subjects: vec![
            steady(ground),
            Subject::new("rsipc, unbounded (spins first)", STEADY, move |n| {
                OneWay::PAIR.processes::<LEN>(&RsipcQueue::unbounded(of_calls.space()?, LEN)?, n)
            })
            .wanted(Wanted::Ratio(0.9)),
        ],
    }
}

fn backlog(ground: &Ground) -> Scenario {
    let [of_backlog, of_turns] = [ground.clone(), ground.clone()];
    Scenario {
        name: "backlog-64",
        title: "ten million messages of 64 bytes, all sent before the first is received",
        unit: "messages per s",
        better: Better::Higher,
        count: 10_000_000,
        whole: true,
        subjects: vec![
            steady(ground),
            Subject::new("rsipc, a backlog filled, then drained", STEADY, move |n| filled_then_drained(of_backlog.space()?, n))
                .wanted(Wanted::Ratio(0.5)),
            Subject::new("rsipc, bounded, sent and received in turn", STEADY, move |n| {
                let queue = RsipcQueue::bounded(of_turns.space()?, LEN)?.open();
                crate::channel::alone(n, || {
                    let (queue, mut buffer) = (&queue, [7; LEN]);
                    move || {
                        queue.send(&buffer).expect("there is room");
                        queue.recv_into(&mut buffer).expect("there is a message");
                    }
                })
            }),
        ],
    }
}

/// One process sends everything, then the other receives it.
fn filled_then_drained(space: Space, count: u64) -> Result<Measured> {
    let queue = RsipcQueue::unbounded(space, LEN)?;
    let send = |turn: &Turn| {
        let queue = queue.open();
        turn.measure(|| {
            (0..count).for_each(|_| queue.send(&[7; LEN]).expect("there is memory"));
            count
        });
        assert_eq!(queue.len(), Ok(count as usize));
        turn.beside(|| ());
    };
    let receive = |turn: &Turn| {
        let (queue, mut buffer) = (queue.open(), [0; LEN]);
        turn.beside(|| ());
        turn.measure(|| {
            (0..count).for_each(|_| assert_eq!(queue.recv_into(&mut buffer), Ok(LEN)));
            0
        });
    };
    processes(Cpus::Any, &[Role::new("the sender", send), Role::new("the receiver", receive)])
}
