//! Long messages, in place and copied.

use ::rsipc::QueueOptions;
use anyhow::Result;

use crate::channel::{Channel, OneWay, round_trips};
use crate::harness::{Better, Scenario, Subject, Wanted};
use crate::peers::iceoryx::Loans;
use crate::peers::kernel::Descriptors;
use crate::peers::raw::{BLOCKS, Blocks};
use crate::peers::rsipc::{self, RsipcQueue};
use crate::processes::{Cpus, Measured, Role, Turn, now, processes};
use crate::scenarios::Ground;

const MIB: usize = 1 << 20;

pub fn all(ground: &Ground) -> Vec<Scenario> {
    vec![
        in_place(ground, "inplace-1m", "round trip of 1 MiB in place, both sides spinning", MIB),
        in_place(ground, "inplace-64m", "round trip of 64 MiB in place, both sides spinning", 64 * MIB),
        copied(ground),
    ]
}

/// The first and the last byte of each message are written, and read.
fn in_place(ground: &Ground, name: &'static str, title: &'static str, len: usize) -> Scenario {
    let against = "rsipc, 64 bytes copied (spins first)";
    let [of_trips, of_calls, of_iceoryx] = [ground.clone(), ground.clone(), ground.clone()];
    Scenario {
        name,
        title,
        unit: "ns per round trip",
        better: Better::Lower,
        count: 10_000,
        whole: false,
        subjects: vec![
            Subject::new(against, against, move |n| {
                let [there, back] = [of_trips.space()?, of_trips.space()?];
                round_trips::<64>(Cpus::Any, &RsipcQueue::bounded(there, 64)?, &RsipcQueue::bounded(back, 64)?, n)
            }),
            Subject::new("rsipc, loaned (spins first)", against, move |n| {
                let [there, back] = [rsipc::Loans::new(of_calls.space()?, len)?, rsipc::Loans::new(of_calls.space()?, len)?];
                round_trips::<1>(Cpus::Any, &there, &back, n)
            })
            .wanted(Wanted::Ratio(2.0)),
            Subject::new("iceoryx2, loaned (spins)", against, move |n| {
                let [there, back] = [Loans { place: of_iceoryx.iceoryx()?, len }, Loans { place: of_iceoryx.iceoryx()?, len }];
                round_trips::<1>(Cpus::Any, &there, &back, n)
            }),
        ],
    }
}

/// Each side by itself against a memcpy by itself; and both at the same time, against nothing that is wanted.
fn copied(ground: &Ground) -> Scenario {
    let [into, out_of] = ["memcpy into shared memory", "memcpy out of shared memory"];
    let [of_sending, of_receiving, of_both] = [ground.clone(), ground.clone(), ground.clone()];
    let queue = |ground: &Ground| -> Result<RsipcQueue> {
        Ok(RsipcQueue::new(ground.space()?, &QueueOptions::new().capacity(BLOCKS).max_message(MIB))?)
    };
    Scenario {
        name: "copy-1m",
        title: "1 MiB messages, copied",
        unit: "bytes per s",
        better: Better::Higher,
        count: 64,
        whole: false,
        subjects: vec![
            Subject::new(into, into, |n| one_side::<MIB>(&Blocks::new(), Side::Sending, n)),
            Subject::new("rsipc, sending", into, move |n| one_side::<MIB>(&queue(&of_sending)?, Side::Sending, n))
                .wanted(Wanted::Ratio(0.8)),
            Subject::new(out_of, out_of, |n| one_side::<MIB>(&Blocks::new(), Side::Receiving, n)),
            Subject::new("rsipc, receiving", out_of, move |n| one_side::<MIB>(&queue(&of_receiving)?, Side::Receiving, n))
                .wanted(Wanted::Ratio(0.8)),
            Subject::new("rsipc, both at once (spins first)", into, move |n| both::<MIB>(&queue(&of_both)?, n)),
            Subject::new("stream socket, both at once (sleeps)", into, |n| both::<MIB>(&Descriptors::stream()?, n)),
            Subject::new("pipe, both at once (sleeps)", into, |n| both::<MIB>(&Descriptors::large_pipe()?, n)),
        ],
    }
}

fn both<const N: usize>(channel: &impl Channel<N>, count: u64) -> Result<Measured> {
    let measured = OneWay::PAIR.processes(channel, count)?;
    Ok(Measured { done: measured.done * N as f64, ..measured })
}

#[derive(Clone, Copy, PartialEq)]
enum Side {
    Sending,
    Receiving,
}

/// One process fills all the room there is, then the other empties it, and again; how long one of them worked.
fn one_side<const N: usize>(channel: &impl Channel<N>, side: Side, count: u64) -> Result<Measured> {
    let fillings = count.div_ceil(BLOCKS as u64);
    let bytes = fillings * (BLOCKS * N) as u64;
    // The first filling touches memory that nobody has touched yet.
    let sum = move |turn: &Turn, step: &mut dyn FnMut(), steps: Side| {
        let mut took = 0;
        for filling in 0..=fillings {
            for phase in [Side::Sending, Side::Receiving] {
                turn.beside(|| {
                    if phase == steps {
                        let start = now();
                        (0..BLOCKS).for_each(|_| step());
                        took += if filling == 0 { 0 } else { now() - start };
                    }
                });
            }
        }
        if steps == side {
            turn.took(took, bytes);
        }
    };
    let send = |turn: &Turn| {
        let (mut send, message) = (channel.sender(), [7; N]);
        sum(turn, &mut || send(&message), Side::Sending);
    };
    let receive = |turn: &Turn| {
        let (mut receive, mut buffer) = (channel.receiver(), [0; N]);
        sum(turn, &mut || receive(&mut buffer), Side::Receiving);
        assert!(buffer == [7; N], "the message is not what was sent");
    };
    processes(Cpus::Any, &[Role::new("the sender", send), Role::new("the receiver", receive)])
}
