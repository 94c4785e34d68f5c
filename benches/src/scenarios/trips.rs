//! Round trips between two processes.

use crate::channel::round_trips;
use crate::harness::{Better, Scenario, Subject, Wanted};
use crate::peers::iceoryx::{Events, Spinning};
use crate::peers::kernel::{Descriptors, PosixQueue};
use crate::peers::raw::{self, BareRing};
use crate::peers::rsipc::{RsipcQueue, TriedQueue};
use crate::processes::Cpus;
use crate::scenarios::Ground;

const LEN: usize = 64;

pub fn all(ground: &Ground) -> Vec<Scenario> {
    vec![spinning(ground), blocked(ground)]
}

fn spinning(ground: &Ground) -> Scenario {
    let against = "one cache line bounced (spins)";
    let [of_calls, of_tries, of_iceoryx] = [ground.clone(), ground.clone(), ground.clone()];
    Scenario {
        name: "rtt-64-spin",
        title: "round trip of 64 bytes, both sides spinning",
        unit: "ns per round trip",
        better: Better::Lower,
        count: 20_000,
        whole: false,
        subjects: vec![
            Subject::new(against, against, raw::bounce),
            Subject::new("rsipc, blocking calls (spin first)", against, move |n| {
                let [there, back] = [of_calls.space()?, of_calls.space()?];
                round_trips::<LEN>(Cpus::Any, &RsipcQueue::bounded(there, LEN)?, &RsipcQueue::bounded(back, LEN)?, n)
            })
            .wanted(Wanted::Ratio(2.2)),
            Subject::new("rsipc, try calls in a loop (spins)", against, move |n| {
                let [there, back] = [RsipcQueue::bounded(of_tries.space()?, LEN)?, RsipcQueue::bounded(of_tries.space()?, LEN)?];
                round_trips::<LEN>(Cpus::Any, &TriedQueue(there), &TriedQueue(back), n)
            })
            .wanted(Wanted::Ratio(2.2)),
            Subject::new("bare ring, no safety (spins)", against, |n| {
                round_trips::<LEN>(Cpus::Any, &BareRing::new(), &BareRing::new(), n)
            }),
            Subject::new("iceoryx2 (spins)", against, move |n| {
                let [there, back] = [of_iceoryx.iceoryx()?, of_iceoryx.iceoryx()?];
                round_trips::<LEN>(Cpus::Any, &Spinning(there), &Spinning(back), n)
            }),
        ],
    }
}

fn blocked(ground: &Ground) -> Scenario {
    let against = "futex (sleeps)";
    let [of_calls, of_iceoryx] = [ground.clone(), ground.clone()];
    Scenario {
        name: "rtt-64-blocked",
        title: "round trip of 64 bytes, both sides asleep meanwhile",
        unit: "ns per round trip",
        better: Better::Lower,
        count: 200,
        whole: false,
        subjects: vec![
            Subject::new(against, against, raw::futex),
            // Who may run on one processor only does not spin.
            Subject::new("rsipc (sleeps)", against, move |n| {
                let [there, back] = [of_calls.space()?, of_calls.space()?];
                round_trips::<LEN>(Cpus::Bound, &RsipcQueue::bounded(there, LEN)?, &RsipcQueue::bounded(back, LEN)?, n)
            })
            .wanted(Wanted::Ratio(1.1)),
            Subject::new("iceoryx2 with events (sleeps)", against, move |n| {
                let [there, back] = [of_iceoryx.iceoryx()?, of_iceoryx.iceoryx()?];
                round_trips::<LEN>(Cpus::Bound, &Events(there), &Events(back), n)
            }),
            Subject::new("POSIX queue (sleeps)", against, |n| {
                // The first queue's name is free again when the second one is made.
                round_trips::<LEN>(Cpus::Bound, &PosixQueue::new(LEN)?, &PosixQueue::new(LEN)?, n)
            }),
            Subject::new("seqpacket socket (sleeps)", against, |n| {
                round_trips::<LEN>(Cpus::Bound, &Descriptors::seqpacket()?, &Descriptors::seqpacket()?, n)
            }),
            Subject::new("stream socket (sleeps)", against, |n| {
                round_trips::<LEN>(Cpus::Bound, &Descriptors::stream()?, &Descriptors::stream()?, n)
            }),
            Subject::new("pipe (sleeps)", against, |n| {
                round_trips::<LEN>(Cpus::Bound, &Descriptors::pipe()?, &Descriptors::pipe()?, n)
            }),
        ],
    }
}
