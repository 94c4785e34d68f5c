//! Ways to pass messages of `N` bytes, and the works that are done with any of them.

use anyhow::Result;

use crate::processes::{Cpus, Measured, Role, Turn, now, processes, threads};

/// A way to pass messages. It is made before the processes are, each of which then opens an end.
pub trait Channel<const N: usize>: Sync {
    /// An end that sends a message and waits for room.
    fn sender(&self) -> impl FnMut(&[u8; N]);

    /// An end that waits for a message.
    fn receiver(&self) -> impl FnMut(&mut [u8; N]);
}

/// As many messages are passed at a time, where they are passed in batches.
pub const BATCH: usize = 64;

/// A way to pass messages in batches.
pub trait Batches<const N: usize>: Sync {
    /// An end that sends a whole batch, and waits for room.
    fn sender(&self) -> impl FnMut(&[[u8; N]; BATCH]);

    /// An end that waits for messages, takes what is there of up to a batch, and says how many it took.
    fn receiver(&self) -> impl FnMut() -> usize;
}

/// So many messages one way in batches, from one sender to one receiver.
pub fn batches<const N: usize>(channel: &impl Batches<N>, count: u64) -> Result<Measured> {
    let rounds = count.div_ceil(BATCH as u64);
    let send = |turn: &Turn| {
        let (mut send, messages) = (channel.sender(), [[7; N]; BATCH]);
        turn.measure(|| {
            (0..rounds).for_each(|_| send(&messages));
            0
        });
    };
    let receive = |turn: &Turn| {
        let mut receive = channel.receiver();
        turn.measure(|| {
            let mut received = 0;
            while received < rounds * BATCH as u64 {
                received += receive() as u64;
            }
            received
        });
    };
    Ok(counted(processes(Cpus::Any, &[Role::new("the sender", send), Role::new("the receiver", receive)])?))
}

/// So many messages one way, from so many senders to so many receivers.
pub struct OneWay {
    pub senders: u64,
    pub receivers: u64,
}

impl OneWay {
    pub const PAIR: Self = Self { senders: 1, receivers: 1 };
    pub const TWO_PAIRS: Self = Self { senders: 2, receivers: 2 };

    pub fn processes<const N: usize>(&self, channel: &impl Channel<N>, count: u64) -> Result<Measured> {
        Ok(counted(processes(Cpus::Any, &self.roles(channel, count))?))
    }

    pub fn threads<const N: usize>(&self, channel: &impl Channel<N>, count: u64) -> Result<Measured> {
        Ok(counted(threads(&self.roles(channel, count))?))
    }

    fn roles<'a, const N: usize>(&self, channel: &'a impl Channel<N>, count: u64) -> Vec<Role<'a>> {
        let each = count.div_ceil(self.senders * self.receivers);
        let (sent, received) = (each * self.receivers, each * self.senders);
        let send = move |turn: &Turn| {
            let (mut send, message) = (channel.sender(), [7; N]);
            turn.measure(|| {
                (0..sent).for_each(|_| send(&message));
                0
            });
        };
        let receive = move |turn: &Turn| {
            let (mut receive, mut buffer) = (channel.receiver(), [0; N]);
            turn.measure(|| {
                (0..received).for_each(|_| receive(&mut buffer));
                received
            });
            assert_eq!(buffer, [7; N], "the message is not what was sent");
        };
        let senders = (0..self.senders).map(|_| Role::new("the sender", send));
        senders.chain((0..self.receivers).map(|_| Role::new("the receiver", receive))).collect()
    }
}

/// So many round trips touch all the memory there is before they are timed.
const WARM_UP: u64 = 16;

/// Round trips between two processes: many that are timed as one, then some that are timed one by one.
pub fn round_trips<const N: usize>(cpus: Cpus, there: &impl Channel<N>, back: &impl Channel<N>, count: u64) -> Result<Measured> {
    let singles = (count / 8).clamp(1, 4000);
    let ask = |turn: &Turn| {
        let (mut send, mut receive, mut buffer) = (there.sender(), back.receiver(), [7; N]);
        let mut trip = || {
            send(&buffer);
            receive(&mut buffer);
        };
        turn.beside(|| (0..WARM_UP).for_each(|_| trip()));
        turn.measure(|| {
            (0..count).for_each(|_| trip());
            count
        });
        turn.beside(|| {
            for _ in 0..singles {
                let start = now();
                trip();
                turn.sample(now() - start);
            }
        });
    };
    let answer = |turn: &Turn| {
        let (mut receive, mut send, mut buffer) = (there.receiver(), back.sender(), [0; N]);
        let mut trip = || {
            receive(&mut buffer);
            send(&buffer);
        };
        turn.beside(|| (0..WARM_UP).for_each(|_| trip()));
        turn.measure(|| {
            (0..count).for_each(|_| trip());
            0
        });
        turn.beside(|| (0..singles).for_each(|_| trip()));
    };
    Ok(counted(processes(cpus, &[Role::new("the asker", ask), Role::new("the answerer", answer)])?))
}

fn counted(measured: Measured) -> Measured {
    assert!(measured.done > 0.0 && measured.elapsed > 0.0, "nothing was done");
    measured
}

/// One process that does one thing so many times.
pub fn alone<F: FnMut()>(count: u64, prepare: impl Fn() -> F + Sync) -> Result<Measured> {
    let work = |turn: &Turn| {
        let mut step = prepare();
        step();
        turn.measure(|| {
            (0..count).for_each(|_| step());
            count
        });
    };
    processes(Cpus::Any, &[Role::new("the process", work)])
}
